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
#include "env/program.h"

enum { DEFAULT_TIMEOUT_MS = 30000, DEFAULT_START_MS = 60000, MAX_TOOLS = 256, MAX_PAGES = 100, LONGEST_WAIT_MS = 1000 };
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
    program *program;
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
    program_free(c->program);
    for (size_t i = 0; i < c->tools.len; i++) tool_reset(&c->tools.data[i]);
    for (size_t i = 0; i < c->calls.len; i++) free(c->calls.data[i].request);
    for (size_t i = 0; i < c->done.len; i++) free(c->done.data[i].text);
    vec_free(&c->tools);
    vec_free(&c->calls);
    vec_free(&c->done);
    free(c);
}

size_t mcp_n_tools(const mcp_client *c) { return c->tools.len; }

const mcp_tool *mcp_tool_at(const mcp_client *c, size_t i) { return &c->tools.data[i]; }

/* ---- what is said ---- */

/* Takes `message`. */
static int say(mcp_client *c, json_t *message, error *err)
{
    json_object_set_new(message, "jsonrpc", json_string("2.0"));
    char *line = json_text(message, false);
    json_decref(message);
    const int rc = program_say(c->program, line, err);
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
    const int rc = program_start(c->program, err);
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
        rc = program_say(c->program, w->request, err);
        free(w->request);
        w->request = NULL;
    }
    return rc;
}

/* ---- the beginning ---- */

static int not_the_protocol(const mcp_client *c, const char *why, error *err)
{
    return error_set(err, ERR_PEER, "MCP server %s: %s", program_name(c->program), why);
}

static int on_greeted(mcp_client *c, const json_t *result, error *err)
{
    const char *revision = json_string_value(json_object_get(result, "protocolVersion"));
    bool known = false;
    if (!revision) return not_the_protocol(c, "its answer to initialize names no protocolVersion", err);
    for (size_t i = 0; i < sizeof REVISIONS / sizeof *REVISIONS; i++) known |= strcmp(REVISIONS[i], revision) == 0;
    if (!known)
        return error_set(err, ERR_UNSUPPORTED,
                         "MCP server %s speaks revision %.40s, which is not known here (%s to %s)",
                         program_name(c->program), revision, REVISIONS[3], REVISIONS[0]);

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

static int on_line(mcp_client *c, const char *line, size_t len, error *err)
{
    error why = { 0 };
    size_t i;
    if (strspn(line, " \t\r") == len) return OK;
    json_t *all = json_parse(line, len, "a line of its stdout", &why), *message;
    if (!all) return not_the_protocol(c, why.text, err);

    int rc = OK;
    if (!json_is_array(all)) rc = on_message(c, all, err);
    for (i = 0; json_is_array(all) && rc == OK && (message = json_array_get(all, i)); i++)
        rc = on_message(c, message, err); /* a batch, of revision 2025-03-26 */
    json_decref(all);
    return rc;
}

/* ---- the server's life ---- */

/* It is gone, or talks nonsense: what it was asked is lost, and the next call starts it again. */
static void lose(mcp_client *c, const error *why)
{
    program_kill(c->program);
    c->stage = STAGE_DOWN;
    while (c->calls.len > 0) finish(c, 0, false, FAIL_TOOL_LOST, xstrdup(why->text));
}

static int listen(mcp_client *c, error *err)
{
    size_t len;
    const char *line;
    int rc = program_turn(c->program, err);
    if (rc != OK) error_within(err, "MCP server");
    while (rc == OK && (line = program_line(c->program, &len))) {
        c->heard_us = clock_us();
        rc = on_line(c, line, len, err);
    }
    return rc;
}

static int check_stage(const mcp_client *c, int64_t now_ms, error *err)
{
    const bool begins = c->stage == STAGE_GREETING || c->stage == STAGE_LISTING;
    if (!begins || now_ms < c->stage_deadline_ms) return OK;
    return error_set(err, ERR_TIMEOUT, "MCP server %s: not ready after %d s", program_name(c->program),
                     c->start_ms / 1000);
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

static void cancel_late(mcp_client *c, size_t i)
{
    str text = { 0 };
    const json_int_t id = c->calls.data[i].id;
    str_printf(&text, "error: no answer within %g s", c->timeout_ms / 1000.0);
    notify(c, "notifications/cancelled", json_pack("{s:I, s:s}", "requestId", id, "reason", "time limit"), NULL);
    finish(c, i, false, FAIL_NONE, str_take(&text));
}

/* What takes too long is cancelled. The policy reads it: it chose the arguments. A server that has said nothing since
 * it was asked is stuck in that call, for all others, too: it is ended, and those are asked again of a new one. */
static void drop_late(mcp_client *c, int64_t now_ms)
{
    for (size_t i; (i = first_late(c, now_ms)) < c->calls.len;) {
        const bool stuck = c->heard_us < c->calls.data[i].began_us;
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
        if (!w->request) notify(c, "notifications/cancelled", json_pack("{s:I}", "requestId", (json_int_t)w->id), NULL);
        free(w->request);
        c->calls.data[i] = c->calls.data[--c->calls.len];
        return;
    }
}

int mcp_fds(const mcp_client *c, struct pollfd *out, int max) { return program_fds(c->program, out, max); }

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
    int64_t first = c->done.len > 0 ? 0 : INT64_MAX;
    for (size_t i = 0; i < c->calls.len; i++)
        if (c->calls.data[i].deadline_ms < first) first = c->calls.data[i].deadline_ms;
    if (c->calls.len > 0 && c->stage != STAGE_READY && c->stage_deadline_ms < first) first = c->stage_deadline_ms;
    return first;
}

/* ---- the start ---- */

static int wait_until_listed(mcp_client *c, error *err)
{
    int rc = start(c, clock_ms(), err);
    while (rc == OK && c->stage != STAGE_READY) {
        struct pollfd fds[PROGRAM_FDS];
        const int n = program_fds(c->program, fds, PROGRAM_FDS);
        poll(fds, (nfds_t)n, LONGEST_WAIT_MS); /* not for ever: it has to be ready in time */
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
    c->program = program_new(config->command, NULL);
    if (wait_until_listed(c, err) == OK) return c;
    mcp_free(c);
    return NULL;
}
