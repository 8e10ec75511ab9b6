/* SPDX-License-Identifier: MIT */
#include "env/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/vec.h"
#include "env/schema.h"

enum { MAX_TOOLS = 32, MAX_FDS = 512, ATTEMPTS = 4, LONGEST_WAIT_MS = 1000 };

/* A call under way; kept with its arguments, since a machine that failed is asked again. */
typedef struct call {
    uint64_t id;
    int tool;
    int attempt;
    char *arguments, *row, *turn;
    tool_context context; /* its row and turn are these */
} call;

struct router {
    logger *log;
    tool tools[MAX_TOOLS];
    json_t *schemas[MAX_TOOLS]; /* of the arguments */
    int n_tools;
    uint64_t next;
    idmap *calls;
    vec(tool_result) ready; /* answered at once: unknown tools, refused arguments */
};

router *router_new(logger *lg)
{
    router *r = xcalloc(1, sizeof *r);
    r->log = lg;
    r->calls = idmap_new();
    r->next = 1;
    return r;
}

static void call_reset(call *c)
{
    free(c->arguments);
    free(c->row);
    free(c->turn);
    free(c);
}

static void call_free(router *r, call *c)
{
    idmap_remove(r->calls, c->id);
    call_reset(c);
}

void tool_result_reset(tool_result *r)
{
    free(r->text);
    free(r->outcome);
    *r = (tool_result){ 0 };
}

void router_free(router *r)
{
    if (!r) return;
    uint64_t id;
    void *c;
    for (size_t i = 0; idmap_next(r->calls, &i, &id, &c);) call_reset(c);
    idmap_free(r->calls);

    for (int i = 0; i < r->n_tools; i++) {
        r->tools[i].free(r->tools[i].self);
        json_decref(r->schemas[i]);
    }
    for (size_t i = 0; i < r->ready.len; i++) tool_result_reset(&r->ready.data[i]);
    vec_free(&r->ready);
    free(r);
}

static int tool_named(const router *r, const char *name)
{
    for (int i = 0; i < r->n_tools; i++)
        if (strcmp(r->tools[i].name, name) == 0) return i;
    return -1;
}

/* Arguments have names in every dialect. */
static int check_parameters(const json_t *schema, error *err)
{
    const json_t *type = json_object_get(schema, "type");
    if (schema_check(schema, err) != OK) return ERR_PARSE;
    if (!json_is_string(type) || strcmp(json_string_value(type), "object") == 0) return OK;
    return error_set(err, ERR_PARSE, "parameters.type: expected object, as arguments have names");
}

static int read_parameters(const tool *t, json_t **schema, error *err)
{
    error why = { 0 };
    json_t *read = json_parse(t->parameters, strlen(t->parameters), "parameters", &why);
    if (read && check_parameters(read, &why) == OK) {
        *schema = read;
        return OK;
    }
    json_decref(read);
    return error_set(err, ERR_PARSE, "tool %s: %s", t->name, why.text);
}

int router_add(router *r, const tool *t, error *err)
{
    int rc = OK;
    json_t *schema = NULL;
    if (tool_named(r, t->name) >= 0)
        rc = error_set(err, ERR_STATE, "two tools are named '%s'", t->name);
    else if (r->n_tools == MAX_TOOLS)
        rc = error_set(err, ERR_FULL, "at most %d tools are allowed", MAX_TOOLS);
    else
        rc = read_parameters(t, &schema, err);
    if (rc != OK) {
        t->free(t->self);
        return rc;
    }

    r->schemas[r->n_tools] = schema;
    r->tools[r->n_tools++] = *t;
    return OK;
}

/* ---- a tool that is only spoken of ---- */

typedef struct tool_words {
    char *name, *description, *parameters;
} tool_words;

static int begin_words(void *self, uint64_t id, const char *arguments, const tool_context *ctx, int64_t now_ms,
                       error *err)
{
    (void)id, (void)arguments, (void)ctx, (void)now_ms;
    return error_set(err, ERR_STATE, "tool %s cannot be called here: this process only has its description",
                     ((tool_words *)self)->name);
}

static void free_words(void *self)
{
    tool_words *w = self;
    free(w->name);
    free(w->description);
    free(w->parameters);
    free(w);
}

