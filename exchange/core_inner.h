/* SPDX-License-Identifier: MIT */
/* core_inner - what the exchange's state machine is made of; private to exchange/core*.c.
 *
 *     core.c          the events: versions, workers, leases, ticks; handing out; actions
 *     core_answers.c  the events that answer: episodes and scores, and whether they are believed
 *     core_batches.c  the tasks of a step or an evaluation: opened, refilled, whole, handed over in order */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "exchange/core.h"

/* One task on its way: played, committed, scored, closed. */
typedef struct work {
    task task;
    lease rollout, scoring;
    episode *episode;
    score *score;
    uint32_t failures, scoring_attempts, losses; /* failures: of the machinery that plays it */
    bool closed;                                 /* counts as finished for its group: scored, or dropped */
    bool dropped;
} work;

/* The tasks of one step, or of one evaluation. */
typedef struct batch {
    int64_t step;
    bool eval;
    work *works;
    uint32_t n, room;           /* works there are, and there is room for */
    uint32_t open_from, closed; /* open_from: no open task before it */
    uint32_t rounds;            /* of refills */
    picked_row *rows;           /* a sampler's, or NULL */
} batch;

/* The rows of a step that is not open yet. */
typedef struct picked {
    int64_t step;
    picked_row *rows;
} picked;

typedef struct worker {
    uint32_t peer, slots;
    uint32_t refused, lost; /* answers refused, leases run out, since its last good answer */
    uint64_t tokens;        /* an actor's, as it last said */
    bool actor;
    bool proven;  /* has answered well */
    bool blocked; /* can't be sent anything for now */
} worker;

typedef struct known_version {
    int64_t version; /* -1: none */
    uint64_t hash;
} known_version;

struct core {
    core_config config;
    int64_t version, opened; /* published; last step whose tasks exist */
    int64_t evaluate;        /* version to be evaluated next; -1: none */
    vec(batch *) batches;    /* evaluations first, then in order of step */
    vec(batch *) over;       /* handed over, but actions still point into them: freed when those are done */
    vec(worker) workers;
    vec(picked) picked;
    vec(uint64_t) unscored; /* tasks in the order in which they were committed; some may have been asked since */
    size_t unscored_from;
    vec(action) actions;
    size_t next_action;
    idmap *restored;         /* task id -> work with episode (and score) */
    known_version *versions; /* [n_versions], a ring by version */
    int64_t n_versions;      /* more than open steps can refer to */
    core_stats stats;
    bool halted;
    char why[256];
};

/* ---- core.c ---- */

void core_act(core *c, action a);
/* Whether an episode is the task's: its names, and (where it did not fail) the run's limits, tokens that are proven by
 * known versions, and what the witness says. ERR_PARSE says what is not. */
int core_belongs(const core *c, const task *t, const episode *e, error *err);

/* After every event: what is complete leaves, what is open goes to whoever has room. */
void core_settle(core *c, int64_t now_ms);
/* A lease of `peer` ended without an answer. */
void core_lose(core *c, batch *b, work *w, bool rollout, uint32_t peer);
/* Asked in vain: the episode stays in its group, its score is missing, and that is on record. Takes s. */
void core_close_unscored(core *c, batch *b, work *w, score *s);
void core_release(core *c, uint32_t peer); /* all leases of it */
void core_count_failure(core *c, bool given_up);
void core_reopen(batch *b, work *w);
worker *core_worker(core *c, uint32_t peer);

/* ---- core_batches.c ---- */

void core_open_batch(core *c, int64_t step, bool eval);
/* What is whole leaves, steps in order; refills are opened. */
void core_close_batches(core *c);
void core_batch_free(batch *b);
/* The work of a task of an open batch; NULL: there is none. */
work *core_find_work(const core *c, uint64_t id, batch **of);
/* Counts as finished for its group: scored, or dropped. Once. */
void core_close_work(core *c, batch *b, work *w, bool dropped);
void core_free_restored(work *w);
