/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "show/forgetting.h"
#include "tests/support/support.h"

static int read_run(group_evals *e, const char *metrics, error *err)
{
    char *folder = test_folder_new();
    test_file_write(folder, "metrics.jsonl", metrics);
    const int rc = group_evals_read(e, folder, err);
    test_folder_remove(folder);
    return rc;
}

/* it: 0.2, 0.7, 0.6; nl came later and was left out once. A step's line is no evaluation. */
static const char RUN[] = "{\"event\": \"eval\", \"step\": 0, \"eval/group/it\": 0.2}\n"
                          "{\"event\": \"step\", \"step\": 1, \"eval/group/it\": 1}\n"
                          "{\"event\": \"eval\", \"step\": 2, \"eval/group/it\": 0.7, \"eval/group/nl\": 0.1}\n"
                          "{\"event\": \"eval\", \"step\": 3, \"eval/accuracy/mean\": 1}\n"
                          "{\"event\": \"eval\", \"step\": 4, \"eval/group/it\": 0.6, \"eval/group/nl\": 0.3}\n";

static void the_best_before_the_last_less_the_last_is_forgotten(void **state)
{
    (void)state;
    error err = { 0 };
    group_evals e = { 0 };
    test_ok(read_run(&e, RUN, &err), &err);
    assert_int_equal(e.n, 2);
    assert_int_equal(e.steps.len, 3);

    const group_memory it = group_memory_of(&e, 0), nl = group_memory_of(&e, 1);
    test_near(it.best, 0.7, 1e-12, "best of it");
    test_near(it.forgotten, 0.1, 1e-12, "forgotten of it");
    test_near(nl.forgotten, -0.2, 1e-12, "forgotten of nl");
    test_near(mean_forgotten(&e), -0.05, 1e-12, "mean");
    group_evals_reset(&e);
}

static void of_one_evaluation_nothing_is_known(void **state)
{
    (void)state;
    error err = { 0 };
    group_evals e = { 0 };
    test_ok(read_run(&e, "{\"event\": \"eval\", \"step\": 0, \"eval/group/it\": 0.2}\n", &err), &err);
    assert_true(isnan(group_memory_of(&e, 0).forgotten));
    assert_true(isnan(mean_forgotten(&e)));
    group_evals_reset(&e);
}

static void what_was_not_evaluated_is_a_dash(void **state)
{
    (void)state;
    error err = { 0 };
    group_evals e = { 0 };
    char *text = NULL;
    size_t len;
    test_ok(read_run(&e, RUN, &err), &err);
    FILE *out = open_memstream(&text, &len);
    forgetting_print_table(out, &e);
    fclose(out);
    assert_string_equal(text, "step              it        nl\n"
                              "0              0.200         -\n"
                              "2              0.700     0.100\n"
                              "4              0.600     0.300\n"
                              "forgotten      0.100    -0.200\n"
                              "mean forgotten:     -0.050\n");
    free(text);
    group_evals_reset(&e);
}

static void a_run_without_data_groups_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    group_evals e = { 0 };
    assert_int_equal(read_run(&e, "{\"event\": \"eval\", \"step\": 0, \"eval/accuracy/mean\": 1}\n", &err),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "no evaluations of data groups"));
    group_evals_reset(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_before_the_last_less_the_last_is_forgotten),
        cmocka_unit_test(of_one_evaluation_nothing_is_known),
        cmocka_unit_test(what_was_not_evaluated_is_a_dash),
        cmocka_unit_test(a_run_without_data_groups_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
