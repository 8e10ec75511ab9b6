/* SPDX-License-Identifier: MIT */
/* trainer - one step of GRPO, top to bottom: groups of scored episodes in, new weights out.
 *
 *     groups -> advantages [K, S] -> packed micro-batches -> forward -> dL/dlogprob -> backward (K gradients, bucket by
 *     bucket to one) -> clip -> AdamW -> version + 1
 *
 * The same groups, weights and optimizer state give the same bits, always: micro-batches are cut and added in order.
 * Several learners (config.comm): each has all parameters, trains its share of the episodes, and steps its pieces of
 * the parameters; all are given the same groups, and all have the same weights after the step, to the bit, which is
 * checked.
 *
 * One thread owns a trainer, its weights and their device. */
#pragma once

#include "base/memory_need.h"
#include "base/metrics.h"
#include "base/state.h"
#include "learner/trainer_config.h"

typedef struct trainer trainer;

/* `w` is borrowed, sealed, finite, and from now on changed by trainer_step alone. The reference policy of the KL, when
 * there is one, is a copy of `w` as it is now. */
trainer *trainer_new(const trainer_config *config, weights *w, error *err);
void trainer_free(trainer *t);
/* What a trainer takes on `dev`, of a model of these parameters, in passes of `tokens` tokens; `learners`: processes
 * that share the moments. */
void trainer_need(const trainer_config *config, const device *dev, const param_table *t, int learners, int tokens,
                  memory_need *need);
/* Tokens of a pass: the config's, or what learner/micro_tokens.h finds for this machine. */
int trainer_tokens(const trainer_config *config, const device *dev, const param_table *t, int learners);

/* Trains on the groups of one step and seals the weights with version + 1.
 *
 * What moves weights: an advantage; a KL to the reference, over all tokens that count, whatever their rewards;
 * imitated tokens of hints or demonstrations. A step with none of them (equal rewards: rollout/signal.h),
 * or whose gradient is exactly 0, changes nothing but the version: an update by momentum alone would be one that no
 * episode asked for. Where a KL alone has a gradient the weights move by that alone (optimizer_pull), and the rest
 * stays as it is: moments, the count of updates, what is remembered of objectives (cosines, trends, importances).
 *
 * Writes its metrics under the field's names (actor/pg_loss, actor/grad_norm, reward/NAME/mean, training/...).
 * ERR_PARSE for an episode with tokens or logprobs that can't be (trajectory_check); nothing was changed.
 * ERR_STATE, naming the step and the parameter, when the gradient is not finite (nothing was changed) or weights and
 * moments are not after the update: then they are not sealed, and must not be published or saved. ERR_MEMORY when there
 * was no room for what the step holds. Either way the trainer takes no further step, but may be saved when
 * trainer_whole. */
int trainer_step(trainer *t, const group *const *groups, int n_groups, metrics *out, error *err);

/* Weights, moments and reference as they are, after a checkpoint was loaded into them: ERR_STATE, with the parameter's
 * name, where one is not finite. Collective. */
int trainer_check(const trainer *t, error *err);

int64_t trainer_version(const trainer *t);
int trainer_micro_tokens(const trainer *t); /* in use */
/* After a step that failed: whether weights and optimizer are still those of trainer_version (no update had begun). */
bool trainer_whole(const trainer *t);
optimizer *trainer_optimizer(trainer *t);
lora *trainer_lora(trainer *t); /* NULL without an adapter */

/* The reference where it moves, for checkpoints; NULL otherwise. */
weights *trainer_moving_reference(trainer *t);
/* What it remembers from step to step beside the optimizer's moments, for checkpoints: its own section and one of each
 * method that is on. The size of micro-batches is part of it, where the recipe leaves it open: sums are taken
 * micro-batch by micro-batch, so a run continues with the size it began with. */
void trainer_state(trainer *t, saved_state *s);
