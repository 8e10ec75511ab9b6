/* SPDX-License-Identifier: MIT */
/* Streamable HTTP (MCP revisions 2025-03-26 to 2025-11-25): each message is a POST; a request is answered by a JSON
 * object or by a stream of events, in which the server's own messages may come before the answer.
 *
 *     POST initialize -> its session (Mcp-Session-Id) -> POST notifications/initialized -> any, side by side -> DELETE
 *
 * A stream that ends before the answer is taken up again by a GET, if its events have ids. A server that doesn't know
 * the session any more has been started anew, and so are we. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "env/mcp/transport.h"
#include "http/client.h"
#include "http/sse.h"

/* A request's time is its caller's, who forgets it. A farewell is not waited for longer than this. */
enum { A_DAY_MS = 86400000, NOTICE_MS = 10000, FAREWELL_MS = 500 };
enum { MAX_BYTES = 16 << 20, AGAIN_MS = 250, RESUME_MS = 1000, MAX_RESUME_MS = 60000 };

typedef struct streamable streamable;
typedef vec(char *) lines;

/* A message on its way, and what comes for it. */
typedef struct exchange {
    streamable *owner;
    int64_t id;       /* of its request; 0: of a notification or an answer */
    uint64_t request; /* of http; 0: none is under way */
    char *message;
    bool opens;       /* it is notifications/initialized, after which all others may be said */
    bool events;      /* a stream of them comes */
    bool wrong;       /* what came can't be read, or taken up again */
    int64_t again_ms; /* when it is asked again; INT64_MAX: it isn't */
    sse stream;
    str body;
} exchange;

typedef struct item {
    char *text; /* NULL: `of` has ended */
    size_t len;
    int64_t of;
    char *why;
} item;

struct streamable {
    http *http;
    char *url, *name;
    lines headers;            /* of its user */
    char *session, *revision; /* NULL: none yet */
    bool patient, opening, opened;
    bool lost; /* its session */
    vec(exchange *) open;
    vec(exchange *) waiting; /* until it is opened */
    vec(item) heard;
    size_t taken;
    error broken; /* in a callback: turn says it */
};

static void exchange_free(exchange *x)
{
    if (!x) return;
    http_abort(x->owner->http, x->request);
    free(x->message);
    sse_reset(&x->stream);
    str_free(&x->body);
    free(x);
}

static void item_reset(item *i)
{
    free(i->text);
    free(i->why);
}

static void forget_heard(streamable *s)
{
    const size_t from = s->taken > 0 ? s->taken - 1 : 0; /* the last that was handed on is still ours */
    for (size_t i = from; i < s->heard.len; i++) item_reset(&s->heard.data[i]);
    s->heard.len = s->taken = 0;
}

/* Takes `text`. */
static void push_text(streamable *s, char *text, size_t len, int64_t of)
{
    vec_push(&s->heard, (item){ .text = text, .len = len, .of = of });
}

/* The first reason counts: others follow from it. */
static void break_off(streamable *s, const error *why)
{
    if (s->broken.code == OK) s->broken = *why;
}

/* ---- what a server answers ---- */

/* It is sent back as a header: visible ASCII, as the protocol says. */
static bool is_session(const char *text)
{
    const char *p = text;
    while (*p > ' ' && *p <= '~') p++;
    return *text && !*p;
}

/* With the answer to initialize, whose id is the first of a connection. */
static void note_session(streamable *s)
{
    const char *session = s->revision || s->session ? NULL : http_header(s->http, "mcp-session-id");
    if (session && is_session(session)) s->session = xstrdup(session);
}

static void on_event(void *ctx, const sse_event *e)
{
    exchange *x = ctx;
    if (e->len > 0 && strcmp(e->type, "message") == 0) push_text(x->owner, xstrndup(e->data, e->len), e->len, x->id);
}

static bool has_type(const char *type, const char *wanted)
{
    const size_t len = strlen(wanted);
    return strncasecmp(type, wanted, len) == 0 && (!type[len] || strchr("; \t", type[len]));
}

static void on_bytes(void *ctx, const char *type, const char *bytes, size_t len)
{
    exchange *x = ctx;
    note_session(x->owner);
    x->events = has_type(type, "text/event-stream");
    if (!x->events)
        str_add(&x->body, bytes, len);
    else if (!x->wrong)
        x->wrong = sse_feed(&x->stream, bytes, len, MAX_BYTES, on_event, x, NULL) != OK;
}

