/* SPDX-License-Identifier: MIT */
/* The tasks of a step or an evaluation as one batch: opened, refilled, whole, handed over (core_inner.h has the
 * map).
 *
 *     core_open_batch -> works played and scored elsewhere -> is_whole -> refill, or hand_over in the order of steps
 *
 * A batch is freed when it is handed over; ids of its tasks that come later are answered by core_answers.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exchange/core_inner.h"
#include "rollout/signal.h"

enum { MIN_SURVIVORS = 2 };

void core_batch_free(batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        task_reset(&b->works[i].task);
        episode_free(b->works[i].episode);
        score_free(b->works[i].score);
    }
    free(b->works);
    free(b->rows);
    free(b);
}

void core_free_restored(work *w)
{
    episode_free(w->episode);
    score_free(w->score);
    free(w);
}

static uint32_t step_size(const core *c) { return c->config.schedule.prompts_per_step * c->config.schedule.group; }

void core_close_work(core *c, batch *b, work *w, bool dropped)
{
    if (w->closed) return;
    w->closed = true;
    w->dropped = dropped;
    w->rollout.state = w->scoring.state = LEASE_DONE;
    b->closed++;
    c->stats.dropped += dropped;
}

/* Work that an earlier life of this run has finished, or half finished. */
static void take_restored(core *c, batch *b, work *w)
{
    work *old = idmap_get(c->restored, w->task.id);
    if (!old) return;

    idmap_remove(c->restored, w->task.id);
    if (core_belongs(c, &w->task, old->episode, NULL) != OK) {
        core_free_restored(old);
        return;
    }

    w->episode = old->episode;
    w->score = old->score;
    const bool of_it = w->score && w->score->task == w->task.id && limits_score(w->episode, w->score, NULL) == OK;
    if (w->score && !of_it) {
        score_free(w->score);
        w->score = NULL; /* it is asked for again */
    }

    w->rollout.state = LEASE_DONE;
    if (w->score)
        core_close_work(c, b, w, false);
    else
        vec_push(&c->unscored, w->task.id);
    free(old);
}

/* Evaluations stand before the steps, each kind in its order. */
static void insert_batch(core *c, batch *b)
{
    size_t at = 0;
    while (at < c->batches.len && (!b->eval || c->batches.data[at]->eval)) at++;
    vec_push(&c->batches, b);
    memmove(c->batches.data + at + 1, c->batches.data + at, (c->batches.len - 1 - at) * sizeof *c->batches.data);
    c->batches.data[at] = b;
}

/* The batch grows to n tasks; its works never move, since actions point at them. */
static void open_works(core *c, batch *b, uint32_t n)
{
    for (uint32_t i = b->n; i < n; i++) {
        work *w = &b->works[i];
        if (b->eval)
            scheduler_eval_task(&c->config.schedule, b->step, i, &w->task);
        else
            scheduler_task(&c->config.schedule, b->step, b->rows, i, &w->task);

        /* After a resume a lagging step's version may be past: it is played with the one there is. */
        if (w->task.max_version < c->version) w->task.max_version = c->version;
        if (!b->eval) take_restored(c, b, w);
    }
    b->n = n;
}

void core_rows(core *c, int64_t step, const picked_row *rows)
{
    const size_t bytes = sizeof *rows * scheduler_prompts(&c->config.schedule);
    vec_push(&c->picked, (picked){ step, memcpy(xmalloc(bytes), rows, bytes) });
}

static picked_row *take_picked(core *c, int64_t step)
{
    for (size_t i = 0; i < c->picked.len; i++) {
        if (c->picked.data[i].step != step) continue;
        picked_row *rows = c->picked.data[i].rows;
        c->picked.data[i] = c->picked.data[--c->picked.len];
        return rows;
    }
    return NULL;
}

void core_open_batch(core *c, int64_t step, bool eval)
{
    const uint32_t n = eval ? scheduler_eval_size(&c->config.schedule) : step_size(c);
    const uint32_t room = eval ? n : scheduler_prompts(&c->config.schedule) * c->config.schedule.group;
    batch *b = xcalloc(1, sizeof *b);
    *b = (batch){ .step = step, .eval = eval, .room = room, .works = xcalloc(room, sizeof *b->works) };

    if (!eval) b->rows = take_picked(c, step);
    insert_batch(c, b);
    open_works(c, b, n);
}

/* ---- refills ---- */