int router_add_words(router *r, const char *name, const char *description, const char *parameters, error *err)
{
    tool_words *w = xcalloc(1, sizeof *w);
    *w = (tool_words){ xstrdup(name), xstrdup(description), xstrdup(parameters) };

    const tool t = { .name = w->name,
                     .description = w->description,
                     .parameters = w->parameters,
                     .self = w,
                     .begin = begin_words,
                     .free = free_words };

    return router_add(r, &t, err);
}

char *router_tools_json(const router *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_tools; i++) {
        const tool *t = &r->tools[i];
        if (t->own) continue;
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", t->name, "description", t->description,
                                              "parameters", json_incref(r->schemas[i])));
    }
    char *text = json_text(list, false);
    json_decref(list);
    return text;
}

static void answer(router *r, uint64_t id, const char *text)
{
    vec_push(&r->ready, (tool_result){ .call = id, .text = xstrdup(text) });
}

static void no_such_tool(router *r, uint64_t id, const char *name)
{
    str text = { 0 };
    str_printf(&text, "error: there is no tool '%.60s' (there are:", name);
    for (int i = 0; i < r->n_tools; i++)
        if (!r->tools[i].own) str_printf(&text, " %s", r->tools[i].name);
    str_putc(&text, ')');
    answer(r, id, text.data);
    str_free(&text);
}

static int check_arguments(const router *r, const call *c, error *err)
{
    error why = { 0 };
    json_t *arguments = json_parse(c->arguments, strlen(c->arguments), "arguments", &why);
    int rc = arguments ? schema_validate(r->schemas[c->tool], arguments, &why) : ERR_ARGUMENT;
    json_decref(arguments);
    return rc == OK ? OK : error_set(err, ERR_ARGUMENT, "%s: %s", r->tools[c->tool].name, why.text);
}

static void start(router *r, call *c, int64_t now_ms)
{
    error err = { 0 };
    c->attempt++;
    const tool *t = &r->tools[c->tool];
    int rc = check_arguments(r, c, &err);
    if (rc == OK) rc = t->begin(t->self, c->id, c->arguments, &c->context, now_ms, &err);
    if (rc == OK) return;

    const bool policy = rc == ERR_ARGUMENT || rc == ERR_PARSE || rc == ERR_LIMIT; /* what it wrote can't be run */
    tool_result result = { .call = c->id, .failed = policy ? FAIL_NONE : FAIL_TOOL_LOST };
    str text = { 0 };
    str_printf(&text, policy ? "error: %s" : "%s", err.text);
    result.text = str_take(&text);
    vec_push(&r->ready, result);
    call_free(r, c);
}

static uint64_t begin(router *r, int tool_index, const char *arguments_json, const tool_context *ctx, int64_t now_ms)
{
    call *c = xcalloc(1, sizeof *c);
    *c = (call){ .id = r->next++, .tool = tool_index, .arguments = xstrdup(arguments_json) };
    if (ctx) c->context = *ctx;

    /* The caller's row lives as long as this function; a machine that fails is asked again later. */
    c->context.row = c->row = xstrdup(c->context.row);
    c->context.turn = c->turn = xstrdup(c->context.turn);
    idmap_set(r->calls, c->id, c);
    const uint64_t id = c->id;
    start(r, c, now_ms);
    return id;
}

uint64_t router_begin(router *r, const char *name, const char *arguments_json, const tool_context *ctx, int64_t now_ms)
{
    const int tool_index = tool_named(r, name);
    if (tool_index >= 0 && !r->tools[tool_index].own) return begin(r, tool_index, arguments_json, ctx, now_ms);
    no_such_tool(r, r->next, name);
    return r->next++;
}

/* ---- the environment ---- */

bool router_has_environment(const router *r) { return tool_named(r, ROUTER_RESET) >= 0; }

uint64_t router_reset(router *r, const tool_context *ctx, int64_t now_ms)
{
    return begin(r, tool_named(r, ROUTER_RESET), "{}", ctx, now_ms);
}

uint64_t router_say(router *r, const char *said, const tool_context *ctx, int64_t now_ms)
{
    return begin(r, tool_named(r, ROUTER_SAY), said, ctx, now_ms);
}

