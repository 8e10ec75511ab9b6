/* SPDX-License-Identifier: MIT */
#include "rollout/trajectory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

/* Q Q | P P (version 7) | O | P (version 7) | P (version 8): ids 10, 11, ... */
static trajectory made(void)
{
    trajectory t = { 0 };
    trajectory_append(&t, TOKEN_QUESTION, (const int32_t[]){ 10, 11 }, 2);
    t.n_prompt = 2;
    trajectory_append_sampled(&t, 12, -0.5f, 7, 70);
    trajectory_append_sampled(&t, 13, -1.5f, 7, 70);
    trajectory_append(&t, TOKEN_OBSERVATION, (const int32_t[]){ 14 }, 1);
    trajectory_append_sampled(&t, 15, -2.5f, 7, 70);
    trajectory_append_sampled(&t, 16, -3.5f, 8, 80);
    return t;
}

static void every_token_keeps_its_id_role_mask_and_logprob(void **state)
{
    (void)state;
    trajectory t = made();
    static const uint8_t mask[] = { 0, 0, 1, 1, 0, 1, 1 },
                         role[] = { TOKEN_QUESTION,    TOKEN_QUESTION, TOKEN_POLICY, TOKEN_POLICY,
                                    TOKEN_OBSERVATION, TOKEN_POLICY,   TOKEN_POLICY };
    static const float logprob[] = { 0, 0, -0.5f, -1.5f, 0, -2.5f, -3.5f };
    assert_int_equal(t.n, 7);
    for (int i = 0; i < 7; i++) assert_int_equal(t.ids[i], 10 + i);
    assert_memory_equal(t.mask, mask, sizeof mask);
    assert_memory_equal(t.role, role, sizeof role);
    assert_memory_equal(t.logprob, logprob, sizeof logprob);
    assert_int_equal(trajectory_sampled(&t), 4);
    trajectory_reset(&t);
    assert_int_equal(t.n, 0);
    assert_null(t.ids);
}

static void segments_say_which_version_sampled_what(void **state)
{
    (void)state;
    trajectory t = made();
    assert_int_equal(t.n_segments, 2);
    assert_true(t.segments[0].version == 7 && t.segments[0].weight_hash == 70);
    assert_true(t.segments[0].start == 2 && t.segments[0].end == 6);
    assert_true(t.segments[1].version == 8 && t.segments[1].weight_hash == 80);
    assert_true(t.segments[1].start == 6 && t.segments[1].end == 7);
    assert_int_equal(trajectory_oldest_version(&t), 7);
    trajectory_append_sampled(&t, 17, -1, 8, 81); /* the same number, other weights: a learner that was restarted */
    assert_int_equal(t.n_segments, 3);
    trajectory_reset(&t);
    assert_int_equal(trajectory_oldest_version(&t), -1);
    assert_int_equal(trajectory_sampled(&t), 0);
}

static void a_long_history_of_many_versions_keeps_its_invariants(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(11);
    trajectory t = { 0 };
    error err = { 0 };
    uint32_t sampled = 0;
    for (int i = 0; i < 5000; i++) {
        int32_t ids[9];
        const size_t n = test_random_below(&rnd, 9);
        for (size_t k = 0; k < n; k++) ids[k] = (int32_t)test_random_below(&rnd, 100);
        trajectory_append(&t, test_random_below(&rnd, 2) ? TOKEN_SHOT : TOKEN_OBSERVATION, ids, n);
        if (test_random_below(&rnd, 2) == 0) continue;
        trajectory_append_sampled(&t, 99, -1, i / 100, (uint64_t)i / 100);
        sampled++;
    }
    test_ok(trajectory_check(&t, 100, &err), &err);
    assert_int_equal(trajectory_check(&t, 99, &err), ERR_PARSE);
    assert_int_equal(trajectory_sampled(&t), sampled);
    assert_int_equal(t.n_segments, 50);
    trajectory_reset(&t);
}

/* As a decoder leaves it: arrays of just their length, capacities 0. */
static void a_trajectory_without_spare_room_can_grow(void **state)
{
    (void)state;
    trajectory t = made();
    error err = { 0 };
    t.ids = xrealloc(t.ids, t.n * sizeof *t.ids);
    t.logprob = xrealloc(t.logprob, t.n * sizeof *t.logprob);
    t.mask = xrealloc(t.mask, t.n);
    t.role = xrealloc(t.role, t.n);
    t.segments = xrealloc(t.segments, t.n_segments * sizeof *t.segments);
    t.capacity = t.segment_capacity = 0;
    for (int version = 9; version < 20; version++) trajectory_append_sampled(&t, 1, -1, version, 1);
    test_ok(trajectory_check(&t, 0, &err), &err);
    assert_int_equal(t.n_segments, 13);
    trajectory_reset(&t);
}

