/* SPDX-License-Identifier: MIT */
/* session_settings - what a learner takes of its recipe and of its run's folder: plain values, no process, no socket.
 * What they point to is borrowed from the recipe and the parts. */
#pragma once

#include "actor/witness.h"
#include "exchange/server.h"
#include "learner/checkpoint_files.h"
#include "model/config.h"
#include "recipe/recipe.h"

/* What of a server isn't in the recipe. */
typedef struct server_parts {
    const char *address;
    const model_config *model;
    dataset *train, *test; /* borrowed; test: NULL where the recipe has none */
    store *store;
    queue *steps, *versions;
    witness *witness;
    const parcel *for_actors, *for_rewards; /* NULL: can't be sent */
} server_parts;

/* What actors of this run are held to: they play with the same numbers (run/episode_runner.h). */
limits session_limits(const recipe *r, const model_config *model);
server_config session_server(const recipe *r, const server_parts *parts);

/* The newest checkpoint of `run` that is whole: its folder into `dir` [size] and its step into *step; "" and 0 for a
 * run that was killed before its first. Newer ones that are damaged are told. ERR_PARSE: there are some, and all are
 * damaged. */
int session_checkpoint(const char *run, checkpoint_told tell, void *ctx, char *dir, size_t size, int64_t *step,
                       error *err);
