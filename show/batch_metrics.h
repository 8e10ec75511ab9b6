/* SPDX-License-Identifier: MIT */
/* batch_metrics - the metrics of a batch of episodes, besides the loss: shots, tools, stops, staleness, time. */
#pragma once

#include "base/metrics.h"
#include "learner/objective.h"
#include "rollout/group.h"

/* prompt/shots/mean, tools/..., rollout/stop/..., response_length/mean, training/staleness/...,
 * reward/scores_missing. */
void batch_step_metrics(const group *const *groups, uint32_t n, int64_t step, metrics *out);
/* eval/NAME/mean of each objective over the episodes that have it, eval/group/GROUP of the first objective over each
 * data group's (up to 64), eval/episodes, eval/shots, tools/.... */
void batch_eval_metrics(const group *const *groups, uint32_t n, const objective_set *objectives, metrics *out);