static void the_empty_one_is_whole(void **state)
{
    (void)state;
    trajectory t = { 0 };
    error err = { 0 };
    test_ok(trajectory_check(&t, 10, &err), &err);
    trajectory_append(&t, TOKEN_INSTRUCTION, NULL, 0);
    assert_int_equal(t.n, 0);
    trajectory_reset(&t);
}

static void what_is_this(trajectory *t, const char *about)
{
    error err = { 0 };
    if (trajectory_check(t, 100, &err) != ERR_PARSE) fail_msg("was taken, though it should be refused: %s", about);
    if (!strstr(err.text, about)) fail_msg("'%s' does not name '%s'", err.text, about);
    trajectory_reset(t);
}

static void each_broken_token_is_named(void **state)
{
    (void)state;
    trajectory t;
    t = made(), t.ids[3] = -1, what_is_this(&t, "token 3 has id -1");
    t = made(), t.ids[3] = 100, what_is_this(&t, "token 3 has id 100");
    t = made(), t.role[4] = N_ROLES, what_is_this(&t, "token 4: loss mask");
    t = made(), t.mask[0] = 1, what_is_this(&t, "token 0: loss mask");
    t = made(), t.mask[2] = 0, what_is_this(&t, "token 2: loss mask");
    t = made(), t.mask[2] = 2, what_is_this(&t, "token 2: loss mask");
    t = made(), t.role[4] = TOKEN_POLICY, what_is_this(&t, "token 4: loss mask");
    t = made(), t.logprob[2] = 0.1f, what_is_this(&t, "token 2: behaviour logprob");
    t = made(), t.logprob[2] = NAN, what_is_this(&t, "token 2: behaviour logprob");
    t = made(), t.logprob[2] = -INFINITY, what_is_this(&t, "token 2: behaviour logprob");
    t = made(), t.logprob[0] = -0.1f, what_is_this(&t, "token 0: behaviour logprob");
    t = made(), t.logprob[4] = NAN, what_is_this(&t, "token 4: behaviour logprob");
    t = made(), t.n_prompt = 8, what_is_this(&t, "a prompt of 8 tokens");
    t = made(), t.n_prompt = 3, what_is_this(&t, "token 2 of the prompt");
}

static void each_broken_segment_is_named(void **state)
{
    (void)state;
    trajectory t;
    t = made(), t.segments[1].end = 8, what_is_this(&t, "segment 1 (6 to 8");
    t = made(), t.segments[1].start = 5, what_is_this(&t, "segment 1 (5 to 7");
    t = made(), t.segments[0].end = 2, what_is_this(&t, "segment 0 (2 to 2");
    t = made(), t.segments[0].version = -1, what_is_this(&t, "version -1");
    t = made(), t.segments[0].start = 3, what_is_this(&t, "token 2 was sampled by no known");
    t = made(), t.segments[0].end = 5, what_is_this(&t, "token 5 was sampled by no known");
    t = made(), t.n_segments = 1, what_is_this(&t, "token 6 was sampled by no known");
    t = made(), t.n_segments = 0, what_is_this(&t, "token 2 was sampled by no known");
}

/* What is taken back of the text is taken from its end, over as many tokens as it has. */
static void bytes_are_taken_back_from_the_last_tokens(void **state)
{
    (void)state;
    static const uint32_t WROTE[] = { 4, 3, 0, 2 };
    for (size_t back = 0; back <= 12; back++) {
        trajectory t = { 0 };
        for (int i = 0; i < 4; i++) {
            trajectory_append_sampled(&t, i, -1, 0, 1);
            trajectory_wrote(&t, WROTE[i]);
        }
        trajectory_unwrote(&t, back);
        size_t left = back < 9 ? 9 - back : 0;
        for (int i = 0; i < 4; i++) { /* the first `left` bytes stand, token by token */
            const uint32_t stands = left < WROTE[i] ? (uint32_t)left : WROTE[i];
            assert_int_equal(t.wrote[i], stands);
            left -= stands;
        }
        trajectory_reset(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_keeps_its_id_role_mask_and_logprob),
        cmocka_unit_test(segments_say_which_version_sampled_what),
        cmocka_unit_test(a_long_history_of_many_versions_keeps_its_invariants),
        cmocka_unit_test(a_trajectory_without_spare_room_can_grow),
        cmocka_unit_test(the_empty_one_is_whole),
        cmocka_unit_test(each_broken_token_is_named),
        cmocka_unit_test(each_broken_segment_is_named),
        cmocka_unit_test(bytes_are_taken_back_from_the_last_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
