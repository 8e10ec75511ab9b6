/* SPDX-License-Identifier: MIT */
/* Sequences that share a prefix against the same ones written out: the same bits forward, the same gradients. */
#include "model/transformer.h"

#include "tests/unit/model/reference.h"

/* One batch twice: `shared`, where prompts stand once, and `apart`, where each sequence has its prompt. The outputs are
 * the same rows in the same order. */
typedef struct pair {
    test_batch *shared, *apart;
    int32_t prefix[MAX_SEQUENCES];
    int partitions[3]; /* where the sequences of two partitions begin, shared; the second begins with a prompt */
    int apart_partitions[3];
} pair;

static void begin(test_batch *t, int32_t *prefix, int before)
{
    if (prefix) prefix[t->b.S] = before;
    t->b.S++;
}

static void end(test_batch *t) { t->starts[t->b.S] = t->b.T; }

static void append(test_batch *t, int32_t id, int position, int target)
{
    const int row = t->b.T++;
    assert_true(row < MAX_ROWS && t->b.S <= MAX_SEQUENCES);
    t->ids[row] = id;
    t->positions[row] = position;
    if (target < 0) return;
    t->out_rows[t->b.n_out] = row;
    t->targets[t->b.n_out++] = target;
}

static test_batch *empty(void)
{
    test_batch *t = xcalloc(1, sizeof *t);
    t->b = (token_batch){
        .ids = t->ids, .positions = t->positions, .starts = t->starts, .out_rows = t->out_rows, .targets = t->targets
    };
    return t;
}

/* A prompt of n tokens and its continuations; outputs only after the prompt. */
static void add_family(pair *p, test_random *rnd, int vocab, int n, int continuations, int longest)
{
    int32_t prompt[MAX_ROWS];
    const int place = p->shared->b.S;
    for (int i = 0; i < n; i++) prompt[i] = (int32_t)test_random_below(rnd, (uint64_t)vocab);

    begin(p->shared, p->prefix, -1);
    for (int i = 0; i < n; i++) append(p->shared, prompt[i], i, -1);
    end(p->shared);

    for (int c = 0; c < continuations; c++) {
        begin(p->shared, p->prefix, place);
        begin(p->apart, NULL, -1);
        for (int i = 0; i < n; i++) append(p->apart, prompt[i], i, -1);
        const int own = 1 + (int)test_random_below(rnd, (uint64_t)longest);
        for (int i = 0; i < own; i++) {
            const int32_t id = (int32_t)test_random_below(rnd, (uint64_t)vocab);
            const int target = i % 3 == 1 ? -1 : (int)test_random_below(rnd, (uint64_t)vocab);
            append(p->shared, id, n + i, target);
            append(p->apart, id, n + i, target);
        }
        end(p->shared);
        end(p->apart);
    }
}

/* Two families, and between them a sequence that shares nothing. */
static pair *pair_new(uint64_t seed, int vocab, int prompt, int longest)
{
    pair *p = xcalloc(1, sizeof *p);
    test_random rnd = test_random_seed(seed);
    p->shared = empty();
    p->apart = empty();
    add_family(p, &rnd, vocab, prompt, 6, longest);
    begin(p->shared, p->prefix, -1);
    begin(p->apart, NULL, -1);
    for (int i = 0; i < 5; i++) {
        const int32_t id = (int32_t)test_random_below(&rnd, (uint64_t)vocab);
        append(p->shared, id, i, i);
        append(p->apart, id, i, i);
    }
    end(p->shared);
    end(p->apart);
    p->partitions[1] = p->shared->b.S;
    p->apart_partitions[1] = p->apart->b.S;
    add_family(p, &rnd, vocab, prompt / 2 + 1, 2, longest);

    p->partitions[2] = p->shared->b.S;
    p->apart_partitions[2] = p->apart->b.S;
    p->shared->b.prefix = p->prefix;
    assert_int_equal(p->shared->b.n_out, p->apart->b.n_out);
    assert_true(p->shared->b.T < p->apart->b.T);
    return p;
}

static void pair_free(pair *p)
{
    free(p->shared);
    free(p->apart);
    free(p);
}

typedef struct passed {
    float *logprob, *entropy, *grads;
} passed;

/* A pass with cotangents [K / partitions, n_out]. */
static passed pass(const small_model *m, const token_batch *b, const forward_options *o, const float *cotangents,
                   const grad_split *split)
{
    const size_t out = (size_t)b->n_out;
    passed r = { xcalloc(out, sizeof(float)), xcalloc(out, sizeof(float)),
                 xcalloc((size_t)(split->K * m->table->total), sizeof(float)) };
    device_scratch_reset(m->dev);
    const activations *acts = model_forward(m->w, b, o);
    model_backward(m->w, b, acts, cotangents, split, r.grads, NULL);
    error err = { 0 };
    test_ok(device_sync(m->dev, &err), &err);
    device_copy_out(m->dev, r.logprob, acts->logprob, sizeof(float) * out);
    device_copy_out(m->dev, r.entropy, acts->entropy, sizeof(float) * out);
    return r;
}

static void passed_free(passed *r)
{
    free(r->logprob);
    free(r->entropy);
    free(r->grads);
}

static float *random_cotangents(int n)
{
    test_random rnd = test_random_seed(77);
    float *cotangents = xmalloc(sizeof(float) * (size_t)n);
    for (int i = 0; i < n; i++) cotangents[i] = test_random_normal(&rnd);
    return cotangents;
}

