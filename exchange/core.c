/* SPDX-License-Identifier: MIT */
#include "exchange/core_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TASK_LEASE_MS = 120000, DEFAULT_SCORE_LEASE_MS = 60000, DEFAULT_ATTEMPTS = 3, DEFAULT_LOSSES = 10 };
/* As many leases long an actor that gets on may keep a task: whoever only says so holds no step up for ever. */
enum { MAX_TASK_LEASES = 8 };
enum { MIN_EPISODES_FOR_LIMIT = 40, COMPACT_FROM = 1024 };

/* ---- life ---- */

static void defaults(core_config *c)
{
    if (c->task_lease_ms <= 0) c->task_lease_ms = DEFAULT_TASK_LEASE_MS;
    if (c->score_lease_ms <= 0) c->score_lease_ms = DEFAULT_SCORE_LEASE_MS;
    if (c->max_attempts == 0) c->max_attempts = DEFAULT_ATTEMPTS;
    if (c->max_losses == 0) c->max_losses = DEFAULT_LOSSES;
    if (c->failure_limit <= 0) c->failure_limit = 0.05;
}

core *core_new(const core_config *config)
{
    core *c = xcalloc(1, sizeof *c);
    c->config = *config;
    defaults(&c->config);
    c->version = c->evaluate = -1;
    c->restored = idmap_new();
    c->n_versions = 2 * config->schedule.max_staleness + 8;
    c->versions = xcalloc((size_t)c->n_versions, sizeof *c->versions);
    for (int64_t i = 0; i < c->n_versions; i++) c->versions[i].version = -1;
    return c;
}

static void free_actions(core *c)
{
    for (size_t i = c->next_action; i < c->actions.len; i++) {
        action *a = &c->actions.data[i];
        for (uint32_t g = 0; g < a->n_groups; g++) group_free(a->groups[g]);
        free(a->groups);
    }
    vec_free(&c->actions);
}

void core_free(core *c)
{
    if (!c) return;
    uint64_t id;
    void *w;
    for (size_t i = 0; idmap_next(c->restored, &i, &id, &w);) core_free_restored(w);
    idmap_free(c->restored);
    free_actions(c);

    for (size_t i = 0; i < c->batches.len; i++) core_batch_free(c->batches.data[i]);
    for (size_t i = 0; i < c->over.len; i++) core_batch_free(c->over.data[i]);
    for (size_t i = 0; i < c->picked.len; i++) free(c->picked.data[i].rows);
    vec_free(&c->picked);
    vec_free(&c->over);
    vec_free(&c->batches);
    vec_free(&c->workers);
    vec_free(&c->unscored);
    free(c->versions);
    free(c);
}

void core_act(core *c, action a) { vec_push(&c->actions, a); }

bool core_next_action(core *c, action *out)
{
    if (c->next_action == c->actions.len) {
        c->next_action = c->actions.len = 0;
        while (c->over.len > 0) core_batch_free(c->over.data[--c->over.len]);
        return false;
    }
    *out = c->actions.data[c->next_action++];
    return true;
}

static void halt(core *c, const char *why)
{
    if (c->halted) return;
    c->halted = true;
    snprintf(c->why, sizeof c->why, "%s", why);
    core_act(c, (action){ .kind = HALT, .why = c->why });
}

/* Work that is given up because machines failed, against all work: above the limit the run is not worth its time. One
 * machine that ends takes up to 16 episodes with it (a process of env.plugin); where they are played again nothing is
 * lost. */
void core_count_failure(core *c, bool given_up)
{
    c->stats.failed++;
    if (!given_up) return;
    const uint64_t all = ++c->stats.given_up + c->stats.episodes;
    if (all < MIN_EPISODES_FOR_LIMIT || (double)c->stats.given_up <= c->config.failure_limit * (double)all) return;

    char why[200];
    snprintf(why, sizeof why,
             "%" PRIu64 " of %" PRIu64
             " episodes, or their scores, were lost to failing machinery (limit %.0f %%); see "
             "the logs of actors and reward workers",
             c->stats.given_up, all, 100 * c->config.failure_limit);
    halt(c, why);
}

