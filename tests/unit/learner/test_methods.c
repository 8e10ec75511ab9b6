/* SPDX-License-Identifier: MIT */
/* The small methods of learner/methods, by the numbers of their papers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "episodes.h"
#include "learner/advantage.h"
#include "learner/methods/era.h"
#include "learner/methods/isolation.h"
#include "learner/methods/mixture.h"
#include "learner/methods/moa.h"
#include "learner/methods/preference.h"
#include "tests/support/support.h"

/* ---- ERA ---- */

static const era_config ERA = { .k = 2, .low = 0.45, .high = 3 };

static void era_looks_at_the_most_uncertain_fifth_of_good_answers(void **state)
{
    (void)state;
    float entropy[10] = { 0, 0, 0, 0.4f, 0, 0, 0.48f, 0, 0, 0 }; /* the two highest: 0.44 on average */
    assert_true(era_scale(&ERA, 1, 10, entropy) == 2);
    assert_true(era_scale(&ERA, -1, 10, entropy) == 1);
    assert_true(era_scale(&ERA, 0, 10, entropy) == 1);
    entropy[0] = 0.43f; /* 0.455 */
    assert_true(era_scale(&ERA, 1, 10, entropy) == 1);
    entropy[0] = 9;
    assert_true(era_scale(&ERA, 1, 10, entropy) == 0.5f);
    assert_true(era_scale(&(era_config){ 0 }, 1, 10, entropy) == 1);
}

/* z = (2, 0, 0), the first is taken, A = 1: dL/dz of A / k log softmax(k z)[0] is A (e - softmax(k z)). */
static void era_s_gradient_is_that_of_the_sharper_policy(void **state)
{
    (void)state;
    const float entropy = 0.2f;
    const double k = (double)era_scale(&ERA, 1, 1, &entropy), A = 1 / k;
    const double p = exp(2 * k) / (exp(2 * k) + 2);
    test_near(A * k * (1 - p), 0.0353, 1e-4, "taken");
    test_near(-A * k * (1 - p) / 2, -0.0177, 1e-4, "another");
}

/* ---- preferences ---- */

typedef struct desk {
    char *dir;
    dataset *rows;
    arena *a;
    objective_set set;
    group *groups[2];
} desk;

static desk open_desk(const char *rows)
{
    char path[400];
    error err = { 0 };
    desk d = { .dir = test_folder_new(), .a = arena_new(1 << 16) };
    test_file_write(d.dir, "d.jsonl", rows);
    snprintf(path, sizeof path, "%s/d.jsonl", d.dir);
    d.rows = dataset_open(path, 0, &err);
    assert_non_null(d.rows);
    test_ok(objective_add(&d.set, "accuracy", 1, &err), &err);
    test_ok(objective_add(&d.set, "brevity", 0.5, &err), &err);
    for (int g = 0; g < 2; g++) {
        d.groups[g] = made_group("accuracy", (double[]){ 1, 0, 0, 1 }, 4);
        d.groups[g]->prompt_id = (uint64_t)g;
        for (uint32_t i = 0; i < 4; i++)
            test_ok(score_set(d.groups[g]->scores[i], "brevity", i < 2 ? 1 : 0, &err), &err);
    }
    return d;
}

static void close_desk(desk *d)
{
    for (int g = 0; g < 2; g++) group_free(d->groups[g]);
    dataset_free(d->rows);
    arena_free(d->a);
    test_folder_remove(d->dir);
}

static void a_row_s_preference_makes_its_own_scalar(void **state)
{
    (void)state;
    desk d = open_desk("{\"prompt\": \"a\", \"want\": {\"accuracy\": 0, \"brevity\": 2}}\n{\"prompt\": \"b\"}\n");
    error err = { 0 };
    const double *w = preference_weights(d.a, d.rows, "want", &d.set, (const group *const *)d.groups, 2, &err);
    assert_non_null(w);
    const double expected[] = { 0, 2, 0, 2, 0, 2, 0, 2, 1, 0.5, 1, 0.5, 1, 0.5, 1, 0.5 };
    for (int i = 0; i < 16; i++) test_near(w[i], expected[i], 0, "weight");
    const advantage_config c = { .mean = MEAN_GROUP, .std = STD_NONE };
    const advantage_table *t =
        advantage_compute(d.a, &c, &d.set, (const group *const *)d.groups, 2, &(advantage_extra){ .weights = w });
    for (int i = 0; i < 4; i++) {
        const double accuracy = i % 3 == 0 ? 0.5 : -0.5, brevity = i < 2 ? 0.5 : -0.5;
        test_near(t->scalar[i], 2 * brevity, 1e-12, "only brevity");
        test_near(t->scalar[4 + i], accuracy + 0.5 * brevity, 1e-12, "as the recipe says");
        test_near(t->by_objective[i], 0, 0, "accuracy is worth nothing here");
        test_near(t->by_objective[8 + i], 4 * brevity, 1e-12, "weighs 0.5 in general, 2 here");
    }
    close_desk(&d);
}

