/* SPDX-License-Identifier: MIT */
#include "learner/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "defaults.h"
#include "tiny.h"

/* Rates as the header's formula has them, in numbers worked out by hand: 4 steps of warm-up, then 100. */
static void a_schedule_rises_and_falls_as_its_formula_says(void **state)
{
    (void)state;
    static const struct {
        lr_schedule schedule;
        double ratio;
        int64_t step;
        double lr;
    } SAYS[] = {
        { LR_CONSTANT, 0.1, 1, 0.25 },  { LR_CONSTANT, 0.1, 4, 1 },
        { LR_CONSTANT, 0.1, 104, 1 },   { LR_LINEAR, 0.1, 2, 0.5 },
        { LR_LINEAR, 0.1, 4, 1 },       { LR_LINEAR, 0.1, 29, 0.775 },
        { LR_LINEAR, 0.1, 54, 0.55 },   { LR_LINEAR, 0.1, 104, 0.1 },
        { LR_LINEAR, 0.1, 1000, 0.1 },  { LR_LINEAR, 0, 79, 0.25 },
        { LR_LINEAR, 0, 104, 0 },       { LR_LINEAR, 1, 60, 1 },
        { LR_COSINE, 0.1, 3, 0.75 },    { LR_COSINE, 0.1, 4, 1 },
        { LR_COSINE, 0.1, 54, 0.55 },   { LR_COSINE, 0.1, 29, 0.1 + 0.45 * (1 + M_SQRT1_2) },
        { LR_COSINE, 0.1, 104, 0.1 },   { LR_COSINE, 0.1, 1000, 0.1 },
        { LR_COSINE, 0.25, 104, 0.25 }, { LR_COSINE, 0, 79, 0.5 * (1 - M_SQRT1_2) },
    };
    for (size_t i = 0; i < sizeof SAYS / sizeof *SAYS; i++) {
        optim_config c = optim_default();
        char what[60];
        c.lr = 1, c.warmup = 4, c.total_steps = 104, c.schedule = SAYS[i].schedule, c.min_lr_ratio = SAYS[i].ratio;
        snprintf(what, sizeof what, "row %zu, step %d", i, (int)SAYS[i].step);
        test_near(optimizer_lr(&c, SAYS[i].step, SAYS[i].step), SAYS[i].lr, 1e-12, what);
    }
}

/* The warm-up is for the moments, which silent steps do not fill; the schedule goes by the run. */
static void the_warm_up_counts_updates_and_the_schedule_steps(void **state)
{
    (void)state;
    optim_config c = optim_default();
    c.lr = 2, c.warmup = 4, c.total_steps = 104, c.schedule = LR_LINEAR, c.min_lr_ratio = 0;
    test_near(optimizer_lr(&c, 1, 54), 2 * 0.25 * 0.5, 1e-12, "the first update after 53 silent steps");
    test_near(optimizer_lr(&c, 4, 54), 2 * 0.5, 1e-12, "the fourth");
    test_near(optimizer_lr(&c, 200, 54), 2 * 0.5, 1e-12, "several updates a step");
    c.warmup = 0;
    test_near(optimizer_lr(&c, 1, 1), 2 * (1 - 1.0 / 104), 1e-12, "no warm-up");
    c.warmup = 104;
    test_near(optimizer_lr(&c, 104, 104), 2, 1e-12, "nothing left to fall in");
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
    test_ok(optimizer_step(o, t.w, g, 1, &report, &err), &err);
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
    test_ok(optimizer_step(o, t.w, g, 1, &report, &err), &err);
    const double before = (double)t.w->data[at], rest = (double)t.w->data[other];
    const float m = o->m[at], v = o->v[at];
    g[at] = -0.5f, g[other] = 0;
    test_ok(optimizer_pull(o, t.w, g, 1, &report, &err), &err);
    const double square = 0.95 * 0.05 * 9 + 0.05 * 0.25;
    test_near((double)t.w->data[at], before + 0.01 * 0.5 / sqrt(square / (1 - 0.95 * 0.95)), 1e-6, "weight");
    assert_true((double)t.w->data[other] == rest && o->m[at] == m && o->v[at] == v && o->step == 1);
    memset(g, 0, n * sizeof *g);
    const uint64_t hash = weights_hash(t.w);
    test_ok(optimizer_pull(o, t.w, g, 1, &report, &err), &err);
    test_ok(optimizer_step(o, t.w, g, 1, &report, &err), &err); /* momentum alone is no reason to move */
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
    assert_int_equal(optimizer_step(o, t.w, g, 1, &report, &err), ERR_STATE);
    assert_true(weights_hash(t.w) == hash && o->step == 0);
    free(g);
    optimizer_free(o, t.dev);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schedule_rises_and_falls_as_its_formula_says),
        cmocka_unit_test(the_warm_up_counts_updates_and_the_schedule_steps),
        cmocka_unit_test(an_update_is_adamw_on_the_clipped_gradient),
        cmocka_unit_test(a_pull_is_by_its_gradient_alone),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