/* ---- handing out ---- */

/* The first open task of the earliest batch that has one. */
static work *next_open(core *c, batch **of)
{
    for (size_t i = 0; i < c->batches.len; i++) {
        batch *b = *of = c->batches.data[i];
        for (; b->open_from < b->n; b->open_from++)
            if (b->works[b->open_from].rollout.state == LEASE_OPEN) return &b->works[b->open_from];
    }
    return NULL;
}

/* The next episode without a score. Ids whose work has meanwhile been closed, or asked for, are passed over. */
static work *next_unscored(core *c)
{
    for (; c->unscored_from < c->unscored.len; c->unscored_from++) {
        batch *b;
        work *w = core_find_work(c, c->unscored.data[c->unscored_from], &b);
        if (w && w->episode && w->scoring.state == LEASE_OPEN) return w;
    }
    c->unscored_from = c->unscored.len = 0;
    return NULL;
}

/* What has been asked for goes from the front of the list, once that is most of it. */
static void forget_asked(core *c)
{
    if (c->unscored_from < COMPACT_FROM || 2 * c->unscored_from < c->unscored.len) return;
    c->unscored.len -= c->unscored_from;
    memmove(c->unscored.data, c->unscored.data + c->unscored_from, c->unscored.len * sizeof *c->unscored.data);
    c->unscored_from = 0;
}

/* Whom to ask first: not the one that has just lost this very work; not those that answered badly or not at all the
 * last time; work that was lost before rather goes to those that are known to answer. */
static int standing(const worker *p, const lease *l)
{
    const bool lost_before = l->holder != 0;
    int points = 0;
    if (p->peer != l->holder) points += 4;
    if (p->refused + p->lost == 0) points += 2;
    if (lost_before && p->proven) points += 1;
    return points;
}

/* Of the workers with room: `wish`, or the one of the best standing, or with most room. NULL: none. */
static worker *choose(core *c, bool actor, uint32_t wish, const lease *l)
{
    worker *best = NULL;
    int max = -1;
    for (size_t i = 0; i < c->workers.len; i++) {
        worker *p = &c->workers.data[i];
        if (p->actor != actor || p->slots == 0 || p->blocked) continue;
        const int points = standing(p, l) + (p->peer == wish ? 8 : 0);
        if (best && (points < max || (points == max && p->slots <= best->slots))) continue;
        best = p;
        max = points;
    }
    return best;
}

/* The samples of a prompt go to one actor while it has room: they share the prompt's cache. */
static uint32_t neighbour(const work *w)
{
    return w->task.sample > 0 && w->rollout.holder == 0 ? (w - 1)->rollout.holder : 0;
}

static void ask_score(core *c, uint32_t peer, const work *w)
{
    core_act(
        c, (action){ .kind = ASK_SCORE, .peer = peer, .task_id = w->task.id, .task = &w->task, .episode = w->episode });
}

/* Hands open tasks to actors, then episodes to reward workers, while there are both. A lease ends in core_episode or
 * core_score, or runs out in core_tick. */
static void hand_out(core *c, int64_t now_ms)
{
    batch *b;
    worker *p;
    for (work *w; !c->halted && (w = next_open(c, &b)) && (p = choose(c, true, neighbour(w), &w->rollout));) {
        p->slots--;
        lease_grant(&w->rollout, p->peer, now_ms + c->config.task_lease_ms,
                    now_ms + MAX_TASK_LEASES * c->config.task_lease_ms);
        core_act(c, (action){ .kind = SEND_TASK, .peer = p->peer, .task_id = w->task.id, .task = &w->task });
    }

    for (work *w; !c->halted && (w = next_unscored(c)) && (p = choose(c, false, 0, &w->scoring));) {
        p->slots--;
        const int64_t deadline_ms = now_ms + c->config.score_lease_ms;
        lease_grant(&w->scoring, p->peer, deadline_ms, deadline_ms);
        ask_score(c, p->peer, w);
    }

    forget_asked(c);
}

void core_settle(core *c, int64_t now_ms)
{
    core_close_batches(c);
    hand_out(c, now_ms);
}

