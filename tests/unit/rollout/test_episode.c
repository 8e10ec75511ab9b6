/* SPDX-License-Identifier: MIT */
#include "rollout/episode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

static const task TASK = { .id = 51,
                           .group = 50,
                           .sample = 1,
                           .group_size = 2,
                           .step = 9,
                           .eval = true,
                           .prompt_id = 33,
                           .n_shots = 2,
                           .attempt = 4 };

/* Two turns of two tokens with a tool's answer between them. */
static episode *made(void)
{
    episode *e = episode_new(&TASK);
    trajectory_append(&e->tokens, TOKEN_QUESTION, (const int32_t[]){ 1, 2 }, 2);
    for (int i = 0; i < 2; i++) trajectory_append_sampled(&e->tokens, 3, -1, 5, 6);
    trajectory_append(&e->tokens, TOKEN_OBSERVATION, (const int32_t[]){ 4 }, 1);
    for (int i = 0; i < 2; i++) trajectory_append_sampled(&e->tokens, 3, -1, 5, 6);
    *episode_add_turn(e) = (turn){ .text = xstrdup("call"), .start = 2, .end = 4, .call = 0 };
    *episode_add_turn(e) = (turn){ .text = xstrdup("42"), .start = 5, .end = 7, .call = -1 };
    *episode_add_call(e) = (tool_call){
        .name = xstrdup("calculator"), .arguments = xstrdup("{}"), .observation = xstrdup("42"), .ok = true
    };
    e->text = xstrdup("call42");
    e->transcript = xstrdup("call4242");
    return e;
}

static void a_new_one_is_its_tasks_and_holds_nothing(void **state)
{
    (void)state;
    episode *e = episode_new(&TASK);
    assert_true(e->id == 51 && e->group == 50 && e->prompt_id == 33 && e->sample == 1);
    assert_true(e->step == 9 && e->eval && e->attempt == 4 && e->n_shots == 2);
    assert_true(e->n_turns == 0 && e->n_calls == 0 && e->tokens.n == 0 && e->failed == FAIL_NONE);
    episode_free(e);
    episode_free(NULL);
}

static void new_turns_and_calls_are_empty_and_keep_the_old_ones(void **state)
{
    (void)state;
    episode *e = episode_new(&TASK);
    for (uint32_t i = 0; i < 100; i++) {
        turn *t = episode_add_turn(e);
        assert_true(t->text == NULL && t->call == -1 && t->start == 0 && t->end == 0);
        t->start = i;
        tool_call *c = episode_add_call(e);
        assert_true(c->name == NULL && c->arguments == NULL && c->observation == NULL && !c->ok);
        c->ms = i;
    }
    assert_true(e->n_turns == 100 && e->n_calls == 100);
    for (uint32_t i = 0; i < 100; i++) assert_true(e->turns[i].start == i && e->calls[i].ms == i);
    episode_free(e);
}

static void every_reason_has_its_own_name(void **state)
{
    (void)state;
    for (int a = 0; a < N_STOPS; a++)
        for (int b = 0; b <= a; b++)
            assert_int_equal(strcmp(stop_reason_name((stop_reason)a), stop_reason_name((stop_reason)b)) == 0, a == b);
    for (int a = 0; a < N_FAILURES; a++)
        for (int b = 0; b <= a; b++)
            assert_int_equal(strcmp(failure_name((failure)a), failure_name((failure)b)) == 0, a == b);
    assert_string_equal(stop_reason_name(STOP_TURNS), "turns");
    assert_string_equal(failure_name(FAIL_NONE), "none");
    assert_string_equal(stop_reason_name((stop_reason)99), "unknown");
    assert_string_equal(failure_name((failure)99), "unknown");
}

static void a_played_one_is_whole(void **state)
{
    (void)state;
    error err = { 0 };
    episode *e = made();
    test_ok(episode_check(e, 10, &err), &err);
    e->stop = STOP_ERROR, e->failed = FAIL_TOOL_LOST;
    test_ok(episode_check(e, 10, &err), &err);
    assert_int_equal(episode_check(e, 4, &err), ERR_PARSE); /* id 4 is none of 0 .. 3 */
    episode_free(e);
}

static void must_refuse(episode *e, const char *about)
{
    error err = { 0 };
    if (episode_check(e, 10, &err) != ERR_PARSE) fail_msg("was taken, though it should be refused: %s", about);
    if (!strstr(err.text, about)) fail_msg("'%s' does not name '%s'", err.text, about);
    assert_non_null(strstr(err.text, "episode 0000000000000033"));
    episode_free(e);
}

static void drop_text(char **text)
{
    free(*text);
    *text = NULL;
}

static void a_failed_machine_is_never_a_stop_of_the_policys(void **state)
{
    (void)state;
    episode *e;
    e = made(), e->stop = STOP_ERROR, must_refuse(e, "stop 4 and failure 0");
    e = made(), e->failed = FAIL_ENGINE, must_refuse(e, "stop 0 and failure 3");
    e = made(), e->stop = N_STOPS, must_refuse(e, "stop 6");
    e = made(), e->stop = STOP_ERROR, e->failed = N_FAILURES, must_refuse(e, "failure 4");
    e = made(), e->stop = (stop_reason)-1, must_refuse(e, "stop -1");
}

static void what_is_missing_or_lies_outside_is_refused(void **state)
{
    (void)state;
    episode *e;
    e = made(), drop_text(&e->environment), must_refuse(e, "one of its texts");
    e = made(), drop_text(&e->data_group), must_refuse(e, "one of its texts");
    e = made(), drop_text(&e->template_name), must_refuse(e, "one of its texts");
    e = made(), drop_text(&e->text), must_refuse(e, "one of its texts");
    e = made(), drop_text(&e->transcript), must_refuse(e, "one of its texts");
    e = made(), drop_text(&e->turns[1].text), must_refuse(e, "turn 1");
    e = made(), e->turns[1].end = 8, must_refuse(e, "turn 1");
    e = made(), e->turns[1].start = 8, must_refuse(e, "turn 1");
    e = made(), e->turns[0].call = 1, must_refuse(e, "turn 0");
    e = made(), e->turns[0].call = -2, must_refuse(e, "turn 0");
    e = made(), drop_text(&e->calls[0].name), must_refuse(e, "call 0");
    e = made(), drop_text(&e->calls[0].arguments), must_refuse(e, "call 0");
    e = made(), e->tokens.mask[0] = 1, must_refuse(e, "token 0");
    e = made(), e->wall_ms = NAN, must_refuse(e, "time");
    e = made(), e->tool_ms = -1, must_refuse(e, "time");
    e = made(), e->wall_ms = INFINITY, must_refuse(e, "time");
    e = made(), e->calls[0].ms = NAN, must_refuse(e, "call 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_one_is_its_tasks_and_holds_nothing),
        cmocka_unit_test(new_turns_and_calls_are_empty_and_keep_the_old_ones),
        cmocka_unit_test(every_reason_has_its_own_name),
        cmocka_unit_test(a_played_one_is_whole),
        cmocka_unit_test(a_failed_machine_is_never_a_stop_of_the_policys),
        cmocka_unit_test(what_is_missing_or_lies_outside_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
