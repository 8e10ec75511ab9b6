/* SPDX-License-Identifier: MIT */
/* task - one episode to be played: which row, how many shots, under which sampling key, for which step.
 *
 * A task is the unit of a lease: one task, one episode that counts. The G tasks of one prompt at one step form a group.
 * Ids are composed, not counted, so that a resumed run gives every task the id it had:
 *
 *     bit 63     62..32    31..0
 *     eval?      step      index        index = prompt_in_step * G + sample */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { MAX_ROW_BYTES = 16 << 20 }; /* of a task's row: what the wire carries and a data set may hold */

typedef struct task {
    uint64_t id;
    uint64_t group;  /* id of sample 0 of the same prompt */
    uint32_t sample; /* 0 .. group_size - 1 */
    uint32_t group_size;
    int64_t step; /* optimizer step that will train on it, from 1; eval: the version it grades */
    bool eval;
    uint64_t prompt_id; /* row of the data set */
    uint64_t seed;      /* sampling key: (seed, group, sample, position) */
    int32_t n_shots;
    int32_t template_id; /* of the prompt's templates, from 1; 0: none */
    float hint; /* share of the row's "demonstration" that is given: 0 nothing, 1 all of it (nothing is sampled) */
    int64_t min_version, max_version; /* the policy versions that may sample its tokens */
    float temperature;                /* 0: greedy */
    int32_t max_tokens;               /* sampled tokens, all turns together */
    uint32_t attempt;                 /* 0, then +1 each time the machinery failed */
    char *row;                        /* the data row as JSON text; owned */
} task;

/* How many shots the samples of one prompt are shown: the last n_fewer of them `fewer`, the others `more`. */
typedef struct shot_mixture {
    bool set; /* false: the recipe's schedule says */
    int32_t more, fewer;
    uint32_t n_fewer;
} shot_mixture;

/* A prompt as a sampler of rows picked it: what the tasks of its group are made from. */
typedef struct picked_row {
    uint64_t row;
    float hint;          /* of its hinted samples */
    int32_t template_id; /* of its templated samples; 0: none */
    shot_mixture shots;
} picked_row;

uint64_t task_id(bool eval, int64_t step, uint32_t index);
bool task_id_eval(uint64_t id);
int64_t task_id_step(uint64_t id);
uint32_t task_id_index(uint64_t id);

task *task_copy(const task *t); /* the caller frees with task_free */
void task_reset(task *t);       /* frees what it owns, zeroes it */
void task_free(task *t);        /* reset + free; NULL is allowed */
/* The row's "group": the objective of the data that its episodes are told apart by ("" without one). The caller
 * frees. */
char *task_data_group(const task *t);
/* ERR_PARSE for a record no scheduler would make (sample outside its group, row that is no JSON object, ...). */
int task_check(const task *t, error *err);