void router_leave(router *r, uint64_t play)
{
    for (int i = 0; i < r->n_tools; i++)
        if (r->tools[i].leave) r->tools[i].leave(r->tools[i].self, play);
}

/* ---- calls under way ---- */

void router_cancel(router *r, uint64_t id)
{
    call *c = idmap_get(r->calls, id);

    /* It may have been answered at once, and not been fetched yet. */
    for (size_t i = 0; i < r->ready.len; i++)
        if (r->ready.data[i].call == id) {
            tool_result_reset(&r->ready.data[i]);
            r->ready.data[i--] = r->ready.data[--r->ready.len];
        }

    if (!c) return;
    if (r->tools[c->tool].cancel) r->tools[c->tool].cancel(r->tools[c->tool].self, id);
    call_free(r, c);
}

int router_fds(router *r, struct pollfd *out, int max)
{
    int n = 0;
    for (int i = 0; i < r->n_tools; i++)
        if (r->tools[i].fds) n += r->tools[i].fds(r->tools[i].self, out + n, max - n);
    return n;
}

int64_t router_deadline_ms(const router *r)
{
    int64_t first = r->ready.len > 0 ? 0 : INT64_MAX; /* an answer that is ready has no descriptor to wake anyone */
    for (int i = 0; i < r->n_tools; i++) {
        const int64_t due = r->tools[i].deadline_ms ? r->tools[i].deadline_ms(r->tools[i].self) : INT64_MAX;
        if (due < first) first = due;
    }
    return first;
}

/* A machine that failed is asked again; true when the result is final. */
static bool final(router *r, tool_result *t, int64_t now_ms)
{
    call *c = idmap_get(r->calls, t->call);
    if (!c) { /* cancelled meanwhile */
        tool_result_reset(t);
        return false;
    }

    if (t->failed != FAIL_NONE && c->attempt < ATTEMPTS && !r->tools[c->tool].once) {
        log_warn(r->log, "tool %s failed (%s), asked again: %s", r->tools[c->tool].name, failure_name(t->failed),
                 t->text ? t->text : "");
        tool_result_reset(t);
        start(r, c, now_ms);
        return false;
    }

    call_free(r, c);
    return true;
}

int router_poll(router *r, int64_t now_ms, tool_result *out, int max)
{
    int n = 0;

    for (int i = 0; i < r->n_tools && n < max; i++) {
        const int got = r->tools[i].poll ? r->tools[i].poll(r->tools[i].self, now_ms, out + n, max - n) : 0;

        /* Final results close up over those that are asked again, within the same array. */
        const int base = n;
        for (int k = 0; k < got; k++) {
            tool_result t = out[base + k];
            if (final(r, &t, now_ms)) out[n++] = t;
        }
    }

    while (n < max && r->ready.len > 0) out[n++] = r->ready.data[--r->ready.len];
    return n;
}

void router_wait(router *r, int64_t max_ms)
{
    struct pollfd fds[MAX_FDS];
    const int n = router_fds(r, fds, MAX_FDS);
    const int64_t due = router_deadline_ms(r);

    int64_t wait_ms = due == INT64_MAX ? max_ms : due - clock_ms();
    if (wait_ms > max_ms) wait_ms = max_ms;
    if (wait_ms < 0) wait_ms = 0;
    poll(fds, (nfds_t)n, (int)wait_ms);
}

int router_await(router *r, uint64_t id, tool_result *out, error *err)
{
    for (;;) {
        const bool under_way = router_deadline_ms(r) != INT64_MAX;

        while (router_poll(r, clock_ms(), out, 1) == 1) {
            if (out->call == id) return OK;
            tool_result_reset(out);
        }

        /* Nothing was to be expected before the poll and nothing is after it: no tool knows of the call. */
        if (!under_way && router_deadline_ms(r) == INT64_MAX) return error_set(err, ERR_STATE, "the call was lost");
        router_wait(r, LONGEST_WAIT_MS);
    }
}

int router_call(router *r, const char *name, const char *arguments_json, tool_result *out, error *err)
{
    const int rc = router_await(r, router_begin(r, name, arguments_json, NULL, clock_ms()), out, err);
    return rc == OK ? OK : error_within(err, "tool %s", name);
}
