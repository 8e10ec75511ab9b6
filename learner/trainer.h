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

#include "base/metrics.h"
#include "learner/advantage.h"
#include "learner/bucket.h"
#include "learner/comm.h"
#include "learner/loss.h"
#include "learner/methods/era.h"
#include "learner/methods/isolation.h"
#include "learner/methods/mixture.h"
#include "learner/methods/pivot.h"
#include "learner/optimizer.h"
#include "model/lora.h"
#include "rollout/dataset.h"

/* Whose gradients are reconciled. */
typedef enum moo_over { MOO_OVER_NOTHING, MOO_OVER_REWARDS, MOO_OVER_GROUPS, MOO_OVER_BOTH } moo_over;

enum { GROUP_NAME = 64 };

/* Many objectives. Reward dimensions: each objective of the reward keeps its gradient, a backward pass each. Data
 * groups (a row's "group": language, task, ...): the scalar advantage trains, each group's rows keep their gradient,
 * one backward pass. Both: each objective of each group, a backward pass an objective; gradient k * groups + g. The
 * reward's weights are the preferences of objectives. */
typedef struct moo_plan {
    moo_over over;
    bool
        by_token; /* rewards only: weights from the gradients with respect to the tokens' logprobs, one backward pass */
    bucket_config bucket;
    char groups[MOO_MOST][GROUP_NAME];
    int n_groups;
} moo_plan;

typedef struct trainer_config {
    objective_set objectives;
    advantage_config advantage;
    moo_plan moo;
    loss_config loss;
    era_config era;
    pivot_config pivot;
    mixture_config mixture;
    char preference[OBJECTIVE_NAME]; /* the rows' field with their own weights of the objectives; "": none */
    comm *comm;                      /* borrowed: several learners; NULL: one */
    const dataset *rows;             /* borrowed: what groups were played from; NULL: unknown */
    double reward_kl; /* coefficient of the episode's sum of log mu - log ref, taken off the heaviest reward; 0: off */
    int reference_every; /* versions after which the reference becomes the policy of that moment; 0: it stays */
    optim_config optim;
    isolation_config isolation;
    int epochs;           /* updates on a step's batch (1); later ones are clipped against the first's policy */
    double temperature;   /* of the policy that sampled: logprobs are of logits / temperature */
    int64_t oldest_token; /* versions behind after which a token is not trained on (partial rollouts); 0: any */
    int micro_tokens;     /* tokens a forward and backward pass holds activations of; 0: by micro_tokens_for */
    lora_config lora;     /* rank 0: every parameter is trained */
    uint64_t seed;        /* of the adapter's start */
    bool recompute;       /* activation recompute: less memory, a third more time */
} trainer_config;

typedef struct trainer trainer;

/* `w` is borrowed, sealed, finite, and from now on changed by trainer_step alone. The reference policy of the KL, when
 * there is one, is a copy of `w` as it is now. */
trainer *trainer_new(const trainer_config *config, weights *w, error *err);
void trainer_free(trainer *t);

/* Trains on the groups of one step and seals the weights with version + 1.
 *
 * What moves weights: an advantage; a KL to the reference, over all tokens that count, whatever their rewards;
 * something given that is learned by heart. A step with none of them (equal rewards, up to rounding: rollout/signal.h),
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
/* What it remembers from step to step beside the optimizer's moments, as numbers, for checkpoints. The size of
 * micro-batches is one of them, where the recipe leaves it open: sums are taken micro-batch by micro-batch, so a run
 * goes on with the size it began with. */
int64_t trainer_memory_doubles(const trainer *t);
void trainer_memory_save(const trainer *t, double *out);
void trainer_memory_load(trainer *t, const double *from);
