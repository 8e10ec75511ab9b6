/* SPDX-License-Identifier: MIT */
#include "learner/bucket.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/ops.h"
#include "tests/unit/learner/tiny.h"

enum { K = 3 };
static const char *const NAMES[] = { "a", "b", "c" };

static bucket_config config_of(moo_method method, bucket_scope scope)
{
    bucket_config c = { .moo = moo_default(method), .scope = scope };
    c.moo.natural_order = true;
    return c;
}

/* K gradients of a step, [K, total]: each a steady part of its own, and noise drawn from the step. */
typedef struct gradients {
    const tiny *t;
    double signal[K], noise[K];
    float *g;
} gradients;

static void draw(gradients *x, uint64_t step)
{
    const int64_t n = x->t->table->total;
    for (int k = 0; k < K; k++)
        for (int64_t i = 0; i < n; i++) {
            const rng_key steady = { 1, (uint64_t)k }, fresh = { 2 + step, (uint64_t)k };
            x->g[k * n + i] = (float)(x->signal[k] * rng_normal(steady, 0, (uint64_t)i) +
                                      x->noise[k] * rng_normal(fresh, 0, (uint64_t)i));
        }
    for (int p = 0; p < x->t->table->n; p++) { /* the gaps between parameters stay zero */
        const param *q = &x->t->table->items[p];
        const int64_t end = p + 1 < x->t->table->n ? q[1].offset : n;
        for (int k = 0; k < K; k++)
            for (int64_t i = q->offset + q->count; i < end; i++) x->g[k * n + i] = 0;
    }
}

/* What backward does: parameters from the last to the first, `scale` times the gradients. */
static void hand_over(const gradients *x, const grad_sink *sink, float scale)
{
    const param_table *t = x->t->table;
    for (int i = t->n - 1; i >= 0; i--) {
        int64_t stride;
        float *to = sink->place(sink->ctx, &t->items[i], &stride);
        for (int k = 0; k < K; k++)
            for (int64_t j = 0; j < t->items[i].count; j++)
                to[k * stride + j] += scale * x->g[k * t->total + t->items[i].offset + j];
        sink->ready(sink->ctx, &t->items[i], to, K, stride);
    }
}

static void whole_step(const gradients *x, bucket_set *s, int64_t step, float *out)
{
    error err = { 0 };
    memset(out, 0, sizeof *out * (size_t)x->t->table->total);
    bucket_begin(s, step, 1, out);
    hand_over(x, bucket_sink(s, true), 1);
    test_ok(bucket_finish(s, &err), &err);
}

static gradients gradients_of(const tiny *t)
{
    gradients x = { .t = t, .signal = { 1, 1, 1 }, .noise = { 0.5, 0.5, 0.5 } };
    x.g = calloc((size_t)(K * t->table->total), sizeof *x.g);
    draw(&x, 0);
    return x;
}

static void each_bucket_gets_the_weights_of_its_own_gram_matrix(void **state)
{
    (void)state;
    static const bucket_scope SCOPES[] = { BUCKET_LAYER, BUCKET_TENSOR, BUCKET_GLOBAL, BUCKET_BYTES };
    static const int COUNTS[] = { 4, 20, 1, 0 }; /* two layers, the embedding, the final norm */
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    const int64_t n = t.table->total;
    float *out = calloc((size_t)n, sizeof *out);
    for (int i = 0; i < 4; i++) {
        bucket_config c = config_of(MOO_PCGRAD, SCOPES[i]);
        c.bytes = 5000;
        bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
        whole_step(&x, s, 1, out);
        if (COUNTS[i]) assert_int_equal(bucket_count(s), COUNTS[i]);
        int64_t end = n;
        for (int b = 0; b < bucket_count(s); b++) {
            const bucket_view v = bucket_at(s, b);
            const int64_t begin = end - v.params;
            double G[K * K] = { 0 }, w[K];
            error err = { 0 };
            for (int64_t j = begin; j < end; j++)
                for (int e = 0; e < K * K; e++) G[e] += (double)x.g[e / K * n + j] * (double)x.g[e % K * n + j];
            test_ok(moo_solve(&c.moo, G, K, NULL, (rng_key){ 0 }, NULL, w, &err), &err);
            for (int64_t j = begin; j < end; j++) {
                double want = 0;
                for (int k = 0; k < K; k++) want += w[k] * (double)x.g[k * n + j];
                test_near((double)out[j], want, 1e-4, v.name);
            }
            end = begin;
        }
        assert_int_equal(end, 0);
        bucket_set_free(s);
    }
    free(out);
    free(x.g);
    tiny_close(&t);
}

