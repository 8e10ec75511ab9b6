/* SPDX-License-Identifier: MIT */
#include "run/ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/frame.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/messages.h"

/* The type of the frame that is broadcast. */
typedef enum order { ORDER_STEP = 1, ORDER_SAVE, ORDER_END, ORDER_STOP } order;

static bool alone(const comm *c) { return !c || c->size == 1; }

/* ---- orders: a frame's head to all ranks, then its payload ---- */

static void give_order(comm *c, order o, const str *payload)
{
    static const str NOTHING = { 0 };
    const str *body = payload ? payload : &NOTHING;
    frame_out f;
    if (alone(c)) return;
    frame_out_begin(&f, (uint8_t)o, body->data, body->len);

    /* In two: the others must know the length before they can take part in the second (MPI matches sizes). */
    comm_broadcast(c, f.head, sizeof f.head);
    if (payload) comm_broadcast(c, payload->data, payload->len);
}

/* Waits for the next. The caller frees *payload. */
static order take_order(comm *c, str_view *payload)
{
    unsigned char head[FRAME_HEAD];
    comm_broadcast(c, head, sizeof head);
    const size_t len = (size_t)frame_length(head);
    char *data = xmalloc(len + 1);
    if (len > 0) comm_broadcast(c, data, len);
    *payload = (str_view){ data, len };
    return (order)frame_type(head);
}

/* ---- a step: GROUP, its EPISODEs and SCOREs in turn, GROUP, ... ---- */

static void append(str *out, const message *m)
{
    str body = { 0 };
    message_encode(m, &body);
    frame_append(out, body.data, body.len);
    str_free(&body);
}

static void append_group(str *out, const group *g)
{
    append(out, &(message){ .type = MSG_GROUP, .group = { g->id, g->prompt_id, g->step, g->size, g->n } });
    for (uint32_t i = 0; i < g->n; i++) {
        append(out, &(message){ .type = MSG_EPISODE, .episode = { g->episodes[i] } });
        append(out, &(message){ .type = MSG_SCORE, .score = { g->scores[i] } });
    }
}

/* The next message, which is to be of `type`. */
static int next(str_view *rest, message_type type, message *m, error *err)
{
    str_view body;
    if (frame_next(rest, &body) != OK)
        return error_set(err, ERR_PARSE, "a step from learner 1 ends early: expected %s", message_name(type));
    if (message_decode(m, body.data, body.len, err) != OK) return error_within(err, "a step from learner 1");
    if (m->type == type) return OK;

    error_set(err, ERR_PARSE, "a step from learner 1: expected %s, found %s", message_name(type),
              message_name(m->type));
    message_reset(m);
    return ERR_PARSE;
}

static int read_member(str_view *rest, group *g, error *err)
{
    message of_episode = { 0 }, of_score = { 0 };
    int rc = next(rest, MSG_EPISODE, &of_episode, err);
    if (rc == OK) rc = next(rest, MSG_SCORE, &of_score, err);
    if (rc == OK) rc = group_add(g, of_episode.episode.episode, of_score.score.score, err);
    if (rc == OK) return OK;

    message_reset(&of_episode);
    message_reset(&of_score);
    return rc;
}

static group *read_group(str_view *rest, error *err)
{
    message m = { 0 };
    if (next(rest, MSG_GROUP, &m, err) != OK) return NULL;
    group *g = group_new(m.group.id, m.group.prompt_id, m.group.step, m.group.size);
    for (uint32_t i = 0; i < m.group.n; i++)
        if (read_member(rest, g, err) != OK) {
            group_free(g);
            return NULL;
        }
    return g;
}

/* ---- the first rank ---- */

void ranks_watch(comm *c)
{
    if (!alone(c)) comm_watch(c);
}

void ranks_step(comm *c, const step_batch *b)
{
    str frames = { 0 };
    if (alone(c)) return;
    for (uint32_t i = 0; i < b->n; i++) append_group(&frames, b->groups[i]);
    give_order(c, ORDER_STEP, &frames);
    str_free(&frames);
}

void ranks_save(comm *c) { give_order(c, ORDER_SAVE, NULL); }
void ranks_end(comm *c, bool stopped) { give_order(c, stopped ? ORDER_STOP : ORDER_END, NULL); }

