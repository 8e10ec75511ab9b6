/* SPDX-License-Identifier: MIT */
#include "env/tools/boxed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

enum { RESULTS_AT_ONCE = 64, DEFAULT_AT_ONCE = 64 };

typedef struct waiting {
    uint64_t call, seed;
    char *code;
    size_t len;
} waiting;

/* Calls beyond `at_once` wait here, and their clock does not run: a time limit that fifty calls share would be a limit
 * on the others' luck. */
typedef struct boxed {
    box *box;
    boxed_config config;
    char *name, *description, *parameters;
    vec(waiting) queue;
    vec(tool_result) failed; /* could not be started from the queue */
} boxed;

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    boxed *p = self;
    size_t len;
    json_t *j = json_parse(arguments, strlen(arguments), "arguments", err);
    if (!j) return ERR_ARGUMENT;

    char *request = p->config.request(p->config.owner, call, j, ctx, &len);
    json_decref(j);
    if (box_running(p->box) >= p->config.at_once) { /* until one of them ends */
        vec_push(&p->queue, (waiting){ call, ctx->seed, request, len });
        return OK;
    }

    const int rc = box_begin(p->box, call, ctx->seed, request, len, now_ms, err);
    free(request);
    return rc;
}

static void take_first(boxed *p, waiting *out)
{
    *out = p->queue.data[0];
    memmove(p->queue.data, p->queue.data + 1, --p->queue.len * sizeof *p->queue.data);
}

static void start_waiting(boxed *p, int64_t now_ms)
{
    while (p->queue.len > 0 && box_running(p->box) < p->config.at_once) {
        waiting w;
        error err = { 0 };
        take_first(p, &w);

        const int rc = box_begin(p->box, w.call, w.seed, w.code, w.len, now_ms, &err);
        free(w.code);
        if (rc == OK) continue;

        /* Code that is too long is the policy's doing; everything else is the machine's. */
        str text = { 0 };
        str_printf(&text, rc == ERR_LIMIT ? "error: %s" : "%s", err.text);
        vec_push(&p->failed, (tool_result){ .call = w.call,
                                            .failed = rc == ERR_LIMIT ? FAIL_NONE : FAIL_TOOL_LOST,
                                            .text = str_take(&text) });
    }
}

static void cancel(void *self, uint64_t call)
{
    boxed *p = self;
    for (size_t i = 0; i < p->queue.len; i++) {
        if (p->queue.data[i].call != call) continue;
        free(p->queue.data[i].code);
        memmove(p->queue.data + i, p->queue.data + i + 1, (--p->queue.len - i) * sizeof *p->queue.data);
        return;
    }
    box_cancel(p->box, call);
}

static int fds(void *self, struct pollfd *out, int max) { return box_fds(((boxed *)self)->box, out, max); }

static int64_t deadline_ms(void *self)
{
    const boxed *p = self;

    /* What waits is started by the poll that takes the end of a call. Where none runs, only a deadline brings that. */
    if (p->failed.len > 0 || (p->queue.len > 0 && box_running(p->box) == 0)) return 0;
    return box_deadline_ms(p->box);
}

/* What was printed as text: bytes that are no UTF-8, and NULs, become U+FFFD; a character that the cap has cut goes,
 * and so does white space at the end. */
static void add_output(str *text, const box_result *b)
{
    static const char UNKNOWN[] = "\xef\xbf\xbd";
    enum { LONGEST = 4 }; /* bytes of a character */
    const char *p = b->output, *end = p + b->output_len;

    while (p < end) {
        const size_t n = *p ? utf8_length(p, end) : 0;
        const bool cut_here = b->outcome == BOX_OUTPUT && *p && end - p < LONGEST;

        if (n == 0 && cut_here) break;
        if (n == 0) {
            str_puts(text, UNKNOWN);
            p++;
        } else {
            str_add(text, p, n);
            p += n;
        }
    }

    while (text->len > 0 && (text->data[text->len - 1] == '\n' || text->data[text->len - 1] == ' '))
        text->data[--text->len] = 0;
}

