/* SPDX-License-Identifier: MIT */
/* trajectory - the token record of an episode: what the policy read, what it sampled, with which probability, by whom.
 *
 * Tokens are never re-tokenized: the learner trains on exactly these ids.
 *
 *     role      I I I S S S S Q Q Q Q P P P P O O O P P P    I instruction, S shot, Q question, P policy, O observation
 *     mask      0 0 0 0 0 0 0 0 0 0 0 1 1 1 1 0 0 0 1 1 1    1 exactly where the policy sampled
 *     segments                        |-- version 7 --|-8-|  who sampled; cover every masked token, ascending
 *
 * A hint (TOKEN_HINT) stands between the question and the first token of the policy, with mask 0. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum token_role {
    TOKEN_INSTRUCTION,
    TOKEN_SHOT,
    TOKEN_QUESTION,
    TOKEN_POLICY,
    TOKEN_OBSERVATION,
    TOKEN_HINT, /* of a demonstration: what the policy should have written */
    N_ROLES
} token_role;

typedef struct segment {
    int64_t version;      /* policy version that sampled tokens [start, end) */
    uint64_t weight_hash; /* weights_hash of that version */
    uint32_t start, end;
} segment;

typedef struct trajectory {
    int32_t *ids;    /* [n] */
    float *logprob;  /* [n] behaviour logprob; 0 where mask is 0 */
    uint8_t *mask;   /* [n] loss mask */
    uint8_t *role;   /* [n] token_role */
    uint32_t *wrote; /* [n] bytes by which the token made the episode's text longer; 0 for what the policy was shown */
    uint32_t n, capacity;
    segment *segments;
    uint32_t n_segments, segment_capacity;
    uint32_t n_prompt; /* tokens before the first that could be sampled */
} trajectory;

void trajectory_reset(trajectory *t); /* frees, zeroes */
/* Appends tokens the policy didn't sample (role anything but TOKEN_POLICY). */
void trajectory_append(trajectory *t, token_role role, const int32_t *ids, size_t n);
/* Appends one sampled token; extends the last segment or begins one. */
void trajectory_append_sampled(trajectory *t, int32_t id, float logprob, int64_t version, uint64_t weight_hash);
/* The last token made the episode's text so many bytes longer. */
void trajectory_wrote(trajectory *t, size_t bytes);
/* Takes the last `bytes` bytes of what was written back: they are no part of the episode's text. */
void trajectory_unwrote(trajectory *t, size_t bytes);
uint32_t trajectory_sampled(const trajectory *t);       /* how many tokens have mask 1 */
int64_t trajectory_oldest_version(const trajectory *t); /* -1: nothing sampled */
/* The invariants above; `vocab` <= 0: ids are not range-checked. ERR_PARSE names the first that fails. */
int trajectory_check(const trajectory *t, int32_t vocab, error *err);
