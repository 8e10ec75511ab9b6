#include "exchange/core_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TASK_LEASE_MS = 120000, DEFAULT_SCORE_LEASE_MS = 60000, DEFAULT_ATTEMPTS = 3, DEFAULT_LOSSES = 10 };
enum { MIN_EPISODES_FOR_LIMIT = 40, MAX_SLOTS = 1 << 20, COMPACT_FROM = 1024 };

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

/* Work that is given up because machines failed, against all work: above the limit the run is not worth its time. */
static void count_failure(core *c)
{
    const uint64_t all = ++c->stats.failed + c->stats.episodes;
    if (all < MIN_EPISODES_FOR_LIMIT || (double)c->stats.failed <= c->config.failure_limit * (double)all) return;
    char why[200];
    snprintf(why, sizeof why,
             "%" PRIu64 " of %" PRIu64
             " episodes, or their scores, were lost to failing machinery (limit %.0f %%); see "
             "the logs of actors and reward workers",
             c->stats.failed, all, 100 * c->config.failure_limit);
    halt(c, why);
}

/* ---- who sampled what ---- */

void core_known(core *c, int64_t version, uint64_t hash)
{
    c->versions[version % c->n_versions] = (known_version){ version, hash };
}

/* Every sampled token must come from a version the task allows, and with the weights that version had. */
static bool versions_proven(const core *c, const task *t, const episode *e)
{
    for (uint32_t i = 0; i < e->tokens.n_segments; i++) {
        const segment *s = &e->tokens.segments[i];
        const known_version *k = &c->versions[s->version % c->n_versions];
        if (s->version < t->min_version || s->version > t->max_version) return false;
        if (k->version != s->version || k->hash != s->weight_hash) return false;
    }
    return true;
}

bool core_belongs(const core *c, const task *t, const episode *e)
{
    return e->id == t->id && e->group == t->group && e->sample == t->sample && e->step == t->step &&
           e->eval == t->eval && e->prompt_id == t->prompt_id && e->n_shots == t->n_shots &&
           e->template_id == t->template_id && episode_check(e, c->config.vocab, NULL) == OK &&
           versions_proven(c, t, e);
}

/* ---- handing out ---- */

static work *next_open(core *c, batch **of)
{
    for (size_t i = 0; i < c->batches.len; i++) {
        batch *b = *of = c->batches.data[i];
        for (; b->open_from < b->n; b->open_from++)
            if (b->works[b->open_from].play.state == LEASE_OPEN) return &b->works[b->open_from];
    }
    return NULL;
}

static work *next_unscored(core *c)
{
    for (; c->unscored_from < c->unscored.len; c->unscored_from++) {
        batch *b;
        work *w = core_find_work(c, c->unscored.data[c->unscored_from], &b);
        if (w && w->episode && w->judge.state == LEASE_OPEN) return w;
    }
    c->unscored_from = c->unscored.len = 0;
    return NULL;
}

static void forget_asked(core *c)
{
    if (c->unscored_from < COMPACT_FROM || 2 * c->unscored_from < c->unscored.len) return;
    c->unscored.len -= c->unscored_from;
    memmove(c->unscored.data, c->unscored.data + c->unscored_from, c->unscored.len * sizeof *c->unscored.data);
    c->unscored_from = 0;
}

/* Of the workers with room: `wish`, or whoever has most of it; `avoid` only when nobody else is there. 0: nobody. */
static worker *choose(core *c, bool actor, uint32_t wish, uint32_t avoid)
{
    worker *best = NULL;
    for (size_t i = 0; i < c->workers.len; i++) {
        worker *p = &c->workers.data[i];
        if (p->actor != actor || p->slots == 0) continue;
        if (p->peer == wish && p->peer != avoid) return p;
        const bool other = p->peer != avoid, best_other = best && best->peer != avoid;
        if (!best || other > best_other || (other == best_other && p->slots > best->slots)) best = p;
    }
    return best;
}

/* The samples of a prompt go to one actor while it has room: they share the prompt's cache. */
static uint32_t neighbour(const work *w) { return w->task.sample > 0 ? (w - 1)->play.holder : 0; }

