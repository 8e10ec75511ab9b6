/* SPDX-License-Identifier: MIT */
#include "model/transformer.h"

#include "tests/unit/model/reference.h"

/* Cotangents dL/dlogprob [K, n_out], some of them zero, as clipped tokens have. */
static float *random_cotangents(test_random *rnd, int K, int n_out)
{
    float *cotangents = xmalloc(sizeof(float) * (size_t)(K * n_out + 1));
    for (int i = 0; i < K * n_out; i++) cotangents[i] = i % 5 == 3 ? 0 : test_random_normal(rnd);
    return cotangents;
}

/* grads [K, total] of one forward and backward, added to what is in `grads` (NULL: a new zeroed array). */
static float *gradients(const small_model *m, const token_batch *b, const forward_options *o, const float *cotangents,
                        int K, float *grads, const grad_sink *sink)
{
    if (!grads) grads = xcalloc((size_t)(K * m->table->total), sizeof *grads);
    device_scratch_reset(m->dev);
    const activations *acts = model_forward(m->w, b, o);
    model_backward(m->w, b, acts, cotangents, &(grad_split){ .K = K }, grads, sink);
    error err = { 0 };
    test_ok(device_sync(m->dev, &err), &err);
    return grads;
}

/* L = sum_i cotangent_i logprob_i in float64. */
static double reference_loss(const small_model *m, const double *params, const token_batch *b, double temperature,
                             const float *cotangents)
{
    const int V = m->table->config.vocab;
    double *logits = reference_logits(m->table, params, b), loss = 0;
    for (int i = 0; i < b->n_out; i++) {
        double *z = logits + b->out_rows[i] * V;
        reference_log_softmax(z, V, temperature);
        loss += (double)cotangents[i] * z[b->targets[i]];
    }
    free(logits);
    return loss;
}

static void check_every_parameter(const small_model *m, const token_batch *b, double temperature,
                                  const float *cotangents)
{
    const double h = 1e-5;
    const forward_options options = { .temperature = (float)temperature, .keep = true };
    float *grads = gradients(m, b, &options, cotangents, 1, NULL, NULL);
    double *params = reference_params(m->w);
    for (int i = 0; i < m->table->n; i++) {
        const param *p = &m->table->items[i];
        for (int64_t j = p->offset; j < p->offset + p->count; j++) {
            const double was = params[j];
            params[j] = was + h;
            const double above = reference_loss(m, params, b, temperature, cotangents);
            params[j] = was - h;
            const double below = reference_loss(m, params, b, temperature, cotangents);
            params[j] = was;
            test_near((double)grads[j], (above - below) / (2 * h), 2e-5, p->name);
        }
    }
    free(params);
    free(grads);
}

static void every_gradient_is_the_derivative_of_the_float64_reference(void **state)
{
    (void)state;
    for (int form = 0; form < TINY_FORMS; form++) {
        small_model m = small_model_open(tiny_form(form), 1, 17);
        test_random rnd = test_random_seed(23);
        test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 3, 9, 0.6);
        assert_true(t->b.n_out > 3 && t->b.n_out < t->b.T && t->b.T > 12);
        float *cotangents = random_cotangents(&rnd, 1, t->b.n_out);
        check_every_parameter(&m, &t->b, form % 2 ? 1 : 0.8, cotangents);
        free(cotangents);
        free(t);
        small_model_close(&m);
    }
}

/* Logits times k are logits at temperature 1 / k: in value and in every gradient. */
static void scaled_logits_are_those_of_another_temperature(void **state)
{
    (void)state;
    for (int form = 0; form < TINY_FORMS; form++) {
        small_model m = small_model_open(tiny_form(form), 1, 17);
        test_random rnd = test_random_seed(29);
        test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 3, 9, 0.6);
        const int n = t->b.n_out;
        float *cotangents = random_cotangents(&rnd, 1, n), *first = xcalloc((size_t)n, sizeof *first);
        float *scale = xcalloc((size_t)n, sizeof *scale), *other = xcalloc((size_t)n, sizeof *other);
        for (int i = 0; i < n; i++)
            scale[i] = i < n / 2 ? 2 : 1, first[i] = i < n / 2 ? cotangents[i] : 0, other[i] = cotangents[i] - first[i];
        float *grads = xcalloc((size_t)m.table->total, sizeof *grads);
        device_scratch_reset(m.dev);
        const activations *acts = model_forward(m.w, &t->b, NULL);
        model_scale_logits(m.w, acts, scale);
        model_backward(m.w, &t->b, acts, cotangents, &(grad_split){ .K = 1 }, grads, NULL);
        const forward_options cold = { .temperature = 0.5f, .keep = true };
        float *expected = gradients(&m, &t->b, &cold, first, 1, NULL, NULL);
        gradients(&m, &t->b, NULL, other, 1, expected, NULL);
        for (int64_t i = 0; i < m.table->total; i++) test_near((double)grads[i], (double)expected[i], 2e-5, "gradient");
        free(grads), free(expected), free(cotangents), free(first), free(scale), free(other), free(t);
        small_model_close(&m);
    }
}

