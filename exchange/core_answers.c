/* SPDX-License-Identifier: MIT */
/* The events of the exchange's state machine that answer something: an episode, a score, bytes that can't be read.
 * What is believed is committed and acked; what is not is counted against its sender. How the files share core:
 * core_inner.h.
 *
 * The order matters: whether the sender may answer at all, then whether the answer is the machine's failure, then
 * whether it can be true. Only the last costs the sender its lease as a fault of its own. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "exchange/core_inner.h"

/* ---- who sampled what ---- */

void core_known(core *c, int64_t version, uint64_t hash)
{
    c->versions[version % c->n_versions] = (known_version){ version, hash };
}

/* Every sampled token must come from a version the task allows, and with the weights that version had. */
static int versions_proven(const core *c, const task *t, const episode *e, error *err)
{
    for (uint32_t i = 0; i < e->tokens.n_segments; i++) {
        const segment *s = &e->tokens.segments[i];
        const known_version *k = &c->versions[(uint64_t)s->version % (uint64_t)c->n_versions];
        if (s->version < t->min_version || s->version > t->max_version)
            return error_set(err, ERR_PARSE,
                             "tokens sampled by policy version %" PRId64 " (the task allows %" PRId64 " to %" PRId64
                             ")",
                             s->version, t->min_version, t->max_version);

        if (k->version != s->version)
            return error_set(err, ERR_PARSE, "tokens sampled by policy version %" PRId64 ", which was never published",
                             s->version);
        if (k->hash != s->weight_hash)
            return error_set(err, ERR_PARSE,
                             "tokens sampled by policy version %" PRId64 " with weights %016" PRIx64
                             " (published were %016" PRIx64 ")",
                             s->version, s->weight_hash, k->hash);
    }
    return OK;
}

static bool names_match(const task *t, const episode *e)
{
    return e->id == t->id && e->group == t->group && e->sample == t->sample && e->step == t->step &&
           e->eval == t->eval && e->prompt_id == t->prompt_id && e->template_id == t->template_id;
}

int core_belongs(const core *c, const task *t, const episode *e, error *err)
{
    if (!names_match(t, e)) return error_set(err, ERR_PARSE, "its step, group, sample or prompt is not the task's");

    const bool played = e->failed == FAIL_NONE;
    int rc = played ? limits_episode(&c->config.limits, t, e, err) : episode_check(e, 0, err);
    if (rc == OK && played) rc = versions_proven(c, t, e, err);
    if (rc != OK) return rc;

    /* Last, since it costs most: it is played again. Failures other than the prompt's are only counted. */
    const core_witness *w = &c->config.witness;
    const bool can_tell = w->check && (played || e->failed == FAIL_PROMPT);
    return can_tell ? w->check(w->ctx, t, e, err) : OK;
}

/* ---- what is refused ---- */

__attribute__((format(printf, 5, 6))) static void refuse(core *c, refused_as as, uint32_t peer, uint64_t id,
                                                         const char *fmt, ...)
{
    action a = { .kind = REFUSE, .refused = as, .peer = peer, .task_id = id };
    va_list args;
    va_start(args, fmt);
    vsnprintf(a.said, sizeof a.said, fmt, args);
    va_end(args);
    core_act(c, a);
}

/* Its sender may be of another build, or not one of ours: it is not asked for ever. */
static void count_against(core *c, uint32_t peer, const char *why)
{
    worker *p = core_worker(c, peer);
    if (!p || ++p->refused != MAX_REFUSED_IN_A_ROW) return;
    action a = { .kind = DISMISS, .peer = peer };
    snprintf(a.said, sizeof a.said, "%d of its answers in a row were refused; the last: %.130s", MAX_REFUSED_IN_A_ROW,
             why);
    core_act(c, a);
}

/* Its answer was believed: what it did badly before was an accident. */
static void count_for(core *c, uint32_t peer)
{
    worker *p = core_worker(c, peer);
    if (!p) return;
    p->refused = p->lost = 0;
    p->proven = true;
}

/* ---- episodes ---- */

static void accept_episode(core *c, work *w, episode *e)
{
    c->stats.episodes++;
    w->episode = e;
    w->rollout.state = LEASE_DONE;
    vec_push(&c->unscored, w->task.id);
    core_act(c, (action){ .kind = COMMIT_EPISODE, .task_id = w->task.id, .task = &w->task, .episode = e });
}

/* The machinery of whoever played it failed: play it again, or give it up. */
static void fail_episode(core *c, batch *b, work *w, uint32_t peer)
{
    worker *p = core_worker(c, peer);
    if (p) p->lost++;
    const bool given_up = ++w->failures >= c->config.max_attempts;
    core_count_failure(c, given_up);
    w->task.attempt++;
    if (given_up) {
        core_close_work(c, b, w, true);
        return;
    }
    c->stats.retried++;
    core_reopen(b, w);
}

/* A prompt that can't be made, or doesn't fit, is no machine's failure and would be the same again: the row is left
 * out, without another try and without a say in whether the machines are fit. */
static void give_up_prompt(core *c, batch *b, work *w)
{
    c->stats.unplayable++;
    core_close_work(c, b, w, true);
}

/* What came is no episode of this run. The task is as good as before: it is played again under another number, so that
 * the same failure report can't end its lease twice. */
static void refuse_episode(core *c, batch *b, work *w, uint32_t peer, const char *why)
{
    c->stats.refused++;
    if (lease_held_by(&w->rollout, peer)) {
        w->task.attempt++;
        core_lose(c, b, w, true, peer);
    }
    count_against(c, peer, why);
}

