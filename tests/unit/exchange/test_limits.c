/* SPDX-License-Identifier: MIT */
#include "exchange/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "proto/codec.h"
#include "tests/support/honest.h"
#include "tests/support/support.h"

static const limits LIMITS = { .vocab = 50, .max_context = 16, .max_turns = 1 };

static task task_of(void) { return (task){ .id = 5, .group = 4, .sample = 1, .group_size = 2, .max_tokens = 6 }; }

/* Two tokens of prompt, three sampled, an observation of two, one more sampled; a call between. */
static episode *good_episode(void)
{
    const task t = task_of();
    episode *e = honest_begin(&t);
    honest_turn(e, "abc", 3, (honest_policy){ 0, 9, -0.5f });
    honest_call(e, "ok");
    honest_turn(e, "", 1, (honest_policy){ 0, 9, MIN_LOGPROB });
    e->tokens.ids[7] = 49;
    e->stop = STOP_EOS;
    return e;
}

typedef void (*spoil)(episode *e);

static void too_many_tokens(episode *e)
{
    int32_t ids[9] = { 0 };
    trajectory_append(&e->tokens, TOKEN_OBSERVATION, ids, 9);
}
static void too_many_sampled(episode *e)
{
    for (int i = 0; i < 3; i++) trajectory_append_sampled(&e->tokens, 3, -1, 0, 9);
}
static void id_of_the_vocabulary(episode *e) { e->tokens.ids[7] = 50; }
static void negative_id(episode *e) { e->tokens.ids[0] = -1; }
static void impossible_logprob(episode *e) { e->tokens.logprob[2] = -1e30f; }
static void hardly_possible_logprob(episode *e) { e->tokens.logprob[2] = -105; }
static void positive_logprob(episode *e) { e->tokens.logprob[2] = 0.5f; }
static void nan_logprob(episode *e) { e->tokens.logprob[2] = NAN; }
static void infinite_logprob(episode *e) { e->tokens.logprob[2] = -INFINITY; }
static void logprob_of_a_shown_token(episode *e) { e->tokens.logprob[5] = -1; }
static void mask_of_a_shown_token(episode *e) { e->tokens.mask[5] = 1; }
static void question_behind_the_prompt(episode *e) { e->tokens.role[5] = TOKEN_QUESTION; }
static void hint_behind_the_prompt(episode *e) { e->tokens.role[5] = TOKEN_HINT; }
static void no_such_role(episode *e) { e->tokens.role[5] = 77; }
static void a_turn_too_many(episode *e) { *episode_add_turn(e) = (turn){ .text = xstrdup(""), .call = -1 }; }
static void a_call_too_many(episode *e)
{
    *episode_add_call(e) = (tool_call){ .name = xstrdup("python"), .arguments = xstrdup("{}") };
}
static void another_number_of_shots(episode *e) { e->n_shots = 3; }
static void a_hint_longer_than_the_prompt(episode *e) { e->hint_len = 3; }
static void a_prompt_longer_than_it(episode *e) { e->tokens.n_prompt = 9; }
static void it_wrote_more_than_there_is(episode *e) { e->tokens.wrote[2] = e->tokens.wrote[3] = UINT32_MAX; }
static void an_infinite_time(episode *e) { e->wall_ms = INFINITY; }
static void long_text(char **text)
{
    free(*text);
    *text = memset(xcalloc(1, 100001), 'x', 100000);
}
static void a_giant_text(episode *e) { long_text(&e->text); }
static void a_giant_transcript(episode *e) { long_text(&e->transcript); }
static void a_giant_answer(episode *e) { long_text(&e->answer); }
static void a_giant_opening(episode *e) { long_text(&e->opening); }
static void a_giant_turn(episode *e) { long_text(&e->turns[0].text); }
static void giant_arguments(episode *e) { long_text(&e->calls[0].arguments); }
static void a_giant_observation(episode *e) { long_text(&e->calls[0].observation); }

static const struct {
    spoil how;
    const char *said;
} SPOILED[] = {
    { too_many_tokens, "17 tokens (rollout.max_context is 16)" },
    { too_many_sampled, "7 sampled tokens (the task's max_tokens is 6)" },
    { id_of_the_vocabulary, "outside a vocabulary of 50" },
    { negative_id, "id -1" },
    { impossible_logprob, "token 2: behaviour logprob -1e+30 is impossible" },
    { hardly_possible_logprob, "-105" },
    { positive_logprob, "0.5" },
    { nan_logprob, "nan" },
    { infinite_logprob, "-inf" },
    { logprob_of_a_shown_token, "token 5" },
    { mask_of_a_shown_token, "loss mask" },
    { question_behind_the_prompt, "role 2 after the prompt" },
    { hint_behind_the_prompt, "role 5 after the prompt" },
    { no_such_role, "role 77" },
    { a_turn_too_many, "3 turns" },
    { a_call_too_many, "2 tool calls (env.max_turns is 1)" },
    { another_number_of_shots, "3 shots" },
    { a_hint_longer_than_the_prompt, "3 hint tokens" },
    { a_prompt_longer_than_it, "a prompt of 9 tokens" },
    { it_wrote_more_than_there_is, "claim to decode to" },
    { an_infinite_time, "inf" },
    { a_giant_text, "text: 100000 bytes" },
    { a_giant_transcript, "transcript: 100000 bytes" },
    { a_giant_answer, "answer: 100000 bytes" },
    { a_giant_opening, "opening: 100000 bytes" },
    { a_giant_turn, "turns: 100000 bytes" },
    { giant_arguments, "arguments: 100000 bytes" },
    { a_giant_observation, "observations: 100000 bytes" },
};