/* L = sum of dz z over some outputs' logits, beside the logprobs': every gradient by differences of the float64
 * reference. */
static void cotangents_of_whole_logits_are_added(void **state)
{
    (void)state;
    for (int form = 0; form < TINY_FORMS; form++) {
        const double h = 1e-5;
        small_model m = small_model_open(tiny_form(form), 1, 17);
        const int V = m.table->config.vocab, begin = 1, n = 2;
        test_random rnd = test_random_seed(31);
        test_batch *t = test_batch_new(&rnd, V, 3, 9, 0.6);
        float *cotangents = random_cotangents(&rnd, 1, t->b.n_out), *dz = random_cotangents(&rnd, n, V);
        float *grads = xcalloc((size_t)m.table->total, sizeof *grads), *z = xcalloc((size_t)(n * V), sizeof *z);
        device_scratch_reset(m.dev);
        const activations *acts = model_forward(m.w, &t->b, NULL);
        model_logits(m.w, acts, begin, n, z);
        model_add_logit_gradients(m.w, acts, begin, n, dz);
        model_backward(m.w, &t->b, acts, cotangents, &(grad_split){ .K = 1 }, grads, NULL);
        double *params = reference_params(m.w), *logits = reference_logits(m.table, params, &t->b);
        for (int i = 0; i < n * V; i++)
            test_near((double)z[i], logits[t->b.out_rows[begin + i / V] * V + i % V], 1e-5, "logit");
        free(logits);
        for (int64_t j = 0; j < m.table->total; j += 7) {
            double side[2];
            const double was = params[j];
            for (int k = 0; k < 2; k++) {
                params[j] = was + (k ? -h : h);
                side[k] = reference_loss(&m, params, &t->b, 1, cotangents);
                logits = reference_logits(m.table, params, &t->b);
                for (int i = 0; i < n * V; i++)
                    side[k] += (double)dz[i] * logits[t->b.out_rows[begin + i / V] * V + i % V];
                free(logits);
            }
            params[j] = was;
            test_near((double)grads[j], (side[0] - side[1]) / (2 * h), 2e-5, "gradient");
        }
        free(params), free(grads), free(cotangents), free(dz), free(z), free(t);
        small_model_close(&m);
    }
}

/* With and without experts; in turn recomputed. */
enum { CASES = 8 };
static model_config case_config(int i)
{
    if (i < 4) return small_config(i & 2);
    return variant_config(i & 2 ? 7 : 6);
}

static void K_sides_give_the_bits_of_K_calls(void **state)
{
    (void)state;
    enum { K = 3 };
    for (int variant = 0; variant < CASES; variant++) {
        const forward_options options = { .keep = true, .recompute = variant & 1, .temperature = 0.9f };
        small_model m = small_model_open(case_config(variant), 1, 6);
        test_random rnd = test_random_seed(40 + (uint64_t)variant);
        test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 6, 40, 0.5);
        float *cotangents = random_cotangents(&rnd, K, t->b.n_out);
        float *together = gradients(&m, &t->b, &options, cotangents, K, NULL, NULL);
        for (int k = 0; k < K; k++) {
            float *one = gradients(&m, &t->b, &options, cotangents + k * t->b.n_out, 1, NULL, NULL);
            test_same_bits(together + k * m.table->total, one, m.table->total, "one side's gradient");
            free(one);
        }
        free(together);
        free(cotangents);
        free(t);
        small_model_close(&m);
    }
}

