/* SPDX-License-Identifier: MIT */
/* What many objectives cost: a plain step, K data groups and K reward dimensions, by turns in one run. */
#include "base/clock.h"
#include "bench/step.h"

enum { K = BENCH_OBJECTIVES };
enum { PLAIN, GROUPS, REWARDS, N_KINDS };

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

/* By turns, so that a machine that grows slower as it grows warm doesn't favour one of them. */
static int measure_all(bench_run *t, kind kinds[N_KINDS], double seconds, error *err)
{
    const bucket_config c = { .moo = moo_default(MOO_CAGRAD), .scope = BUCKET_LAYER, .gate = 0.25 };
    for (int i = 0; i < N_KINDS; i++) {
        kinds[i].best = INT64_MAX;
        if (i != PLAIN) kinds[i].buckets = bucket_set_new(&c, t->table, t->dev, K, 0);
    }

    const int64_t until = clock_us() + (int64_t)(seconds * 1e6);
    for (int n = 0; n < 3 || clock_us() < until; n++)
        for (int i = 0; i < N_KINDS; i++)
            if (measure(t, &kinds[i], err) != OK) return err->code;
    return OK;
}

int bench_moo(const bench_request *r, bench_moo_result *out, error *err)
{
    bench_run t = { 0 };
    int cuts[K + 1];
    for (int k = 0; k <= K; k++) cuts[k] = r->batch * k / K;
    kind kinds[N_KINDS] = {
        [PLAIN] = { .split = { .K = 1 } },
        [GROUPS] = { .split = { .K = K, .sequences = cuts } },
        [REWARDS] = { .split = { .K = K } },
    };

    int rc = bench_run_open(&t, r, err);
    if (rc == OK) bench_run_take_random(&t, r, K);
    if (rc == OK) rc = measure_all(&t, kinds, r->seconds, err);
    if (rc == OK)
        *out = (bench_moo_result){ .plain = result_of(&kinds[PLAIN], &kinds[PLAIN]),
                                   .groups = result_of(&kinds[GROUPS], &kinds[PLAIN]),
                                   .rewards = result_of(&kinds[REWARDS], &kinds[PLAIN]),
                                   .params = t.table->total };
    for (int i = 0; i < N_KINDS; i++) bucket_set_free(kinds[i].buckets);
    bench_run_close(&t);
    return rc;
}
