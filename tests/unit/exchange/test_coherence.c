/* SPDX-License-Identifier: MIT */
/* Episodes that keep to every limit and are forged all the same: each field of an honest one is changed alone, to what
 * it could be in another episode.
 *
 * Not here, since it can't be told without the model, the dialect and the tools: `attempt` (an actor may finish what
 * an exchange before this one asked), `wall_ms`, a call's name and arguments, what it said and whether it went well,
 * the probabilities, which ids spell the words of a turn, and how a turn's bytes are divided among its tokens. Who
 * names the task (id, group, prompt_id, sample, step, eval, template_id) and the weights is held against by core.c
 * (test_server_answers.c); ids, masks, sizes and the rest of the limits are test_limits.c's. */
#include "exchange/coherence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/honest.h"
#include "tests/support/support.h"

enum { EOS = 42 };

static const limits LIMITS = {
    .vocab = 50, .max_context = 40, .max_turns = 2, .eos = &(const int32_t){ EOS }, .n_eos = 1, .dialect = "xml"
};
static const honest_policy POLICY = { 4, 9, -0.5f };

static char ROW[] = "{\"prompt\": \"1 + 6?\", \"group\": \"sums\"}";

static task task_of(void)
{
    return (task){ .id = 5, .group = 4, .sample = 1, .group_size = 2, .max_tokens = 20, .row = ROW };
}

/* 2 tokens of prompt; turn 0, tokens 2 to 6, which say more than the call; an observation, 6 to 8; turn 1, 8 to 13. */
static episode *answered(void)
{
    const task t = task_of();
    episode *e = honest_begin(&t);
    honest_turn(e, "<python>1+6</python>", 4, POLICY);
    e->turns[0].residue = xstrdup("<");
    honest_say(&e->transcript, "<");
    honest_call(e, "7");
    honest_turn(e, "<answer>7</answer>", 5, POLICY);
    e->answer = xstrdup("7");
    e->stop = STOP_ANSWER;
    return e;
}

static void say(char **text, const char *words)
{
    free(*text);
    *text = words ? xstrdup(words) : NULL;
}

/* ---- what is changed ---- */

static void another_data_group(episode *e) { say(&e->data_group, "products"); }
static void no_data_group(episode *e) { say(&e->data_group, ""); }
static void another_environment(episode *e) { say(&e->environment, "web"); }
static void another_dialect(episode *e) { say(&e->template_name, "qwen"); }
static void a_hint_that_was_not_given(episode *e) { e->tokens.role[1] = TOKEN_HINT, e->hint_len = 1; }
static void a_hint_that_is_not_counted(episode *e) { e->tokens.role[1] = TOKEN_HINT; }
static void an_observation_in_the_prompt(episode *e) { e->tokens.role[1] = TOKEN_OBSERVATION; }
static void a_shorter_prompt(episode *e) { e->tokens.n_prompt = 0; }
static void a_longer_prompt(episode *e)
{
    e->tokens.mask[2] = 0, e->tokens.role[2] = TOKEN_QUESTION, e->tokens.logprob[2] = 0;
    e->tokens.segments[0].start = e->tokens.n_prompt = 3;
}

/* The words that are judged, without the tokens that are trained. */
static void a_better_answer(episode *e)
{
    say(&e->text, "<python>1+6</python><answer>8</answer>");
    say(&e->turns[1].text, "<answer>8</answer>");
    say(&e->answer, "8");
}
static void a_longer_answer(episode *e)
{
    say(&e->text, "<python>1+6</python><answer>77</answer>");
    say(&e->turns[1].text, "<answer>77</answer>");
    say(&e->transcript, "<python>1+6</python><[7]<answer>77</answer>");
    say(&e->answer, "77");
}
static void an_answer_that_was_not_given(episode *e) { say(&e->answer, "8"); }
static void no_answer(episode *e) { say(&e->answer, NULL); }
static void another_text(episode *e) { say(&e->text, "<python>1+6</python><answer>8</answer>"); }
static void a_text_without_its_end(episode *e) { say(&e->text, "<python>1+6</python><answer>"); }
static void a_text_that_goes_on(episode *e) { say(&e->text, "<python>1+6</python><answer>7</answer>!"); }
static void another_transcript(episode *e) { say(&e->transcript, "<python>1+6</python><[8]<answer>8</answer>"); }
static void a_transcript_that_goes_on(episode *e) { honest_say(&e->transcript, " and more"); }
static void a_transcript_without_the_residue(episode *e)
{
    say(&e->transcript, "<python>1+6</python>[7]<answer>7</answer>");
}
static void another_residue(episode *e) { say(&e->turns[0].residue, "<<"); }
static void a_residue_in_the_text(episode *e) { say(&e->turns[0].text, "<python>1+6</python><"); }

