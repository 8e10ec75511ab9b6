/* SPDX-License-Identifier: MIT */
/* learners - several learners in one step: what each has, and what all have seen. */
#include <stdlib.h>

#include "base/str.h"
#include "learner/method.h"

enum { MAX_LEARNERS = 4096 };

typedef struct learners {
    uint64_t sent; /* bytes that had left this rank before the step */
} learners;

static int check(const trainer_config *c, error *err)
{
    if (!c->moo.by_token && !c->moo.bucket.by_micro_batch) return OK;
    return error_set(err, ERR_UNSUPPORTED, "moo.%s: several learners have different micro-batches",
                     c->moo.by_token ? "bucket = \"token\"" : "by_micro_batch");
}

/* Of one gradient, buckets are only what is exchanged. */
static int open(trainer_parts *p, void **self, error *err)
{
    (void)err;
    *self = xcalloc(1, sizeof(learners));
    if (!p->buckets)
        p->buckets = bucket_set_new(&(bucket_config){ .moo = moo_default(MOO_SUM) }, p->w->table, p->w->dev, 1, 0);
    p->shard = bucket_set_shard(p->buckets, p->config->comm);
    return OK;
}

static void close(trainer_parts *p, void *self)
{
    (void)p;
    free(self);
}

static int weigh(void *self, train_step *s, error *err)
{
    (void)err;
    learners *l = self;
    l->sent = s->parts->config->comm->sent;
    return OK;
}

/* Learners whose weights drift apart would train on without a word: look at every step. */
static int same_everywhere(void *self, train_step *s, error *err)
{
    (void)self;
    uint64_t hashes[MAX_LEARNERS];
    comm *c = s->parts->config->comm;
    comm_gather(c, &s->parts->w->hash, sizeof *hashes, hashes);
    for (int r = 0; r < c->size; r++)
        if (hashes[r] != hashes[0])
            return error_set(err, ERR_STATE,
                             "learner %d has other weights than learner 1: different machines or builds?", r + 1);
    return OK;
}

/* Bytes that left this learner, beside what other ways would have sent. */
static int tell(void *self, train_step *s, error *err)
{
    (void)err;
    const learners *l = self;
    const trainer_config *c = s->parts->config;
    const double R = c->comm->size, model = sizeof(float) * (double)s->parts->w->table->total;
    const double ring = 2 * (R - 1) / R * model * c->epochs;
    metrics_set(s->out, "comm/learners", R);
    metrics_set(s->out, "comm/bytes_sent", (double)(c->comm->sent - l->sent));
    metrics_set(s->out, "comm/bytes_ring_allreduce", ring);
    metrics_set(s->out, "comm/bytes_full_gradients", bucket_rows(s->parts->buckets) * ring);
    return OK;
}

/* ---- within a pass over the batch ---- */

/* A rank has the rows of those partitions whose episodes it has packed, or without partitions all. A rank that has
 * packed nothing still takes part in the exchange: the others wait for it. */
static int announce(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    const int n_partitions = s->options.partition ? s->options.n_partitions : 1;
    const int size = s->parts->config->comm->size, rows = bucket_rows(s->pass.buckets);
    bool *has = arena_array(s->parts->arena, bool, size *rows); /* [size, rows] */
    for (int r = 0; r < size; r++)
        for (int k = 0; k < rows; k++) has[r * rows + k] = s->plan->has_rows[r * n_partitions + k % n_partitions];
    bucket_contributions(s->pass.buckets, has);

    if (s->plan->learns && s->plan->n == 0) bucket_nothing(s->pass.buckets);
    return OK;
}

/* Sums of this rank become those of all; a pass takes as long as its slowest rank's. */
static int add_up(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    comm *c = s->parts->config->comm;
    const step_sums mine = s->sums;
    step_sums *all = arena_array(s->parts->arena, step_sums, c->size);
    comm_gather(c, &mine, sizeof mine, all);

    s->sums = (step_sums){ 0 };
    for (int r = 0; r < c->size; r++) {
        loss_sums_add(&s->sums.loss, &all[r].loss);
        s->sums.entropy += all[r].entropy;
        s->sums.computed += all[r].computed;
        s->sums.unshared += all[r].unshared;
        if (all[r].forward_us > s->sums.forward_us) s->sums.forward_us = all[r].forward_us;
        if (all[r].backward_us > s->sums.backward_us) s->sums.backward_us = all[r].backward_us;
    }
    return OK;
}

const method METHOD_LEARNERS = {
    .name = "learners",
    .wanted = many_learners,
    .check = check,
    .open = open,
    .close = close,
    .at = { [AT_WEIGH] = weigh,
            [AT_PASS] = announce,
            [AT_PASSED] = add_up,
            [AT_SEALED] = same_everywhere,
            [AT_METRICS] = tell },
};