/* Sequences that belong to K partitions: one pass gives what K passes give whose cotangents are zero elsewhere. */
static void split_sequences_give_each_partitions_gradient(void **state)
{
    (void)state;
    enum { K = 3 };
    for (int variant = 0; variant < CASES; variant++) {
        const forward_options options = { .keep = true, .recompute = variant & 1, .temperature = 0.9f };
        small_model m = small_model_open(case_config(variant), 2, 6);
        test_random rnd = test_random_seed(60 + (uint64_t)variant);
        test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 6, 40, 0.5);
        const int sequences[K + 1] = { 0, 2, 2 + (variant == 3 ? 0 : 3), t->b.S }; /* once a partition has none */
        float *cotangents = random_cotangents(&rnd, 1, t->b.n_out),
              *masked = xcalloc((size_t)(K * t->b.n_out), sizeof *masked);
        for (int i = 0; i < t->b.n_out; i++)
            for (int k = 0; k < K; k++)
                if (t->b.out_rows[i] >= t->b.starts[sequences[k]] && t->b.out_rows[i] < t->b.starts[sequences[k + 1]])
                    masked[k * t->b.n_out + i] = cotangents[i];
        float *apart = gradients(&m, &t->b, &options, masked, K, NULL, NULL);
        float *together = xcalloc((size_t)(K * m.table->total), sizeof *together);
        device_scratch_reset(m.dev);
        const activations *acts = model_forward(m.w, &t->b, &options);
        model_backward(m.w, &t->b, acts, cotangents, &(grad_split){ .K = K, .sequences = sequences }, together, NULL);
        for (int64_t i = 0; i < K * m.table->total; i++)
            test_near((double)together[i], (double)apart[i], 2e-4, "a partition's gradient");
        free(apart);
        free(together);
        free(cotangents);
        free(masked);
        free(t);
        small_model_close(&m);
    }
}

/* Two cotangents whose sequences have three partitions: six gradients in two passes, each that of its cotangent
 * alone. */
static void cotangents_and_partitions_give_a_gradient_a_pair(void **state)
{
    (void)state;
    enum { SIDES = 2, PARTITIONS = 3 };
    small_model m = small_model_open(small_config(true), 2, 6);
    test_random rnd = test_random_seed(71);
    test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 6, 40, 0.5);
    const int sequences[PARTITIONS + 1] = { 0, 1, 4, t->b.S };
    float *cotangents = random_cotangents(&rnd, SIDES, t->b.n_out);
    float *together = xcalloc((size_t)(SIDES * PARTITIONS * m.table->total), sizeof *together);
    const forward_options options = { .keep = true };
    device_scratch_reset(m.dev);
    const activations *acts = model_forward(m.w, &t->b, &options);
    const grad_split split = { .K = SIDES * PARTITIONS, .sequences = sequences, .n_partitions = PARTITIONS };
    model_backward(m.w, &t->b, acts, cotangents, &split, together, NULL);
    for (int side = 0; side < SIDES; side++) {
        float *own = xcalloc((size_t)(PARTITIONS * m.table->total), sizeof *own);
        device_scratch_reset(m.dev);
        acts = model_forward(m.w, &t->b, &options);
        model_backward(m.w, &t->b, acts, cotangents + side * t->b.n_out,
                       &(grad_split){ .K = PARTITIONS, .sequences = sequences }, own, NULL);
        test_same_bits(together + side * PARTITIONS * m.table->total, own, PARTITIONS * m.table->total,
                       "a cotangent's partitions");
        free(own);
    }
    free(together);
    free(cotangents);
    free(t);
    small_model_close(&m);
}

static void recomputing_gives_the_same_bits_from_less_memory(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(8);
    float *grads[2], *cotangents = NULL;
    size_t peak[2];
    test_batch *t = test_batch_new(&rnd, small_config(true).vocab, 8, 60, 0.6);
    cotangents = random_cotangents(&rnd, 1, t->b.n_out);
    int64_t total = 0;
    for (int recompute = 0; recompute <= 1; recompute++) {
        small_model m = small_model_open(small_config(true), 1, 6);
        const forward_options options = { .keep = true, .recompute = recompute };
        grads[recompute] = gradients(&m, &t->b, &options, cotangents, 1, NULL, NULL);
        peak[recompute] = device_scratch_peak(m.dev);
        total = m.table->total;
        small_model_close(&m);
    }
    test_same_bits(grads[1], grads[0], total, "recomputed");
    if (peak[1] * 5 > peak[0] * 4) fail_msg("%zu bytes with recomputation, %zu without", peak[1], peak[0]);
    free(grads[0]);
    free(grads[1]);
    free(cotangents);
    free(t);
}

static void two_threads_give_the_same_bits(void **state)
{
    (void)state;
    small_model one = small_model_open(small_config(true), 1, 6), two = small_model_open(small_config(true), 2, 6);
    test_random rnd = test_random_seed(5);
    test_batch *t = test_batch_new(&rnd, one.table->config.vocab, 8, 60, 0.6);
    float *cotangents = random_cotangents(&rnd, 1, t->b.n_out);
    float *want = gradients(&one, &t->b, NULL, cotangents, 1, NULL, NULL);
    float *got = gradients(&two, &t->b, NULL, cotangents, 1, NULL, NULL);
    test_same_bits(got, want, one.table->total, "two threads");
    free(want);
    free(got);
    free(cotangents);
    free(t);
    small_model_close(&one);
    small_model_close(&two);
}