static void bytes_of_another_turn(episode *e) { e->tokens.wrote[5]--, e->tokens.wrote[12]++; }
static void bytes_of_an_observation(episode *e) { e->tokens.wrote[5]--, e->tokens.wrote[6]++; }
static void bytes_of_the_prompt(episode *e) { e->tokens.wrote[1]++; }
static void bytes_that_are_nowhere(episode *e) { e->tokens.wrote[12]++; }

static void a_turn_that_begins_late(episode *e) { e->turns[0].start = 3; }
static void a_turn_that_begins_in_the_observation(episode *e) { e->turns[1].start = 7; }
static void a_turn_that_ends_early(episode *e) { e->turns[1].end = 12; }
static void a_turn_that_reads(episode *e) { e->turns[0].end = 8; }
static void a_turn_less(episode *e)
{
    free(e->turns[1].text);
    e->n_turns = 1;
}
static void no_turn(episode *e)
{
    for (uint32_t i = 0; i < 2; i++) free(e->turns[i].text), free(e->turns[i].residue);
    e->n_turns = 0;
}
static void a_turn_of_nothing(episode *e)
{
    *episode_add_turn(e) = (turn){ .text = xstrdup(""), .start = e->tokens.n, .end = e->tokens.n, .call = -1 };
}
static void turns_that_change_places(episode *e)
{
    const turn first = e->turns[0];
    e->turns[0] = e->turns[1], e->turns[1] = first;
}

static void a_call_of_nobody(episode *e) { e->turns[0].call = -1; }
static void a_call_of_the_last_turn(episode *e) { e->turns[0].call = -1, e->turns[1].call = 0; }
static void a_call_of_two_turns(episode *e) { e->turns[1].call = 0; }
static void a_call_more(episode *e)
{
    *episode_add_call(e) = (tool_call){ .name = xstrdup("python"), .arguments = xstrdup("{}") };
}
static void a_call_without_an_answer(episode *e) { say(&e->calls[0].observation, NULL); }
static void a_call_that_could_not_be_made(episode *e) { say(&e->calls[0].arguments, "\"1 +\""); }
static void a_quick_call(episode *e) { e->calls[0].ms = 0; }
static void quick_tools(episode *e) { e->tool_ms = 0; }

static void stopped_by_itself(episode *e) { e->stop = STOP_EOS; }
static void stopped_by_itself_without_an_answer(episode *e) { e->stop = STOP_EOS, say(&e->answer, NULL); }
static void out_of_tokens(episode *e) { e->stop = STOP_LENGTH, say(&e->answer, NULL); }
static void out_of_calls(episode *e) { e->stop = STOP_TURNS, say(&e->answer, NULL); }
static void an_answer_behind_a_call(episode *e) { honest_call(e, "7"); }
static void an_end_in_the_middle(episode *e) { e->tokens.ids[9] = EOS; }

static void a_segment_of_an_observation(episode *e)
{
    e->tokens.segments[0].end = 7;
    e->tokens.segments = xrealloc(e->tokens.segments, 2 * sizeof *e->tokens.segments);
    e->tokens.segments[1] = (segment){ .version = 5, .weight_hash = 10, .start = 7, .end = 13 };
    e->tokens.n_segments = 2;
}
static void weights_that_go_back(episode *e)
{
    a_segment_of_an_observation(e);
    e->tokens.segments[0].end = 6;
    e->tokens.segments[1] = (segment){ .version = 3, .weight_hash = 8, .start = 8, .end = 13 };
}