/* ---- versions ---- */

/* An evaluation's episodes and failures are played again; so are repeated ones kept once. */
void core_restore(core *c, episode *e, score *s)
{
    work *w = xcalloc(1, sizeof *w);
    w->episode = e;
    w->score = s;
    if (e->eval || e->failed != FAIL_NONE || idmap_get(c->restored, e->id))
        core_free_restored(w);
    else
        idmap_set(c->restored, e->id, w);
}

void core_evaluate(core *c, int64_t version)
{
    if (scheduler_eval_size(&c->config.schedule) > 0) c->evaluate = version;
}

bool core_evaluating(const core *c) { return c->batches.len > 0 && c->batches.data[0]->eval; }

void core_version(core *c, int64_t now_ms, int64_t version, uint64_t hash)
{
    if (c->version < 0) c->opened = version; /* the first: a checkpoint's steps are done */
    c->version = version;
    core_known(c, version, hash);

    if (c->evaluate >= 0) core_open_batch(c, c->evaluate, true);
    c->evaluate = -1;

    while (c->opened < c->config.steps && c->opened + 1 <= version + 1 + c->config.schedule.max_staleness)
        core_open_batch(c, ++c->opened, false);

    core_settle(c, now_ms);
}

/* ---- workers ---- */

void core_peer_up(core *c, uint32_t peer, bool is_actor)
{
    vec_push(&c->workers, (worker){ .peer = peer, .actor = is_actor });
}

worker *core_worker(core *c, uint32_t peer)
{
    for (size_t i = 0; i < c->workers.len; i++)
        if (c->workers.data[i].peer == peer) return &c->workers.data[i];
    return NULL;
}

/* No worker holds more than all that a step and an evaluation can have open at once. */
static uint32_t max_slots(const core *c)
{
    const uint32_t step = scheduler_prompts(&c->config.schedule) * c->config.schedule.group;
    const uint32_t eval = scheduler_eval_size(&c->config.schedule);
    return step > eval ? step : eval;
}

void core_want(core *c, int64_t now_ms, uint32_t peer, uint32_t slots)
{
    worker *p = core_worker(c, peer);
    if (p) {
        const uint32_t room = max_slots(c) - p->slots;
        p->slots += slots < room ? slots : room;
    }
    core_settle(c, now_ms);
}

void core_room(core *c, int64_t now_ms, uint32_t peer)
{
    worker *p = core_worker(c, peer);
    if (p) p->blocked = false;
    core_settle(c, now_ms);
}

void core_reopen(batch *b, work *w)
{
    const uint32_t at = task_id_index(w->task.id);
    w->rollout.state = LEASE_OPEN;
    if (at < b->open_from) b->open_from = at;
}

void core_close_unscored(core *c, batch *b, work *w, score *s)
{
    s->n_values = 0;
    w->score = s;
    core_count_failure(c, true);
    core_act(c, (action){
                    .kind = COMMIT_SCORE, .task_id = w->task.id, .task = &w->task, .episode = w->episode, .score = s });
    core_close_work(c, b, w, false);
}

static score *lost_score(const work *w)
{
    score *s = xcalloc(1, sizeof *s);
    char why[120];
    snprintf(why, sizeof why, "gave up: %" PRIu32 " times the lease expired or the reward worker died", w->losses);
    *s = (score){ .task = w->task.id, .status = SCORE_MACHINE, .error = xstrdup(why) };
    return s;
}

static void reopen_score(core *c, work *w)
{
    w->scoring.state = LEASE_OPEN;
    vec_push(&c->unscored, w->task.id);
}

/* Work that takes its workers with it again and again is given up. A worker that never did anything well says nothing
 * about the work: whoever comes only to take tasks and to leave can't use up what a task may lose. */
void core_lose(core *c, batch *b, work *w, bool rollout, uint32_t peer)
{
    worker *p = core_worker(c, peer);
    c->stats.lost++;
    if (p) p->lost++;
    if (p && p->proven) w->losses++;

    const bool give_up = w->losses >= c->config.max_losses;
    if (rollout && give_up) {
        core_count_failure(c, true);
        core_close_work(c, b, w, true);
    } else if (rollout) {
        core_reopen(b, w);
    } else if (give_up) {
        core_close_unscored(c, b, w, lost_score(w));
    } else {
        reopen_score(c, w);
    }
}