/* Of an error's body the message, where it is one of JSON-RPC; else its beginning. */
static void add_message(const char *body, size_t len, str *out)
{
    json_t *j = json_parse(body, len, "body", NULL);
    const char *message = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
    const char *said = message ? message : body;
    if (*said) str_printf(out, ": %.200s", said);
    json_decref(j);
}

static void why_refused(const streamable *s, const http_answer *a, error *err)
{
    str text = { 0 };
    str_printf(&text, "%.200s answers with status %d", s->name, a->status);
    if (a->status == 401 || a->status == 403) str_puts(&text, " (its headers are given by `headers`)");
    add_message(a->body, a->len, &text);
    error_set(err, ERR_PEER, "%s", text.data);
    str_free(&text);
}

/* Why nothing came of it; OK: a response of status 2xx did. */
static int check_answer(const streamable *s, const http_answer *a, error *err)
{
    if (a->failed.code != OK) *err = a->failed;
    if (a->failed.code == OK && a->status / 100 != 2) why_refused(s, a, err);
    return err->code;
}

/* A server that was started anew answers 404, as it should, or 400, as many do. */
static bool is_lost(const streamable *s, const http_answer *a)
{
    return s->session && s->opened && a->failed.code == OK && (a->status == 404 || a->status == 400);
}

/* Nothing has reached it, or who stands before it says that it isn't there yet. */
static bool is_away(const streamable *s, const http_answer *a)
{
    if (a->failed.code == OK) return !s->opened && (a->status == 502 || a->status == 503 || a->status == 504);
    return a->failed.code == ERR_NOT_FOUND;
}

/* ---- what is asked ---- */

static void on_answer(void *ctx, const http_answer *a);

static void add_line(lines *all, const char *name, const char *value)
{
    str line = { 0 };
    if (!value || !*value) return;
    str_printf(&line, "%s: %s", name, value);
    vec_push(all, str_take(&line));
}

static void add_lines(exchange *x, bool resumes, lines *all)
{
    const streamable *s = x->owner;
    add_line(all, "Content-Type", resumes ? NULL : "application/json");
    add_line(all, "Accept", resumes ? "text/event-stream" : "application/json, text/event-stream");
    add_line(all, "Mcp-Session-Id", s->session);
    add_line(all, "MCP-Protocol-Version", s->revision);
    add_line(all, "Last-Event-ID", resumes ? str_text(&x->stream.last_id) : NULL);
    for (size_t i = 0; i < s->headers.len; i++) vec_push(all, xstrdup(s->headers.data[i]));
}

static void free_lines(lines *all)
{
    for (size_t i = 0; i < all->len; i++) free(all->data[i]);
    vec_free(all);
}

/* A POST of its message, or a GET of what is left of its stream. */
static int ask(exchange *x, error *err)
{
    streamable *s = x->owner;
    const bool resumes = x->events;
    lines all = { 0 };
    add_lines(x, resumes, &all);
    vec_push(&all, NULL);
    const http_request request = { .method = resumes ? "GET" : "POST",
                                   .url = s->url,
                                   .headers = (const char *const *)all.data,
                                   .body = resumes ? NULL : x->message,
                                   .timeout_ms = x->id ? A_DAY_MS : NOTICE_MS,
                                   .max_bytes = MAX_BYTES,
                                   .sink = on_bytes,
                                   .done = on_answer,
                                   .ctx = x };
    x->again_ms = INT64_MAX;
    x->request = http_send(s->http, &request, err);
    free_lines(&all);
    return x->request ? OK : ERR_PEER;
}

static exchange *exchange_of(const streamable *s, int64_t id)
{
    for (size_t i = 0; i < s->open.len; i++)
        if (s->open.data[i]->id == id) return s->open.data[i];
    return NULL;
}

static void drop(streamable *s, exchange *x)
{
    for (size_t i = 0; i < s->open.len; i++)
        if (s->open.data[i] == x) s->open.data[i--] = s->open.data[--s->open.len];
    exchange_free(x);
}

static int launch(streamable *s, exchange *x, error *err)
{
    vec_push(&s->open, x);
    const int rc = ask(x, err);
    if (rc != OK) drop(s, x);
    return rc;
}