static const struct {
    void (*forge)(episode *e);
    const char *said;
} FORGED[] = {
    { another_data_group, "data group 'products' (the task's is 'sums')" },
    { no_data_group, "data group ''" },
    { another_environment, "environment 'web'" },
    { another_dialect, "dialect 'qwen'" },
    { a_hint_that_was_not_given, "the hint has 1 tokens (the task gives none)" },
    { a_hint_that_is_not_counted, "token 1: role 5" },
    { an_observation_in_the_prompt, "token 1: role 4" },
    { a_shorter_prompt, "after the prompt" },
    { a_longer_prompt, "turn 0: tokens 2 to 6 do not continue at token 3" },
    { a_better_answer, "transcript: turn 1 is not in it" },
    { a_longer_answer, "turn 1: its tokens decode to 18 bytes, its text has 19" },
    { an_answer_that_was_not_given, "answer '8' is not in the last turn" },
    { no_answer, "stop 'answer', but an answer is missing" },
    { another_text, "text: byte 20 differs from turn 1" },
    { a_text_without_its_end, "text: byte 20" },
    { a_text_that_goes_on, "text: 1 bytes after the last turn" },
    { another_transcript, "transcript: turn 1" },
    { a_transcript_that_goes_on, "transcript: it continues" },
    { a_transcript_without_the_residue, "transcript: turn 0" },
    { another_residue, "transcript: turn 0" },
    { a_residue_in_the_text, "turn 0: its tokens decode to 20 bytes, its text has 21" },
    { bytes_of_another_turn, "turn 0: its tokens decode to 19" },
    { bytes_of_an_observation, "turn 0: its tokens decode to 19" },
    { bytes_of_the_prompt, "token 1 decodes to 1 bytes" },
    { bytes_that_are_nowhere, "turn 1: its tokens decode to 19" },
    { a_turn_that_begins_late, "turn 0: tokens 3 to 6 do not continue at token 2" },
    { a_turn_that_begins_in_the_observation, "turn 1: token 7 has role 4" },
    { a_turn_that_ends_early, "turn 1: its tokens decode to" },
    { a_turn_that_reads, "turn 0: token 6 has role 4" },
    { a_turn_less, "token 8 has role 3 and belongs to no turn" },
    { no_turn, "the episode has no turns" },
    { a_turn_of_nothing, "turn 2: tokens 13 to 13" },
    { turns_that_change_places, "turn 0: tokens 8 to 13" },
    { a_call_of_nobody, "turn 0 makes no tool call" },
    { a_call_of_the_last_turn, "turn 0 makes no tool call" },
    { a_call_of_two_turns, "turn 1: tool call 0 after call 0" },
    { a_call_more, "tool call 1 has no observation" },
    { a_call_without_an_answer, "tool call 0 has no observation" },
    { a_call_that_could_not_be_made, "tool call 0 is marked ok" },
    { a_quick_call, "the tool calls took 0 ms together (tool_ms is 1.5)" },
    { quick_tools, "the tool calls took 1.5 ms together (tool_ms is 0)" },
    { stopped_by_itself, "stop 'eos', but an answer is present" },
    { stopped_by_itself_without_an_answer, "stop 'eos', but the last token (id 7) is no end-of-text token" },
    { out_of_tokens, "stop 'length' with 9 of 20 tokens sampled, in a context of 13 of 40" },
    { out_of_calls, "stop 'turns' after 1 tool calls (env.max_turns is 2)" },
    { an_answer_behind_a_call, "stop 'answer' after a tool call" },
    { an_end_in_the_middle, "token 9 is an end-of-text token (id 42), but turn 1 continues" },
    { a_segment_of_an_observation, "segment 0 (2 to 7, version 4) does not begin and end with a sampled token" },
    { weights_that_go_back, "segment 1 (8 to 13, version 3)" },
};

static void refused(const task *t, episode *e, const char *said)
{
    error err = { 0 };
    if (limits_episode(&LIMITS, t, e, &err) != ERR_PARSE) fail_msg("was taken: %s", said);
    if (!strstr(err.text, said)) fail_msg("'%s' does not say '%s'", err.text, said);
}

static void taken(const task *t, const episode *e)
{
    error err = { 0 };
    test_ok(limits_episode(&LIMITS, t, e, &err), &err);
}

static void every_field_is_held_against_the_others(void **state)
{
    (void)state;
    const task t = task_of();
    for (size_t i = 0; i < sizeof FORGED / sizeof *FORGED; i++) {
        episode *e = answered();
        taken(&t, e);
        FORGED[i].forge(e);
        refused(&t, e, FORGED[i].said);
        episode_free(e);
    }
}

/* ---- the other ends that an honest episode can have ---- */

static void the_policy_stops_by_itself(void **state)
{
    (void)state;
    const task t = task_of();
    episode *e = honest_episode(&t, "seven", 3, POLICY);
    e->tokens.ids[4] = EOS;
    taken(&t, e);
    e->stop = STOP_LENGTH;
    refused(&t, e, "but the last token (id 42) is an end-of-text token");
    e->stop = STOP_EOS;
    e->turns[0].residue = xstrdup("!");
    honest_say(&e->transcript, "!");
    refused(&t, e, "stop 'eos', but the last turn has a residue");
    episode_free(e);
}

