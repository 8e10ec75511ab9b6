/* SPDX-License-Identifier: MIT */
/* Groups as an actor would have recorded them, for the trainer's tests. */
#pragma once

#include "defaults.h"
#include "episodes.h"
#include "learner/trainer.h"
#include "model/transformer.h"
#include "tiny.h"

static inline trainer_config config_of(double lr)
{
    trainer_config c = { .advantage = advantage_default(1), .loss = loss_default(), .optim = optim_default() };
    error err = { 0 };
    test_ok(objective_add(&c.objectives, "accuracy", 1, &err), &err);
    c.optim.lr = lr, c.optim.warmup = 0;
    c.shared_prompts = true;
    return c;
}

/* Replaces the made-up behaviour logprobs by those the model gives: what an actor would have recorded. */
static inline void record_true_logprobs(const tiny *t, episode *e)
{
    const trajectory *tr = &e->tokens;
    int32_t positions[64], rows[64], targets[64], starts[2] = { 0, (int32_t)tr->n };
    int n = 0;
    for (uint32_t i = 0; i < tr->n; i++) positions[i] = (int32_t)i;
    for (uint32_t i = 0; i + 1 < tr->n; i++)
        if (tr->mask[i + 1]) rows[n] = (int32_t)i, targets[n++] = tr->ids[i + 1];
    const token_batch b = { .T = (int)tr->n,
                            .S = 1,
                            .ids = tr->ids,
                            .positions = positions,
                            .starts = starts,
                            .n_out = n,
                            .out_rows = rows,
                            .targets = targets };
    device_scratch_reset(t->dev);
    const activations *acts = model_forward(t->w, &b, NULL);
    for (int i = 0; i < n; i++) e->tokens.logprob[rows[i] + 1] = acts->logprob[i];
}

static inline group *recorded_group(const tiny *t, const double *rewards, uint32_t n)
{
    group *g = made_group("accuracy", rewards, n);
    for (uint32_t i = 0; i < n; i++) record_true_logprobs(t, g->episodes[i]);
    return g;
}

static inline double total_logprob(const tiny *t, const episode *e)
{
    episode copy = *e;
    float logprob[64];
    copy.tokens.logprob = logprob;
    record_true_logprobs(t, &copy);
    double sum = 0;
    for (uint32_t i = 0; i < e->tokens.n; i++)
        if (e->tokens.mask[i]) sum += (double)logprob[i];
    return sum;
}

/* Two objectives that want opposite things of half the episodes; the rows belong to groups "en" and "de" by turns. */
static inline group *two_objectives(const tiny *t, uint32_t n)
{
    error err = { 0 };
    group *g = group_new(task_id(false, 1, 0), 0, 1, n);
    for (uint32_t i = 0; i < n; i++) {
        score *s = made_score(i, "accuracy", i % 3 == 0);
        test_ok(score_set(s, "brevity", i % 2 ? 0.7 : -0.2, &err), &err);
        episode *e = made_episode(i, 3, 4, 0, -1);
        free(e->data_group);
        e->data_group = strdup(i % 2 ? "de" : "en");
        record_true_logprobs(t, e);
        test_ok(group_add(g, e, s, &err), &err);
    }
    return g;
}

static inline trainer_config two_config(double lr)
{
    trainer_config c = config_of(lr);
    error err = { 0 };
    c.objectives.n = 0;
    objective_add(&c.objectives, "accuracy", 1.0, &err);
    objective_add(&c.objectives, "brevity", 0.5, &err);
    c.advantage = (advantage_config){ .mean = MEAN_GROUP, .std = STD_GROUP };
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_SUM), .scope = BUCKET_LAYER };
    return c;
}