/* False: it is not taken. A failure report counts against the attempt it names, once, however often it is sent. */
static bool judge_episode(core *c, batch *b, work *w, uint32_t peer, episode *e)
{
    error err = { 0 };
    const bool fits = core_belongs(c, &w->task, e, &err) == OK;
    if (fits && e->failed == FAIL_NONE) {
        accept_episode(c, w, e);
        count_for(c, peer);
        return true;
    }

    if (e->attempt != w->task.attempt) {
        c->stats.repeated++;
    } else if (fits) {
        snprintf(c->stats.failure, sizeof c->stats.failure, "%s", e->failure_text ? e->failure_text : "");
        if (e->failed == FAIL_PROMPT)
            give_up_prompt(c, b, w);
        else
            fail_episode(c, b, w, peer);
    } else {
        refuse(c, REFUSED_EPISODE, peer, e->id, "an episode for task %016" PRIx64 ": %s", e->id, err.text);
        refuse_episode(c, b, w, peer, err.text);
    }
    return false;
}

/* Of a step, or a refill, that an earlier life had opened and this one hasn't yet: not to be acknowledged, since it is
 * kept nowhere; its actor keeps it until the task is asked for again. */
static bool is_early(const core *c, uint64_t id)
{
    if (task_id_step(id) > (task_id_eval(id) ? c->version : c->opened)) return true;
    for (size_t i = 0; i < c->batches.len; i++) {
        const batch *b = c->batches.data[i];
        if (b->eval == task_id_eval(id) && b->step == task_id_step(id))
            return task_id_index(id) >= b->n && task_id_index(id) < b->room;
    }
    return false;
}

void core_episode(core *c, int64_t now_ms, uint32_t peer, episode *e)
{
    const uint64_t id = e->id;
    if (is_early(c, id)) {
        episode_free(e);
        return;
    }

    batch *b = NULL;
    work *w = core_find_work(c, id, &b);
    const bool over = !w || w->rollout.state == LEASE_DONE; /* of a step that is done with, or delivered twice */
    if (!over && !lease_was_granted(&w->rollout, peer)) { /* of an earlier life, or made up: nothing is acknowledged */
        c->stats.unasked++;
        refuse(c, REFUSED_UNASKED, peer, id, "an episode for task %016" PRIx64 ", which was not assigned to it", id);
        episode_free(e);
        return;
    }

    c->stats.repeated += over;
    if (over || !judge_episode(c, b, w, peer, e)) episode_free(e);
    core_act(c, (action){ .kind = SEND_ACK, .peer = peer, .task_id = id });
    core_settle(c, now_ms);
}

/* ---- scores ---- */

static void accept_score(core *c, batch *b, work *w, score *s)
{
    c->stats.scores++;
    c->stats.score_scripts += s->status == SCORE_SCRIPT;
    w->score = s;
    core_act(c, (action){
                    .kind = COMMIT_SCORE, .task_id = w->task.id, .task = &w->task, .episode = w->episode, .score = s });
    core_close_work(c, b, w, false);
}

/* A reward worker's machinery failed: another one is asked, or there is no score. Takes the score. */
static void fail_score(core *c, batch *b, work *w, score *s)
{
    c->stats.score_machines++;
    if (++w->scoring_attempts >= c->config.max_attempts) {
        core_close_unscored(c, b, w, s);
        return;
    }
    score_free(s);
    w->scoring.state = LEASE_OPEN;
    vec_push(&c->unscored, w->task.id);
}

static void refuse_score(core *c, batch *b, work *w, uint32_t peer, const char *why)
{
    c->stats.scores_refused++;
    if (lease_held_by(&w->scoring, peer)) core_lose(c, b, w, false, peer);
    count_against(c, peer, why);
}

static void judge_score(core *c, batch *b, work *w, uint32_t peer, score *s)
{
    error err = { 0 };

    if (limits_score(w->episode, s, &err) != OK) {
        refuse(c, REFUSED_SCORE, peer, s->task, "a score for task %016" PRIx64 ": %s", s->task, err.text);
        refuse_score(c, b, w, peer, err.text);
        score_free(s);
    } else if (s->status != SCORE_MACHINE) {
        accept_score(c, b, w, s);
        count_for(c, peer);
    } else if (lease_held_by(&w->scoring, peer)) {
        fail_score(c, b, w, s);
    } else {
        score_free(s); /* a failure report about a lease that has ended already */
    }
}

/* Only the last who was asked is heard: an answer may be to a question of an earlier life, about another episode. */
void core_score(core *c, int64_t now_ms, uint32_t peer, score *s)
{
    batch *b = NULL;
    work *w = core_find_work(c, s->task, &b);
    if (w && w->episode && !w->closed && w->scoring.holder == peer) {
        judge_score(c, b, w, peer, s);
    } else {
        c->stats.unasked++;
        refuse(c, REFUSED_UNASKED, peer, s->task, "a score for task %016" PRIx64 ", which was not assigned to it",
               s->task);
        score_free(s);
    }
    core_settle(c, now_ms);
}

/* ---- neither ---- */

static const char UNREADABLE[] = "a malformed answer";

/* Bytes that name no work of the sender's may be an answer to any of its work: all of it goes to others. */
void core_unreadable(core *c, int64_t now_ms, uint32_t peer, uint64_t id)
{
    batch *b = NULL;
    work *w = core_find_work(c, id, &b);

    if (w && lease_held_by(&w->rollout, peer)) {
        refuse_episode(c, b, w, peer, UNREADABLE);
        core_act(c, (action){ .kind = SEND_ACK, .peer = peer, .task_id = id }); /* it is not to send it again */
    } else if (w && w->episode && lease_held_by(&w->scoring, peer)) {
        refuse_score(c, b, w, peer, UNREADABLE);
    } else {
        core_release(c, peer);
        count_against(c, peer, UNREADABLE);
    }

    core_settle(c, now_ms);
}
