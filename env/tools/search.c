/* SPDX-License-Identifier: MIT */
#include "env/tools/search.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/queue.h"
#include "base/vec.h"
#include "env/search/passages.h"

const char SEARCH_DESCRIPTION[] = "Searches a collection of texts and returns the passages that fit the query best.";
const char SEARCH_PARAMETERS[] =
    "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"}},\"required\":[\"query\"]}";

enum { DEFAULT_K = 3, DEFAULT_TIMEOUT_MS = 10000, QUEUED = 4096, LOOK_MS = 60000 };

/* A question on its way to the thread, and back with its answer. */
typedef struct question {
    uint64_t call;
    char *query;
    int64_t began_us, deadline_ms;
    bool lost; /* the text says why there is no answer */
    str text;
} question;

typedef struct searcher {
    passages *passages;
    int k, timeout_ms;
    char *name, *description;
    pthread_t thread;
    queue *asked, *answered; /* of question */
    atomic_bool ends;
    /* The owner's: calls without an answer. Their deadlines are also kept here: a disk that hangs holds the thread. */
    vec(question) open;
} searcher;

static void question_free(question *q)
{
    free(q->query);
    str_free(&q->text);
    free(q);
}

/* ---- the thread ---- */

typedef struct watch {
    const searcher *s;
    int64_t deadline_ms;
} watch;

static bool stops(void *ctx)
{
    const watch *w = ctx;
    return atomic_load(&w->s->ends) || clock_ms() > w->deadline_ms;
}

static void answer(const searcher *s, question *q)
{
    error err = { 0 };
    int found;
    watch w = { s, q->deadline_ms };
    if (passages_search(s->passages, q->query, s->k, stops, &w, &q->text, &found, &err) == OK) return;
    q->lost = true;
    str_clear(&q->text);
    str_puts(&q->text, err.text);
}

/* Until the questions' queue is closed. An answer that finds no room is of an owner who doesn't fetch any. */
static void *serve(void *ctx)
{
    searcher *s = ctx;
    void *item;
    for (int rc; (rc = queue_pop(s->asked, &item, LOOK_MS)) != ERR_STATE;) {
        if (rc != OK) continue;
        if (!atomic_load(&s->ends)) answer(s, item);
        if (queue_push(s->answered, item, 0) != OK) question_free(item);
    }
    return NULL;
}

/* ---- the tool ---- */

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    searcher *s = self;
    (void)ctx;
    json_t *j = json_parse(arguments, strlen(arguments), "arguments", err);
    if (!j) return ERR_ARGUMENT;

    question *q = xcalloc(1, sizeof *q);
    *q = (question){ .call = call, .began_us = clock_us(), .deadline_ms = now_ms + s->timeout_ms };
    q->query = xstrdup(json_string_value(json_object_get(j, "query"))); /* the router has checked that it is one */
    json_decref(j);

    if (queue_push(s->asked, q, 0) != OK) {
        question_free(q);
        return error_set(err, ERR_FULL, "%s: %d searches are waiting", s->name, QUEUED);
    }
    vec_push(&s->open, (question){ .call = call, .began_us = clock_us(), .deadline_ms = now_ms + s->timeout_ms });
    return OK;
}

static int fds(void *self, struct pollfd *out, int max)
{
    if (max < 1) return 0;
    out[0] = (struct pollfd){ .fd = queue_fd(((searcher *)self)->answered), .events = POLLIN };
    return 1;
}

/* False: it is not open, as its deadline has passed. */
static bool close_question(searcher *s, uint64_t call)
{
    for (size_t i = 0; i < s->open.len; i++) {
        if (s->open.data[i].call != call) continue;
        s->open.data[i] = s->open.data[--s->open.len];
        return true;
    }
    return false;
}

static int take_answers(searcher *s, tool_result *out, int max)
{
    int n = 0;
    void *item;
    while (n < max && queue_pop(s->answered, &item, 0) == OK) {
        question *q = item;
        if (close_question(s, q->call))
            out[n++] = (tool_result){ .call = q->call,
                                      .ok = !q->lost,
                                      .failed = q->lost ? FAIL_TOOL_LOST : FAIL_NONE,
                                      .text = str_take(&q->text),
                                      .ms = (double)(clock_us() - q->began_us) / 1000 };
        question_free(q);
    }
    return n;
}

static int drop_late(searcher *s, int64_t now_ms, tool_result *out, int max)
{
    int n = 0;
    for (size_t i = 0; n < max && i < s->open.len;) {
        const question *q = &s->open.data[i];
        if (q->deadline_ms > now_ms) {
            i++;
            continue;
        }
        out[n++] = (tool_result){ .call = q->call,
                                  .failed = FAIL_TOOL_LOST,
                                  .text = xstrdup("the search took too long"),
                                  .ms = (double)(clock_us() - q->began_us) / 1000 };
        s->open.data[i] = s->open.data[--s->open.len];
    }
    return n;
}

static int take(void *self, int64_t now_ms, tool_result *out, int max)
{
    const int n = take_answers(self, out, max);
    return n + drop_late(self, now_ms, out + n, max - n);
}

static int64_t deadline_ms(void *self)
{
    const searcher *s = self;
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < s->open.len; i++)
        if (s->open.data[i].deadline_ms < first) first = s->open.data[i].deadline_ms;
    return first;
}

static void drain(queue *q)
{
    void *item;
    while (queue_pop(q, &item, 0) == OK) question_free(item);
}

static void searcher_free(void *self)
{
    searcher *s = self;
    if (s->asked) {
        atomic_store(&s->ends, true);
        queue_close(s->asked);
        pthread_join(s->thread, NULL);
        drain(s->answered);
        queue_free(s->asked);
        queue_free(s->answered);
    }
    passages_free(s->passages);
    vec_free(&s->open);
    free(s->name);
    free(s->description);
    free(s);
}

int search_tool(const search_config *config, tool *out, error *err)
{
    searcher *s = xcalloc(1, sizeof *s);
    s->k = config->k > 0 ? config->k : DEFAULT_K;
    s->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : DEFAULT_TIMEOUT_MS;
    s->name = xstrdup(config->name ? config->name : SEARCH_NAME);
    s->description = xstrdup(config->description ? config->description : SEARCH_DESCRIPTION);
    s->passages = passages_open(config->index, err);
    if (!s->passages) {
        searcher_free(s);
        return err ? err->code : ERR_PARSE;
    }

    s->asked = queue_new(QUEUED);
    s->answered = queue_new(QUEUED);
    if (pthread_create(&s->thread, NULL, serve, s) != 0) {
        queue_free(s->asked);
        queue_free(s->answered);
        s->asked = NULL;
        searcher_free(s);
        return error_set(err, ERR_MEMORY, "%s: its thread can't be started", config->index);
    }
    *out = (tool){ .name = s->name,
                   .description = s->description,
                   .parameters = SEARCH_PARAMETERS,
                   .self = s,
                   .begin = begin,
                   .fds = fds,
                   .poll = take,
                   .deadline_ms = deadline_ms,
                   .free = searcher_free };
    return OK;
}
