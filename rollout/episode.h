/* SPDX-License-Identifier: MIT */
/* episode - one conversation of the policy with its tools, from prompt to end, as the actor saw it. */
#pragma once

#include <stdbool.h>

#include "rollout/task.h"
#include "rollout/trajectory.h"

#define EPISODE_ENVIRONMENT "tools" /* what episodes are played in: there is one kind so far */

/* STOP_DONE: the environment says that the episode is over. */
typedef enum stop_reason { STOP_ANSWER, STOP_EOS, STOP_LENGTH, STOP_TURNS, STOP_ERROR, STOP_DONE, N_STOPS } stop_reason;

/* Why the machinery failed; FAIL_NONE for every episode that may be scored. A failed machine is never a bad reward. */
typedef enum failure {
    FAIL_NONE,
    FAIL_TOOL_LOST, /* a tool that can't be started, died, or never answered; failure_text says which */
    FAIL_PROMPT,
    FAIL_ENGINE,
    N_FAILURES
} failure;

/* A call of a tool, or a step of an environment (env/environment.h). A turn without a call that went to an environment
 * has the name "" and the arguments {"text": what the policy said}. */
typedef struct tool_call {
    char *name, *arguments; /* arguments: JSON text */
    char *observation;      /* what the policy was shown */
    bool ok;                /* the tool did what it was asked; false: it told the policy of an error of the policy's */
    double ms;
    char *outcome; /* what an environment said beside it, JSON text: {"done":, "rewards":, "info":}; NULL: nothing */
} tool_call;

typedef struct turn {
    char *text;          /* what the policy wrote in this turn, up to where its calls or its answer close */
    char *residue;       /* what its last tokens hold beyond that, or NULL: in no other text, read by no parser */
    uint32_t start, end; /* its tokens in the trajectory */
    int32_t call;        /* index into calls of the first of its calls, or -1 */
} turn;

typedef struct episode {
    uint64_t id, group, prompt_id;
    uint32_t sample;
    int64_t step;
    bool eval;
    uint32_t attempt;
    char *environment;         /* EPISODE_ENVIRONMENT */
    char *data_group;          /* data group of the row ("" when it has none) */
    char *template_name;       /* dialect */
    int32_t template_id;       /* of the prompt's templates, from 1; 0: none */
    int32_t n_shots, hint_len; /* hint_len: tokens of a demonstration that were given */
    char *opening;    /* of an environment: how it begins, JSON text of what it gives to the row; NULL without one */
    char *text;       /* all the policy wrote, after the hint it was given, nothing else: this is what rewards judge */
    char *transcript; /* the same with the observations between */
    char *answer;     /* what the dialect took as the final answer, or NULL */
    turn *turns;
    uint32_t n_turns;
    tool_call *calls;
    uint32_t n_calls;
    stop_reason stop;
    failure failed;
    char *failure_text; /* a sentence when failed != FAIL_NONE, else NULL */
    double wall_ms, tool_ms;
    trajectory tokens;
} episode;

enum { OUTCOME_BYTES = 4096 }; /* of a call: "info" is left out of a longer one */
/* The arguments of a turn without a call, as they are recorded: {"text": ...}. The caller frees. */
char *said_arguments(const char *text);
/* Whether an environment says, in this JSON text, that the episode is over. */
bool outcome_is_done(const char *outcome);

episode *episode_new(const task *t); /* ids, step, sample copied; lists empty */
void episode_free(episode *e);
void episode_clear(episode *e); /* forgets what was played: turns, calls, tokens; names and texts stay */
turn *episode_add_turn(episode *e);
tool_call *episode_add_call(episode *e);
const char *stop_reason_name(stop_reason r); /* "answer", "eos", "length", "turns", "error", "done" */
const char *failure_name(failure f);
int episode_check(const episode *e, int32_t vocab, error *err);
