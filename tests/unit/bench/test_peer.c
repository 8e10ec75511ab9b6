/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "bench/best.h"
#include "bench/peer.h"
#include "tests/support/support.h"

static const bench_request REQUEST = {
    .size = "small", .precision = PRECISION_BF16, .threads = 3, .batch = 4, .length = 32, .seconds = 0.5
};

static void a_peer_gets_our_words_and_answers_in_json(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *answer = bench_peer_ask("sh -c 'echo \"{\\\"name\\\": \\\"$*\\\"}\"' peer", BENCH_TRAIN, &REQUEST, &err);
    if (!answer) fail_msg("%s", err.text);
    assert_string_equal(json_string_value(json_object_get(answer, "name")),
                        "train --size small --precision bf16 --batch 4 --length 32 --seconds 0.5 --threads 3");
    json_decref(answer);
}

static void a_model_folder_is_one_word_whatever_its_name(void **state)
{
    (void)state;
    error err = { 0 };
    bench_request r = REQUEST;
    r.model = "it's $HOME; a model";
    json_t *answer =
        bench_peer_ask("sh -c 'for w; do last=$w; done; echo \"[\\\"$last\\\"]\"' peer", BENCH_DECODE, &r, &err);
    if (!answer) fail_msg("%s", err.text);
    assert_string_equal(json_string_value(json_array_get(answer, 0)), r.model);
    json_decref(answer);
}

static void a_peer_that_fails_is_named_with_its_words(void **state)
{
    (void)state;
    error err = { 0 };
    assert_null(bench_peer_ask("echo {}; exit 3 #", BENCH_OPS, &REQUEST, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.text, "exit 3 # ops --size small"));
    assert_null(bench_peer_ask("echo nothing", BENCH_OPS, &REQUEST, &err));
    assert_int_equal(err.code, ERR_PARSE);
}

static void what_is_not_asked_for_is_usual_for_the_kind(void **state)
{
    (void)state;
    bench_request r = { .size = "large" };
    bench_fill(&r, BENCH_MOO);
    assert_int_equal(r.batch, 8);
    assert_int_equal(r.length, 256);
    r.batch = 3;
    r.length = 0;
    bench_fill(&r, BENCH_TRAIN);
    assert_int_equal(r.batch, 3);
    assert_int_equal(r.length, 512);
}

/* 40, 30, 20, ...: the first is left out, for it touches the memory. */
static int ever_faster(void *ctx, int64_t *us, error *err)
{
    int *calls = ctx;
    (void)err;
    *us = 40 - 10 * (*calls)++;
    return OK;
}

static int slower_after_the_first(void *ctx, int64_t *us, error *err)
{
    int *calls = ctx;
    (void)err;
    *us = 10 + 10 * (*calls)++;
    return OK;
}

static int fails_at_the_second(void *ctx, int64_t *us, error *err)
{
    int *calls = ctx;
    *us = 1;
    return ++*calls == 2 ? error_set(err, ERR_IO, "second") : OK;
}

static void the_best_is_of_two_repeats_behind_the_first(void **state)
{
    (void)state;
    error err = { 0 };
    int calls = 0;
    int64_t us;
    test_ok(bench_best(ever_faster, &calls, 0, &us, &err), &err);
    assert_int_equal(calls, 3);
    assert_int_equal(us, 20);

    calls = 0;
    test_ok(bench_best(slower_after_the_first, &calls, 0, &us, &err), &err);
    assert_int_equal(us, 20);

    calls = 0;
    assert_int_equal(bench_best(fails_at_the_second, &calls, 10, &us, &err), ERR_IO);
    assert_int_equal(calls, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_gets_our_words_and_answers_in_json),
        cmocka_unit_test(a_model_folder_is_one_word_whatever_its_name),
        cmocka_unit_test(a_peer_that_fails_is_named_with_its_words),
        cmocka_unit_test(what_is_not_asked_for_is_usual_for_the_kind),
        cmocka_unit_test(the_best_is_of_two_repeats_behind_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
