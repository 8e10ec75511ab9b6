/* SPDX-License-Identifier: MIT */
/* world - actors, reward workers and a trainer in a world where everything that can go wrong does, around an exchange
 * that is under test: thousands of short histories, each from a seed.
 *
 * Connections break and take what is under way with them; messages come twice, late and in any order; actors, reward
 * workers and tools die; strangers forge what they were not asked, and actors what they were; the exchange itself is
 * killed and comes back with what it had committed, its training from a checkpoint that may lie behind, with weights
 * that differ from those of the life before. Whatever happens, each step becomes ready once, in order, with the very
 * episodes that a calm run has; nothing is acknowledged that is not kept; no token is staler than allowed, or of
 * weights that the run no longer has; and the run ends.
 *
 * The exchange is what `subject` makes of it: the core alone (test_sim_exchange.c), or the server with its core and a
 * real database (test_sim_server.c).
 *
 *     SIM_SEED=17 PROGRAM      plays one history again        SIM_RUNS=20000 PROGRAM      plays more of them */
#pragma once

#include "base/vec.h"
#include "exchange/core.h"
#include "tests/support/support.h"

/* REFILLED: of three groups one has no signal, of the group in its place none, then one has. */
enum { STEPS = 4, PROMPTS = 3, GROUP = 4, EVALS = 5, REFILLS = 2, REFILLED = 2, ACTORS = 3, JUDGES = 2, SLOTS = 5 };
enum { VOCAB = 50, MAX_SAMPLED = 6, LEASE_MS = 900, TICK_MS = 100, EVAL_EVERY = 2 };

typedef struct event event;
typedef struct played played;

typedef struct client {
    uint32_t peer;
    bool actor;
    vec(played) unacked; /* played, not acknowledged */
} client;

typedef struct world world;

/* The exchange under test. */
typedef struct subject {
    void (*open)(world *w, int64_t from); /* a new one, with what the one before has kept after step `from` */
    void (*close)(world *w);              /* without a word: what is not committed is lost */
    void (*end)(world *w);                /* what it has kept goes, too */
    void (*publish)(world *w, int64_t version, bool evaluate); /* with weights w->weights[version] */
    void (*peer)(world *w, const client *c, bool up);
    void (*want)(world *w, uint32_t peer, uint32_t slots);
    void (*episode)(world *w, uint32_t peer, episode *e); /* takes e */
    void (*score)(world *w, uint32_t peer, score *s);     /* takes s */
    void (*progress)(world *w, uint32_t peer, uint64_t tokens);
    void (*tick)(world *w);
    bool (*settle)(world *w);                  /* does what follows from all this; true: it was killed on the way */
    bool (*has_kept)(world *w, uint64_t task); /* an episode of this task is committed */
    core *(*core)(world *w);
} subject;

struct world {
    test_random rnd;
    uint64_t seed;
    bool rough, sampled; /* sampled: a sampler picks the rows */
    int64_t now, max_staleness;
    int64_t told; /* the last step whose rows the exchange was told */
    const subject *subject;
    void *exchange; /* the subject's own */
    core_config config;
    vec(event) events;
    client clients[ACTORS + JUDGES];
    uint32_t next_peer;
    int64_t version, ready; /* trained; last step that became ready */
    uint64_t weights[STEPS + 1];
    int lies;         /* forged episodes of who was given the task, in the last event, not refused yet */
    uint64_t arrived; /* a good episode of an open step, as the last event; 0: none */
    int evals_ready, crashes_left, life;
    uint64_t failed_plays; /* in this life */
    uint64_t content[STEPS + 1];
};

/* ---- for tests ---- */

typedef struct manner {
    int64_t max_staleness, lag;
    uint32_t refills;
    bool sampled;
} manner;

/* SIM_RUNS (or `runs`) rough histories, each compared with a calm one; fails the test at the first that is not as it
 * should be. */
void rough_histories(const subject *under_test, manner m, uint64_t runs);

/* ---- for subjects ---- */

bool world_chance(world *w, double p); /* never in a calm world */
const picked_row *world_rows(int64_t step, picked_row rows[PROMPTS * (1 + REFILLS)]);
void world_send_task(world *w, uint32_t peer, const task *t);
void world_ask_score(world *w, uint32_t peer, uint64_t task);
void world_send_ack(world *w, uint32_t peer, uint64_t task);
/* Steps and evaluations that became ready; groups stay the caller's. */
void world_step(world *w, int64_t step, group **groups, uint32_t n);
void world_eval(world *w, int64_t version);
void world_refused(world *w, refused_as as, const char *said);
/* What has happened to be kept: the episode as it was, and a score, or NULL. */
episode *world_episode(const world *w, uint64_t task, int64_t version, uint64_t weights);
score *world_score(const world *w, uint64_t task);
