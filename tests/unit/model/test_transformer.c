/* SPDX-License-Identifier: MIT */
#include "model/transformer.h"

#include "tests/unit/model/reference.h"

static void check_against_reference(const small_model *m, const token_batch *b, double temperature)
{
    const int V = m->table->config.vocab;
    double *params = reference_params(m->w), *logits = reference_logits(m->table, params, b);
    const forward_options options = { .temperature = (float)temperature };
    device_scratch_reset(m->dev);
    const activations *acts = model_forward(m->w, b, &options);
    for (int i = 0; i < b->n_out; i++) {
        double *z = logits + b->out_rows[i] * V, entropy = 0;
        reference_log_softmax(z, V, temperature);
        for (int v = 0; v < V; v++) entropy -= exp(z[v]) * z[v];
        test_near((double)acts->logprob[i], z[b->targets[i]], 2e-5, "logprob");
        test_near((double)acts->entropy[i], entropy, 2e-5, "entropy");
    }
    free(logits);
    free(params);
}

static void logprobs_and_entropies_are_those_of_the_float64_reference(void **state)
{
    (void)state;
    for (int tied = 0; tied <= 1; tied++)
        for (int small = 0; small <= 1; small++) {
            small_model m = small_model_open(small ? small_config(tied) : tiny_config(tied), 1, 5);
            test_random rnd = test_random_seed(11);
            test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 5, 40, 0.6);
            check_against_reference(&m, &t->b, 1);
            check_against_reference(&m, &t->b, 0.7);
            free(t);
            small_model_close(&m);
        }
}

/* Copies, because the next reset forgets them. */
static float *logprobs_of(const small_model *m, const token_batch *b, const forward_options *options)
{
    device_scratch_reset(m->dev);
    const activations *acts = model_forward(m->w, b, options);
    float *copy = xmalloc(sizeof(float) * (size_t)(b->n_out + 1));
    memcpy(copy, acts->logprob, sizeof(float) * (size_t)b->n_out);
    return copy;
}

static void keeping_recomputing_and_forgetting_give_the_same_bits(void **state)
{
    (void)state;
    small_model m = small_model_open(small_config(true), 1, 3);
    test_random rnd = test_random_seed(4);
    test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 6, 50, 0.5);
    const forward_options options[] = { { .keep = true }, { .keep = true, .recompute = true }, { .keep = false } };
    float *want = logprobs_of(&m, &t->b, NULL);
    for (int i = 0; i < 3; i++) {
        float *got = logprobs_of(&m, &t->b, &options[i]);
        test_same_bits(got, want, t->b.n_out, "logprob");
        free(got);
    }
    free(want);
    free(t);
    small_model_close(&m);
}

/* The sequence `s` of a batch as a batch of its own; its out rows begin at *first of the whole batch's. */
static token_batch alone(const token_batch *b, int s, int32_t *starts, int32_t *rows, int *first)
{
    token_batch one = *b;
    const int begin = b->starts[s], end = b->starts[s + 1];
    one.S = 1, one.T = end - begin, one.n_out = 0;
    one.ids += begin, one.positions += begin;
    starts[0] = 0, starts[1] = one.T;
    one.starts = starts;
    for (*first = 0; *first < b->n_out && b->out_rows[*first] < begin;) ++*first;
    one.targets += *first;
    for (int i = *first; i < b->n_out && b->out_rows[i] < end; i++) rows[one.n_out++] = b->out_rows[i] - begin;
    one.out_rows = rows;
    return one;
}