/* ---- after a failure ---- */

/* What each tells all. */
typedef struct rank_report {
    int64_t version;
    int32_t code; /* ERR_PEER: it was called out of its step by another */
    uint32_t whole;
    char sentence[600];
} rank_report;

/* The first that failed by itself is who says why. */
static ranks_left sum_up(const rank_report *all, int n, const rank_report *mine)
{
    ranks_left left = { .whole = true, .code = mine->code };
    for (int r = n - 1; r >= 0; r--) { /* backwards: what the lowest rank says stays */
        left.whole = left.whole && all[r].whole && all[r].version == mine->version;
        if (all[r].code == ERR_PEER) continue;
        left.code = all[r].code;
        snprintf(left.sentence, sizeof left.sentence, "learner %d: %s", r + 1, all[r].sentence);
    }
    return left;
}

bool ranks_regroup(comm *c, const trainer *t, const error *why, ranks_left *left)
{
    if (alone(c)) return false;

    rank_report mine = { .version = trainer_version(t), .code = why->code, .whole = trainer_whole(t) };
    snprintf(mine.sentence, sizeof mine.sentence, "%s", why->text);
    rank_report *all = xcalloc((size_t)c->size, sizeof *all);
    const bool met = comm_regroup(c, &mine, sizeof mine, all);
    if (met) *left = sum_up(all, c->size, &mine);
    free(all);
    return met;
}

/* ---- the others ---- */

static int train_step(trainer *t, metrics *m, str_view frames, error *err)
{
    vec(group *) groups = { 0 };
    int rc = OK;
    while (rc == OK && frames.len > 0) {
        group *g = read_group(&frames, err);
        if (g)
            vec_push(&groups, g);
        else
            rc = ERR_PARSE;
    }

    metrics_clear(m);
    if (rc == OK) rc = trainer_step(t, (const group *const *)groups.data, (int)groups.len, m, err);
    for (size_t i = 0; i < groups.len; i++) group_free(groups.data[i]);
    vec_free(&groups);
    return rc;
}

/* The moments are put together from all ranks, for the first one's checkpoint: here they are only sent. */
static void give_moments(trainer *t, const weights *w)
{
    const weights *trained = trainer_lora(t) ? trainer_lora(t)->w : w;
    /* Room for m and v of all parameters: the exchange is one in which every rank receives. */
    float *unread = xmalloc(2 * sizeof(float) * (size_t)trained->table->total);
    optimizer_export(trainer_optimizer(t), trained, unread, unread + trained->table->total);
    free(unread);
}

typedef struct following {
    comm *c;
    trainer *t;
    const weights *w;
    metrics *m;
    order last;
} following;

static int follow_one(void *ctx, error *err)
{
    following *f = ctx;
    str_view payload;
    int rc = OK;
    f->last = take_order(f->c, &payload);
    if (f->last == ORDER_STEP) rc = train_step(f->t, f->m, payload, err);
    if (f->last == ORDER_SAVE) give_moments(f->t, f->w);
    free((char *)(uintptr_t)payload.data);
    return rc;
}

/* The first one says what has happened, so this one has nothing to add. What is wrong with the step (ERR_STATE) is
 * wrong on all ranks, and all know it; anything else is told. */
int ranks_follow(comm *c, trainer *t, const weights *w, error *err)
{
    following f = { .c = c, .t = t, .w = w, .m = metrics_new(), .last = ORDER_STEP };
    int rc = OK;
    do {
        rc = device_guard(w->dev, follow_one, &f, err);
        if (rc == OK || rc == ERR_STATE) continue;

        ranks_left unread;
        device_scratch_drop(w->dev);
        if (!ranks_regroup(c, t, err, &unread)) break;
        rc = OK;
        f.last = ORDER_STEP;
    } while (f.last != ORDER_END && f.last != ORDER_STOP);

    metrics_free(f.m);
    if (f.last == ORDER_STOP)
        return error_set(err, ERR_INTERRUPTED, "stopped with learner 1, which writes the checkpoint");
    return rc == ERR_STATE ? OK : rc;
}