static bool is_ended(const lease *l, uint32_t peer, int64_t now_ms)
{
    return peer ? lease_held_by(l, peer) : lease_expired(l, now_ms);
}

/* Ends all leases of `peer`, or (0) those that have run out. */
static void end_leases(core *c, uint32_t peer, int64_t now_ms)
{
    for (size_t i = 0; i < c->batches.len; i++) {
        batch *b = c->batches.data[i];
        for (uint32_t k = 0; k < b->n; k++) {
            work *w = &b->works[k];
            if (is_ended(&w->rollout, peer, now_ms))
                core_lose(c, b, w, true, w->rollout.holder);
            else if (is_ended(&w->scoring, peer, now_ms))
                core_lose(c, b, w, false, w->scoring.holder);
        }
    }
}

void core_release(core *c, uint32_t peer) { end_leases(c, peer, 0); }

void core_peer_down(core *c, uint32_t peer)
{
    end_leases(c, peer, 0);
    for (size_t i = 0; i < c->workers.len; i++)
        if (c->workers.data[i].peer == peer) c->workers.data[i--] = c->workers.data[--c->workers.len];
    core_close_batches(c);
}

/* It was handed out, and the wire had no room for it: the lease ends as if it had not been given, without a loss. */
void core_unsent(core *c, uint32_t peer, uint64_t id)
{
    batch *b;
    work *w = core_find_work(c, id, &b);
    worker *p = core_worker(c, peer);
    if (p) {
        p->blocked = true; /* until core_room */
        p->slots++;
    }
    if (w && lease_held_by(&w->rollout, peer)) core_reopen(b, w);
    if (w && lease_held_by(&w->scoring, peer)) reopen_score(c, w);
}

static void renew_leases(core *c, uint32_t peer, int64_t deadline_ms)
{
    for (size_t i = 0; i < c->batches.len; i++) {
        batch *b = c->batches.data[i];
        for (uint32_t k = 0; k < b->n; k++)
            if (lease_held_by(&b->works[k].rollout, peer)) lease_renew(&b->works[k].rollout, deadline_ms);
    }
}

/* All its tasks share the engine's steps, so that any token shows that none of them is forgotten. */
void core_progress(core *c, int64_t now_ms, uint32_t peer, uint64_t tokens)
{
    worker *p = core_worker(c, peer);
    if (!p || !p->actor || tokens <= p->tokens) return;
    p->tokens = tokens;
    renew_leases(c, peer, now_ms + c->config.task_lease_ms);
}

/* Where leases run out: the server calls it twice a second. */
void core_tick(core *c, int64_t now_ms)
{
    end_leases(c, 0, now_ms);
    core_settle(c, now_ms);
}

/* ---- statistics ---- */

core_stats core_statistics(const core *c)
{
    core_stats s = c->stats;
    for (size_t i = 0; i < c->batches.len; i++) {
        const batch *b = c->batches.data[i];
        for (uint32_t k = 0; k < b->n; k++) {
            const work *w = &b->works[k];
            s.in_flight += w->rollout.state == LEASE_HELD;
            s.waiting_scores += w->episode && !w->closed;
        }
    }
    return s;
}

int64_t core_open_tasks(const core *c)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->batches.len; i++) n += c->batches.data[i]->n - c->batches.data[i]->closed;
    return n;
}

void core_waiting_for(const core *c, char *out, size_t size)
{
    const core_stats s = core_statistics(c);
    size_t actors = 0;
    for (size_t i = 0; i < c->workers.len; i++) actors += c->workers.data[i].actor;
    snprintf(out, size,
             "%" PRId64 " episodes (%u being played, %u being scored) with %zu actors and %zu reward workers connected",
             core_open_tasks(c), s.in_flight, s.waiting_scores, actors, c->workers.len - actors);
}
