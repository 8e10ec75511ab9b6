/* SPDX-License-Identifier: MIT */
/* Episodes made by hand for the learner's tests. */
#pragma once

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "rollout/group.h"

/* `prompt` prompt tokens, then `sampled` policy tokens, then `observed` more that the policy didn't write. */
static inline episode *made_episode(uint32_t sample, int prompt, int sampled, int observed, float logprob)
{
    const task t = { .id = task_id(false, 1, sample), .group = task_id(false, 1, 0), .sample = sample, .step = 1 };
    episode *e = episode_new(&t);
    for (int i = 0; i < prompt; i++) trajectory_append(&e->tokens, TOKEN_QUESTION, &(int32_t){ 3 + i % 5 }, 1);
    for (int i = 0; i < sampled; i++)
        trajectory_append_sampled(&e->tokens, 2 + (i * 7 + (int)sample) % 9, logprob, 0, 42);
    for (int i = 0; i < observed; i++) trajectory_append(&e->tokens, TOKEN_OBSERVATION, &(int32_t){ 1 }, 1);
    return e;
}

static inline score *made_score(uint32_t sample, const char *name, double value)
{
    const score s = { .task = task_id(false, 1, sample) };
    score *copy = score_copy(&s);
    error err;
    if (score_set(copy, name, value, &err) != OK) abort();
    return copy;
}

/* A group whose episode i has reward rewards[i] on `name`. */
static inline group *made_group(const char *name, const double *rewards, uint32_t n)
{
    error err;
    group *g = group_new(task_id(false, 1, 0), 0, 1, n);
    for (uint32_t i = 0; i < n; i++)
        if (group_add(g, made_episode(i, 3, 4, 0, -1), made_score(i, name, rewards[i]), &err) != OK) abort();
    return g;
}

enum { MAX_EQUAL = 24 };

/* Rewards that are the same but for how they were added up. */
static inline double spelled(double value, uint32_t i)
{
    const double parts = 1 + i % 7;
    double sum = 0;
    for (int n = 0; n < (int)parts; n++) sum += value / parts;
    return sum;
}

static inline group *equal_group(uint32_t n, double value)
{
    double r[MAX_EQUAL];
    for (uint32_t i = 0; i < n; i++) r[i] = spelled(value, i);
    return made_group("accuracy", r, n);
}

static inline void add_rewards(group *g, const char *name, double value)
{
    error err;
    for (uint32_t i = 0; i < g->n; i++)
        if (score_set(g->scores[i], name, spelled(value, i), &err) != OK) abort();
}