/* Lock-step: K times the largest bucket, and the tied embedding's beside it; never K models. */
static void memory_is_of_buckets_and_not_of_models(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    float *out = calloc((size_t)t.table->total, sizeof *out);
    for (int tied = 0; tied < 2; tied++) {
        const bucket_config c = config_of(MOO_CAGRAD, BUCKET_LAYER);
        bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
        int64_t largest = 0, embed = bucket_at(s, bucket_count(s) - 1).params;
        for (int b = 0; b + 1 < bucket_count(s); b++)
            if (bucket_at(s, b).params > largest) largest = bucket_at(s, b).params;
        for (int step = 1; step <= 3; step++) {
            int64_t stride;
            memset(out, 0, sizeof *out * (size_t)t.table->total);
            bucket_begin(s, step, 1, out);
            const grad_sink *sink = bucket_sink(s, true);
            if (tied) sink->place(sink->ctx, &t.table->items[0], &stride); /* the head's share comes first */
            hand_over(&x, sink, 1);
        }
        const int64_t want = K * (int64_t)sizeof(float) * (tied ? largest + embed : largest > embed ? largest : embed);
        assert_true(bucket_peak_bytes(s) <= (size_t)want);
        assert_true(want < K * (int64_t)sizeof(float) * t.table->total);
        bucket_set_free(s);
    }
    free(out);
    free(x.g);
    tiny_close(&t);
}

static void micro_batches_are_summed_before_they_are_reconciled(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    const int64_t n = t.table->total;
    float *whole = calloc((size_t)n, sizeof *whole), *parts = calloc((size_t)n, sizeof *parts);
    const bucket_config c = config_of(MOO_MGDA, BUCKET_LAYER);
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
    whole_step(&x, s, 1, whole);
    bucket_begin(s, 2, 1, parts);
    hand_over(&x, bucket_sink(s, false), 0.25f);
    hand_over(&x, bucket_sink(s, false), 0.5f);
    for (int64_t i = 0; i < n; i++) assert_true(parts[i] == 0);
    hand_over(&x, bucket_sink(s, true), 0.25f);
    for (int64_t i = 0; i < n; i++) test_near((double)parts[i], (double)whole[i], 1e-5, "direction");
    bucket_set_free(s);
    free(whole);
    free(parts);
    free(x.g);
    tiny_close(&t);
}

static void an_extra_cotangent_is_added_as_it_is(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    const int64_t n = t.table->total;
    float *with = calloc((size_t)n, sizeof *with), *without = calloc((size_t)n, sizeof *without);
    const bucket_config c = config_of(MOO_PREF, BUCKET_LAYER);
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K - 1, 1), *u = bucket_set_new(&c, t.table, t.dev, K, 0);
    whole_step(&x, s, 1, with);
    for (int64_t i = 0; i < n; i++) {
        const double want = 0.5 * ((double)x.g[i] + (double)x.g[n + i]) + (double)x.g[2 * n + i];
        test_near((double)with[i], want, 1e-5, "average of two, and the third");
    }
    bucket_set_free(s);
    bucket_set_free(u);
    free(with);
    free(without);
    free(x.g);
    tiny_close(&t);
}

