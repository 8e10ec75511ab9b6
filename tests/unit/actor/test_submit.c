/* SPDX-License-Identifier: MIT */
/* T.submit: a call that is the answer. Each episode is held against exchange and witness. */
#include "scripted.h"

typedef struct want {
    const char *dialect, *writes;
    stop_reason stop;
    const char *answer; /* NULL: none */
    uint32_t calls;     /* on record: submit is none of them */
} want;

static const tokenizer *characters;

static void play(const want *w, bool submits, int max_turns)
{
    token_ids ids = { 0 };
    scripted p = open_scripted(characters, w->dialect, "ok");
    p.submits = submits;
    p.max_turns = max_turns;
    add_ids(characters, w->writes, &ids);
    episode *e = run_ids(&p, &ids);
    const bool right = e->stop == w->stop && e->n_calls == w->calls && !e->answer == !w->answer;
    if (!right || (w->answer && strcmp(e->answer, w->answer) != 0))
        fail_msg("%s '%s': stop %s, %u calls, answer %s", w->dialect, w->writes, stop_reason_name(e->stop), e->n_calls,
                 e->answer ? e->answer : "none");
    episode_free(e);
    close_scripted(&p);
    vec_free(&ids);
}

static void what_is_handed_in_is_the_answer_in_every_dialect(void **state)
{
    (void)state;
    static const want ALL[] = {
        { "xml", "<submit>4 2</submit>", STOP_ANSWER, "4 2", 0 },
        { "xml", "<python>1</python> <submit>4</submit>", STOP_ANSWER, "4", 1 },
        { "qwen", "<tool_call>\n{\"name\": \"submit\", \"arguments\": {\"answer\": \"a\\nb\"}}\n</tool_call><|im_end|>",
          STOP_ANSWER, "a\nb", 0 },
        { "llama3", "{\"name\": \"submit\", \"parameters\": {\"answer\": \"4\"}}<|eot_id|>", STOP_ANSWER, "4", 0 },
        { "react", "Thought: x\nAction: submit[4]\n", STOP_ANSWER, "4", 0 },
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) play(&ALL[i], true, 8);
}

/* Of two calls in a turn the first is run, and hands nothing on; what follows submit is not run. */
static void calls_before_it_run_and_calls_after_it_do_not(void **state)
{
    (void)state;
#define CALL(name, arguments) "<tool_call>\n{\"name\": \"" name "\", \"arguments\": {" arguments "}}\n</tool_call>"
    static const want ALL[] = {
        { "qwen", CALL("python", "\"code\": \"1\"") "\n" CALL("submit", "\"answer\": \"4\"") "<|im_end|>", STOP_ANSWER,
          "4", 1 },
        { "qwen", CALL("submit", "\"answer\": \"4\"") "\n" CALL("python", "\"code\": \"1\"") "<|im_end|>", STOP_ANSWER,
          "4", 0 },
        { "qwen", CALL("submit", "\"answer\": \"4\"") "\n" CALL("submit", "\"answer\": \"5\"") "<|im_end|>",
          STOP_ANSWER, "4", 0 },
        { "qwen", CALL("submit", "\"answer\": \"a\\u0000b\"") "<|im_end|>", STOP_ANSWER,
          "a\x1a"
          "b",
          0 },
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) play(&ALL[i], true, 8);
}

/* The last turn is for an answer, however it is given. */
static void it_takes_no_turn_of_the_tools(void **state)
{
    (void)state;
    static const want ALL[] = {
        { "xml", "<submit>4</submit>", STOP_ANSWER, "4", 0 },
        { "xml", "<python>1</python> <submit>4</submit>", STOP_ANSWER, "4", 1 },
    };
    play(&ALL[0], true, 0);
    play(&ALL[1], true, 1);
}

/* Wrong arguments are told of, and another tool of this name is a tool. */
static void only_an_answer_ends_the_episode(void **state)
{
    (void)state;
    static const want ALL[] = {
        { "qwen", CALL("submit", "\"answer\": 4") "<|im_end|>", STOP_EOS, NULL, 1 },
        { "qwen", CALL("submit", "\"result\": \"4\"") "<|im_end|>", STOP_EOS, NULL, 1 },
        { "qwen", CALL("submit", "\"answer\": 4") "<|im_end|>" CALL("submit", "\"answer\": \"4\"") "<|im_end|>",
          STOP_ANSWER, "4", 1 },
    };
    for (size_t i = 0; i < 2; i++) {
        want w = ALL[i];
        str more = { 0 };
        str_printf(&more, "%s<|endoftext|>", w.writes);
        w.writes = more.data;
        play(&w, true, 8);
        str_free(&more);
    }
    play(&ALL[2], true, 8);
    static const want NO_TOOL = { "qwen", CALL("submit", "\"answer\": \"4\"") "<|im_end|><|endoftext|>", STOP_EOS, NULL,
                                  1 };
    play(&NO_TOOL, false, 8);
}

static void by_hand_it_says_what_it_would_do(void **state)
{
    (void)state;
    error err = { 0 };
    tool_result t = { 0 };
    router *r = router_new(NULL);
    const tool submit = submit_tool();
    test_ok(router_add(r, &submit, &err), &err);
    test_ok(router_call(r, "submit", "{\"answer\": \"4\"}", &t, &err), &err);
    assert_true(t.ok && strstr(t.text, "handed in"));
    tool_result_reset(&t);
    test_ok(router_call(r, "submit", "{\"answer\": 4}", &t, &err), &err);
    assert_true(!t.ok && strstr(t.text, "answer"));
    tool_result_reset(&t);
    router_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_handed_in_is_the_answer_in_every_dialect),
        cmocka_unit_test(calls_before_it_run_and_calls_after_it_do_not),
        cmocka_unit_test(it_takes_no_turn_of_the_tools),
        cmocka_unit_test(only_an_answer_ends_the_episode),
        cmocka_unit_test(by_hand_it_says_what_it_would_do),
    };
    tokenizer *t = small_tokenizer(false);
    characters = t;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tokenizer_free(t);
    return failed;
}