/* Each parameter's gradient to 1e-5 of the largest number in it. */
static void near_gradients(const small_model *m, const float *got, const float *want)
{
    for (int i = 0; i < m->table->n; i++) {
        const param *p = &m->table->items[i];
        double largest = 0;
        for (int64_t j = p->offset; j < p->offset + p->count; j++) largest = fmax(largest, fabs((double)want[j]));
        assert_true(largest > 1e-3); /* there is something to compare */
        for (int64_t j = p->offset; j < p->offset + p->count; j++)
            test_near((double)got[j] / largest, (double)want[j] / largest, 1e-5, p->name);
    }
}

static void check_pair(model_config config, int threads, const forward_options *o, int sides, bool partitions)
{
    small_model m = small_model_open(config, threads, 6);
    pair *p = pair_new(40, config.vocab, 37, 20);
    const int K = partitions ? 2 * sides : sides, n = p->shared->b.n_out;
    grad_split split = { .K = K, .n_partitions = partitions ? 2 : 0 }, apart_split = split;
    if (partitions) split.sequences = p->partitions, apart_split.sequences = p->apart_partitions;

    float *cotangents = random_cotangents(sides * n);
    passed shared = pass(&m, &p->shared->b, o, cotangents, &split);
    passed apart = pass(&m, &p->apart->b, o, cotangents, &apart_split);
    test_same_bits(shared.logprob, apart.logprob, n, "logprob");
    test_same_bits(shared.entropy, apart.entropy, n, "entropy");
    for (int k = 0; k < K; k++) near_gradients(&m, shared.grads + k * m.table->total, apart.grads + k * m.table->total);

    passed_free(&shared);
    passed_free(&apart);
    free(cotangents);
    pair_free(p);
    small_model_close(&m);
}

static void a_shared_prefix_changes_no_logprob_and_no_gradient(void **state)
{
    (void)state;
    const forward_options plain = { .keep = true, .temperature = 0.9f }, again = { .keep = true, .recompute = true };
    for (int tied = 0; tied <= 1; tied++) {
        check_pair(small_config(tied), 2, &plain, 1, false);
        check_pair(small_config(tied), 1, &again, 1, false);
    }
}

static void nor_with_several_cotangents_and_partitions(void **state)
{
    (void)state;
    const forward_options plain = { .keep = true };
    check_pair(small_config(true), 2, &plain, 3, false);
    check_pair(small_config(true), 2, &plain, 1, true);
    check_pair(small_config(false), 2, &plain, 2, true);
    for (int v = 0; v < VARIANTS; v++) check_pair(variant_config(v), 2, &plain, 1, false);
}

static void nor_where_a_window_is_shorter_than_the_prefix(void **state)
{
    (void)state;
    const forward_options plain = { .keep = true };
    static const int WINDOWS[] = { 2, 9, 37, 45 };
    for (int i = 0; i < 4; i++) {
        model_config c = small_config(true);
        for (int l = i % 2; l < c.layers; l++) c.attention[l].window = WINDOWS[i]; /* once the first sees everything */
        check_pair(c, 2, &plain, 1, false);
    }
}

/* dL/d parameter of L = sum of cotangent times logprob, of the sequences written out, in float64. */
static void gradients_through_a_prefix_are_the_derivatives_of_the_float64_reference(void **state)
{
    (void)state;
    const double h = 1e-5;
    const forward_options plain = { .keep = true };
    small_model m = small_model_open(tiny_config(true), 1, 17);
    const int V = m.table->config.vocab;
    pair *p = pair_new(41, V, 6, 4);
    const token_batch *b = &p->apart->b;
    float *cotangents = random_cotangents(b->n_out);
    passed got = pass(&m, &p->shared->b, &plain, cotangents, &(grad_split){ .K = 1 });

    double *params = reference_params(m.w);
    for (int64_t j = 0; j < m.table->total; j++) {
        double side[2] = { 0 };
        const double was = params[j];
        for (int k = 0; k < 2; k++) {
            params[j] = was + (k ? -h : h);
            double *logits = reference_logits(m.table, params, b);
            for (int i = 0; i < b->n_out; i++) {
                double *z = logits + b->out_rows[i] * V;
                reference_log_softmax(z, V, 1);
                side[k] += (double)cotangents[i] * z[b->targets[i]];
            }
            free(logits);
        }
        params[j] = was;
        test_near((double)got.grads[j], (side[0] - side[1]) / (2 * h), 2e-5, "gradient");
    }
    free(params);
    free(cotangents);
    passed_free(&got);
    pair_free(p);
    small_model_close(&m);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    const forward_options plain = { .keep = true };
    pair *p = pair_new(42, small_config(true).vocab, 40, 20);
    float *cotangents = random_cotangents(p->shared->b.n_out);
    passed one = { 0 };
    int64_t total = 0;
    for (int threads = 1; threads <= 4; threads++) {
        small_model m = small_model_open(small_config(true), threads, 6);
        passed r = pass(&m, &p->shared->b, &plain, cotangents, &(grad_split){ .K = 1 });
        total = m.table->total;
        if (threads > 1) {
            test_same_bits(r.logprob, one.logprob, p->shared->b.n_out, "logprob");
            test_same_bits(r.grads, one.grads, total, "gradient");
            passed_free(&r);
        } else {
            one = r;
        }
        small_model_close(&m);
    }
    passed_free(&one);
    free(cotangents);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_prefix_changes_no_logprob_and_no_gradient),
        cmocka_unit_test(nor_with_several_cotangents_and_partitions),
        cmocka_unit_test(nor_where_a_window_is_shorter_than_the_prefix),
        cmocka_unit_test(gradients_through_a_prefix_are_the_derivatives_of_the_float64_reference),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
