/* SPDX-License-Identifier: MIT */
/* core - the exchange as a pure state machine: events and a time in, actions out. No socket, clock, thread or database,
 * so that thousands of histories of loss, doubling and death can be replayed in a test.
 *
 *     version v published -> tasks of the steps it allows are opened
 *     WANT(actor)         -> SEND_TASK, under a lease
 *     EPISODE             -> COMMIT_EPISODE, then SEND_ACK; the first one for a task counts, later ones are only acked
 *                            a failed machine: the task is opened again (attempt + 1), or dropped after max_attempts
 *     WANT(reward)        -> ASK_SCORE, under a lease
 *     SCORE               -> COMMIT_SCORE; a machine's failure is asked again, and the score is missing after
 *                            max_attempts
 *     all of an evaluation -> EVAL_READY
 *     all of a step closed -> STEP_READY, once, groups in order, steps in order, after the evaluation before it
 *
 * With refills (DAPO's dynamic sampling): when all of a step is closed and `signal` was the same for all episodes of
 * some groups, as many further prompts are opened, until prompts_per_step groups have a signal or the refills are used
 * up. Rounds begin when the one before is whole, so they depend on what was played and not on when it arrived.
 *
 * A lease ends with its deadline or with its holder; the work is then handed out again, up to max_losses times. Only an
 * answer of a worker that was given the task counts: episodes of others are neither used nor acknowledged (an actor
 * that the exchange has forgotten keeps its episode until the task is asked of it again), scores of others are dropped.
 * What an episode or a score says is held against the run's limits (limits.h), and an episode played again as it is
 * recorded, where there is a witness (core_witness). One that is beyond them, or can't be read, ends its lease at once:
 * the fault is its sender's and not the task's, so no attempt is used up; after MAX_REFUSED_IN_A_ROW of them the sender
 * is dismissed.
 *
 * A step's tasks are opened when version >= step - 1 - max_staleness, so no token can be staler than that. With a lag
 * (max_staleness is at least that) a step becomes ready only when the one `lag` behind it is whole, so every token is
 * exactly so stale, and a run with stale data repeats to the bit: that is for experiments. An evaluation needs actors
 * on its version: while core_evaluating says so, the next version is to be held back. */
#pragma once

#include "exchange/lease.h"
#include "exchange/limits.h"
#include "exchange/scheduler.h"
#include "rollout/group.h"

typedef struct core core;

/* Who can tell more of an episode than its limits: OK, or ERR_PARSE and what is not as it should be. Asked of episodes
 * that did not fail, and of those whose prompt can't be made (FAIL_PROMPT). */
typedef struct core_witness {
    int (*check)(void *ctx, const task *t, const episode *e, error *err);
    void *ctx;
} core_witness;

typedef struct core_config {
    scheduler_config schedule;
    int64_t steps;
    int64_t task_lease_ms, score_lease_ms; /* 0: 120 s, 60 s */
    uint32_t max_attempts;                 /* of a task whose machinery fails; 0: 3 */
    uint32_t max_losses;                   /* leases that may end without an answer, a task; 0: 10 */
    double failure_limit;                  /* share of work that is given up at which the run halts; 0: 0.05 */
    limits limits;                         /* what episodes are held against */
    core_witness witness;                  /* checks each episode as well; its `check` NULL: no further check */
    const char *signal;                    /* objective that schedule.refills looks at; borrowed */
} core_config;

typedef enum action_kind {
    SEND_TASK,
    SEND_ACK,
    ASK_SCORE,
    COMMIT_EPISODE,
    COMMIT_SCORE,
    STEP_READY,
    EVAL_READY,
    REFUSE,  /* what `peer` sent counts for nothing; said: why. Only to be counted and told */
    DISMISS, /* too many of its answers in a row were refused: `peer` is to leave */
    HALT
} action_kind;

/* Why something was refused: how it is counted. */
typedef enum refused_as { REFUSED_EPISODE, REFUSED_SCORE, REFUSED_UNASKED } refused_as;