/* ---- what comes of it ---- */

/* The server knows that we are ready: what has waited is said. */
static void open_up(streamable *s)
{
    error err = { 0 };
    s->opened = true;
    for (size_t i = 0; i < s->waiting.len; i++)
        if (launch(s, s->waiting.data[i], &err) != OK) break_off(s, &err);
    s->waiting.len = 0;
}

/* Nothing more comes for it. One of a request stays until its client has said whether that was to be expected. */
static void end(exchange *x, const error *why)
{
    streamable *s = x->owner;
    if (x->id)
        vec_push(&s->heard, (item){ .of = x->id, .why = xstrdup(why->text) });
    else
        drop(s, x);
}

static void fail(exchange *x, const http_answer *a, const error *why)
{
    streamable *s = x->owner;
    if (is_lost(s, a)) {
        s->lost = true;
        break_off(s, why);
    } else if (is_away(s, a) && s->patient && !s->opened) {
        x->again_ms = clock_ms() + AGAIN_MS;
    } else if (is_away(s, a) || x->opens) {
        break_off(s, why);
    } else {
        x->wrong |= a->failed.code == OK; /* it refuses: a second time, too */
        end(x, why);
    }
}

static void on_body(exchange *x, const char *type)
{
    streamable *s = x->owner;
    error why = { 0 };
    const size_t len = x->body.len;
    if (len == 0) {
        error_set(&why, ERR_PEER, "%.300s answers with nothing", s->name);
    } else if (has_type(type, "application/json")) {
        push_text(s, str_take(&x->body), len, x->id);
        error_set(&why, ERR_PEER, "%.300s answers another request than was asked", s->name);
    } else {
        error_set(&why, ERR_PEER, "%.300s answers with %.60s: expected application/json or text/event-stream", s->name,
                  *type ? type : "something without a type");
    }
    end(x, &why);
}

static void on_answer(void *ctx, const http_answer *a)
{
    exchange *x = ctx;
    streamable *s = x->owner;
    error why = { 0 };
    x->request = 0;
    note_session(s);
    if (check_answer(s, a, &why) != OK) {
        fail(x, a, &why);
        return;
    }

    if (x->opens) open_up(s);
    if (x->id && !x->events) {
        on_body(x, a->type);
        return;
    }
    error_set(&why, ERR_PEER, "%.300s: its stream of events ended without the answer", s->name);
    end(x, &why);
}

/* ---- as a transport ---- */

static void reset(streamable *s)
{
    for (size_t i = 0; i < s->open.len; i++) exchange_free(s->open.data[i]);
    for (size_t i = 0; i < s->waiting.len; i++) exchange_free(s->waiting.data[i]);
    s->open.len = s->waiting.len = 0;
    forget_heard(s);
    free(s->session);
    free(s->revision);
    s->session = s->revision = NULL;
    s->opening = s->opened = s->lost = false;
    s->broken = (error){ 0 };
}

static int start(void *self, bool patient, error *err)
{
    streamable *s = self;
    (void)err;
    reset(s);
    s->patient = patient;
    return OK;
}

static void agreed(void *self, const char *revision) { ((streamable *)self)->revision = xstrdup(revision); }

static int say(void *self, const char *message, int64_t id, error *err)
{
    streamable *s = self;
    exchange *x = xcalloc(1, sizeof *x);
    *x = (exchange){ .owner = s, .id = id, .message = xstrdup(message), .again_ms = INT64_MAX };
    x->opens = s->revision && !s->opening && id == 0;
    s->opening |= x->opens;
    if (!s->opening || s->opened || x->opens) return launch(s, x, err);
    vec_push(&s->waiting, x);
    return OK;
}

static void forget(void *self, int64_t id)
{
    streamable *s = self;
    exchange *x = exchange_of(s, id);
    if (x) drop(s, x);
    for (size_t i = 0; i < s->waiting.len; i++) {
        if (s->waiting.data[i]->id != id) continue;
        exchange_free(s->waiting.data[i]);
        memmove(s->waiting.data + i, s->waiting.data + i + 1, (--s->waiting.len - i) * sizeof *s->waiting.data);
        return;
    }
}

