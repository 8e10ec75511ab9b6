/* SPDX-License-Identifier: MIT */
#include "env/mcp/client.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "env/mcp/content.h"
#include "env/mcp/transport.h"

enum {
    DEFAULT_TIMEOUT_MS = 30000,
    DEFAULT_START_MS = 60000,
    MAX_TOOLS = 256,
    MAX_PAGES = 100,
    LONGEST_WAIT_MS = 1000,
    MAX_FDS = 8
};
enum { METHOD_NOT_FOUND = -32601 }; /* JSON-RPC 2.0, section 5.1 */

/* Newest first: it is the one that is asked for. */
static const char *const REVISIONS[] = { "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05" };

typedef enum stage { STAGE_DOWN, STAGE_GREETING, STAGE_LISTING, STAGE_READY } stage;

typedef struct under_way {
    uint64_t call;
    int64_t id;    /* of its request */
    char *request; /* until the server is ready to be told; NULL: it was told */
    int64_t began_us, deadline_ms;
} under_way;

struct mcp_client {
    mcp_transport link;
    int timeout_ms, start_ms;
    stage stage;
    int64_t next_id, waits_for;          /* waits_for: the request of this stage */
    int64_t stage_deadline_ms, heard_us; /* heard_us: its last line */
    vec(mcp_tool) tools;
    bool listed; /* once: a server that is started again is not asked again */
    int pages;
    vec(under_way) calls;
    vec(tool_result) done;
};

static void tool_reset(mcp_tool *t)
{
    free(t->name);
    free(t->asked);
    free(t->description);
    free(t->parameters);
}

void mcp_free(mcp_client *c)
{
    if (!c) return;
    if (c->link.free) c->link.free(c->link.self);
    for (size_t i = 0; i < c->tools.len; i++) tool_reset(&c->tools.data[i]);
    for (size_t i = 0; i < c->calls.len; i++) free(c->calls.data[i].request);
    for (size_t i = 0; i < c->done.len; i++) free(c->done.data[i].text);
    vec_free(&c->tools);
    vec_free(&c->calls);
    vec_free(&c->done);
    free(c);
}

const char *mcp_name(const mcp_client *c) { return c->link.name; }

size_t mcp_n_tools(const mcp_client *c) { return c->tools.len; }

const mcp_tool *mcp_tool_at(const mcp_client *c, size_t i) { return &c->tools.data[i]; }

/* ---- what is said ---- */

/* Takes `message`. */
static int say(mcp_client *c, json_t *message, error *err)
{
    const json_int_t id = json_object_get(message, "method") ? json_integer_value(json_object_get(message, "id")) : 0;
    json_object_set_new(message, "jsonrpc", json_string("2.0"));
    char *line = json_text(message, false);
    json_decref(message);
    const int rc = c->link.say(c->link.self, line, id, err);
    free(line);
    return rc;
}

/* Takes `params`. */
static json_t *request_of(mcp_client *c, const char *method, json_t *params)
{
    return json_pack("{s:I, s:s, s:o}", "id", (json_int_t)++c->next_id, "method", method, "params", params);
}

static int notify(mcp_client *c, const char *method, json_t *params, error *err)
{
    return say(c, json_pack("{s:s, s:o}", "method", method, "params", params), err);
}

static int greet(mcp_client *c, int64_t now_ms, error *err)
{
    c->stage = STAGE_GREETING;
    c->stage_deadline_ms = now_ms + c->start_ms;
    json_t *params = json_pack("{s:s, s:{}, s:{s:s, s:s}}", "protocolVersion", REVISIONS[0], "capabilities",
                               "clientInfo", "name", "troupe", "version", TROUPE_VERSION);
    json_t *request = request_of(c, "initialize", params);
    c->waits_for = c->next_id;
    return say(c, request, err);
}

static int ask_for_tools(mcp_client *c, const char *cursor, error *err)
{
    json_t *params = cursor ? json_pack("{s:s}", "cursor", cursor) : json_object();
    json_t *request = request_of(c, "tools/list", params);
    c->stage = STAGE_LISTING;
    c->waits_for = c->next_id;
    return say(c, request, err);
}