static void a_preference_for_what_there_is_not_is_refused_with_its_row(void **state)
{
    (void)state;
    desk d = open_desk("{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"want\": {\"acuracy\": 1}}\n");
    error err = { 0 };
    assert_null(preference_weights(d.a, d.rows, "want", &d.set, (const group *const *)d.groups, 2, &err));
    assert_non_null(strstr(err.text, "row 2"));
    assert_non_null(strstr(err.text, "acuracy"));
    close_desk(&d);
}

/* ---- MOA ---- */

static void the_objective_above_its_trend_leads(void **state)
{
    (void)state;
    const moa_config c = { .window = 4, .beta = 10 };
    const objective_set two = { .items = { { "a", 1, -INFINITY }, { "b", 1, -INFINITY } }, .n = 2 };
    moa_state s = { 0 };
    double w[2];
    const double history[][2] = { { 0.2, 0.5 }, { 0.3, 0.5 }, { 0.4, 0.5 }, { 0.5, 0.5 } };
    moa_weights(&c, &s, &two, history[0], w);
    test_near(w[0], 0.5, 1e-12, "nothing is foretold yet");
    for (int i = 1; i < 4; i++) moa_weights(&c, &s, &two, history[i], w);
    moa_weights(&c, &s, &two, (const double[]){ 0.6, 0.6 }, w);
    test_near(w[0], 0.2689, 1e-4, "as foretold");
    test_near(w[1], 0.7311, 1e-4, "0.1 above");
    moa_weights(&c, &s, &two, (const double[]){ 0.7, NAN },
                w); /* the window has moved on; what is missing is as foretold */
    test_near(w[0], 0.5, 1e-9, "both as foretold");
}

/* An objective without a score in the first steps leaves no hole in the line that is drawn later. */
static void a_mean_that_is_missing_at_first_spoils_no_weight(void **state)
{
    (void)state;
    const moa_config c = { .window = 4, .beta = 10 };
    const objective_set two = { .items = { { "a", 1, -INFINITY }, { "b", 1, -INFINITY } }, .n = 2 };
    for (int missing = 1; missing < 6; missing++) {
        moa_state s = { 0 };
        for (int step = 0; step < 8; step++) {
            double w[2];
            const double means[2] = { 0.1 * step, step < missing ? NAN : 0.5 };
            moa_weights(&c, &s, &two, means, w);
            test_near(w[0] + w[1], 1, 1e-12, "weights");
        }
    }
}

/* Members that agree pairwise: the largest subset, by trying all. */
static int best_subset(int n, const double *pivot, const double *R)
{
    int best = 0;
    for (unsigned set = 0; set < 1u << n; set++) {
        bool agree = true;
        int size = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < i; j++)
                if (set >> i & set >> j & 1) agree &= (pivot[i] - pivot[j]) * (R[i] - R[j]) >= 0;
        for (int i = 0; i < n; i++) size += (int)(set >> i & 1);
        if (agree && size > best) best = size;
    }
    return best;
}

static void elimination_keeps_as_many_as_can_agree(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(8);
    for (int round = 0; round < 2000; round++) {
        const int n = 1 + (int)test_random_below(&rnd, 9);
        double pivot[9], R[9];
        bool drop[9];
        for (int i = 0; i < n; i++) {
            pivot[i] = 0.25 * (double)test_random_below(&rnd, 5); /* with ties */
            R[i] = 0.125 * (double)test_random_below(&rnd, 9);
        }
        const int kept = moa_keep_agreeing(n, pivot, R, drop);
        int left = 0;
        for (int i = 0; i < n; i++) {
            left += !drop[i];
            for (int j = 0; j < i; j++)
                if (!drop[i] && !drop[j])
                    assert_true((pivot[i] - pivot[j]) * (R[i] - R[j]) >= 0 || pivot[i] == pivot[j]);
        }
        assert_int_equal(left, kept);
        /* Equal pivots are sorted by R, so they agree whatever the product says: never fewer than pairs would allow. */
        assert_true(kept >= best_subset(n, pivot, R) || n == 0);
    }
}