static const char *separator(const str *text) { return text->len > 0 ? "\n" : ""; }

/* Output and what ended it, as the policy will read it. */
static tool_result result_of(const boxed *p, box_result *b)
{
    tool_result t = { .call = b->call, .ok = b->outcome == BOX_OK, .ms = b->ms };
    str text = { 0 };
    add_output(&text, b);

    switch (b->outcome) {
    case BOX_OK:
    case BOX_RAISED:
        break;
    case BOX_EXITED:
        str_printf(&text, "%serror: the code exited with status %d", separator(&text), b->number);
        break;
    case BOX_TIME:
        str_printf(&text, "%serror: time limit of %g s exceeded", separator(&text), p->config.box.timeout_ms / 1000.0);
        break;
    case BOX_OUTPUT:
        str_printf(&text, "\n[output truncated: cut at %d bytes]", p->config.box.output_bytes);
        break;
    case BOX_MEMORY:
        str_printf(&text, "%serror: memory limit of %d MB exceeded", separator(&text), p->config.box.memory_mb);
        break;
    case BOX_CRASHED:
        str_printf(&text, "%serror: the code crashed (signal %d, %s)", separator(&text), b->number,
                   strsignal(b->number));
        break;
    case BOX_LOST: /* its output says why */
        t.failed = FAIL_TOOL_LOST;
        break;
    }

    free(b->output);
    t.text = str_take(&text);
    return t;
}

static int poll_results(void *self, int64_t now_ms, tool_result *out, int max)
{
    boxed *p = self;
    box_result results[RESULTS_AT_ONCE];
    int n = box_poll(p->box, now_ms, results, max < RESULTS_AT_ONCE ? max : RESULTS_AT_ONCE);
    for (int i = 0; i < n; i++) {
        const bool ran = results[i].outcome == BOX_OK || results[i].outcome == BOX_RAISED;
        if (p->config.ended) p->config.ended(p->config.owner, results[i].call, ran);
        out[i] = result_of(p, &results[i]);
    }
    start_waiting(p, now_ms);
    while (n < max && p->failed.len > 0) out[n++] = p->failed.data[--p->failed.len];
    return n;
}

static void leave(void *self, uint64_t play)
{
    const boxed *p = self;
    p->config.leave(p->config.owner, play);
}

static void free_boxed(void *self)
{
    boxed *p = self;
    box_free(p->box);
    if (p->config.free_owner) p->config.free_owner(p->config.owner);

    for (size_t i = 0; i < p->queue.len; i++) free(p->queue.data[i].code);
    for (size_t i = 0; i < p->failed.len; i++) free(p->failed.data[i].text);

    vec_free(&p->queue);
    vec_free(&p->failed);

    free(p->name);
    free(p->description);
    free(p->parameters);
    free(p);
}

int boxed_tool(const boxed_config *config, tool *out, error *err)
{
    boxed *p = xcalloc(1, sizeof *p);
    p->config = *config;
    if (p->config.at_once <= 0) p->config.at_once = DEFAULT_AT_ONCE;

    /* As in box_new, which keeps its defaults to itself: a call that hits a limit tells the policy its value. */
    if (p->config.box.timeout_ms <= 0) p->config.box.timeout_ms = 2000;
    if (p->config.box.memory_mb <= 0) p->config.box.memory_mb = 256;
    if (p->config.box.output_bytes <= 0) p->config.box.output_bytes = 16384;

    p->name = xstrdup(config->name);
    p->description = xstrdup(config->description);
    p->parameters = xstrdup(config->parameters);
    p->box = box_new(&p->config.box, err);
    if (!p->box) {
        free_boxed(p);
        return err ? err->code : ERR_UNSUPPORTED;
    }
    *out = (tool){ .name = p->name,
                   .description = p->description,
                   .parameters = p->parameters,
                   .self = p,
                   .begin = begin,
                   .cancel = cancel,
                   .fds = fds,
                   .poll = poll_results,
                   .deadline_ms = deadline_ms,
                   .free = free_boxed,
                   .leave = config->leave ? leave : NULL };
    return OK;
}