/* The third objective has noise alone, short as it may be: without the gate MGDA follows it. */
static void the_gate_leaves_out_what_is_only_noise(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    float *out = calloc((size_t)t.table->total, sizeof *out);
    x.signal[2] = 0, x.noise[2] = 0.05;
    for (int gated = 0; gated < 2; gated++) {
        bucket_config c = config_of(MOO_MGDA, BUCKET_LAYER);
        c.gate = gated ? 0.25 : 0;
        bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
        for (uint64_t step = 1; step <= 40; step++) {
            draw(&x, step);
            whole_step(&x, s, (int64_t)step, out);
        }
        for (int b = 0; b < bucket_count(s); b++) {
            const bucket_view v = bucket_at(s, b);
            if (gated) {
                assert_true(v.active[0] && v.active[1] && !v.active[2] && v.w[2] == 0);
                assert_true(v.snr[0] > 0.5 && v.snr[2] < 0.25 && v.norm_after > 0.4 * v.norm_average);
            } else {
                assert_true(v.active[2] && v.w[2] > 0.9 && v.norm_after < 0.2 * v.norm_average);
            }
        }
        bucket_set_free(s);
    }
    free(out);
    free(x.g);
    tiny_close(&t);
}

/* The second objective weighs nothing: that it is no noise shuts the gate for no other, and whom it opposes is in no
 * conflict. */
static void who_weighs_nothing_decides_nothing(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    float *out = calloc((size_t)t.table->total, sizeof *out);
    x.signal[0] = x.signal[2] = 0;
    bucket_config c = config_of(MOO_MGDA, BUCKET_LAYER);
    c.moo.pref[0] = c.moo.pref[2] = 1;
    c.gate = 0.25;
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
    for (uint64_t step = 1; step <= 40; step++) draw(&x, step), whole_step(&x, s, (int64_t)step, out);
    for (int b = 0; b < bucket_count(s); b++) {
        const bucket_view v = bucket_at(s, b);
        assert_true(v.snr[0] < 0.25 && v.snr[1] > 0.5 && v.snr[2] < 0.25);
        assert_true(v.active[0] && !v.active[1] && v.active[2]); /* no objective passes the gate: all are active */
        assert_true(v.w[0] > 0 && v.w[1] == 0 && v.w[2] > 0);
    }
    bucket_set_free(s);

    for (int64_t i = 0; i < t.table->total; i++) /* the first and the third agree */
        x.g[t.table->total + i] = -x.g[i], x.g[2 * t.table->total + i] = 3 * x.g[i];
    c.gate = 0, c.only_conflicts = true;
    s = bucket_set_new(&c, t.table, t.dev, K, 0);
    whole_step(&x, s, 1, out);
    for (int k = 0; k < K; k++) test_near(bucket_at(s, 0).w[k], k == 1 ? 0 : 0.5, 1e-12, "the plain average of two");
    bucket_set_free(s);
    free(out);
    free(x.g);
    tiny_close(&t);
}

static void what_a_set_remembers_can_be_saved_and_restored(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    const size_t bytes = sizeof(float) * (size_t)t.table->total;
    float *first = malloc(bytes), *again = malloc(bytes);
    bucket_config c = config_of(MOO_GRADVAC, BUCKET_LAYER);
    c.gate = 0.25, c.refresh = 2;
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0), *u = bucket_set_new(&c, t.table, t.dev, K, 0);
    for (uint64_t step = 1; step <= 6; step++) draw(&x, step), whole_step(&x, s, (int64_t)step, first);
    error err = { 0 };
    saved_state *memory = state_new();
    bucket_state(s, memory);
    state_rewind(memory);
    bucket_state(u, memory);
    test_ok(state_end(memory, &err), &err);
    draw(&x, 7);
    whole_step(&x, s, 7, first);
    whole_step(&x, u, 7, again);
    assert_memory_equal(first, again, bytes);
    state_free(memory);
    bucket_set_free(s);
    bucket_set_free(u);
    free(first);
    free(again);
    free(x.g);
    tiny_close(&t);
}