static void there_are_no_tokens_left(void **state)
{
    (void)state;
    task t = task_of();
    episode *e = honest_episode(&t, "seven", 5, POLICY);
    e->stop = STOP_LENGTH;
    refused(&t, e, "stop 'length' with 5 of 20");
    t.max_tokens = 5;
    taken(&t, e);
    t.max_tokens = 20;
    const limits narrow = { .max_context = 7, .max_turns = 2 };
    error err = { 0 };
    test_ok(limits_episode(&narrow, &t, e, &err), &err);
    episode_free(e);
}

/* With a call that was closed it still runs; what it said may find no room. */
static void the_tokens_end_with_a_call(void **state)
{
    (void)state;
    task t = task_of();
    episode *e = honest_begin(&t);
    honest_turn(e, "<python>1+6</python>", 4, POLICY);
    honest_call(e, "7");
    e->stop = STOP_LENGTH;
    refused(&t, e, "stop 'length' with 4 of 20");
    t.max_tokens = 4;
    taken(&t, e);
    t.max_tokens = 20;
    e->tokens.n -= 2;
    say(&e->transcript, e->text);
    taken(&t, e);
    episode_free(e);
}

static void there_are_no_calls_left(void **state)
{
    (void)state;
    const task t = task_of();
    episode *e = honest_begin(&t);
    honest_turn(e, "<python>1+6</python><python>2</python>", 4, POLICY);
    honest_call(e, "7"), honest_call(e, "2"); /* of one turn */
    honest_turn(e, "<python>3</python>", 3, POLICY);
    e->stop = STOP_TURNS;
    taken(&t, e);
    honest_call(e, "3");
    refused(&t, e, "3 tool calls");
    episode_free(e);
}

/* All of the demonstration, to its end: nothing is sampled. */
static void a_hint_is_the_beginning_of_the_first_turn(void **state)
{
    (void)state;
    task t = task_of();
    t.hint = 1;
    episode *e = honest_begin(&t);
    trajectory_append(&e->tokens, TOKEN_HINT, (const int32_t[]){ EOS, 5, 6 }, 3);
    trajectory_wrote(&e->tokens, 5);
    *episode_add_turn(e) = (turn){ .text = xstrdup("seven"), .start = 2, .end = 5, .call = -1 };
    honest_say(&e->text, "seven"), honest_say(&e->transcript, "seven");
    e->tokens.n_prompt = 5, e->hint_len = 3;
    e->stop = STOP_EOS;
    taken(&t, e);
    e->tokens.wrote[3]++, e->tokens.wrote[4]--; /* all of a hint's bytes are its last token's */
    refused(&t, e, "token 3 decodes to 1 bytes");
    episode_free(e);
}

/* Words that stand twice in a transcript. */
static void an_observation_may_say_what_the_policy_says(void **state)
{
    (void)state;
    const task t = task_of();
    episode *e = honest_begin(&t);
    honest_turn(e, "aa", 2, POLICY);
    honest_call(e, "aaa");
    honest_turn(e, "aa", 2, POLICY);
    e->tokens.ids[7] = EOS;
    e->stop = STOP_EOS;
    taken(&t, e);
    say(&e->transcript, "aaaaa"); /* what stands between the turns is "a" */
    taken(&t, e);
    say(&e->transcript, "aaa");
    refused(&t, e, "transcript: turn 1 is not in it");
    episode_free(e);
}

/* ---- where episodes are played in an environment ---- */

/* A call, then a turn without one that ends it. */
static episode *played_in_one(const task *t)
{
    episode *e = honest_begin(t);
    e->opening = xstrdup("{\"prompt\": \"Door?\"}");
    honest_turn(e, "<move>1</move>", 4, POLICY);
    honest_call(e, "7");
    e->calls[0].outcome = xstrdup("{\"done\": false}");
    honest_turn(e, "<answer>7</answer>", 5, POLICY);
    honest_call(e, "8");
    e->tokens.n -= 2; /* it is shown to no one */
    e->transcript[strlen(e->transcript) - strlen("[8]")] = 0;
    e->calls[1].outcome = xstrdup("{\"done\": true}");
    e->answer = xstrdup("7");
    e->stop = STOP_DONE;
    return e;
}

