/* SPDX-License-Identifier: MIT */
/* silence - steps that had nothing to learn from: why, said at the first of them, and how many in a row are enough.
 *
 *     no episode           none could be played: prompts that don't fit, tools that are lost
 *     no score             the reward script raises, loops, or returns what is no score
 *     no such objective    reward.objectives names what the script never returns
 *     all the same         in every group all rewards are equal: a constant reward, answers that can't be read, tools
 *                          that fail, samples that are all alike
 *     solved               the same, but most episodes have the best reward of a run that has had a signal: nothing is
 *                          wrong, and no patience is lost
 *
 * What a signal is the trainer says (training/signal); this looks for the reason. A run without one would otherwise end
 * in "done" having learned nothing. */
#pragma once

#include "base/metrics.h"
#include "learner/objective.h"
#include "rollout/group.h"

typedef struct silence_config {
    int64_t patience; /* silent steps in a row after which the run ends; 0: never */
    const objective_set *objectives;
    const char *script, *dialect; /* for sentences */
    uint32_t prompts, group_size; /* of a step */
    double temperature;
    int64_t max_tokens;
} silence_config;

typedef struct silence {
    silence_config config;
    int64_t in_a_row, last_said;
    int last_reason;                          /* of last_said */
    bool had_signal;                          /* some step of this run, or of an earlier life of it */
    double best;                              /* weighted reward that an episode has had */
    bool told_partly;                         /* that some episodes were lost, or an objective is not there */
    uint64_t played, unscored, told_unscored; /* episodes so far; unscored when that was said last */
    bool told_solved;
} silence;

void silence_init(silence *s, const silence_config *config);
/* "reward/max" of a step's groups: the highest weighted reward, which another life of the run recalls. */
void silence_metrics(const silence *s, const group *const *groups, uint32_t n, metrics *out);
/* What the metrics.jsonl of an earlier life of the run says. */
void silence_recall(silence *s, const char *run_dir);
/* A step that was trained, with the trainer's metrics of it; lost_by: the last failed episode's sentence, or "". True:
 * patience is over. `sentence` [size] gets what the person at the terminal should know, or "". */
bool silence_step(silence *s, const group *const *groups, uint32_t n, int64_t step, const metrics *m,
                  const char *lost_by, char *sentence, size_t size);
