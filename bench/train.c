/* SPDX-License-Identifier: MIT */
/* Whole training steps on random tokens, as the learner does them. */
#include "base/clock.h"
#include "bench/step.h"

int bench_train(const bench_request *r, double *tokens_per_second, error *err)
{
    bench_run t = { 0 };
    const grad_split one = { .K = 1 };
    int64_t best = INT64_MAX, us = 0;
    int rc = bench_run_open(&t, r, 1, err);
    if (rc == OK) rc = bench_run_step(&t, &one, NULL, &us, err); /* touches the memory */
    const int64_t until = clock_us() + (int64_t)(r->seconds * 1e6);
    for (int i = 0; rc == OK && (i < 2 || clock_us() < until); i++)
        if ((rc = bench_run_step(&t, &one, NULL, &us, err)) == OK && us < best) best = us;
    *tokens_per_second = rc == OK ? t.batch.T / ((double)best / 1e6) : 0;
    bench_run_close(&t);
    return rc;
}