static bool resume(void *self, int64_t id)
{
    exchange *x = exchange_of(self, id);
    if (!x || !x->events || x->wrong || x->stream.last_id.len == 0) return false;
    const int64_t asked_ms = x->stream.retry_ms > 0 ? x->stream.retry_ms : RESUME_MS;
    x->again_ms = clock_ms() + (asked_ms < MAX_RESUME_MS ? asked_ms : MAX_RESUME_MS);
    return true;
}

static void farewell(streamable *s)
{
    lines all = { 0 };
    if (!s->session || s->lost) return;
    add_line(&all, "Mcp-Session-Id", s->session);
    add_line(&all, "MCP-Protocol-Version", s->revision);
    for (size_t i = 0; i < s->headers.len; i++) vec_push(&all, xstrdup(s->headers.data[i]));
    vec_push(&all, NULL);
    http_send(
        s->http,
        &(http_request){
            .method = "DELETE", .url = s->url, .headers = (const char *const *)all.data, .timeout_ms = FAREWELL_MS },
        NULL);
    free_lines(&all);
}

static void leave(void *self)
{
    farewell(self);
    reset(self);
}

static void ask_again(streamable *s)
{
    error err = { 0 };
    const int64_t now_ms = clock_ms();
    for (size_t i = 0; i < s->open.len; i++)
        if (s->open.data[i]->again_ms <= now_ms && ask(s->open.data[i], &err) != OK) break_off(s, &err);
}

/* What was heard before something broke is handed on first. */
static int turn(void *self, error *err)
{
    streamable *s = self;
    http_turn(s->http);
    ask_again(s);
    if (s->broken.code == OK || s->heard.len > s->taken) return OK;
    if (err) *err = s->broken;
    error_within(err, "MCP server");
    leave(s);
    return ERR_PEER;
}

static bool hear(void *self, mcp_heard *out)
{
    streamable *s = self;
    if (s->taken > 0) item_reset(&s->heard.data[s->taken - 1]);
    if (s->taken == s->heard.len) {
        s->heard.len = s->taken = 0;
        return false;
    }
    const item *i = &s->heard.data[s->taken++];
    *out = (mcp_heard){ .text = i->text, .len = i->len, .of = i->of, .why = i->why };
    return true;
}

static int fds(void *self, struct pollfd *out, int max) { return http_fds(((streamable *)self)->http, out, max); }

static int64_t deadline_ms(void *self)
{
    const streamable *s = self;
    int64_t first = http_deadline_ms(s->http);
    if (s->broken.code != OK || s->heard.len > s->taken) return 0;
    for (size_t i = 0; i < s->open.len; i++)
        if (s->open.data[i]->again_ms < first) first = s->open.data[i]->again_ms;
    return first;
}

static void wait_for_farewell(streamable *s)
{
    struct pollfd fd;
    const int64_t until = clock_ms() + FAREWELL_MS;
    while (http_fds(s->http, &fd, 1) > 0 && clock_ms() < until) {
        const int64_t due = http_deadline_ms(s->http) < until ? http_deadline_ms(s->http) : until, now = clock_ms();
        poll(&fd, 1, due > now ? (int)(due - now) : 0);
        http_turn(s->http);
    }
}

static void streamable_free(void *self)
{
    streamable *s = self;
    leave(s);
    wait_for_farewell(s);
    http_free(s->http);
    free_lines(&s->headers);
    vec_free(&s->open);
    vec_free(&s->waiting);
    vec_free(&s->heard);
    free(s->url);
    free(s->name);
    free(s);
}

int mcp_streamable(const char *url, const char *const *headers, mcp_transport *out, error *err)
{
    http *client = http_new(err);
    if (!client || http_check_url(url, err) != OK) {
        http_free(client);
        return ERR_ARGUMENT;
    }
    streamable *s = xcalloc(1, sizeof *s);
    s->http = client;
    s->url = xstrdup(url);
    s->name = http_shown(url);
    for (; headers && *headers; headers++) vec_push(&s->headers, xstrdup(*headers));
    *out = (mcp_transport){ .self = s,
                            .name = s->name,
                            .start = start,
                            .agreed = agreed,
                            .say = say,
                            .forget = forget,
                            .resume = resume,
                            .turn = turn,
                            .hear = hear,
                            .fds = fds,
                            .deadline_ms = deadline_ms,
                            .kill = leave,
                            .free = streamable_free };
    return OK;
}
