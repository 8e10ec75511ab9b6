/* SPDX-License-Identifier: MIT */
#include "env/tools/retriever.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "env/search/retrieved.h"
#include "http/client.h"

enum { DEFAULT_K = 3, DEFAULT_TIMEOUT_MS = 30000, FIRST_PAUSE_MS = 100, MAX_PAUSE_MS = 5000, MAX_BYTES = 4 << 20 };

typedef struct retriever retriever;

/* A call without a result. */
typedef struct search {
    retriever *owner;
    uint64_t call, request; /* request: 0 while it waits to be asked again */
    char *question;
    int64_t began_us, deadline_ms, again_ms, pause_ms; /* again_ms: INT64_MAX while it is asked */
} search;

struct retriever {
    http *http;
    char *url, *shown, *name, *description; /* shown: url, fit for a sentence */
    vec(char *) headers;                    /* with its NULL */
    int k, timeout_ms;
    vec(search *) open;
    vec(tool_result) done;
};

static void search_free(search *s)
{
    free(s->question);
    free(s);
}

/* Takes `text`. */
static void finish(search *s, failure failed, char *text)
{
    retriever *r = s->owner;
    vec_push(&r->done, (tool_result){ .call = s->call,
                                      .ok = failed == FAIL_NONE,
                                      .failed = failed,
                                      .text = text,
                                      .ms = (double)(clock_us() - s->began_us) / 1000 });
    for (size_t i = 0; i < r->open.len; i++)
        if (r->open.data[i] == s) r->open.data[i--] = r->open.data[--r->open.len];
    search_free(s);
}

/* ---- what the server says ---- */

/* What may be otherwise in a moment. */
static bool is_passing(const http_answer *a)
{
    if (a->failed.code == OK) return a->status == 429 || a->status / 100 == 5;
    return a->failed.code == ERR_NOT_FOUND || a->failed.code == ERR_PEER;
}

static void ask_later_or_lose(search *s, bool passing, const error *why)
{
    const int64_t now_ms = clock_ms();
    if (!passing || now_ms + s->pause_ms >= s->deadline_ms) {
        finish(s, FAIL_TOOL_LOST, xstrdup(why->text));
        return;
    }
    s->request = 0;
    s->again_ms = now_ms + s->pause_ms;
    s->pause_ms = s->pause_ms * 2 < MAX_PAUSE_MS ? s->pause_ms * 2 : MAX_PAUSE_MS;
}

static int read_answer(const search *s, const http_answer *a, str *text, error *err)
{
    const retriever *r = s->owner;
    if (a->failed.code != OK) return error_set(err, a->failed.code, "%s", a->failed.text);
    if (a->status / 100 != 2)
        return error_set(err, ERR_PEER, "%.200s answers with status %d: %.200s", r->shown, a->status, a->body);
    const int rc = retrieved_show(a->body, a->len, r->k, text, err);
    return rc == OK ? OK : error_within(err, "%.200s", r->shown);
}

static void on_answer(void *ctx, const http_answer *a)
{
    search *s = ctx;
    str text = { 0 };
    error err = { 0 };
    if (read_answer(s, a, &text, &err) == OK) {
        finish(s, FAIL_NONE, str_take(&text));
        return;
    }
    str_free(&text);
    ask_later_or_lose(s, is_passing(a), &err);
}

static void ask(search *s, int64_t now_ms)
{
    error err = { 0 };
    const http_request request = { .method = "POST",
                                   .url = s->owner->url,
                                   .headers = (const char *const *)s->owner->headers.data,
                                   .body = s->question,
                                   .timeout_ms = s->deadline_ms > now_ms ? s->deadline_ms - now_ms : 1,
                                   .max_bytes = MAX_BYTES,
                                   .done = on_answer,
                                   .ctx = s };
    s->again_ms = INT64_MAX;
    s->request = http_send(s->owner->http, &request, &err);
    if (s->request == 0) finish(s, FAIL_TOOL_LOST, xstrdup(err.text));
}

