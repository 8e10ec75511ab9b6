/* SPDX-License-Identifier: MIT */
/* rollouts_inner - what a rollout is made of; private to actor/rollouts*.c.
 *
 *     rollouts.c         the state machine: begin, the policy's tokens, calls and their results, the end, one round
 *     rollouts_prompt.c  the row becomes the prompt's tokens, its demonstration a hint
 *     rollouts_splice.c  what tools said becomes tokens after a turn */
#pragma once

#include "actor/rollouts.h"
#include "base/map.h"
#include "base/vec.h"

/* An episode under way. Its streams of text grow by the same bytes: `turn` is the turn being written, `text` all that
 * the policy wrote, `transcript` that and the observations as the policy reads them. */
typedef struct rollout {
    task *task;
    episode *episode;
    dialect_parser *parser; /* of the turn that is being written */
    uint64_t stream;        /* 0: none */
    uint64_t call;          /* tool call under way; 0: none */
    dialect_result asked;   /* the calls of the last turn, until their results are spliced in */
    size_t answered;        /* how many of them have their result */
    uint32_t first_call;    /* of them, among the episode's */
    str turn, text, transcript;
    int32_t sampled;
    int64_t began_ms;
    bool over;
} rollout;

struct rollouts {
    rollout_config config;
    vec(rollout *) all;
    idmap *by_call;
    sampled_token *tokens; /* [max_streams of the engine] */
    int n_tokens;
    token_ids ids; /* scratch */
    str bytes;     /* scratch */
};

/* ---- rollouts.c ---- */

/* The episode is over; its stream goes back to the engine. */
void rollout_finish(rollouts *s, rollout *p, stop_reason stop);
/* The machinery failed, or the row can't be played: no doing of the policy's. */
void rollout_fail(rollouts *s, rollout *p, failure why, const char *sentence);

/* ---- rollouts_prompt.c ---- */

/* Appends to s->ids. An episode is one text: only its first piece may get a prefix space. `specials`: names of control
 * tokens become those. */
int rollout_encode(rollouts *s, const char *text, size_t len, bool specials, error *err);
/* p->parser begins anew, for another turn. */
int rollout_new_parser(rollouts *s, rollout *p, error *err);
/* The prompt's tokens into the trajectory. */
int rollout_write_prompt(rollouts *s, rollout *p, error *err);
/* The task's share of the row's demonstration into s->ids[0 .. *n), read by p->parser, with what it closes in *r.
 * *whole: nothing of it is left out. */
int rollout_choose_hint(rollouts *s, rollout *p, size_t *n, bool *whole, dialect_result *r, error *err);

/* ---- rollouts_splice.c ---- */

/* Splices the results of a turn's calls after what was sampled; the episode continues, or ends for want of room. */
void rollout_splice(rollouts *s, rollout *p);