static int start(mcp_client *c, int64_t now_ms, error *err)
{
    c->stage = STAGE_DOWN;
    const int rc = c->link.start(c->link.self, c->listed, err); /* once it was there it will be there again */
    return rc == OK ? greet(c, now_ms, err) : rc;
}

/* What waited for the server to be ready. */
static int become_ready(mcp_client *c, error *err)
{
    int rc = OK;
    c->stage = STAGE_READY;
    c->listed = true;
    for (size_t i = 0; i < c->calls.len && rc == OK; i++) {
        under_way *w = &c->calls.data[i];
        if (!w->request) continue;
        rc = c->link.say(c->link.self, w->request, w->id, err);
        free(w->request);
        w->request = NULL;
    }
    return rc;
}

/* ---- the beginning ---- */

static int not_the_protocol(const mcp_client *c, const char *why, error *err)
{
    return error_set(err, ERR_PEER, "MCP server %s: %s", c->link.name, why);
}

static int on_greeted(mcp_client *c, const json_t *result, error *err)
{
    const char *revision = json_string_value(json_object_get(result, "protocolVersion"));
    bool known = false;
    if (!revision) return not_the_protocol(c, "its answer to initialize names no protocolVersion", err);
    for (size_t i = 0; i < sizeof REVISIONS / sizeof *REVISIONS; i++) known |= strcmp(REVISIONS[i], revision) == 0;
    if (!known)
        return error_set(err, ERR_UNSUPPORTED,
                         "MCP server %s speaks revision %.40s, which is not known here (%s to %s)", c->link.name,
                         revision, REVISIONS[3], REVISIONS[0]);

    if (c->link.agreed) c->link.agreed(c->link.self, revision);
    const int rc = notify(c, "notifications/initialized", json_object(), err);
    if (rc != OK) return rc;
    return c->listed ? become_ready(c, err) : ask_for_tools(c, NULL, err);
}

