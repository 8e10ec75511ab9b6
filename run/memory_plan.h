/* SPDX-License-Identifier: MIT */
/* memory_plan - what the processes of a run take, before any of them starts: a process a column, a part a row.
 *
 *                          learner  actor x2  reward worker  shared memory
 *      weights              770 MB    770 MB
 *      activations          1.0 GB    120 MB                                   what each room says of itself
 *      ...                                                                     (base/memory_need.h), joined
 *
 * A bound, not a forecast: passes as long as learner.micro_tokens allows, every episode in flight as long as
 * rollout.max_context. Learner and actors keep to it within a quarter where the model is larger than the program. */
#pragma once

#include "base/memory.h"
#include "base/memory_need.h"
#include "recipe/recipe.h"

enum { MEMORY_COLUMNS = 4 };

typedef struct memory_column {
    const char *name; /* "actor" */
    int64_t count;    /* of such processes */
    memory_need each;
} memory_column;

typedef struct memory_plan {
    memory_column columns[MEMORY_COLUMNS];
    int n;
    const recipe *recipe; /* borrowed */
    int tokens;           /* of a pass, learner.micro_tokens */
    bool on_host;         /* false: learner's and actors' arrays are a GPU's, so nothing is compared */
} memory_plan;

/* `dev` as the learner opens it. */
memory_plan memory_plan_of(const recipe *r, const device *dev, const param_table *shapes);
/* The same of the recipe's device and model, both opened and closed again: the model's numbers are not read. ERR_...
 * with the recipe's line where one of them can't be. */
int memory_plan_open(const recipe *r, memory_plan *out, error *err);

uint64_t memory_plan_total(const memory_plan *p); /* of all processes together */
/* ERR_MEMORY for a plan that `room` has no place for: both sizes, what takes the most, and the key to turn. */
int memory_plan_check(const memory_plan *p, const memory_room *room, error *err);

/* The map as a table, with a last line on what there is. */
void memory_plan_print(const memory_plan *p, const memory_room *room, FILE *to);
/* "learner 3.6 GB (1024 tokens a pass), actor 1.0 GB, shared memory 1.5 GB; 22 GB are free" -> out; returns out. */
char *memory_plan_line(const memory_plan *p, const memory_room *room, char *out, size_t size);