static void a_sequence_has_the_same_bits_alone_in_company_and_on_two_threads(void **state)
{
    (void)state;
    small_model m = small_model_open(small_config(false), 1, 9), two = small_model_open(small_config(false), 2, 9);
    test_random rnd = test_random_seed(21);
    test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 8, 60, 0.7);
    float *together = logprobs_of(&m, &t->b, NULL), *threaded = logprobs_of(&two, &t->b, NULL);
    test_same_bits(threaded, together, t->b.n_out, "two threads");
    for (int s = 0; s < t->b.S; s++) {
        int32_t starts[2], rows[MAX_ROWS];
        int first;
        const token_batch one = alone(&t->b, s, starts, rows, &first);
        float *got = logprobs_of(&m, &one, NULL);
        test_same_bits(got, together + first, one.n_out, "alone");
        free(got);
    }
    free(together);
    free(threaded);
    free(t);
    small_model_close(&m);
    small_model_close(&two);
}

static size_t peak_with_out_rows(const test_batch *t, int n_out, float *logprob)
{
    small_model m = small_model_open(small_config(true), 1, 9);
    token_batch b = t->b;
    b.out_rows += b.n_out - n_out, b.targets += b.n_out - n_out, b.n_out = n_out;
    float *got = logprobs_of(&m, &b, NULL);
    memcpy(logprob, got, sizeof(float) * (size_t)n_out);
    const size_t peak = device_scratch_peak(m.dev);
    free(got);
    small_model_close(&m);
    return peak;
}

/* A row that is not asked for must not reach the last feed-forward part nor the head, where its memory would show. */
static void only_out_rows_pass_the_last_upper_half_and_the_head(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(2);
    const model_config c = small_config(true);
    test_batch *t = test_batch_new(&rnd, c.vocab, 8, 60, 1);
    assert_int_equal(t->b.n_out, t->b.T);
    float all[MAX_ROWS], few[MAX_ROWS];
    const size_t full = peak_with_out_rows(t, t->b.T, all), lean = peak_with_out_rows(t, 3, few);
    test_same_bits(few, all + t->b.T - 3, 3, "the last three rows");
    const size_t a_row = sizeof(float) * (size_t)(3 * c.ffn + 5 * c.width);
    assert_true(full - lean >= a_row * (size_t)(t->b.T - 3));
    free(t);
}

static void last_logits_are_those_of_each_sequences_last_row(void **state)
{
    (void)state;
    for (int tied = 0; tied <= 1; tied++) {
        small_model m = small_model_open(small_config(tied), 1, 5);
        test_random rnd = test_random_seed(31);
        const int V = m.table->config.vocab;
        test_batch *t = test_batch_new(&rnd, V, 5, 40, 0);
        double *params = reference_params(m.w), *want = reference_logits(m.table, params, &t->b);
        float *got = xmalloc(sizeof(float) * (size_t)(t->b.S * V));
        t->b.out_rows = t->b.targets = NULL;
        model_last_logits(m.w, &t->b, got);
        for (int s = 0; s < t->b.S; s++)
            for (int v = 0; v < V; v++)
                test_near((double)got[s * V + v], want[(t->b.starts[s + 1] - 1) * V + v], 3e-5, "logit");
        free(got);
        free(want);
        free(params);
        free(t);
        small_model_close(&m);
    }
}

static void changed_weights_count_once_they_are_sealed(void **state)
{
    (void)state;
    small_model m = small_model_open(tiny_config(true), 1, 5);
    test_random rnd = test_random_seed(1);
    test_batch *t = test_batch_new(&rnd, m.table->config.vocab, 2, 10, 1);
    const param *down = param_find(m.table, PARAM_DOWN, 1);
    for (int64_t i = 0; i < down->count; i++) m.w->data[down->offset + i] += 0.5f;
    weights_seal(m.w, 1);
    check_against_reference(&m, &t->b, 1);
    free(t);
    small_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logprobs_and_entropies_are_those_of_the_float64_reference),
        cmocka_unit_test(keeping_recomputing_and_forgetting_give_the_same_bits),
        cmocka_unit_test(a_sequence_has_the_same_bits_alone_in_company_and_on_two_threads),
        cmocka_unit_test(only_out_rows_pass_the_last_upper_half_and_the_head),
        cmocka_unit_test(last_logits_are_those_of_each_sequences_last_row),
        cmocka_unit_test(changed_weights_count_once_they_are_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