static void hand_out(core *c, int64_t now_ms)
{
    batch *b;
    worker *p;
    for (work *w; !c->halted && (w = next_open(c, &b)) && (p = choose(c, true, neighbour(w), w->play.holder));) {
        p->slots--;
        lease_grant(&w->play, p->peer, now_ms + c->config.task_lease_ms);
        core_act(c, (action){ .kind = SEND_TASK, .peer = p->peer, .task_id = w->task.id, .task = &w->task });
    }
    for (work *w; !c->halted && (w = next_unscored(c)) && (p = choose(c, false, 0, w->judge.holder));) {
        p->slots--;
        lease_grant(&w->judge, p->peer, now_ms + c->config.score_lease_ms);
        core_act(
            c,
            (action){
                .kind = ASK_SCORE, .peer = p->peer, .task_id = w->task.id, .task = &w->task, .episode = w->episode });
    }
    forget_asked(c);
}

/* After every event: what is complete leaves, what is open goes to whoever has room. */
static void settle(core *c, int64_t now_ms)
{
    core_close_batches(c);
    hand_out(c, now_ms);
}

/* ---- versions ---- */

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
    settle(c, now_ms);
}

/* ---- workers ---- */

void core_peer_up(core *c, uint32_t peer, bool is_actor)
{
    vec_push(&c->workers, (worker){ .peer = peer, .actor = is_actor });
}

void core_want(core *c, int64_t now_ms, uint32_t peer, uint32_t slots)
{
    for (size_t i = 0; i < c->workers.len; i++) {
        worker *p = &c->workers.data[i];
        if (p->peer != peer) continue;
        const uint32_t room = MAX_SLOTS - p->slots;
        p->slots += slots < room ? slots : room;
    }
    settle(c, now_ms);
}

static void reopen(batch *b, work *w)
{
    const uint32_t at = task_id_index(w->task.id);
    w->play.state = LEASE_OPEN;
    if (at < b->open_from) b->open_from = at;
}

/* Asked in vain: the episode stays in its group, its score is missing, and that is on record. */
static void close_unscored(core *c, batch *b, work *w, score *s)
{
    s->n_values = 0;
    w->score = s;
    count_failure(c);
    core_act(c, (action){
                    .kind = COMMIT_SCORE, .task_id = w->task.id, .task = &w->task, .episode = w->episode, .score = s });
    core_close_work(c, b, w, false);
}

static score *lost_score(const work *w)
{
    score *s = xcalloc(1, sizeof *s);
    char why[120];
    snprintf(why, sizeof why, "%" PRIu32 " times nobody answered who was asked to play or to score it", w->losses);
    *s = (score){ .task = w->task.id, .status = SCORE_MACHINE, .error = xstrdup(why) };
    return s;
}

/* A lease ended without an answer. Work that takes its workers with it again and again is given up. */
static void lose(core *c, batch *b, work *w, bool play)
{
    const bool give_up = ++w->losses >= c->config.max_losses;
    c->stats.lost++;
    if (play && give_up) {
        count_failure(c);
        core_close_work(c, b, w, true);
    } else if (play) {
        reopen(b, w);
    } else if (give_up) {
        close_unscored(c, b, w, lost_score(w));
    } else {
        w->judge.state = LEASE_OPEN;
        vec_push(&c->unscored, w->task.id);
    }
}

void core_peer_down(core *c, uint32_t peer)
{
    for (size_t i = 0; i < c->workers.len; i++)
        if (c->workers.data[i].peer == peer) c->workers.data[i--] = c->workers.data[--c->workers.len];
    for (size_t i = 0; i < c->batches.len; i++)
        for (uint32_t k = 0; k < c->batches.data[i]->n; k++) {
            work *w = &c->batches.data[i]->works[k];
            if (lease_held_by(&w->play, peer))
                lose(c, c->batches.data[i], w, true);
            else if (lease_held_by(&w->judge, peer))
                lose(c, c->batches.data[i], w, false);
        }
    core_close_batches(c);
}

void core_tick(core *c, int64_t now_ms)
{
    for (size_t i = 0; i < c->batches.len; i++)
        for (uint32_t k = 0; k < c->batches.data[i]->n; k++) {
            work *w = &c->batches.data[i]->works[k];
            if (lease_expired(&w->play, now_ms))
                lose(c, c->batches.data[i], w, true);
            else if (lease_expired(&w->judge, now_ms))
                lose(c, c->batches.data[i], w, false);
        }
    settle(c, now_ms);
}