/* What was added up in another order is in no order: no episode is left out by a rounding. */
static void elimination_takes_no_rounding_for_an_order(void **state)
{
    (void)state;
    const double pivot[4] = { 0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2 }, R[4] = { 0.7 + 0.1, 0.8, 0.8, 0.7 + 0.1 };
    bool drop[4];
    assert_true(pivot[0] < pivot[1] && R[0] < R[1]);
    assert_int_equal(moa_keep_agreeing(4, pivot, R, drop), 4);
    for (int i = 0; i < 4; i++) assert_false(drop[i]);
}

/* ---- isolation ---- */

static const char TWO_LAYERS[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\", \"vocab_size\": "
    "32, \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
    " \"num_key_value_heads\": 2, \"head_dim\": 8, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5,"
    " \"rope_theta\": 10000.0, \"tie_word_embeddings\": true, \"eos_token_id\": 0}";

static param_table *two_layers(void)
{
    model_config c;
    error err = { 0 };
    test_ok(model_config_parse(&c, TWO_LAYERS, strlen(TWO_LAYERS), "test", &err), &err);
    return param_table_new(&c, &err);
}

static int masked(const isolation *s, const bool *mask)
{
    int n = 0;
    for (int i = 0; i < isolation_count(s); i++) n += mask[i];
    return n;
}

static void half_fine_tuning_freezes_another_half_each_round(void **state)
{
    (void)state;
    param_table *t = two_layers();
    isolation *s = isolation_new(&(isolation_config){ .freeze = 0.5, .every = 10, .seed = 3 }, t, 64);
    const int n = isolation_count(s);
    bool *first = malloc((size_t)n);
    memcpy(first, isolation_mask(s, 1, 0), (size_t)n);
    assert_int_equal(masked(s, first), n / 2);
    assert_memory_equal(first, isolation_mask(s, 10, 0), (size_t)n);
    int same = 0;
    const bool *second = isolation_mask(s, 11, 0);
    for (int i = 0; i < n; i++) same += first[i] == second[i];
    assert_int_equal(masked(s, second), n / 2);
    assert_true(same > n / 3 && same < 2 * n / 3); /* independent of the first */
    isolation_free(s);
    free(first);
    param_table_free(t);
}

/* What task "a" moves most in each layer is left alone while "b" is trained, and free again when "a" is back. */
static void what_matters_to_others_is_protected(void **state)
{
    (void)state;
    param_table *t = two_layers();
    const isolation_config c = { .protect = 0.1, .every = 1, .keep = 0.5 };
    isolation *s = isolation_new(&c, t, 64), *restored = isolation_new(&c, t, 64);
    const int n = isolation_count(s);
    double *squares = calloc((size_t)n, sizeof *squares);
    const int a = isolation_task(s, "a"), b = isolation_task(s, "b");
    assert_true(a != b && isolation_task(s, "a") == a);
    for (int i = 0; i < n; i++) {
        const isolation_block *block = &isolation_blocks(s)[i];
        const double layer_scale = block->layer == 1 ? 1000 : 1; /* one layer's gradients are much larger */
        squares[i] = layer_scale * (double)block->count * (i % 10 == 3 ? 9 : 1);
    }
    for (int update = 1; update < 5; update++) {
        assert_int_equal(masked(s, isolation_mask(s, update, a)), 0); /* no other group has shown anything */
        isolation_learn(s, a, squares);
    }
    error err = { 0 };
    saved_state *memory = state_new();
    isolation_state(s, memory);
    state_rewind(memory);
    isolation_state(restored, memory);
    test_ok(state_end(memory, &err), &err);
    const bool *mask = isolation_mask(s, 5, b);
    int right = 0;
    for (int i = 0; i < n; i++) right += mask[i] && i % 10 == 3;
    assert_int_equal(masked(s, mask), n / 10);
    assert_int_equal(right, n / 10);
    assert_memory_equal(mask, isolation_mask(restored, 5, isolation_task(restored, "b")), (size_t)n);
    assert_int_equal(masked(s, isolation_mask(s, 6, a)), 0);
    isolation_free(s), isolation_free(restored);
    free(squares);
    state_free(memory);
    param_table_free(t);
}

/* Gram matrix of four gradients of two numbers each, already weighed with mu as a step weighs them. */
static void gram_of(const double g[MIXTURE_ROWS][2], double mu, double *G)
{
    for (int i = 0; i < MIXTURE_ROWS; i++)
        for (int j = 0; j < MIXTURE_ROWS; j++) {
            const double by = (i < MIXTURE_IMITATION_EVEN ? 1 - mu : mu) * (j < MIXTURE_IMITATION_EVEN ? 1 - mu : mu);
            G[i * MIXTURE_ROWS + j] = by * (g[i][0] * g[j][0] + g[i][1] * g[j][1]);
        }
}

static void imitation_gains_where_it_serves_the_reward(void **state)
{
    (void)state;
    const double helps[MIXTURE_ROWS][2] = { { 1, 0 }, { 1, 0 }, { 0, 0 }, { 4, 0 } };
    const double misleads[MIXTURE_ROWS][2] = { { 1, 0 }, { 1, 0 }, { -1, 0 }, { -3, 0 } };
    const double no_signal[MIXTURE_ROWS][2] = { { 0, 0 }, { 0, 0 }, { 1, 0 }, { 1, 0 } };
    const double only_noise[MIXTURE_ROWS][2] = { { 1, 0.1 }, { -1, 0.1 }, { 0, 2 }, { 0, 2 } };
    double G[MIXTURE_ROWS * MIXTURE_ROWS];
    for (int i = 0; i < 3; i++) { /* the gradient is the same whatever the step was weighed with */
        const double mu = 0.05 + 0.45 * i;
        gram_of(helps, mu, G);
        test_near(mixture_derivative(G, mu), (8.0 - 4.0) / (2 * (2 + 4)), 1e-12, "demonstrations that help");
        gram_of(misleads, mu, G);
        test_near(mixture_derivative(G, mu), -1, 1e-12, "demonstrations that mislead");
        gram_of(no_signal, mu, G);
        test_near(mixture_derivative(G, mu), 0, 0, "no answer better than another");
        gram_of(only_noise, mu, G);
        assert_true(mixture_derivative(G, mu) > 0); /* halves that disagree are noise: imitation can only gain */
    }
}

static void a_mixture_is_measured_and_learned_between_its_bounds(void **state)
{
    (void)state;
    const mixture_config c = { .start = 0.5, .rate = 0.1, .every = 5, .warmup = 3 };
    mixture_config calm = c;
    calm.entropy = 1.5;
    assert_true(!mixture_measures(&c, 3) && !mixture_measures(&c, 7) && mixture_measures(&c, 8));
    assert_true(mixture_at(&c, 0.5, 3) == 1 && mixture_at(&c, 0.5, 4) == 0.5);
    test_near(mixture_learn(&c, 0.5, 0.5, 9), 0.55, 1e-12, "a step up");
    test_near(mixture_learn(&c, 0.06, -1, 9), 0.05, 1e-12, "the least");
    test_near(mixture_learn(&c, 0.94, 1, 9), 0.95, 1e-12, "the most");
    test_near(mixture_learn(&calm, 0.5, 0, 1), 0.55, 1e-12, "too little entropy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(era_looks_at_the_most_uncertain_fifth_of_good_answers),
        cmocka_unit_test(era_s_gradient_is_that_of_the_sharper_policy),
        cmocka_unit_test(half_fine_tuning_freezes_another_half_each_round),
        cmocka_unit_test(what_matters_to_others_is_protected),
        cmocka_unit_test(imitation_gains_where_it_serves_the_reward),
        cmocka_unit_test(a_mixture_is_measured_and_learned_between_its_bounds),
        cmocka_unit_test(the_objective_above_its_trend_leads),
        cmocka_unit_test(a_mean_that_is_missing_at_first_spoils_no_weight),
        cmocka_unit_test(elimination_keeps_as_many_as_can_agree),
        cmocka_unit_test(elimination_takes_no_rounding_for_an_order),
        cmocka_unit_test(a_row_s_preference_makes_its_own_scalar),
        cmocka_unit_test(a_preference_for_what_there_is_not_is_refused_with_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
