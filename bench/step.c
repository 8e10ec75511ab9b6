/* SPDX-License-Identifier: MIT */
#include "bench/step.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "learner/trainer_config.h"

void bench_run_close(bench_run *t)
{
    if (t->dev) { /* else there is nothing of it */
        device_free(t->dev, t->dlogprob);
        device_free(t->dev, t->grads);
        optimizer_free(t->opt, t->dev);
    }
    weights_free(t->w);
    param_table_free(t->table);
    device_close(t->dev);
    free(t->ids);
    free(t->positions);
    free(t->starts);
    free(t->out_rows);
    free(t->targets);
}

static int32_t *numbers(int n) { return xmalloc(sizeof(int32_t) * (size_t)(n + 1)); }

/* Each sequence predicts all of its tokens but the first. */
static void random_tokens(bench_run *t, const bench_request *r, int vocab)
{
    const int T = r->batch * r->length;
    t->ids = numbers(T);
    t->positions = numbers(T);
    t->out_rows = numbers(T);
    t->targets = numbers(T);
    t->starts = numbers(r->batch);

    for (int i = 0; i < T; i++) {
        t->ids[i] = (int32_t)rng_below((rng_key){ 1, 1 }, 0, (uint64_t)i, (uint64_t)vocab);
        t->positions[i] = i % r->length;
    }
    for (int s = 0; s <= r->batch; s++) t->starts[s] = s * r->length;

    int n = 0;
    for (int i = 0; i < T; i++) {
        if (t->positions[i] == r->length - 1) continue;
        t->out_rows[n] = i;
        t->targets[n] = t->ids[i + 1];
        n++;
    }
    t->random = (token_batch){ .T = T,
                               .S = r->batch,
                               .ids = t->ids,
                               .positions = t->positions,
                               .starts = t->starts,
                               .n_out = n,
                               .out_rows = t->out_rows,
                               .targets = t->targets };
}

/* Cotangents of `sides` losses of n_out tokens, some of either sign, as a batch mean has them. */
static void random_cotangents(bench_run *t, int n_out, int sides)
{
    const size_t n = (size_t)n_out * (size_t)sides;
    float *host = xmalloc(sizeof(float) * n);
    for (size_t i = 0; i < n; i++) host[i] = ((float)(i % 7) - 3.5f) / (float)n_out;
    device_free(t->dev, t->dlogprob);
    t->dlogprob = device_alloc(t->dev, sizeof(float) * n);
    device_copy_in(t->dev, t->dlogprob, host, sizeof(float) * n);
    free(host);
}

int bench_run_open(bench_run *t, const bench_request *r, error *err)
{
    const model_config *c = bench_config(r->size);
    trainer_config defaults = { 0 };
    if (option_defaults(&OPTIM_OPTIONS, &defaults, err) != OK) return err->code;
    if (!(t->dev = device_open("auto", r->threads, err))) return err->code;
    if (!(t->table = param_table_new(c, err))) return err->code;
    device_set_precision(t->dev, r->precision);
    if (!(t->w = weights_new(t->dev, t->table, err))) return err->code;
    t->opt = optimizer_new(&defaults.optim, t->w, NULL, NULL);
    weights_init(t->w, 1, 0.02f);
    weights_seal(t->w, 0);
    t->grads = device_alloc(t->dev, sizeof(float) * (size_t)t->table->total);
    return OK;
}

void bench_run_take(bench_run *t, const token_batch *batches, int n, int sides)
{
    int longest = 1;
    for (int i = 0; i < n; i++)
        if (batches[i].n_out > longest) longest = batches[i].n_out;

    t->batches = batches;
    t->n = n;
    random_cotangents(t, longest, sides);
}

void bench_run_take_random(bench_run *t, const bench_request *r, int sides)
{
    random_tokens(t, r, t->table->config.vocab);
    bench_run_take(t, &t->random, 1, sides);
}

/* The step's gradient -> t->grads: as it comes, or as the buckets reconcile it. */
static int backward(bench_run *t, const grad_split *split, bucket_set *buckets, error *err)
{
    if (buckets) bucket_begin(buckets, t->w->version + 1, 1, t->grads);
    for (int i = 0; i < t->n; i++) {
        const token_batch *b = &t->batches[i];
        const grad_sink *sink = buckets ? bucket_sink(buckets, i + 1 == t->n) : NULL;
        device_scratch_reset(t->dev);
        const activations *acts = model_forward(t->w, b, NULL);
        model_backward(t->w, b, acts, t->dlogprob, split, buckets ? NULL : t->grads, sink);
    }
    return buckets ? bucket_finish(buckets, err) : OK;
}

int bench_run_step(bench_run *t, const grad_split *split, bucket_set *buckets, int64_t *us, error *err)
{
    optim_report report;
    const int64_t began = clock_us();
    device_ops(t->dev)->zero(t->dev, t->grads, t->table->total);
    if (backward(t, split, buckets, err) != OK) return err->code;

    if (optimizer_step(t->opt, t->w, t->grads, 1, &report, err) != OK) return err->code;
    weights_seal(t->w, t->opt->step);
    if (device_sync(t->dev, err) != OK) return err->code; /* or the clock would only see what was asked for */
    *us = clock_us() - began;
    return OK;
}
