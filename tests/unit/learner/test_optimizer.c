/* SPDX-License-Identifier: MIT */
#include "learner/optimizer.h"

#include <math.h>
#include <stdlib.h>

#include "tiny.h"

static void warm_up_is_linear_and_cosine_ends_at_a_tenth(void **state)
{
    (void)state;
    optim_config c = optim_default();
    c.lr = 1, c.warmup = 4, c.total_steps = 104, c.schedule = LR_COSINE;
    test_near(optimizer_lr(&c, 1), 0.25, 1e-12, "first step");
    test_near(optimizer_lr(&c, 4), 1, 1e-12, "end of the warm-up");
    test_near(optimizer_lr(&c, 54), 0.55, 1e-12, "half-way");
    test_near(optimizer_lr(&c, 104), 0.1, 1e-12, "last step");
    c.warmup = 0, c.schedule = LR_CONSTANT;
    test_near(optimizer_lr(&c, 1), 1, 0, "no warm-up");
}

/* The update against the paper's formula in float64, with clipping active. */
static void an_update_is_adamw_on_the_clipped_gradient(void **state)
{
    (void)state;
    tiny t = tiny_open(1);
    error err = { 0 };
    optim_config c = optim_default();
    c.lr = 0.01, c.warmup = 0, c.clip_norm = 0.5, c.weight_decay = 0.1;
    optimizer *o = optimizer_new(&c, t.w, NULL, NULL);
    const size_t n = (size_t)t.table->total;
    float *g = calloc(n, sizeof *g), *before = malloc(n * sizeof *before);
    memcpy(before, t.w->data, n * sizeof *before);
    const param *matrix = param_find(t.table, PARAM_Q, 0), *norm = param_find(t.table, PARAM_FINAL_NORM, -1);
    g[matrix->offset + 3] = 3, g[norm->offset + 1] = 4; /* norm 5, clipped to 0.5 */
    optim_report report;
    test_ok(optimizer_step(o, t.w, g, &report, &err), &err);
    test_near(report.grad_norm, 5, 1e-6, "norm");
    for (int which = 0; which < 2; which++) {
        const int64_t i = which ? norm->offset + 1 : matrix->offset + 3;
        const double grad = (double)g[i] * 0.1, m = 0.1 * grad, v = 0.05 * grad * grad, w = (double)before[i];
        const double decay = which ? 0 : 0.1;
        const double expected = w - 0.01 * ((m / 0.1) / (sqrt(v / 0.05) + 1e-8) + decay * w);
        test_near((double)t.w->data[i], expected, 1e-6, which ? "norm weight" : "matrix weight");
    }
    free(g);
    free(before);
    optimizer_free(o, t.dev);
    tiny_close(&t);
}

/* What AdamW would do without momentum: g / sqrt(v) of both gradients' v; and no state changes. */
static void a_pull_is_by_its_gradient_alone(void **state)
{
    (void)state;
    tiny t = tiny_open(1);
    error err = { 0 };
    optim_config c = optim_default();
    c.lr = 0.01, c.warmup = 0, c.clip_norm = 0, c.weight_decay = 0.1;
    optimizer *o = optimizer_new(&c, t.w, NULL, NULL);
    const size_t n = (size_t)t.table->total;
    const int64_t at = param_find(t.table, PARAM_Q, 0)->offset + 3, other = param_find(t.table, PARAM_UP, 1)->offset;
    float *g = calloc(n, sizeof *g);
    optim_report report;
    g[at] = 3, g[other] = 2;
    test_ok(optimizer_step(o, t.w, g, &report, &err), &err);
    const double before = (double)t.w->data[at], rest = (double)t.w->data[other];
    const float m = o->m[at], v = o->v[at];
    g[at] = -0.5f, g[other] = 0;
    test_ok(optimizer_pull(o, t.w, g, &report, &err), &err);
    const double square = 0.95 * 0.05 * 9 + 0.05 * 0.25;
    test_near((double)t.w->data[at], before + 0.01 * 0.5 / sqrt(square / (1 - 0.95 * 0.95)), 1e-6, "weight");
    assert_true((double)t.w->data[other] == rest && o->m[at] == m && o->v[at] == v && o->step == 1);
    memset(g, 0, n * sizeof *g);
    const uint64_t hash = weights_hash(t.w);
    test_ok(optimizer_pull(o, t.w, g, &report, &err), &err);
    test_ok(optimizer_step(o, t.w, g, &report, &err), &err); /* momentum alone is no reason to move */
    assert_true(weights_hash(t.w) == hash && o->step == 1 && o->m[at] == m);
    free(g);
    optimizer_free(o, t.dev);
    tiny_close(&t);
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    tiny t = tiny_open(1);
    error err = { 0 };
    const optim_config c = optim_default();
    optimizer *o = optimizer_new(&c, t.w, NULL, NULL);
    float *g = calloc((size_t)t.table->total, sizeof *g);
    g[5] = NAN;
    const uint64_t hash = weights_hash(t.w);
    optim_report report;
    assert_int_equal(optimizer_step(o, t.w, g, &report, &err), ERR_STATE);
    assert_true(weights_hash(t.w) == hash && o->step == 0);
    free(g);
    optimizer_free(o, t.dev);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_up_is_linear_and_cosine_ends_at_a_tenth),
        cmocka_unit_test(an_update_is_adamw_on_the_clipped_gradient),
        cmocka_unit_test(a_pull_is_by_its_gradient_alone),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
