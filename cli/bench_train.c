/* Whole training steps on random tokens, as the learner does them. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "cli/bench.h"
#include "learner/optimizer.h"
#include "model/transformer.h"

typedef struct run {
    device *dev;
    param_table *table;
    weights *w;
    optimizer *opt;
    int32_t *ids, *positions, *starts, *out_rows, *targets;
    float *slope, *grads; /* on the device */
    token_batch batch;
} run;

static void run_close(run *t)
{
    if (t->dev) device_free(t->dev, t->slope), device_free(t->dev, t->grads), optimizer_free(t->opt, t->dev);
    weights_free(t->w);
    param_table_free(t->table);
    device_close(t->dev);
    free(t->ids), free(t->positions), free(t->starts), free(t->out_rows), free(t->targets);
}

static void random_tokens(run *t, const bench_request *r, int vocab)
{
    const int T = r->batch * r->length;
    const size_t bytes = sizeof(int32_t) * (size_t)(T + 1);
    int n = 0;
    t->ids = xmalloc(bytes), t->positions = xmalloc(bytes), t->out_rows = xmalloc(bytes), t->targets = xmalloc(bytes);
    t->starts = xmalloc(sizeof(int32_t) * (size_t)(r->batch + 1));
    for (int i = 0; i < T; i++) {
        t->ids[i] = (int32_t)rng_below((rng_key){ 1, 1 }, 0, (uint64_t)i, (uint64_t)vocab);
        t->positions[i] = i % r->length;
    }
    for (int s = 0; s <= r->batch; s++) t->starts[s] = s * r->length;
    for (int i = 0; i < T; i++)
        if (t->positions[i] < r->length - 1) t->out_rows[n] = i, t->targets[n++] = t->ids[i + 1];
    t->batch = (token_batch){ T, r->batch, t->ids, t->positions, t->starts, n, t->out_rows, t->targets };
}

static int run_open(run *t, const bench_request *r, error *err)
{
    const model_config *c = bench_config(r->size);
    const optim_config config = optim_default();
    if (!(t->dev = device_open("auto", r->threads, err)) || !(t->table = param_table_new(c, err))) return err->code;
    device_set_precision(t->dev, r->precision);
    if (!(t->w = weights_new(t->dev, t->table, err)) || !(t->opt = optimizer_new(&config, t->w, err))) return err->code;
    weights_init(t->w, 1, 0.02f);
    weights_seal(t->w, 0);
    random_tokens(t, r, c->vocab);
    t->grads = device_alloc(t->dev, sizeof(float) * (size_t)t->table->total);
    float *host = xmalloc(sizeof(float) * (size_t)t->batch.n_out);
    for (int i = 0; i < t->batch.n_out; i++) host[i] = -1.0f / (float)t->batch.n_out;
    t->slope = device_alloc(t->dev, sizeof(float) * (size_t)t->batch.n_out);
    device_copy_in(t->dev, t->slope, host, sizeof(float) * (size_t)t->batch.n_out);
    free(host);
    return OK;
}

static int step(run *t, int64_t *us, error *err)
{
    optim_report report;
    const int64_t began = clock_us();
    device_scratch_reset(t->dev);
    device_ops(t->dev)->zero(t->dev, t->grads, t->table->total);
    const activations *acts = model_forward(t->w, &t->batch, NULL);
    model_backward(t->w, &t->batch, acts, t->slope, &(grad_split){ .K = 1 }, t->grads, NULL);
    if (optimizer_step(t->opt, t->w, t->grads, &report, err) != OK) return err->code;
    weights_seal(t->w, t->opt->step);
    if (device_sync(t->dev, err) != OK) return err->code;
    *us = clock_us() - began;
    return OK;
}

int bench_train(const bench_request *r, double *tokens_per_second, error *err)
{
    run t = { 0 };
    int64_t best = INT64_MAX, us = 0;
    int rc = run_open(&t, r, err);
    if (rc == OK) rc = step(&t, &us, err); /* touches the memory */
    const int64_t until = clock_us() + (int64_t)(r->seconds * 1e6);
    for (int i = 0; rc == OK && (i < 2 || clock_us() < until); i++)
        if ((rc = step(&t, &us, err)) == OK && us < best) best = us;
    *tokens_per_second = rc == OK ? t.batch.T / ((double)best / 1e6) : 0;
    run_close(&t);
    return rc;
}