/* Dialects have names of letters, digits, _ and -; servers also "fs.read" and "files/read". */
static char *speakable(const char *name)
{
    char *s = xstrdup(name);
    for (char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-') *p = '_';
    return s;
}

static int add_tool(mcp_client *c, const json_t *one, error *err)
{
    const char *name = json_string_value(json_object_get(one, "name"));
    const char *description = json_string_value(json_object_get(one, "description"));
    const json_t *parameters = json_object_get(one, "inputSchema");
    if (!name || !*name || !json_is_object(parameters) || json_has_nul(one))
        return not_the_protocol(c, "a tool in its list has no name, or no inputSchema", err);
    if (c->tools.len == MAX_TOOLS) return not_the_protocol(c, "it has more than 256 tools", err);
    vec_push(&c->tools, (mcp_tool){ .name = speakable(name),
                                    .asked = xstrdup(name),
                                    .description = xstrdup(description ? description : ""),
                                    .parameters = json_text(parameters, false) });
    return OK;
}

static int on_listed(mcp_client *c, const json_t *result, error *err)
{
    const json_t *tools = json_object_get(result, "tools"), *one;
    const char *cursor = json_string_value(json_object_get(result, "nextCursor"));
    size_t i;
    int rc = json_is_array(tools) ? OK : not_the_protocol(c, "its answer to tools/list has no list of tools", err);
    for (i = 0; rc == OK && (one = json_array_get(tools, i)); i++) rc = add_tool(c, one, err);
    if (rc != OK) return rc;
    if (!cursor || !*cursor) return become_ready(c, err);
    if (++c->pages == MAX_PAGES) return not_the_protocol(c, "its list of tools has no end", err);
    return ask_for_tools(c, cursor, err);
}

/* The answer to what this stage waits for. */
static int on_stage(mcp_client *c, const json_t *message, error *err)
{
    const json_t *problem = json_object_get(message, "error");
    if (problem) {
        const char *why = json_string_value(json_object_get(problem, "message"));
        return not_the_protocol(c, why ? why : "it refuses to begin", err);
    }
    const json_t *result = json_object_get(message, "result");
    return c->stage == STAGE_GREETING ? on_greeted(c, result, err) : on_listed(c, result, err);
}

/* ---- calls ---- */

/* Removes call i; its result goes to who polls. Takes `text`. */
static void finish(mcp_client *c, size_t i, bool ok, failure failed, char *text)
{
    const under_way *w = &c->calls.data[i];
    free(w->request);
    vec_push(&c->done, (tool_result){ .call = w->call,
                                      .ok = ok,
                                      .failed = failed,
                                      .text = text,
                                      .ms = (double)(clock_us() - w->began_us) / 1000 });
    c->calls.data[i] = c->calls.data[--c->calls.len];
}

static void on_called(mcp_client *c, int64_t id, const json_t *message)
{
    for (size_t i = 0; i < c->calls.len; i++) {
        if (c->calls.data[i].id != id) continue;
        bool ok = false;
        char *text = mcp_content(message, &ok);
        finish(c, i, ok, FAIL_NONE, text);
        return;
    }
    /* Of a call that was cancelled. */
}

/* The server asks us: whether we are there is all that a client without capabilities is asked. */
static int on_request(mcp_client *c, const char *method, json_t *id, error *err)
{
    if (strcmp(method, "ping") == 0) return say(c, json_pack("{s:O, s:{}}", "id", id, "result"), err);
    json_t *problem = json_pack("{s:i, s:s}", "code", METHOD_NOT_FOUND, "message", "not a method of this client");
    return say(c, json_pack("{s:O, s:o}", "id", id, "error", problem), err);
}

static int on_message(mcp_client *c, const json_t *message, error *err)
{
    json_t *id = json_object_get(message, "id");
    const char *method = json_string_value(json_object_get(message, "method"));
    if (!json_is_object(message)) return not_the_protocol(c, "it says something that is no JSON-RPC message", err);
    if (method) return id ? on_request(c, method, id, err) : OK; /* progress, log lines, a list that has changed */
    if (!json_is_integer(id)) return OK;                         /* an error about what it could not read */

    const int64_t number = json_integer_value(id);
    if (c->stage != STAGE_READY && number == c->waits_for) return on_stage(c, message, err);
    on_called(c, number, message);
    return OK;
}

static int on_text(mcp_client *c, const char *text, size_t len, error *err)
{
    error why = { 0 };
    size_t i;
    if (strspn(text, " \t\r") == len) return OK;
    json_t *all = json_parse(text, len, "what it says", &why), *message;
    if (!all) return not_the_protocol(c, why.text, err);

    int rc = OK;
    if (!json_is_array(all)) rc = on_message(c, all, err);
    for (i = 0; json_is_array(all) && rc == OK && (message = json_array_get(all, i)); i++)
        rc = on_message(c, message, err); /* a batch, of revision 2025-03-26 */
    json_decref(all);
    return rc;
}

/* Index of the call of request `id`; calls.len: it has its answer. */
static size_t call_of(const mcp_client *c, int64_t id)
{
    size_t i = 0;
    while (i < c->calls.len && (c->calls.data[i].id != id || c->calls.data[i].request)) i++;
    return i;
}

static void lose_call(mcp_client *c, size_t i, const char *why)
{
    str text = { 0 };
    str_printf(&text, "MCP server: %s", why);
    finish(c, i, false, FAIL_TOOL_LOST, str_take(&text));
}

/* The transport has nothing more for this request. */
static int on_end(mcp_client *c, int64_t id, const char *why, error *err)
{
    const size_t i = call_of(c, id);
    const bool begins = c->stage != STAGE_READY && id == c->waits_for, waits = begins || i < c->calls.len;
    if (waits && c->link.resume && c->link.resume(c->link.self, id)) return OK;
    if (begins) return error_set(err, ERR_PEER, "MCP server: %s", why);
    if (waits) lose_call(c, i, why);
    if (c->link.forget) c->link.forget(c->link.self, id);
    return OK;
}

/* What can't be read is the end of the server; or, where it came for one call alone, of that one. */
static int on_heard(mcp_client *c, const mcp_heard *heard, error *err)
{
    if (!heard->text) return on_end(c, heard->of, heard->why, err);
    c->heard_us = clock_us();
    error why = { 0 };
    const int rc = on_text(c, heard->text, heard->len, &why);
    const size_t i = call_of(c, heard->of);
    if (rc == OK) return OK;
    if (i == c->calls.len) return error_set(err, why.code, "%s", why.text);
    finish(c, i, false, FAIL_TOOL_LOST, xstrdup(why.text));
    return OK;
}

/* ---- the server's life ---- */

/* It is gone, or talks nonsense: what it was asked is lost, and the next call starts it again. */
static void lose(mcp_client *c, const error *why)
{
    c->link.kill(c->link.self);
    c->stage = STAGE_DOWN;
    while (c->calls.len > 0) finish(c, 0, false, FAIL_TOOL_LOST, xstrdup(why->text));
}

static int listen(mcp_client *c, error *err)
{
    mcp_heard heard;
    int rc = c->link.turn(c->link.self, err);
    while (rc == OK && c->link.hear(c->link.self, &heard)) rc = on_heard(c, &heard, err);
    return rc;
}

static int check_stage(const mcp_client *c, int64_t now_ms, error *err)
{
    const bool begins = c->stage == STAGE_GREETING || c->stage == STAGE_LISTING;
    if (!begins || now_ms < c->stage_deadline_ms) return OK;
    return error_set(err, ERR_TIMEOUT, "MCP server %s: not ready after %d s", c->link.name, c->start_ms / 1000);
}

/* The first to be asked of those that take too long; calls.len: none does. */
static size_t first_late(const mcp_client *c, int64_t now_ms)
{
    size_t first = c->calls.len;
    for (size_t i = 0; i < c->calls.len; i++) {
        const under_way *w = &c->calls.data[i];
        if (w->deadline_ms <= now_ms && (first == c->calls.len || w->id < c->calls.data[first].id)) first = i;
    }
    return first;
}

/* No answer to it is needed any more. The server is told, if it was asked. */
static void call_off(mcp_client *c, const under_way *w, const char *reason)
{
    json_t *params = json_pack("{s:I, s:s}", "requestId", (json_int_t)w->id, "reason", reason);
    if (w->request)
        json_decref(params);
    else
        notify(c, "notifications/cancelled", params, NULL);
    if (c->link.forget) c->link.forget(c->link.self, w->id);
}

static void cancel_late(mcp_client *c, size_t i)
{
    str text = { 0 };
    str_printf(&text, "error: no answer within %g s", c->timeout_ms / 1000.0);
    call_off(c, &c->calls.data[i], "time limit");
    finish(c, i, false, FAIL_NONE, str_take(&text));
}

/* What takes too long is cancelled. The policy reads it: it chose the arguments. A server that has said nothing since
 * it was asked is stuck in that call, for all others, too: it is ended, and those are asked again of a new one. */
static void drop_late(mcp_client *c, int64_t now_ms)
{
    for (size_t i; (i = first_late(c, now_ms)) < c->calls.len;) {
        const bool stuck = c->link.in_line && c->heard_us < c->calls.data[i].began_us;
        cancel_late(c, i);
        if (stuck) lose(c, &(error){ .code = ERR_PEER, .text = "the MCP server was stuck in another call" });
    }
}

static void take_turn(mcp_client *c, int64_t now_ms)
{
    error err = { 0 };
    if (c->stage == STAGE_DOWN) return;
    int rc = listen(c, &err);
    if (rc == OK) rc = check_stage(c, now_ms, &err);
    if (rc != OK) lose(c, &err);
}

/* ---- as a tool ---- */

int mcp_begin(mcp_client *c, size_t at, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms,
              error *err)
{
    char id[17];
    json_t *given = json_parse(arguments, strlen(arguments), "arguments", err);
    if (!given) return ERR_ARGUMENT;
    if (c->stage == STAGE_DOWN && start(c, now_ms, err) != OK) {
        json_decref(given);
        return ERR_PEER;
    }

    snprintf(id, sizeof id, "%016" PRIx64, ctx->episode);
    json_t *meta = json_pack("{s:s, s:I}", "troupe/episode", id, "troupe/seed",
                             (json_int_t)(ctx->seed >> 1)); /* JSON's integers have a sign */
    json_t *params = json_pack("{s:s, s:o, s:o}", "name", c->tools.data[at].asked, "arguments", given, "_meta", meta);
    json_t *request = request_of(c, "tools/call", params);
    under_way w = { .call = call, .id = c->next_id, .began_us = clock_us(), .deadline_ms = now_ms + c->timeout_ms };

    int rc = OK;
    if (c->stage == STAGE_READY) {
        rc = say(c, request, err);
    } else {
        json_object_set_new(request, "jsonrpc", json_string("2.0"));
        w.request = json_text(request, false);
        w.deadline_ms += c->start_ms; /* its clock begins when the server does */
        json_decref(request);
    }
    if (rc == OK) vec_push(&c->calls, w);
    return rc == OK ? OK : ERR_PEER;
}

void mcp_cancel(mcp_client *c, uint64_t call)
{
    for (size_t i = 0; i < c->calls.len; i++) {
        under_way *w = &c->calls.data[i];
        if (w->call != call) continue;
        call_off(c, w, "the episode has ended");
        free(w->request);
        c->calls.data[i] = c->calls.data[--c->calls.len];
        return;
    }
}

int mcp_fds(const mcp_client *c, struct pollfd *out, int max) { return c->link.fds(c->link.self, out, max); }

int mcp_poll(mcp_client *c, int64_t now_ms, tool_result *out, int max)
{
    int n = 0;
    take_turn(c, now_ms);
    drop_late(c, now_ms);
    while (n < max && c->done.len > 0) out[n++] = c->done.data[--c->done.len];
    return n;
}

int64_t mcp_deadline_ms(const mcp_client *c)
{
    int64_t first = c->link.deadline_ms ? c->link.deadline_ms(c->link.self) : INT64_MAX;
    if (c->done.len > 0) first = 0;
    for (size_t i = 0; i < c->calls.len; i++)
        if (c->calls.data[i].deadline_ms < first) first = c->calls.data[i].deadline_ms;
    if (c->calls.len > 0 && c->stage != STAGE_READY && c->stage_deadline_ms < first) first = c->stage_deadline_ms;
    return first;
}

/* ---- the start ---- */

/* Not for ever: it has to be ready in time. */
static void wait_for_word(mcp_client *c)
{
    struct pollfd fds[MAX_FDS];
    const int n = c->link.fds(c->link.self, fds, MAX_FDS);
    const int64_t due = c->link.deadline_ms ? c->link.deadline_ms(c->link.self) : INT64_MAX, now = clock_ms();
    int64_t wait_ms = due > now ? due - now : 0;
    if (due == INT64_MAX || wait_ms > LONGEST_WAIT_MS) wait_ms = LONGEST_WAIT_MS;
    poll(fds, (nfds_t)n, (int)wait_ms);
}

static int wait_until_listed(mcp_client *c, error *err)
{
    int rc = start(c, clock_ms(), err);
    while (rc == OK && c->stage != STAGE_READY) {
        wait_for_word(c);
        rc = listen(c, err);
        if (rc == OK) rc = check_stage(c, clock_ms(), err);
    }
    return rc;
}

mcp_client *mcp_open(const mcp_config *config, error *err)
{
    mcp_client *c = xcalloc(1, sizeof *c);
    c->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : DEFAULT_TIMEOUT_MS;
    c->start_ms = config->start_ms > 0 ? config->start_ms : DEFAULT_START_MS;
    int rc = OK;
    if (config->url)
        rc = mcp_streamable(config->url, config->headers, &c->link, err);
    else
        mcp_stdio(config->command, config->name, &c->link);
    if (rc == OK && wait_until_listed(c, err) == OK) return c;
    mcp_free(c);
    return NULL;
}