static void weights_are_held_between_refreshes(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    float *out = calloc((size_t)t.table->total, sizeof *out);
    bucket_config c = config_of(MOO_MGDA, BUCKET_LAYER);
    c.refresh = 3;
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
    double before = 0;
    for (uint64_t step = 3; step <= 6; step++) { /* solved at 3 and at 6 */
        draw(&x, step);
        whole_step(&x, s, (int64_t)step, out);
        const double w = bucket_at(s, 0).w[0];
        if (step > 3) assert_true((w == before) == (step < 6));
        before = w;
    }
    bucket_set_free(s);
    free(out);
    free(x.g);
    tiny_close(&t);
}

static void options_do_what_they_say(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    float *out = calloc((size_t)t.table->total, sizeof *out);
    for (int64_t i = 0; i < t.table->total; i++) x.g[t.table->total + i] -= 0.7f * x.g[i]; /* a conflict */
    bucket_config c = config_of(MOO_MGDA, BUCKET_LAYER);
    c.keep_norm = true;
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
    whole_step(&x, s, 1, out);
    for (int b = 0; b < bucket_count(s); b++) {
        const bucket_view v = bucket_at(s, b);
        test_near(v.norm_after / v.norm_average, 1, 1e-9, v.name);
        assert_true(v.w[0] + v.w[1] + v.w[2] > 1.05); /* MGDA's own weights sum to 1 and make a shorter vector */
    }
    bucket_set_free(s);
    for (int64_t i = 0; i < t.table->total; i++) /* no conflict at all */
        x.g[t.table->total + i] = 2 * x.g[i], x.g[2 * t.table->total + i] = 3 * x.g[i];
    c = config_of(MOO_MGDA, BUCKET_LAYER);
    c.only_conflicts = true;
    s = bucket_set_new(&c, t.table, t.dev, K, 0);
    whole_step(&x, s, 1, out);
    for (int k = 0; k < K; k++) test_near(bucket_at(s, 0).w[k], 1.0 / K, 1e-12, "the plain average");
    metrics *m = metrics_new();
    bucket_metrics(s, NAMES, m);
    test_near(metrics_get(m, "moo/conflict/a:b", -9), 0, 0, "conflicts");
    test_near(metrics_get(m, "moo/cosine/a:b", -9), 1, 1e-6, "cosine");
    test_near(metrics_get(m, "moo/layer.0/weight/c", -9), 1.0 / K, 1e-12, "weight in a layer");
    metrics_free(m);
    bucket_set_free(s);
    free(out);
    free(x.g);
    tiny_close(&t);
}

static void a_gradient_that_is_not_finite_is_named(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    gradients x = gradients_of(&t);
    float *out = calloc((size_t)t.table->total, sizeof *out);
    error err = { 0 };
    const bucket_config c = config_of(MOO_CAGRAD, BUCKET_LAYER);
    bucket_set *s = bucket_set_new(&c, t.table, t.dev, K, 0);
    x.g[param_find(t.table, PARAM_Q, 1)->offset] = NAN;
    bucket_begin(s, 1, 1, out);
    hand_over(&x, bucket_sink(s, true), 1);
    assert_int_equal(bucket_finish(s, &err), ERR_STATE);
    assert_string_equal(err.text, "layer.1: the product of the gradients of objectives 0 and 0 is nan");
    bucket_set_free(s);
    free(out);
    free(x.g);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bucket_gets_the_weights_of_its_own_gram_matrix),
        cmocka_unit_test(memory_is_of_buckets_and_not_of_models),
        cmocka_unit_test(micro_batches_are_summed_before_they_are_reconciled),
        cmocka_unit_test(an_extra_cotangent_is_added_as_it_is),
        cmocka_unit_test(the_gate_leaves_out_what_is_only_noise),
        cmocka_unit_test(who_weighs_nothing_decides_nothing),
        cmocka_unit_test(what_a_set_remembers_can_be_saved_and_restored),
        cmocka_unit_test(weights_are_held_between_refreshes),
        cmocka_unit_test(options_do_what_they_say),
        cmocka_unit_test(a_gradient_that_is_not_finite_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
