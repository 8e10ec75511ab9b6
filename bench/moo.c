/* SPDX-License-Identifier: MIT */
/* What many objectives cost: a plain step, K data groups and K reward dimensions, by turns in one run. */
#include "base/clock.h"
#include "bench/step.h"

enum { K = BENCH_OBJECTIVES };

/* One kind of step: its split, its buckets, its best time. */
typedef struct kind {
    grad_split split;
    bucket_set *buckets;
    int64_t best, reconciling; /* us */
} kind;

static int measure(bench_run *t, kind *k, error *err)
{
    int64_t us;
    if (bench_run_step(t, &k->split, k->buckets, &us, err) != OK) return err->code;
    if (us >= k->best) return OK;
    k->best = us;
    k->reconciling = k->buckets ? bucket_step_us(k->buckets) : 0;
    return OK;
}

static bench_moo_kind result_of(const kind *k, const kind *plain)
{
    return (bench_moo_kind){ .seconds = (double)k->best / 1e6,
                             .ratio = (double)k->best / (double)plain->best,
                             .reconciling = (double)k->reconciling / (double)k->best,
                             .slab_bytes = k->buckets ? bucket_peak_bytes(k->buckets) : 0 };
}

int bench_moo(const bench_request *r, bench_moo_result *out, error *err)
{
    bench_run t = { 0 };
    int cuts[K + 1];
    for (int k = 0; k <= K; k++) cuts[k] = r->batch * k / K;
    kind kinds[3] = { { .split = { .K = 1 } }, { .split = { K, cuts } }, { .split = { .K = K } } };
    bucket_config c = { .moo = moo_default(MOO_CAGRAD), .scope = BUCKET_LAYER, .gate = 0.25 };
    int rc = bench_run_open(&t, r, K, err);
    for (int i = 0; rc == OK && i < 3; i++) {
        kinds[i].best = INT64_MAX;
        if (i > 0) kinds[i].buckets = bucket_set_new(&c, t.table, t.dev, K, 0);
    }
    const int64_t until = clock_us() + (int64_t)(r->seconds * 1e6);
    for (int n = 0; rc == OK && (n < 3 || clock_us() < until); n++)
        for (int i = 0; rc == OK && i < 3; i++) rc = measure(&t, &kinds[i], err);
    if (rc == OK) {
        out->plain = result_of(&kinds[0], &kinds[0]);
        out->groups = result_of(&kinds[1], &kinds[0]);
        out->rewards = result_of(&kinds[2], &kinds[0]);
        out->params = t.table->total;
    }
    for (int i = 0; i < 3; i++) bucket_set_free(kinds[i].buckets);
    bench_run_close(&t);
    return rc;
}
