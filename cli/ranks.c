/* SPDX-License-Identifier: MIT */
#include "cli/ranks.h"

#include <stdlib.h>
#include <string.h>

#include "base/frame.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/messages.h"

/* The type of the frame that is broadcast. */
typedef enum order { ORDER_STEP = 1, ORDER_SAVE, ORDER_END } order;

static bool alone(const comm *c) { return !c || c->size == 1; }

/* ---- orders: a frame's head to everybody, then its payload ---- */

static void give_order(comm *c, order o, const str *payload)
{
    frame_out f;
    if (alone(c)) return;
    frame_out_begin(&f, (uint8_t)o, payload ? payload->data : NULL, payload ? payload->len : 0);
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

void ranks_step(comm *c, const step_batch *b)
{
    str frames = { 0 };
    if (alone(c)) return;
    for (uint32_t i = 0; i < b->n; i++) append_group(&frames, b->groups[i]);
    give_order(c, ORDER_STEP, &frames);
    str_free(&frames);
}

void ranks_save(comm *c) { give_order(c, ORDER_SAVE, NULL); }
void ranks_end(comm *c) { give_order(c, ORDER_END, NULL); }

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
    order o;
    int rc = OK;
    do {
        str_view payload;
        o = take_order(c, &payload);
        if (o == ORDER_STEP) rc = train_step(t, m, payload, err);
        if (o == ORDER_SAVE) give_moments(t, w);
        free((char *)(uintptr_t)payload.data);
        /* What is wrong with the step is wrong on all ranks, and the first one tells;
         * anything else ends this process. */
    } while (o != ORDER_END && (rc == OK || rc == ERR_STATE));
    metrics_free(m);
    return rc == ERR_STATE ? OK : rc;
}
