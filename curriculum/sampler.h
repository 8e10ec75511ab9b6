/* SPDX-License-Identifier: MIT */
/* sampler - which rows a step shows, by what the policy has shown so far.
 *
 *     in turn      every row once an epoch (dataset_visit): no sampler is needed
 *     by failure   drawn in proportion to 1 - s, s the row's running share of right answers   Kimi k1.5 (2501.12599)
 *     by signal    in proportion to 1 - s^G - (1 - s)^G, the chance that a group of G has right and wrong answers
 *
 * A row never seen has the largest weight, so the first pass over the data is its own warm-up. On top of any of them:
 * rows that failed (or succeeded) in all of their first so many episodes are left out (RIF-RFT, 2507.05386), and stages
 * show rows of some groups before those of others, each stage ending when its moving success passes a gate.
 *
 * With a ladder (shot_ladder.h) it is also told how many worked examples a step's prompts show.
 *
 * Templates (TemplateRL, arXiv 2505.15692): texts that say how to go about a prompt. Of the five whose complexity is
 * nearest to the row's ("complexity", a number) the one with the highest upper confidence bound is shown to a part of
 * the group (templates.h).
 *
 * An episode is right where its score on one objective is above 0. Rows of a step are drawn without repetition as long
 * as there are enough. Everything is a function of (seed, step, what was learned from): the trainer's thread learns
 * from each step in order, so a synchronous run draws the same rows however its episodes were played. What it remembers
 * can be saved and restored as numbers. */
#pragma once

#include "base/metrics.h"
#include "base/state.h"
#include "base/words.h"
#include "curriculum/shot_ladder.h"
#include "rollout/dataset.h"
#include "rollout/group.h"

enum { SAMPLER_TEMPLATES = 64, SAMPLER_STAGES = 16, SAMPLER_GROUPS = 16, SAMPLER_NAME = 64 };

#define SAMPLINGS(X)                                                                                                   \
    X(SAMPLE_IN_TURN, "in_turn", "every row once an epoch")                                                            \
    X(SAMPLE_BY_FAILURE, "failure", "in proportion to 1 - success (Kimi k1.5, 2501.12599)")                            \
    X(SAMPLE_BY_SIGNAL, "signal", "in proportion to the chance that a group's rewards differ")
typedef enum sampling { SAMPLINGS(WORDS_MEMBER) } sampling;

typedef struct sampler_stage {
    char groups[SAMPLER_GROUPS][SAMPLER_NAME]; /* a row's "group" */
    int n_groups;                              /* 0: every row */
    double gate;                               /* moving success that ends the stage; above 1: never */
    int64_t steps;                             /* that it lasts at most; 0: no limit */
} sampler_stage;

typedef struct sampler_config {
    sampling kind;
    uint64_t seed;
    double max_hint, hint_until; /* 0: no hints */
    const double *complexity;    /* [n_templates] of templates, borrowed; NaN: any */
    int n_templates;
    uint32_t group;       /* episodes a prompt */
    uint32_t drop_failed; /* episodes, all wrong, after which a row is left out; 0: never */
    uint32_t drop_solved; /* the same, all right */
    sampler_stage stages[SAMPLER_STAGES];
    int n_stages;         /* 0: one stage with every row */
    ladder_config ladder; /* of worked examples; n 0: none */
} sampler_config;

typedef struct sampler sampler;

/* Whether there is anything to sample: false, and the rows come in turn. */
bool sampler_needed(const sampler_config *config);
/* `rows` is borrowed. ERR_ARGUMENT for a stage whose groups no row has. */
sampler *sampler_new(const sampler_config *config, const dataset *rows, error *err);
void sampler_free(sampler *s);

/* A step's groups, once, in order of the steps. */
void sampler_learn(sampler *s, const group *const *groups, uint32_t n, const char *objective);
/* The rows of a step -> rows [n], with the share of a demonstration that each one's hinted samples are given:
 * most_hint (1 - s), nothing from a success of hint_until on (ADHint, 2512.13095). */
void sampler_pick(const sampler *s, int64_t step, uint32_t n, picked_row *rows);
bool sampler_on_ladder(const sampler *s); /* whether it says how many shots prompts show */
/* sampler/stage, sampler/success (of the rows' running shares, seen rows only), sampler/seen, sampler/left_out. */
void sampler_metrics(const sampler *s, metrics *out);

/* Sections "sampler" and, with them, "templates" and "shot_ladder": what it remembers. */
void sampler_state(sampler *s, saved_state *to);
