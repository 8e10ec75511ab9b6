/* SPDX-License-Identifier: MIT */
/* Whole training steps on random tokens, as the learner does them. */
#include "bench/best.h"
#include "bench/step.h"

static int step_once(void *ctx, int64_t *us, error *err)
{
    const grad_split one = { .K = 1 };
    return bench_run_step(ctx, &one, NULL, us, err);
}

int bench_train(const bench_request *r, double *tokens_per_second, error *err)
{
    bench_run t = { 0 };
    int64_t us = 0;
    *tokens_per_second = 0;

    int rc = bench_run_open(&t, r, err);
    if (rc == OK) bench_run_take_random(&t, r, 1);
    if (rc == OK) rc = bench_best(step_once, &t, r->seconds, &us, err);
    if (rc == OK) *tokens_per_second = t.random.T / ((double)us / 1e6);
    bench_run_close(&t);
    return rc;
}
