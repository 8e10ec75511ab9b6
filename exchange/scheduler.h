/* SPDX-License-Identifier: MIT */
/* scheduler - which prompt next: the tasks of a step as a pure function of (seed, step), so that a resumed run asks for
 * exactly what it asked for before. How many shots a prompt shows is asked of a callback. */
#pragma once

#include "rollout/dataset.h"
#include "rollout/task.h"

typedef struct scheduler_config {
    dataset *train, *eval; /* borrowed; eval may be NULL */
    uint64_t seed;
    uint32_t prompts_per_step, group;
    uint32_t refills; /* times that groups without signal may be made up for, each by as many prompts (core.h) */
    int64_t max_staleness;
    int64_t lag; /* every token of a step is sampled by the version so many before the newest allowed one; 0: none */
    float temperature;
    int32_t max_tokens;
    uint32_t templated;      /* samples of a group, its first, that are played after the prompt's template */
    uint32_t hinted;         /* samples of a group, its last but the demonstrations, that are given the prompt's hint */
    uint32_t demonstrations; /* samples of a group, its last, that are the row's demonstration */
    uint64_t eval_prompts;   /* rows of the test set an evaluation plays; 0: all */
    int32_t eval_shots;
    float eval_temperature; /* 0: greedy */
    /* prompt: which of the step's prompts; sample: which of its samples, from 0. NULL: no shots. */
    int32_t (*shots)(void *ctx, int64_t step, uint64_t prompt, uint32_t sample);
    void *shots_ctx;
} scheduler_config;

/* Prompts a step may need: those of its refills with them. */
uint32_t scheduler_prompts(const scheduler_config *c);

/* Fills *t (task_reset when done): sample `index` of step `step`, index < scheduler_prompts * group. `rows`
 * [scheduler_prompts]: the step's rows as a sampler picked them; NULL: in turn, and the prompts beyond prompts_per_step
 * come from a shuffle of their own, so that steps without them stay what they are. */
void scheduler_task(const scheduler_config *c, int64_t step, const picked_row *rows, uint32_t index, task *t);
/* Question `index` of the evaluation of `version`: one sample. index < scheduler_eval_size. */
void scheduler_eval_task(const scheduler_config *c, int64_t version, uint32_t index, task *t);
uint32_t scheduler_eval_size(const scheduler_config *c);
