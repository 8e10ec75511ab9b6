/* SPDX-License-Identifier: MIT */
/* server - the socket side of the exchange: messages in, events to the core, actions out. Runs on the learner's I/O
 * thread.
 *
 * Complete steps go to the trainer through one bounded queue, new versions come back through another. */
#pragma once

#include "base/log.h"
#include "base/queue.h"
#include "exchange/core.h"
#include "exchange/store.h"
#include "proto/endpoint.h"
#include "proto/parcel.h"
#include "proto/weights.h"

/* A complete step (or evaluation), for the trainer: owns its groups. */
typedef struct step_batch {
    int64_t step;
    bool eval;
    group **groups;
    uint32_t n;
} step_batch;
void step_batch_free(step_batch *b);

/* A new version from the trainer: owns its file, until it is published. */
typedef struct new_version {
    int64_t version;
    uint64_t hash;
    int file;                  /* descriptor of the safetensors file (proto/weights.h); 0: none */
    bool evaluate;             /* before continuing */
    uint32_t groups, episodes; /* trained on; 0 for the first */
    picked_row *rows;          /* [n_rows, scheduler_prompts] of the steps from rows_from on; NULL without a sampler */
    int64_t rows_from;
    uint32_t n_rows;
} new_version;
void new_version_free(new_version *v);

typedef struct server_config {
    core_config core;
    const char *address, *run;
    int64_t heartbeat_ms, patience_ms;
    store *store;          /* borrowed */
    int64_t keep_episodes; /* of how many steps the store keeps the training episodes; 0: of all */
    queue *steps;          /* out: step_batch */
    queue *versions;       /* in: new_version */
    /* What a worker of each role plays with, for those that have no recipe; borrowed. NULL: none is given, and who
     * comes for it is sent away. */
    const parcel *for_actors, *for_rewards;
} server_config;

typedef struct server server;
server *server_new(loop *lp, const server_config *config, logger *lg, error *err);
void server_free(server *s); /* sends BYE to all peers */

/* A run continues from the checkpoint of `step` (0: from its start): episodes and scores the store has kept after it
 * are used again. Once, before the first version. */
int server_restore(server *s, int64_t step, error *err);

/* OK, or why the run can't continue (the failure limit, the database, no worker for too long). Call once a turn. */
int server_check(server *s, error *err);
/* The trainer is over: records the versions that it has handed out last. */
int server_finish(server *s, error *err);
/* True every ten seconds without a step: whom or what the run waits for, in a sentence. Call once a turn. */
bool server_reminder(server *s, char *out, size_t size);
core *server_core(server *s); /* for tests: the simulation judges its state */
typedef struct server_stats {
    core_stats core;
    int actors, reward_workers;
    uint64_t tokens;
    refusal_counts refused; /* of all that came over the wire */
} server_stats;
server_stats server_statistics(const server *s);
/* Appends the names of who is connected, a blank after each: "actor-1 reward-1 ". */
void server_peers(const server *s, str *out);