/* Pointers are borrowed until the next event, but for groups: they are the caller's. */
typedef struct action {
    action_kind kind;
    uint32_t peer;
    uint64_t task_id;
    const task *task;
    const episode *episode;
    const score *score;
    int64_t step;   /* of STEP_READY, version of EVAL_READY */
    group **groups; /* [n_groups], owned by the receiver, array too */
    uint32_t n_groups;
    const char *why; /* HALT */
    refused_as refused;
    char said[200]; /* REFUSE, DISMISS: a sentence */
} action;

enum { MAX_REFUSED_IN_A_ROW = 3 };

typedef struct core_stats {
    uint64_t episodes, failed, retried, dropped, refused, repeated; /* of episodes */
    uint64_t unasked;                                               /* episodes and scores of who was not given them */
    uint64_t lost, groups_dropped; /* leases without an answer; groups with too few episodes left */
    uint64_t refilled;             /* prompts opened in place of others without signal */
    uint64_t scores, score_scripts, score_machines, scores_refused;
    uint64_t given_up;   /* work that machines failed for good */
    uint64_t unplayable; /* episodes whose prompt could not be made, or doesn't fit */
    uint32_t in_flight, waiting_scores;
    char failure[160]; /* what the last failed episode said of itself; "" */
} core_stats;

core *core_new(const core_config *config);
void core_free(core *c);

/* Before the first event: what a store has kept. An episode (and its score, or NULL) is taken; it is used when its step
 * is behind the version that is published first and its tokens are proven by known versions, and freed otherwise. A
 * version is known by core_known, of an earlier life, or by core_version. */
void core_restore(core *c, episode *e, score *s);
void core_known(core *c, int64_t version, uint64_t hash);

/* The rows of a step that is not open yet, scheduler_prompts of them, copied; without them its rows come in turn. */
void core_rows(core *c, int64_t step, const picked_row *rows);

/* A policy version exists: v steps are done. hash: of its weights; tokens that claim v must carry it. The first one may
 * be a checkpoint's; each later one is the next. */
void core_version(core *c, int64_t now_ms, int64_t version, uint64_t hash);
void core_evaluate(core *c, int64_t version); /* before the core_version of it */
bool core_evaluating(const core *c);
void core_peer_up(core *c, uint32_t peer, bool is_actor);
void core_peer_down(core *c, uint32_t peer);
void core_want(core *c, int64_t now_ms, uint32_t peer, uint32_t slots); /* so many more than before */
void core_episode(core *c, int64_t now_ms, uint32_t peer, episode *e);  /* takes e */
void core_score(core *c, int64_t now_ms, uint32_t peer, score *s);      /* takes s */
/* An EPISODE or SCORE of `peer` that can't be read: about task `id`, or, where not even that could be read (0), about
 * any of those it holds. */
void core_unreadable(core *c, int64_t now_ms, uint32_t peer, uint64_t id);
/* The SEND_TASK or ASK_SCORE of `id` could not be sent: the work is open again, and `peer` is given nothing until
 * core_room. */
void core_unsent(core *c, uint32_t peer, uint64_t id);
void core_room(core *c, int64_t now_ms, uint32_t peer);
/* Actor `peer` has computed so many tokens since it came. Where they have grown, its leases begin anew, up to eight
 * leases after they were granted: a slow machine's episodes are not played a second time by others. */
void core_progress(core *c, int64_t now_ms, uint32_t peer, uint64_t tokens);
void core_tick(core *c, int64_t now_ms);

/* What is to be done because of the events so far, in order. False: nothing more. */
bool core_next_action(core *c, action *out);
core_stats core_statistics(const core *c);
int64_t core_open_tasks(const core *c);
/* Who or what the run waits for, in a sentence: "24 episodes of step 7 with actor peers; 3 scores". */
void core_waiting_for(const core *c, char *out, size_t size);