static void no_opening(episode *e) { say(&e->opening, NULL); }
static void an_opening_that_is_none(episode *e) { say(&e->opening, "[]"); }
static void an_outcome_that_is_none(episode *e) { say(&e->calls[0].outcome, "{"); }
static void a_long_outcome(episode *e)
{
    e->calls[0].outcome = xrealloc(e->calls[0].outcome, OUTCOME_BYTES + 2);
    memset(e->calls[0].outcome, ' ', OUTCOME_BYTES + 1);
    e->calls[0].outcome[0] = '{', e->calls[0].outcome[OUTCOME_BYTES] = '}', e->calls[0].outcome[OUTCOME_BYTES + 1] = 0;
}
static void a_last_outcome_that_goes_on(episode *e) { say(&e->calls[1].outcome, "{\"done\": false}"); }
static void no_last_outcome(episode *e) { say(&e->calls[1].outcome, NULL); }
static void tokens_after_the_end(episode *e) { e->tokens.n += 2; }
static void an_end_without_a_call(episode *e)
{
    for (char **text = (char *[]){ e->calls[1].name, e->calls[1].arguments, e->calls[1].observation, NULL }; *text;
         text++)
        free(*text);
    free(e->calls[1].outcome);
    e->n_calls = 1, e->tool_ms = 1.5, e->turns[1].call = -1;
    say(&e->calls[0].outcome, "{\"done\": true}");
}
static void an_answer_of_nobody(episode *e) { say(&e->answer, "9"); }

static const struct {
    void (*forge)(episode *e);
    const char *said; /* NULL: it could be so */
} FORGED_THERE[] = {
    { no_opening, "the environment's opening is missing" },
    { an_opening_that_is_none, "the opening is no JSON object" },
    { an_outcome_that_is_none, "tool call 0: its outcome is no JSON object of up to 4096 bytes" },
    { a_long_outcome, "tool call 0: its outcome is no JSON object of up to 4096 bytes" },
    { a_last_outcome_that_goes_on, "stop 'done', but the last call's outcome does not say so" },
    { no_last_outcome, "stop 'done', but the last call's outcome does not say so" },
    { tokens_after_the_end, "stop 'done', but the last call's outcome does not say so" },
    { an_end_without_a_call, "stop 'done', but the last call's outcome does not say so" },
    { an_answer_of_nobody, "answer '9' is not in the last turn" },
    { no_answer, NULL },
};

static void an_environment_has_the_first_word_and_the_last(void **state)
{
    (void)state;
    const task t = task_of();
    limits there = LIMITS;
    there.environment = true;
    for (size_t i = 0; i < sizeof FORGED_THERE / sizeof *FORGED_THERE; i++) {
        error err = { 0 };
        const char *said = FORGED_THERE[i].said;
        episode *e = played_in_one(&t);
        test_ok(limits_episode(&there, &t, e, &err), &err);
        FORGED_THERE[i].forge(e);
        const int rc = limits_episode(&there, &t, e, &err);
        if (rc != (said ? ERR_PARSE : OK)) fail_msg("%s: %s", said ? said : "a call ends it", err.text);
        if (said && !strstr(err.text, said)) fail_msg("'%s' does not say '%s'", err.text, said);
        episode_free(e);
    }
}

static void without_an_environment_it_has_no_word(void **state)
{
    (void)state;
    const task t = task_of();
    episode *e = played_in_one(&t);
    refused(&t, e, "words of an environment, though env.tools has no T.env");
    say(&e->opening, NULL);
    refused(&t, e, "words of an environment, though env.tools has no T.env");
    e->stop = STOP_TURNS, say(&e->answer, NULL);
    refused(&t, e, "tool call 0 has an outcome, though env.tools has no T.env");
    say(&e->calls[0].outcome, NULL), say(&e->calls[1].outcome, NULL);
    taken(&t, e);
    say(&e->opening, "{}");
    refused(&t, e, "words of an environment");
    episode_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_environment_has_the_first_word_and_the_last),
        cmocka_unit_test(without_an_environment_it_has_no_word),
        cmocka_unit_test(every_field_is_held_against_the_others),
        cmocka_unit_test(the_policy_stops_by_itself),
        cmocka_unit_test(there_are_no_tokens_left),
        cmocka_unit_test(the_tokens_end_with_a_call),
        cmocka_unit_test(there_are_no_calls_left),
        cmocka_unit_test(a_hint_is_the_beginning_of_the_first_turn),
        cmocka_unit_test(an_observation_may_say_what_the_policy_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
