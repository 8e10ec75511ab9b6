/* SPDX-License-Identifier: MIT */
/* by_token - moo.bucket = "token": the objectives' weights from gradients with respect to logprobs, K vectors of n_out
 * numbers, and not from K gradients of a whole model. One backward pass is enough then. */
#include <stdlib.h>

#include "base/str.h"
#include "learner/method.h"

static bool wanted(const trainer_config *c) { return c->moo.by_token; }

static int open(trainer_parts *p, void **self, error *err)
{
    (void)p, (void)err;
    *self = xcalloc(1, sizeof(moo_state));
    return OK;
}

static void close(trainer_parts *p, void *self)
{
    (void)p;
    free(self);
}

static double dot(const float *x, const float *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static int combine(const pass *p, int n_out, float *gradient, error *err)
{
    const trainer_config *config = p->config;
    const int K = config->objectives.n, rows = K + (config->loss.kl > 0);
    const size_t n = (size_t)n_out;

    double G[MOO_MAX * MOO_MAX], w[MOO_MAX + 1];
    for (int a = 0; a < K; a++)
        for (int b = 0; b < K; b++) G[a * K + b] = dot(gradient + (size_t)a * n, gradient + (size_t)b * n, n_out);

    moo_config c = config->moo.bucket.moo;
    for (int k = 0; k < K; k++) c.pref[k] = config->objectives.items[k].weight;
    const rng_key order = { config->seed, (uint64_t)p->w->version };
    if (moo_solve(&c, G, K, NULL, order, p->combined, w, err) != OK) return error_within(err, "gradients of logprobs");

    w[K] = 1; /* the KL is no objective: it counts in full */
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < rows; k++) sum += w[k] * (double)gradient[(size_t)k * n + i];
        gradient[i] = (float)sum;
    }
    return OK;
}

static int plan(void *self, train_step *s, error *err)
{
    (void)err;
    s->pass.combine = combine;
    s->pass.combined = self;
    return OK;
}

static void remembered(void *self, trainer_parts *p, saved_state *to)
{
    (void)p;
    moo_state_walk(self, to);
}

const method METHOD_BY_TOKEN = {
    .name = "by_token",
    .wanted = wanted,
    .open = open,
    .close = close,
    .at = { [AT_PLAN] = plan },
    .state = remembered,
};