/* Whether the scores of a closed group differ: otherwise no episode is better than another. */
static bool has_signal(const core *c, const batch *b, uint32_t begin)
{
    const uint32_t n = c->config.schedule.group;
    double *r = xcalloc(n + 1, sizeof *r);
    for (uint32_t i = 0; i < n; i++) {
        const work *w = &b->works[begin + i];
        r[i] = w->score ? score_get(w->score, c->config.signal) : NAN;
    }
    const bool any = signal_among(r, (int)n);
    free(r);
    return any;
}

/* True: the batch has grown, and there is more to be played. */
static bool refill(core *c, batch *b)
{
    const scheduler_config *s = &c->config.schedule;
    uint32_t with_signal = 0;
    if (b->eval || b->rounds >= s->refills) return false;

    for (uint32_t g = 0; g < b->n / s->group; g++) with_signal += has_signal(c, b, g * s->group);
    if (with_signal >= s->prompts_per_step) return false;

    const uint32_t missing = s->prompts_per_step - with_signal;
    b->rounds++;
    c->stats.refilled += missing;
    open_works(c, b, b->n + missing * s->group);
    return true;
}

static uint32_t survivors(const batch *b, uint32_t begin, uint32_t size)
{
    uint32_t n = 0;
    for (uint32_t i = begin; i < begin + size; i++) n += !b->works[i].dropped;
    return n;
}

/* NULL: too few were left to be compared, so the group is dropped whole. An evaluation keeps even its empty places.
 * What is dropped stays with its batch: an action of this very event may still speak of it. */
static group *group_of(core *c, batch *b, uint32_t begin, uint32_t size)
{
    const task *t = &b->works[begin].task;
    const uint32_t enough = size < MIN_SURVIVORS ? size : MIN_SURVIVORS;
    if (!b->eval && survivors(b, begin, size) < enough) {
        c->stats.groups_dropped++;
        return NULL;
    }

    group *g = group_new(t->group, t->prompt_id, b->step, size);
    for (uint32_t i = begin; i < begin + size; i++) {
        work *w = &b->works[i];
        if (w->dropped) continue;
        group_add(g, w->episode, w->score, NULL); /* distinct samples by construction */
        w->episode = NULL;
        w->score = NULL;
    }
    return g;
}

static void hand_over(core *c, batch *b)
{
    const uint32_t size = b->eval ? 1 : c->config.schedule.group, n = b->n / size;
    action a = { .kind = b->eval ? EVAL_READY : STEP_READY, .step = b->step, .groups = xcalloc(n, sizeof *a.groups) };

    for (uint32_t i = 0; i < n; i++) {
        group *g = group_of(c, b, i * size, size);
        if (g) a.groups[a.n_groups++] = g;
    }
    core_act(c, a);
}

/* All of the batch is closed, and no refill opens more of it. */
static bool is_whole(core *c, batch *b)
{
    while (b->closed == b->n && refill(c, b)) continue;
    return b->closed == b->n;
}

/* Whether all steps up to the one that lags behind this one are played: then a newer version may come. */
static bool lag_is_kept(core *c, const batch *b)
{
    if (b->eval || c->config.schedule.lag == 0) return true;

    const int64_t behind = b->step + c->config.schedule.lag;
    const int64_t last = behind < c->config.steps ? behind : c->config.steps;
    bool whole = c->opened >= last;
    for (size_t i = 0; i < c->batches.len; i++) {
        batch *other = c->batches.data[i];
        if (!other->eval && other->step <= last) whole &= is_whole(c, other); /* each: it may refill them all */
    }
    return whole;
}

/* Steps leave in order: an earlier one that is open holds the later ones back. */
void core_close_batches(core *c)
{
    bool held_back = false;
    for (size_t i = 0; i < c->batches.len;) {
        batch *b = c->batches.data[i];
        if (!is_whole(c, b) || (held_back && !b->eval) || !lag_is_kept(c, b)) {
            held_back = true;
            i++;
            continue;
        }

        hand_over(c, b);
        vec_push(&c->over, b);
        memmove(c->batches.data + i, c->batches.data + i + 1, (c->batches.len - i - 1) * sizeof *c->batches.data);
        c->batches.len--;
    }
}

work *core_find_work(const core *c, uint64_t id, batch **of)
{
    for (size_t i = 0; i < c->batches.len; i++) {
        batch *b = c->batches.data[i];
        if (b->eval != task_id_eval(id) || b->step != task_id_step(id) || task_id_index(id) >= b->n) continue;
        *of = b;
        return &b->works[task_id_index(id)];
    }
    return NULL;
}
