/* SPDX-License-Identifier: MIT */
/* limits - what a run lets an episode, a score and a message be.
 *
 * Whoever speaks on the wire may be buggy, of another version, or not ours at all. What it sends is held against the
 * run's own numbers before anything is kept or trained on: an episode of a million tokens in a run of 448, a logprob
 * that no sampler could have drawn, a score that drowns all others in its group. The learner then needs no opinion of
 * its own: everything it is given is possible.
 *
 * Pure functions of records; they do not know who sent what (core.h) or how it came (proto/endpoint.h). */
#pragma once

#include "proto/messages.h"

/* The log of the smallest positive float (2^-149) is -103.28: a token of less probability has probability 0 in the
 * sampler's float32 and is never drawn. Ratios are exp(new - old), so one impossible number here
 * could outweigh a step. */
#define MIN_LOGPROB (-104.0f)

typedef struct limits {
    int32_t vocab;       /* token ids lie below; 0: unchecked */
    int64_t max_context; /* tokens of an episode; 0: unknown, and nothing below is checked either */
    int64_t max_turns;   /* tool calls of an episode */
    const int32_t *eos;  /* [n_eos] ids that end a text; borrowed. n_eos 0: unchecked */
    int n_eos;
    bool environment;    /* episodes are played in one: it has the first word, and the last */
    bool submits;        /* an answer may be the argument of a call, and calls may stand before it in its turn */
    const char *dialect; /* one of ours, which takes the answer out of the text as it stands; borrowed. NULL: a file */
} limits;

/* Whether an episode that did not fail is possible for its task: tokens, sampled tokens, ids, logprobs, roles, turns,
 * calls, sizes of texts, and whether all of them fit each other (coherence.h). ERR_PARSE names the first limit that is
 * broken and by what. Records as decoded: what episode_check would find is found here too. */
int limits_episode(const limits *l, const task *t, const episode *e, error *err);
/* Whether a score is possible for this episode: finite values within their bound (rollout/score.h), spans that lie
 * within the text and whose mean is the objective's value, none of either where there is no score. ERR_PARSE. Names are
 * the script's: it may give more than the run trains on. */
int limits_score(const episode *e, const score *s, error *err);
/* The longest message of a type that a worker of this run could have a reason to send, in bytes. */
size_t limits_message_bytes(const limits *l, message_type type);
