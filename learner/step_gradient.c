/* SPDX-License-Identifier: MIT */
#include "learner/step_gradient.h"

#include <math.h>

int step_gradient(trainer *t, train_step *s, first_look *first, error *err)
{
    trainer_parts *p = s->parts;
    const pack_plan *plan = s->plan;
    bucket_set *buckets = s->pass.buckets;

    /* Means are over the whole step, not over a micro-batch: how it is cut changes nothing but roundings. An empty step
     * divides by 1. */
    const loss_scale scale = { .tokens = fmax(1, plan->tokens), .episodes = fmax(1, plan->counted) };

    s->sums = (step_sums){ 0 };
    device_ops(p->w->dev)->zero(p->w->dev, p->grads, p->w->table->total);
    if (buckets) bucket_begin(buckets, s->version, p->config->seed, p->grads);
    int rc = trainer_ask_methods(t, AT_PASS, s, err);
    if (rc != OK) return rc;

    /* Forward, loss and backward, micro-batch by micro-batch: gradients add up. */
    for (int i = 0; i < plan->n; i++) {
        const micro_batch m = { &plan->batches[i], &scale, s->table, &first[i], plan->learns, i + 1 == plan->n };
        if (pass_micro(&s->pass, &m, &s->sums, err) != OK) return err ? err->code : ERR_DEVICE;
    }

    if (buckets && bucket_finish(buckets, err) != OK) return err ? err->code : ERR_STATE;
    return trainer_ask_methods(t, AT_PASSED, s, err);
}