static void an_episode_is_held_against_each_limit_of_its_run(void **state)
{
    (void)state;
    const task t = task_of();
    for (size_t i = 0; i < sizeof SPOILED / sizeof *SPOILED; i++) {
        error err = { 0 };
        episode *e = good_episode();
        test_ok(limits_episode(&LIMITS, &t, e, &err), &err);
        SPOILED[i].how(e);
        if (limits_episode(&LIMITS, &t, e, &err) != ERR_PARSE) fail_msg("was taken: %s", SPOILED[i].said);
        if (!strstr(err.text, SPOILED[i].said)) fail_msg("'%s' does not say '%s'", err.text, SPOILED[i].said);
        episode_free(e);
    }
}

static void a_score_is_finite_bounded_and_of_this_text(void **state)
{
    (void)state;
    error err = { 0 };
    episode *e = good_episode();
    score s = { .task = 5, .ms = 1 };
    test_ok(score_set(&s, "accuracy", -MAX_SCORE, &err), &err);
    test_ok(score_add_span(&s, "accuracy", 3, -MAX_SCORE, &err), &err);
    test_ok(limits_score(e, &s, &err), &err);
    const double bad[] = { 1e300, -1e300, INFINITY, -INFINITY, MAX_SCORE * 1.001, -MAX_SCORE * 1.001 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s.values[0].value = bad[i];
        if (limits_score(e, &s, &err) != ERR_PARSE) fail_msg("the value %g was taken", bad[i]);
        s.values[0].value = 1;
        s.spans[0].value = bad[i];
        if (limits_score(e, &s, &err) != ERR_PARSE) fail_msg("the span %g was taken", bad[i]);
        s.spans[0].value = 1;
    }
    s.spans[0].value = NAN; /* an objective may be missing, a span is there */
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    s.spans[0].value = 1;
    s.spans[0].end = 4;
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "a span ends at byte 4 of a text of 3"));
    s.spans[0].end = 3;
    test_ok(limits_score(e, &s, &err), &err);
    s.ms = NAN;
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    score_reset(&s);
    episode_free(e);
}

/* What is given for spans and what is given for the whole are the same reward; nothing is given without a score. */
static void a_score_agrees_with_itself(void **state)
{
    (void)state;
    error err = { 0 };
    episode *e = good_episode();
    score s = { .task = 5, .ms = 1 };
    score_set(&s, "length", NAN, NULL); /* missing */
    score_set(&s, "steps", (0.1 + 0.7) / 2, NULL);
    score_set(&s, "words", 5, NULL);
    test_ok(score_add_span(&s, "steps", 1, 0.1, &err), &err);
    test_ok(score_add_span(&s, "steps", 3, 0.7, &err), &err);
    test_ok(score_add_span(&s, "words", 2, 5, &err), &err);
    test_ok(limits_score(e, &s, &err), &err);
    s.values[1].value = 0.7;
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "objective 'steps' is 0.7, but the mean of its spans is 0.4"));
    s.values[1].value = NAN;
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    s.values[1].value = 0.4;
    s.values[2].value = 6;
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    s.values[2].value = 5;
    s.spans[0].end = 0;
    assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
    s.spans[0].end = 1;
    for (score_status status = SCORE_SCRIPT; status <= SCORE_MACHINE; status++) {
        s.status = status;
        assert_int_equal(limits_score(e, &s, &err), ERR_PARSE);
        assert_non_null(strstr(err.text, "3 objectives and 3 spans, although its status"));
    }
    s.n_values = 0, s.n_spans = 0;
    test_ok(limits_score(e, &s, &err), &err);
    score_reset(&s);
    episode_free(e);
}

/* The longest episode that is allowed fits its message, and one of a million tokens is refused before it is decoded. */
static void messages_are_as_long_as_the_run_needs(void **state)
{
    (void)state;
    const limits small = { .vocab = 9, .max_context = 448, .max_turns = 4 };
    assert_true(limits_message_bytes(&small, MSG_EPISODE) < 1500000);
    assert_true(limits_message_bytes(&small, MSG_EPISODE) > 448 * 14 + 5 * 65536);
    assert_int_equal(limits_message_bytes(&small, MSG_WANT), 4096);
    assert_int_equal(limits_message_bytes(&small, MSG_HELLO), 4096);
    assert_true(limits_message_bytes(&small, MSG_SCORE) > 4096 * 60 + (4 << 20));

    /* In an environment each call may have an outcome of its own. */
    limits played = small;
    played.environment = true;
    assert_int_equal(limits_message_bytes(&played, MSG_EPISODE),
                     limits_message_bytes(&small, MSG_EPISODE) + 4 * OUTCOME_BYTES);
    const limits large = { .vocab = 9, .max_context = 1000000 }, unknown = { 0 };
    assert_int_equal(limits_message_bytes(&large, MSG_EPISODE), MAX_MESSAGE_BYTES);
    assert_int_equal(limits_message_bytes(&unknown, MSG_EPISODE), MAX_MESSAGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_episode_is_held_against_each_limit_of_its_run),
        cmocka_unit_test(a_score_is_finite_bounded_and_of_this_text),
        cmocka_unit_test(a_score_agrees_with_itself),
        cmocka_unit_test(messages_are_as_long_as_the_run_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
