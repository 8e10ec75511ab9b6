/* SPDX-License-Identifier: MIT */
/* rollouts_inner - what a rollout is made of; private to actor/rollouts*.c.
 *
 *     rollouts.c              the state machine: begin, the policy's tokens, the end, one round
 *     rollouts_environment.c  an environment is reset: how it begins
 *     rollouts_prompt.c       the row becomes the prompt's tokens, its demonstration a hint
 *     rollouts_calls.c        a turn's calls, or what it says to the environment, and their results
 *     rollouts_splice.c       what tools said becomes tokens after a turn */
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
    bool said;              /* they are no calls, but one turn without a call, which went to the environment */
    char *answer;           /* what the dialect took for the answer in that turn, or NULL */
    uint32_t first_call;    /* of them, among the episode's */
    str turn, text, transcript;
    int32_t sampled;
    int64_t began_ms;
    uint64_t play;     /* no other rollout has this number */
    size_t stop_bytes; /* of the token by which the policy has ended this turn itself; 0: it has not */
    bool opens;        /* the environment is asked how it begins */
    bool waits;        /* it has begun, and waits for a stream */
    bool over;
} rollout;

struct rollouts {
    rollout_config config;
    vec(rollout *) all;
    uint64_t plays; /* begun so far */
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

/* From a task, and what the environment began with, to a stream that samples. ERR_FULL: it may go in later. */
int rollout_start(rollouts *s, rollout *p, error *err);
/* To a stream that samples, if its demonstration has not ended the episode already. */
int rollout_go_in(rollouts *s, rollout *p, error *err);

/* ---- rollouts_environment.c ---- */

/* The same for all samples of a row, at every step: what begins differently can't be compared. */
uint64_t rollout_start_seed(const task *t);
/* Asks the environment how the episode begins. */
void rollout_reset(rollouts *s, rollout *p, int64_t now_ms);
/* It has said so, and the episode starts; where the engine is full, it waits. */
void rollout_open(rollouts *s, rollout *p, const tool_result *r);
/* Those that wait go in while there is room. */
void rollouts_enter_waiting(rollouts *s);

/* ---- rollouts_calls.c ---- */

/* The turn's calls are made. Takes `calls`. */
void rollout_call(rollouts *s, rollout *p, dialect_result calls, int64_t now_ms);
/* The turn had no call: the environment is told `text`. */
void rollout_say(rollouts *s, rollout *p, const char *text, int64_t now_ms);
/* The call under way has its result, whose outcome is taken; the next is made, or the results are spliced in. */
void rollout_settle(rollouts *s, rollout *p, tool_result *r, int64_t now_ms);

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