/* ---- the tool ---- */

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    retriever *r = self;
    (void)ctx;
    json_t *j = json_parse(arguments, strlen(arguments), "arguments", err);
    if (!j) return ERR_ARGUMENT;

    search *s = xcalloc(1, sizeof *s);
    *s = (search){ .owner = r,
                   .call = call,
                   .question = retrieved_question(json_string_value(json_object_get(j, "query")), r->k),
                   .began_us = clock_us(),
                   .deadline_ms = now_ms + r->timeout_ms,
                   .pause_ms = FIRST_PAUSE_MS };
    json_decref(j);
    vec_push(&r->open, s);
    ask(s, now_ms);
    return OK;
}

static void cancel(void *self, uint64_t call)
{
    retriever *r = self;
    for (size_t i = 0; i < r->open.len; i++) {
        search *s = r->open.data[i];
        if (s->call != call) continue;
        http_abort(r->http, s->request);
        search_free(s);
        r->open.data[i] = r->open.data[--r->open.len];
        return;
    }
}

static int fds(void *self, struct pollfd *out, int max) { return http_fds(((retriever *)self)->http, out, max); }

static int take(void *self, int64_t now_ms, tool_result *out, int max)
{
    retriever *r = self;
    int n = 0;
    http_turn(r->http);
    for (size_t i = r->open.len; i-- > 0;)
        if (r->open.data[i]->again_ms <= now_ms) ask(r->open.data[i], now_ms);
    while (n < max && r->done.len > 0) out[n++] = r->done.data[--r->done.len];
    return n;
}

static int64_t deadline_ms(void *self)
{
    const retriever *r = self;
    int64_t first = r->done.len > 0 ? 0 : http_deadline_ms(r->http);
    for (size_t i = 0; i < r->open.len; i++) {
        const search *s = r->open.data[i];
        const int64_t due = s->again_ms < s->deadline_ms ? s->again_ms : s->deadline_ms;
        if (due < first) first = due;
    }
    return first;
}

static void retriever_free(void *self)
{
    retriever *r = self;
    http_free(r->http);
    for (size_t i = 0; i < r->open.len; i++) search_free(r->open.data[i]);
    for (size_t i = 0; i < r->done.len; i++) tool_result_reset(&r->done.data[i]);
    for (size_t i = 0; i < r->headers.len; i++) free(r->headers.data[i]);
    vec_free(&r->open);
    vec_free(&r->done);
    vec_free(&r->headers);
    free(r->url);
    free(r->shown);
    free(r->name);
    free(r->description);
    free(r);
}

static void copy_headers(retriever *r, const char *const *headers)
{
    vec_push(&r->headers, xstrdup("Content-Type: application/json"));
    vec_push(&r->headers, xstrdup("Accept: application/json"));
    for (; headers && *headers; headers++) vec_push(&r->headers, xstrdup(*headers));
    vec_push(&r->headers, NULL);
}

int retriever_tool(const retriever_config *config, tool *out, error *err)
{
    http *client = http_new(err);
    if (!client || http_check_url(config->url, err) != OK) {
        http_free(client);
        return err ? err->code : ERR_ARGUMENT;
    }
    retriever *r = xcalloc(1, sizeof *r);
    r->http = client;
    r->url = xstrdup(config->url);
    r->shown = http_shown(config->url);
    r->k = config->k > 0 ? config->k : DEFAULT_K;
    r->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : DEFAULT_TIMEOUT_MS;
    r->name = xstrdup(config->name ? config->name : SEARCH_NAME);
    r->description = xstrdup(config->description ? config->description : SEARCH_DESCRIPTION);
    copy_headers(r, config->headers);
    *out = (tool){ .name = r->name,
                   .description = r->description,
                   .parameters = SEARCH_PARAMETERS,
                   .self = r,
                   .begin = begin,
                   .cancel = cancel,
                   .fds = fds,
                   .poll = take,
                   .deadline_ms = deadline_ms,
                   .free = retriever_free };
    return OK;
}
