/* SPDX-License-Identifier: MIT */
/* checks - what the processes of a run would open, opened once before any of them starts.
 *
 *     recipe_open     keys                                         (as every role does it)
 *     check_data      rows, reward script, dialect                 (as each role does it, with its own)
 *     checks_open     both of these, open files, device, model, tokenizer, memory, tools, shots, prompts as the model
 *                     will see them, and the reward script on what any policy can write
 *
 * A mistake that a role finds is found by all of them, again and again, in their logs; here it is one sentence with the
 * recipe's line. Nothing is kept: this process computes nothing and must not hold a model. */
#pragma once

#include "run/memory_plan.h"

typedef struct checks {
    int64_t parameters; /* of the model */
    char device[64];    /* "cpu (avx512, 2 threads)" */
    memory_plan memory; /* of a training */
    uint64_t train_rows, test_rows;
    char note[400];        /* what is no error but had better be known: prompts that don't fit; "" */
    char reward_note[400]; /* episodes without a value for an objective, which any policy can write; "" */
} checks;

typedef struct checks_for {
    const char *model;  /* a folder; NULL: the recipe's */
    bool train, test;   /* whose prompts will be played */
    bool scored;        /* episodes will have scores */
    int64_t test_shots; /* of an evaluation's, or a chat's, prompts */
    const char *option; /* that said so; NULL: eval_shots did */
} checks_for;

/* Opens all of it and closes it again. ERR_ARGUMENT with the recipe's line, or the argument, and a sentence. */
int checks_open(const recipe *r, const checks_for *what, checks *out, error *err);
