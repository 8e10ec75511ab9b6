/* SPDX-License-Identifier: MIT */
/* actor - the worker process: leases in, episodes out, weights switched between tokens.
 *
 * One thread: `loop_once(wait)`, then `rollouts_step`, which may take seconds: heartbeats continue between its pieces.
 * Episodes are kept and sent again until they are acked; tasks are asked for while there is room; new weights are
 * mapped (same host) or fetched, verified by hash, and switched to between two tokens: in synchronous mode that means
 * between two steps. */
#pragma once

#include "actor/rollouts.h"
#include "base/log.h"
#include "proto/loop.h"
#include "proto/messages.h"

typedef struct actor_config {
    const char *address;     /* of the exchange: ipc:// or tcp:// */
    const char *name;        /* "actor-1" */
    int slots;               /* episodes in flight */
    rollout_config rollouts; /* engine is made by the actor */
    engine_config engine;
    device *device; /* borrowed, as are the next two */
    const param_table *shapes;
    const parcel_list *recipe; /* of the files it plays with, to compare with the learner's; NULL: unknown */
    int64_t patience_ms;       /* without a word from the exchange for so long: give up with a sentence */
} actor_config;

/* What an actor takes: one version of the weights, its engine, and of the next version what it has read so far. */
void actor_need(const engine_config *config, const device *dev, const param_table *shapes, memory_need *need);

/* Runs until BYE (OK), SIGTERM/SIGINT (OK), or an error. */
int actor_run(loop *lp, const actor_config *config, logger *lg, error *err);
