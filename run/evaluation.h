/* SPDX-License-Identifier: MIT */
/* evaluation - a recipe's test questions, played with one model in this process, and scored.
 *
 *     checks_open -> each question: episode -> score -> a line of `out` -> the summary
 *
 * No learner and no exchange: the model stays as it is. The same recipe, model and seed give the same episodes,
 * whatever the threads. A question that the machinery or the script lost is counted and named in the log; the others
 * stand. */
#pragma once

#include "base/log.h"
#include "base/metrics.h"
#include "recipe/recipe.h"

typedef struct evaluation_options {
    const char *model; /* a model folder or a checkpoint; NULL: the recipe's */
    int64_t shots;     /* worked examples in a prompt; -1: eval_shots of the recipe */
    int64_t prompts;   /* questions; 0: all of data.test; -1: eval_prompts of the recipe */
    const char *out;   /* file of JSON lines {"row", "transcript", "objectives"}, one an episode; NULL: none */
} evaluation_options;

/* Plays them all and fills `summary`: what batch_eval_metrics says, and eval/seconds. It is filled, too, when `out`
 * could not be put under its name in the end: an hour's figures must not go with it; otherwise an error leaves it
 * empty.
 *
 * ERR_ARGUMENT: a key on the command line that an evaluation doesn't read, no data.test, what checks_open refuses, or
 * `out` is a file of the user's. ERR_SCRIPT: not one question has a score. */
int evaluation_run(const recipe *r, const evaluation_options *o, logger *log, metrics *summary, error *err);
