/* SPDX-License-Identifier: MIT */
/* method - what plugs into a trainer's step, and where: a row a method, its functions at named points.
 *
 *     trainer_new    open                its own memory; what it puts among the trainer's parts
 *     trainer_step   AT_GATHER           groups are checked: episodes to add to them
 *                    AT_WEIGH            before advantages: each episode's own weights, episodes that don't count
 *                    AT_CREDIT           advantages are there: what to take off a reward (they are computed again)
 *                    AT_PLAN             before packing: what is packed and for whom, what a pass works with
 *                    AT_PASS             buckets are open, before the first micro-batch of a pass over the batch
 *                    AT_PASSED           all gradients of the pass are there, and step->sums
 *                    AT_UPDATE           the gradient is there, the optimizer has not stepped
 *                    AT_UPDATED          the optimizer has moved something
 *                    AT_LEARN            after a step with a signal: what it remembers for the steps to come
 *                    AT_SEALED           the weights have their new version
 *                    AT_METRICS          figures of a step that went well
 *     checkpoints    state               its section of memory.state (base/state.h)
 *
 * To add one: a file in learner/methods/ with its row, and the row's name in methods/methods.def. The rows are asked in
 * the order of that list, at each point; only those whose `wanted` says so. Its keys are rows of its `options`, what
 * they set is a struct of its own (SETTINGS of trainer_config.h). */
#pragma once

#include "base/memory_need.h"
#include "base/metrics.h"
#include "base/state.h"
#include "learner/pass.h"
#include "learner/trainer_config.h"

/* What a trainer is made of. Methods fill the second part in their `open`; all of it is the trainer's to free. */
typedef struct trainer_parts {
    const trainer_config *config;
    weights *w;           /* the policy; borrowed */
    optimizer *optimizer; /* made when all methods are open */
    float *grads;         /* [w's total] the step's gradient */
    arena *arena;         /* memory of the step */

    weights *reference;   /* what a KL is to; NULL: none */
    lora *lora;           /* NULL: every parameter is trained */
    weights *trained;     /* what the optimizer steps: w, or the adapter's matrices */
    float *trained_grads; /* [trained's total]: grads, or the adapter's */
    bucket_set *buckets;  /* where gradients go; NULL: to grads as they come */
    shard *shard;         /* of several learners; NULL: one */
    const slice *cuts;    /* [n_cuts] runs of parameters that the optimizer can leave alone one by one; its method's */
    int n_cuts;
} trainer_parts;

/* What a step comes to know on its way; what is after the point where a method is asked is not there yet. */
typedef struct train_step {
    trainer_parts *parts;
    const group *const *groups;
    int n_groups;
    int64_t version; /* that the step leads to */
    metrics *out;

    advantage_extra extra;        /* AT_WEIGH and AT_CREDIT fill it */
    const advantage_table *table; /* from AT_CREDIT on */
    pack_options options;         /* AT_PLAN may change it; before, those of every pass of this learner */
    pass pass;                    /* AT_PLAN may change it */
    pack_plan *plan;
    step_sums sums; /* of the last pass over the batch */
    bool moved;     /* some update has moved weights */
} train_step;

typedef enum step_point {
    AT_GATHER,
    AT_WEIGH,
    AT_CREDIT,
    AT_PLAN,
    AT_PASS,
    AT_PASSED,
    AT_UPDATE,
    AT_UPDATED,
    AT_LEARN,
    AT_SEALED,
    AT_METRICS,
    N_STEP_POINTS
} step_point;

/* What a trainer would be, for what it would take. */
typedef struct method_place {
    const trainer_config *config;
    const device *dev;
    const param_table *table;
    int learners;
    int tokens; /* of a pass; 0: what is beside passes */
} method_place;

typedef struct method {
    const char *name;
    const option_table *options; /* its keys, whose rows fill a trainer_config; NULL: it has none of its own */
    bool (*wanted)(const trainer_config *config);
    /* What can't be together with it; asked of wanted ones alone. NULL: nothing. */
    int (*check)(const trainer_config *config, error *err);
    /* Its own memory into *self, at once, so that `close` finds it after a failure. NULL: it has none. Device memory
     * may be asked for: a refusal leaves by the device's guard. */
    int (*open)(trainer_parts *parts, void **self, error *err);
    void (*close)(trainer_parts *parts, void *self);                    /* self may be NULL, or half open */
    int (*at[N_STEP_POINTS])(void *self, train_step *step, error *err); /* NULL: it has nothing to do there */
    void (*state)(void *self, trainer_parts *parts, saved_state *to);   /* NULL: it remembers nothing */
    /* Adds the memory that it takes beside a trainer's own. NULL: none to speak of. */
    void (*need)(const method_place *place, memory_need *need);
} method;

#define METHOD(NAME) extern const method METHOD_##NAME;
#include "learner/methods/methods.def"
#undef METHOD

extern const method *const METHODS[N_METHODS + 1]; /* NULL-terminated */

static inline bool many_learners(const trainer_config *c) { return c->comm && c->comm->size > 1; }
