/* SPDX-License-Identifier: MIT */
/* trainer_inside - a trainer's own struct, for the files that make it up: trainer.c (a step), step_gradient.c (its
 * passes over the batch) and trainer_life.c (what it is made of, and what it remembers). All others include
 * trainer.h. */
#pragma once

#include "learner/method.h"
#include "learner/trainer.h"

struct trainer {
    trainer_config config;
    trainer_parts parts;
    const method *methods[N_METHODS]; /* [n] those that are wanted, in the order of METHODS */
    void *own[N_METHODS];             /* [n] the memory of each */
    int n;
    saved_state *before; /* what was remembered when the step began; NULL outside of one */
    bool touched;        /* weights or moments are no longer those of the version: an update has begun */
    bool picked;         /* micro_tokens is ours, not the recipe's */
};

/* Asks all wanted methods that have something to do at this point, in order; stops at the first error. */
int trainer_ask_methods(trainer *t, step_point point, train_step *step, error *err);
