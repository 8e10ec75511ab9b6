/* SPDX-License-Identifier: MIT */
/* rollouts - the episodes under way in an actor, each as a state machine: prompt, sample, call, observe, end.
 *
 *     begin -> (reset) -> sampling --- call closed ---> tool under way
 *                         |   ^                              |
 *                         |   +-------- observation ---------+
 *                         |
 *                         +--- answer | eos | length | turns | done ---> over
 *
 * Where episodes are played in an environment, it says how one begins, before there is a prompt; a turn without a call
 * is a step of it, too, as an answer is; and it says when the episode is over.
 *
 * It holds what all episodes of an actor share: engine, tokenizer, dialect, tools. rollouts_step does one round: tool
 * results in, one engine step, tokens to the episodes, finished episodes out. It never blocks on a tool. Where a tool's
 * words become tokens: rollouts_splice.c. */
#pragma once

#include "actor/engine.h"
#include "env/router.h"
#include "lua/dialect.h"
#include "model/tokenizer/tokenizer.h"
#include "rollout/episode.h"

typedef struct rollouts rollouts;

typedef struct rollout_config {
    engine *engine; /* borrowed, as all below */
    const tokenizer *tokenizer;
    dialect *dialect;
    router *router;           /* NULL: no tools */
    bool plays;               /* in an environment, the router's */
    bool submits;             /* a call of submit (env/tools/submit.h) ends an episode with its answer */
    const char *dialect_name; /* recorded as the template's name */
    const char *environment;  /* recorded */
    const char *instruction;
    const char *const *templates; /* [n_templates] what a task's template adds to the instruction */
    int n_templates;
    /* Writes up to max pointers to shot texts (JSON, borrowed) for a task; returns how many. */
    int (*shots)(void *ctx, const task *t, const char **out, int max);
    void *shots_ctx;
    int max_turns;              /* tool calls an episode may make; one more turn to answer */
    int max_observation_tokens; /* longer observations keep their head */
    float top_p;
    const int32_t *eos; /* tokens that end an episode */
    int n_eos;
    const episode *record; /* NULL, or an episode that is played again (witness.h): tools say what they said there */
} rollout_config;

rollouts *rollouts_new(const rollout_config *config, error *err);
void rollouts_free(rollouts *s); /* episodes under way are dropped, their calls cancelled */

/* Takes a copy of the task. ERR_FULL: the engine has no room. A task whose prompt can't be made (row, dialect) becomes
 * an episode that failed with FAIL_PROMPT, not an error. */
int rollouts_begin(rollouts *s, const task *t, int64_t now_ms, error *err);
int rollouts_in_flight(const rollouts *s);
/* The first episode in flight, as far as it is played; NULL: there is none. Borrowed. */
const episode *rollouts_first(const rollouts *s);

/* One round. Finished episodes (the caller owns them) into out[0..max); returns how many, negative: device error.
 * *idle: nothing can continue until a tool answers (wait on router_fds) or a task arrives. */
int rollouts_step(rollouts *s, int64_t now_ms, episode **out, int max, bool *idle, error *err);