/* Remembers what the sink was shown, and when. */
typedef struct seen {
    const param_table *table;
    int n, K;
    const param *order[64];
    float *grads; /* [K, total], copied at the call */
} seen;

static void remember(void *ctx, const param *p, const float *g, int K, int64_t stride)
{
    seen *s = ctx;
    assert_true(s->n < 64);
    assert_int_equal(K, s->K);
    s->order[s->n++] = p;
    for (int k = 0; k < K; k++)
        memcpy(s->grads + k * s->table->total + p->offset, g + k * stride, sizeof(float) * (size_t)p->count);
}

static void the_sink_gets_complete_gradients_in_the_order_of_the_table_reversed(void **state)
{
    (void)state;
    enum { K = 2 };
    for (int tied = 0; tied <= 1; tied++) {
        small_model m = small_model_open(tiny_config(tied), 1, 6);
        test_random rnd = test_random_seed(5);
        test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 4, 20, 0.6);
        float *cotangents = random_cotangents(&rnd, K, t->b.n_out);
        seen s = { .table = m.table, .K = K, .grads = xcalloc((size_t)(K * m.table->total), sizeof(float)) };
        const grad_sink sink = { .ctx = &s, .ready = remember };
        float *grads = gradients(&m, &t->b, NULL, cotangents, K, NULL, &sink);
        assert_int_equal(s.n, m.table->n);
        for (int i = 0; i < s.n; i++) assert_ptr_equal(s.order[i], &m.table->items[m.table->n - 1 - i]);
        test_same_bits(s.grads, grads, K * m.table->total, "at the call"); /* the gaps are zero in both */
        free(grads);
        free(s.grads);
        free(cotangents);
        free(t);
        small_model_close(&m);
    }
}

static void micro_batches_add_up(void **state)
{
    (void)state;
    small_model m = small_model_open(small_config(false), 1, 6);
    test_random rnd = test_random_seed(6);
    test_batch *a = test_batch_new(&rnd, m.table->config.vocab, 3, 30, 0.6);
    test_batch *b = test_batch_new(&rnd, m.table->config.vocab, 4, 30, 0.6);
    float *sa = random_cotangents(&rnd, 1, a->b.n_out), *sb = random_cotangents(&rnd, 1, b->b.n_out);
    float *ga = gradients(&m, &a->b, NULL, sa, 1, NULL, NULL), *gb = gradients(&m, &b->b, NULL, sb, 1, NULL, NULL);
    float *both = gradients(&m, &a->b, NULL, sa, 1, NULL, NULL);
    gradients(&m, &b->b, NULL, sb, 1, both, NULL);
    double largest = 0;
    for (int64_t i = 0; i < m.table->total; i++) {
        test_near((double)both[i], (double)ga[i] + (double)gb[i], 1e-4, "sum of two micro-batches");
        largest = fmax(largest, fabs((double)ga[i]));
    }
    assert_true(largest > 0.1); /* the sums above compare something */
    free(ga), free(gb), free(both);
    free(sa), free(sb);
    free(a), free(b);
    small_model_close(&m);
}

static void a_batch_without_targets_has_no_gradient(void **state)
{
    (void)state;
    small_model m = small_model_open(small_config(true), 1, 6);
    test_random rnd = test_random_seed(6);
    test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 3, 30, 0);
    assert_int_equal(t->b.n_out, 0);
    float *grads = gradients(&m, &t->b, NULL, NULL, 1, NULL, NULL);
    for (int64_t i = 0; i < m.table->total; i++) assert_true(grads[i] == 0);
    free(grads);
    free(t);
    small_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_the_derivative_of_the_float64_reference),
        cmocka_unit_test(scaled_logits_are_those_of_another_temperature),
        cmocka_unit_test(cotangents_of_whole_logits_are_added),
        cmocka_unit_test(K_sides_give_the_bits_of_K_calls),
        cmocka_unit_test(split_sequences_give_each_partitions_gradient),
        cmocka_unit_test(cotangents_and_partitions_give_a_gradient_a_pair),
        cmocka_unit_test(recomputing_gives_the_same_bits_from_less_memory),
        cmocka_unit_test(two_threads_give_the_same_bits),
        cmocka_unit_test(the_sink_gets_complete_gradients_in_the_order_of_the_table_reversed),
        cmocka_unit_test(micro_batches_add_up),
        cmocka_unit_test(a_batch_without_targets_has_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
