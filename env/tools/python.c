#include "env/tools/python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

enum { AT_ONCE = 64 };

typedef struct python {
    box *box;
    box_config config;
} python;

static int begin(void *self, uint64_t call, const char *arguments, int64_t now_ms, error *err)
{
    python *p = self;
    json_t *j = json_parse(arguments, strlen(arguments), "arguments", err);
    const json_t *code = json_object_get(j, "code");
    int rc = ERR_ARGUMENT;
    if (!j) return ERR_ARGUMENT;
    if (json_is_string(code)) rc = box_begin(p->box, call, json_string_value(code), json_string_length(code), now_ms, err);
    else error_set(err, ERR_ARGUMENT, "python wants {\"code\": text}");
    json_decref(j);
    return rc;
}

static void cancel(void *self, uint64_t call) { box_cancel(((python *)self)->box, call); }
static int fds(void *self, struct pollfd *out, int max) { return box_fds(((python *)self)->box, out, max); }
static int64_t deadline_ms(void *self) { return box_deadline_ms(((python *)self)->box); }

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
    case BOX_RAISED: str_puts(&text, b->output); break;
    case BOX_TIME: str_printf(&text, "error: time limit of %g s exceeded", p->config.timeout_ms / 1000.0); break;
    case BOX_OUTPUT: str_printf(&text, "%s\n[output cut at %d bytes]", b->output, p->config.output_bytes); break;
    case BOX_KILLED: str_puts(&text, "error: the code was stopped (memory or a forbidden call)"); break;
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
    box_result results[AT_ONCE];
    const int n = box_poll(p->box, now_ms, results, max < AT_ONCE ? max : AT_ONCE);
    for (int i = 0; i < n; i++) out[i] = result_of(p, &results[i]);
    return n;
}

static void free_python(void *self)
{
    python *p = self;
    box_free(p->box);
    free(p);
}

int python_tool(const box_config *config, tool *out, error *err)
{
    python *p = xcalloc(1, sizeof *p);
    p->config = *config;
    if (p->config.timeout_ms <= 0) p->config.timeout_ms = 2000;
    if (p->config.output_bytes <= 0) p->config.output_bytes = 16384;
    p->box = box_new(&p->config, err);
    if (!p->box) {
        free(p);
        return err ? err->code : ERR_UNSUPPORTED;
    }
    *out = (tool){ .name = "python",
                   .description = "Runs Python 3 code and returns what it prints.",
                   .parameters = "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}},\"required\":[\"code\"]}",
                   .self = p,
                   .begin = begin,
                   .cancel = cancel,
                   .fds = fds,
                   .poll = poll_results,
                   .deadline_ms = deadline_ms,
                   .free = free_python };
    return OK;
}
