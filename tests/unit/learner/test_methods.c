/* The small methods of learner/methods, by the numbers of their papers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "episodes.h"
#include "learner/advantage.h"
#include "learner/methods/era.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(era_looks_at_the_most_uncertain_fifth_of_good_answers),
        cmocka_unit_test(era_s_gradient_is_that_of_the_sharper_policy),
        cmocka_unit_test(a_row_s_preference_makes_its_own_scalar),
        cmocka_unit_test(a_preference_for_what_there_is_not_is_refused_with_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
