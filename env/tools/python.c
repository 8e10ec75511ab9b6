#include "env/tools/python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/vec.h"

enum { RESULTS_AT_ONCE = 64 };

typedef struct waiting {
    uint64_t call;
    char *code;
    size_t len;
} waiting;

/* Calls beyond `at_once` wait here, and their clock does not run: a time limit that fifty calls share would be a limit
 * on the others' luck. */
typedef struct python {
    box *box;
    box_config config;
    int at_once;
    vec(waiting) queue;
    vec(tool_result) failed; /* could not be started from the queue */
} python;

static int begin(void *self, uint64_t call, const char *arguments, int64_t now_ms, error *err)
{
    python *p = self;
    json_t *j = json_parse(arguments, strlen(arguments), "arguments", err);
    const json_t *code = json_object_get(j, "code");
    int rc = OK;
    if (!j) return ERR_ARGUMENT;
    if (!json_is_string(code))
        rc = error_set(err, ERR_ARGUMENT, "python wants {\"code\": text}");
    else if (box_running(p->box) < p->at_once)
        rc = box_begin(p->box, call, json_string_value(code), json_string_length(code), now_ms, err);
    else
        vec_push(&p->queue, (waiting){ call, xstrndup(json_string_value(code), json_string_length(code)),
                                       json_string_length(code) });
    json_decref(j);
    return rc;
}

static void take_first(python *p, waiting *out)
{
    *out = p->queue.data[0];
    memmove(p->queue.data, p->queue.data + 1, --p->queue.len * sizeof *p->queue.data);
}

static void start_waiting(python *p, int64_t now_ms)
{
    while (p->queue.len > 0 && box_running(p->box) < p->at_once) {
        waiting w;
        error err = { 0 };
        take_first(p, &w);
        const int rc = box_begin(p->box, w.call, w.code, w.len, now_ms, &err);
        free(w.code);
        if (rc == OK) continue;
        vec_push(&p->failed, (tool_result){ .call = w.call,
                                            .failed = rc == ERR_LIMIT ? FAIL_NONE : FAIL_TOOL_LOST,
                                            .text = xstrdup(err.text) });
    }
}

static void cancel(void *self, uint64_t call)
{
    python *p = self;
    for (size_t i = 0; i < p->queue.len; i++) {
        if (p->queue.data[i].call != call) continue;
        free(p->queue.data[i].code);
        memmove(p->queue.data + i, p->queue.data + i + 1, (--p->queue.len - i) * sizeof *p->queue.data);
        return;
    }
    box_cancel(p->box, call);
}

static int fds(void *self, struct pollfd *out, int max) { return box_fds(((python *)self)->box, out, max); }

static int64_t deadline_ms(void *self)
{
    const python *p = self;
    return p->failed.len > 0 || (p->queue.len > 0 && box_running(p->box) == 0) ? 0 : box_deadline_ms(p->box);
}

static void strip(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) text[--n] = 0;
}

/* Output and what ended it, as the policy will read it. */
static tool_result result_of(const python *p, box_result *b)
{
    tool_result t = { .call = b->call, .ok = b->outcome == BOX_OK, .ms = b->ms };
    str text = { 0 };
    strip(b->output);
    switch (b->outcome) {
    case BOX_OK:
    case BOX_RAISED:
        str_puts(&text, b->output);
        break;
    case BOX_TIME:
        str_printf(&text, "error: time limit of %g s exceeded", p->config.timeout_ms / 1000.0);
        break;
    case BOX_OUTPUT:
        str_printf(&text, "%s\n[output cut at %d bytes]", b->output, p->config.output_bytes);
        break;
    case BOX_KILLED:
        str_puts(&text, "error: the code was stopped (memory or a forbidden call)");
        break;
    case BOX_LOST:
        t.failed = FAIL_TOOL_LOST;
        str_printf(&text, "the sandbox died or did not answer%s%s", *b->output ? ": " : "", b->output);
        break;
    }
    free(b->output);
    t.text = str_take(&text);
    return t;
}

static int poll_results(void *self, int64_t now_ms, tool_result *out, int max)
{
    python *p = self;
    box_result results[RESULTS_AT_ONCE];
    int n = box_poll(p->box, now_ms, results, max < RESULTS_AT_ONCE ? max : RESULTS_AT_ONCE);
    for (int i = 0; i < n; i++) out[i] = result_of(p, &results[i]);
    start_waiting(p, now_ms);
    while (n < max && p->failed.len > 0) out[n++] = p->failed.data[--p->failed.len];
    return n;
}

static void free_python(void *self)
{
    python *p = self;
    box_free(p->box);
    for (size_t i = 0; i < p->queue.len; i++) free(p->queue.data[i].code);
    for (size_t i = 0; i < p->failed.len; i++) free(p->failed.data[i].text);
    vec_free(&p->queue);
    vec_free(&p->failed);
    free(p);
}

/* Those that share a core only make each other late; half of the cores belong to whoever calls. */
static int default_at_once(void)
{
    const long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
    return half < 1 ? 1 : half > RESULTS_AT_ONCE ? RESULTS_AT_ONCE : (int)half;
}

int python_tool(const box_config *config, int at_once, tool *out, error *err)
{
    python *p = xcalloc(1, sizeof *p);
    p->config = *config;
    p->at_once = at_once > 0 ? at_once : default_at_once();
    if (p->config.timeout_ms <= 0) p->config.timeout_ms = 2000;
    if (p->config.output_bytes <= 0) p->config.output_bytes = 16384;
    p->box = box_new(&p->config, err);
    if (!p->box) {
        free(p);
        return err ? err->code : ERR_UNSUPPORTED;
    }
    *out = (tool){ .name = "python",
                   .description = "Runs Python 3 code and returns what it prints.",
                   .parameters =
                       "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}},\"required\":[\"code\"]}",
                   .self = p,
                   .begin = begin,
                   .cancel = cancel,
                   .fds = fds,
                   .poll = poll_results,
                   .deadline_ms = deadline_ms,
                   .free = free_python };
    return OK;
}