/* ---- episodes and scores ---- */

/* A machine failed, or what came can't be trained on: play it again, or give it up. */
static void try_again(core *c, batch *b, work *w)
{
    if (++w->task.attempt >= c->config.max_attempts) {
        core_close_work(c, b, w, true);
        return;
    }
    c->stats.retried++;
    reopen(b, w);
}

static void accept_episode(core *c, work *w, episode *e)
{
    c->stats.episodes++;
    w->episode = e;
    w->play.state = LEASE_DONE;
    vec_push(&c->unscored, w->task.id);
    core_act(c, (action){ .kind = COMMIT_EPISODE, .task_id = w->task.id, .task = &w->task, .episode = e });
}

/* False: nobody takes it. Bad news counts against the attempt it speaks of, once, however often it is sent. */
static bool judge_episode(core *c, batch *b, work *w, episode *e)
{
    const bool fits = core_belongs(c, &w->task, e);
    if (fits && e->failed == FAIL_NONE) {
        accept_episode(c, w, e);
        return true;
    }
    if (e->attempt != w->task.attempt) {
        c->stats.repeated++;
        return false;
    }
    if (fits)
        count_failure(c);
    else
        c->stats.refused++;
    try_again(c, b, w);
    return false;
}

/* Of a refill that an earlier life had opened and this one hasn't yet: not to be acknowledged, since it is kept
 * nowhere; its actor keeps it until the task is asked for again. */
static bool is_early(const core *c, uint64_t id)
{
    for (size_t i = 0; i < c->batches.len; i++) {
        const batch *b = c->batches.data[i];
        if (b->eval == task_id_eval(id) && b->step == task_id_step(id))
            return task_id_index(id) >= b->n && task_id_index(id) < b->room;
    }
    return false;
}

void core_episode(core *c, int64_t now_ms, uint32_t peer, episode *e)
{
    batch *b = NULL;
    work *w = core_find_work(c, e->id, &b);
    const uint64_t id = e->id;
    if (is_early(c, id)) {
        episode_free(e);
        return;
    }
    const bool over = !w || w->play.state == LEASE_DONE; /* of a step that is done with, or delivered twice */
    c->stats.repeated += over;
    if (over || !judge_episode(c, b, w, e)) episode_free(e);
    core_act(c, (action){ .kind = SEND_ACK, .peer = peer, .task_id = id });
    settle(c, now_ms);
}

static void take_score(core *c, batch *b, work *w, score *s)
{
    if (s->status != SCORE_MACHINE) {
        c->stats.scores++;
        c->stats.score_scripts += s->status == SCORE_SCRIPT;
        w->score = s;
        core_act(
            c, (action){
                   .kind = COMMIT_SCORE, .task_id = w->task.id, .task = &w->task, .episode = w->episode, .score = s });
        core_close_work(c, b, w, false);
        return;
    }
    c->stats.score_machines++;
    if (++w->judge_attempts >= c->config.max_attempts) {
        close_unscored(c, b, w, s);
        return;
    }
    score_free(s);
    w->judge.state = LEASE_OPEN;
    vec_push(&c->unscored, w->task.id);
}

/* Only the last who was asked is heard: an answer may be to a question of an earlier life, about another episode. */
void core_score(core *c, int64_t now_ms, uint32_t peer, score *s)
{
    batch *b = NULL;
    work *w = core_find_work(c, s->task, &b);
    if (w && w->episode && !w->closed && w->judge.holder == peer)
        take_score(c, b, w, s);
    else
        score_free(s);
    settle(c, now_ms);
}

/* ---- what there is to see ---- */

core_stats core_statistics(const core *c)
{
    core_stats s = c->stats;
    for (size_t i = 0; i < c->batches.len; i++)
        for (uint32_t k = 0; k < c->batches.data[i]->n; k++) {
            const work *w = &c->batches.data[i]->works[k];
            s.in_flight += w->play.state == LEASE_HELD;
            s.waiting_scores += w->episode && !w->closed;
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
