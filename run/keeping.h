/* SPDX-License-Identifier: MIT */
/* keeping - a run's checkpoints, as a training process saves and loads them: weights, moments, and what is remembered
 * from step to step (learner/checkpoint.h), under the device's guard, since both take a little of its memory. */
#pragma once

#include "learner/checkpoint.h"
#include "learner/trainer.h"
#include "model/weights.h"
#include "recipe/recipe.h"

typedef struct keeping {
    const recipe *recipe; /* borrowed, as all of it */
    const char *run_dir;
    trainer *trainer;
    weights *w;
    /* What is remembered beside the trainer, in both directions (base/state.h); NULL: nothing. */
    void (*remember)(void *ctx, saved_state *s);
    void *ctx;
} keeping;

/* The version that the weights have; older ones go as keep_checkpoints says. */
int keeping_save(const keeping *k, error *err);
/* From the checkpoint `dir`: ERR_STATE for one of another seed, or with numbers that are not finite. *step is its
 * version. */
int keeping_load(const keeping *k, const char *dir, int64_t *step, error *err);
