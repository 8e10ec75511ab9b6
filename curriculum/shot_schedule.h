/* SPDX-License-Identifier: MIT */
/* shot_schedule - how many shots the prompts of a step show, and which ones.
 *
 * A schedule is stages { {first_step, shots}, ... }; shots may be a list: then each prompt of the stage takes one of
 * them in turn, so that a step holds them in equal parts - or, `in_group`, each sample of a prompt, so that every group
 * does. Everything is a function of (seed, step, group): a resumed
 * run, or another actor, sees the same prompts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

enum { MAX_SHOTS = 64 }; /* of a prompt */

typedef struct shot_schedule shot_schedule;

/* schedule: JSON [[step, n | [n, ...]], ...], ascending. in_group: a list mixes samples of a prompt, not prompts. */
shot_schedule *shot_schedule_new(const json_t *schedule, bool in_group, error *err);
void shot_schedule_free(shot_schedule *c);
/* The i-th stage (from 0): from which step on it shows one of shots [n], borrowed. False: there are no more. */
bool shot_schedule_stage(const shot_schedule *c, int i, int64_t *first_step, const int32_t **shots, int *n);
/* `prompt`: which prompt of the step it is, from 0, and `sample` which of its samples. Steps count from 1; stage {0, n}
 * holds from the first. */
int32_t shot_schedule_at(const shot_schedule *c, int64_t step, uint64_t prompt, uint32_t sample);
/* Picks n different ones of `pool`, by (seed, group): out[0..n). n is cut to the pool. Returns n. */
int shot_pick(uint64_t seed, uint64_t group, int n, uint64_t pool, uint64_t *out);
