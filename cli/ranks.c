#include "cli/ranks.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "proto/messages.h"

typedef enum word { WORD_STEP, WORD_SAVE, WORD_END } word;

typedef struct order {
    uint64_t word, bytes; /* of the step that follows */
} order;

static bool alone(const comm *c) { return !c || c->size == 1; }

/* ---- steps as bytes: numbers and records, each record with its length before it ---- */

static void add_number(str *out, uint64_t n) { str_add(out, (const char *)&n, sizeof n); }

static void add_group(str *out, const group *g)
{
    str record = { 0 };
    add_number(out, g->id), add_number(out, g->prompt_id), add_number(out, (uint64_t)g->step);
    add_number(out, g->size), add_number(out, g->n);
    for (uint32_t i = 0; i < g->n; i++)
        for (int what = 0; what < 2; what++) {
            str_clear(&record);
            if (what == 0)
                episode_encode(g->episodes[i], &record);
            else
                score_encode(g->scores[i], &record);
            add_number(out, record.len);
            str_add(out, record.data, record.len);
        }
    str_free(&record);
}

typedef struct reader {
    const char *at;
} reader;

static uint64_t number(reader *r)
{
    uint64_t n;
    memcpy(&n, r->at, sizeof n);
    r->at += sizeof n;
    return n;
}

/* What the first rank wrote with the same build: there is nothing foreign in it. */
static group *read_group(reader *r, error *err)
{
    const uint64_t id = number(r), prompt_id = number(r), step = number(r), size = number(r), n = number(r);
    group *g = group_new(id, prompt_id, (int64_t)step, (uint32_t)size);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t episode_bytes = number(r);
        episode *e = episode_decode(r->at, episode_bytes, err);
        r->at += episode_bytes;
        const uint64_t score_bytes = number(r);
        score *s = e ? score_decode(r->at, score_bytes, err) : NULL;
        r->at += score_bytes;
        if (s && group_add(g, e, s, err) == OK) continue;
        if (!s) episode_free(e);
        group_free(g);
        return NULL;
    }
    return g;
}

/* ---- the first rank ---- */

void ranks_step(comm *c, const step_batch *b)
{
    if (alone(c)) return;
    str bytes = { 0 };
    add_number(&bytes, b->n);
    for (uint32_t i = 0; i < b->n; i++) add_group(&bytes, b->groups[i]);
    comm_broadcast(c, &(order){ WORD_STEP, bytes.len }, sizeof(order));
    comm_broadcast(c, bytes.data, bytes.len);
    str_free(&bytes);
}

void ranks_save(comm *c)
{
    if (!alone(c)) comm_broadcast(c, &(order){ WORD_SAVE, 0 }, sizeof(order));
}

void ranks_end(comm *c)
{
    if (!alone(c)) comm_broadcast(c, &(order){ WORD_END, 0 }, sizeof(order));
}

/* ---- the others ---- */

static int train_step(comm *c, trainer *t, metrics *m, size_t bytes, error *err)
{
    char *data = xmalloc(bytes + 1);
    comm_broadcast(c, data, bytes);
    reader r = { data };
    const uint32_t n = (uint32_t)number(&r);
    group **groups = xcalloc((size_t)n + 1, sizeof *groups);
    uint32_t read = 0;
    while (read < n && (groups[read] = read_group(&r, err))) read++;
    metrics_clear(m);
    const int rc = read == n ? trainer_step(t, (const group *const *)groups, (int)n, m, err) : err->code;
    for (uint32_t i = 0; i < read; i++) group_free(groups[i]);
    free(groups);
    free(data);
    return rc;
}

static void give_moments(trainer *t, const weights *w)
{
    const weights *trained = trainer_lora(t) ? trainer_lora(t)->w : w;
    float *unread = xmalloc(2 * sizeof(float) * (size_t)trained->table->total);
    optimizer_export(trainer_optimizer(t), trained, unread, unread + trained->table->total);
    free(unread);
}

int ranks_follow(comm *c, trainer *t, const weights *w, error *err)
{
    metrics *m = metrics_new();
    order o = { 0 };
    int rc = OK;
    do {
        comm_broadcast(c, &o, sizeof o);
        if (o.word == WORD_STEP) rc = train_step(c, t, m, o.bytes, err);
        if (o.word == WORD_SAVE) give_moments(t, w);
        /* What is wrong with the step is wrong on all ranks, and the first one tells;
         * anything else ends this process. */
    } while (o.word != WORD_END && (rc == OK || rc == ERR_STATE));
    metrics_free(m);
    return rc == ERR_STATE ? OK : rc;
}
