/* pack - trajectories -> packed micro-batches: tokens end to end, and for each sampled token what the loss needs.
 *
 * Only episodes with an advantage are packed: the others have no gradient (their tokens still count in the
 * denominators). Sequences are cut behind their last sampled token, since nothing follows from what comes after. */
#pragma once

#include "base/arena.h"
#include "learner/advantage.h"
#include "model/batch.h"

typedef struct packed_batch {
    token_batch tokens;
    double *advantage;       /* [n_out] of the sampled token */
    double *behaviour;       /* [n_out] behaviour logprob (a float, widened) */
    double *sequence_tokens; /* [n_out] sampled tokens of its episode */
} packed_batch;

typedef struct pack_plan {
    packed_batch *batches; /* [n] micro-batches of at most max_tokens (a longer episode is a batch of its own) */
    int n;
    int episodes;   /* packed */
    double tokens;  /* sampled tokens of all that count, packed or not */
    double counted; /* episodes that count */
} pack_plan;

/* `check` episodes without an advantage are packed as well (advantage 0) when nothing else is, so that the distance
 * between behaviour and learner logprobs is measured at every step. Memory is the arena's. */
pack_plan *pack_groups(arena *a, const advantage_table *table, int max_tokens, int check);
