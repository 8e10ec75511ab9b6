/* SPDX-License-Identifier: MIT */
/* Episodes that fit themselves in every way and are not what comes of their task: what is forged is forged everywhere.
 * That every honest episode is witnessed is the promise of run_ids (scripted.h), and of test_rollouts.c with a
 * model. */
#include "scripted.h"

static const char SHOWN[] = "{\"prompt\": \"2+2?\", \"steps\": [], \"answer\": \"4\"}";

typedef struct scene {
    tokenizer *tokenizer;
    scripted scripted;
    token_ids ids;
    task task;
    limits limits;
    witness *witness;
    episode *episode;
} scene;

/* Puts `to` for the first `from` in a text, from the end or the beginning, of the same length or not. */
static void put(char **text, const char *from, const char *to)
{
    char *at = *text ? strstr(*text, from) : NULL;
    str s = { 0 };
    assert_non_null(at);
    str_add(&s, *text, (size_t)(at - *text));
    str_puts(&s, to);
    str_puts(&s, at + strlen(from));
    free(*text);
    *text = str_take(&s);
}

static scene *open_scene(void)
{
    error err = { 0 };
    scene *s = xcalloc(1, sizeof *s);
    s->tokenizer = small_tokenizer(false);
    s->scripted = open_scripted(s->tokenizer, "xml", "7");
    s->scripted.shot = SHOWN;
    add_ids(s->tokenizer, "<python>1+6</python>", &s->ids);
    add_ids(s->tokenizer, "<answer>7</answer>", &s->ids);
    s->episode = run_ids(&s->scripted, &s->ids);
    const rollout_config words = { .tokenizer = s->tokenizer,
                                   .dialect = s->scripted.dialect,
                                   .dialect_name = "xml",
                                   .environment = EPISODE_ENVIRONMENT,
                                   .instruction = "",
                                   .shots = own_shot,
                                   .shots_ctx = &s->scripted,
                                   .max_turns = s->scripted.max_turns,
                                   .max_observation_tokens = s->scripted.max_observation };
    s->task = played_task(&s->scripted, &s->ids);
    s->limits =
        (limits){ .vocab = tokenizer_vocab(s->tokenizer), .max_context = 1000, .max_turns = 8, .dialect = "xml" };
    s->witness = witness_new(&words, 1000);
    test_ok(limits_episode(&s->limits, &s->task, s->episode, &err), &err);
    return s;
}

static void close_scene(scene *s)
{
    episode_free(s->episode);
    witness_free(s->witness);
    close_scripted(&s->scripted);
    vec_free(&s->ids);
    tokenizer_free(s->tokenizer);
    free(s);
}

/* ---- what is forged ---- */

static void a_better_answer(scene *s)
{
    put(&s->episode->text, "<answer>7", "<answer>8");
    put(&s->episode->transcript, "<answer>7", "<answer>8");
    put(&s->episode->turns[1].text, "7", "8");
    put(&s->episode->answer, "7", "8");
}
static void another_code(scene *s)
{
    put(&s->episode->text, "1+6", "3+4");
    put(&s->episode->transcript, "1+6", "3+4");
    put(&s->episode->turns[0].text, "1+6", "3+4");
    put(&s->episode->calls[0].arguments, "1+6", "3+4");
}
static void another_question(scene *s) { s->episode->tokens.ids[s->episode->tokens.n_prompt - 6]++; }
static void another_shot(scene *s) { s->episode->tokens.ids[2]++; }
static void another_first_token(scene *s) { s->episode->tokens.ids[0]++; }
static void a_shot_for_an_instruction(scene *s) { s->episode->tokens.role[0] = TOKEN_INSTRUCTION; }
static void another_token(scene *s) { s->episode->tokens.ids[s->episode->turns[1].start + 3]++; }
static void another_observation_token(scene *s) { s->episode->tokens.ids[s->episode->turns[0].end + 1]++; }
static void another_observation(scene *s) { put(&s->episode->calls[0].observation, "7", "8"); }
static void another_tool(scene *s) { put(&s->episode->calls[0].name, "python", "search"); }
static void other_arguments(scene *s) { put(&s->episode->calls[0].arguments, "1+6", "3+4"); }
static void words_of_other_tokens(scene *s)
{
    s->episode->tokens.wrote[s->episode->turns[1].start]++;
    s->episode->tokens.wrote[s->episode->turns[1].start + 1]--;
}
static void an_answer_that_was_not_read(scene *s) { put(&s->episode->answer, "7", "answer"); }
static void an_answer_that_was_not_heard(scene *s)
{
    free(s->episode->answer);
    s->episode->answer = NULL;
    s->episode->stop = STOP_EOS;
}
static void a_residue(scene *s)
{
    s->episode->turns[1].residue = xstrdup("!");
    put(&s->episode->transcript, "</answer>", "</answer>!");
}
static void a_prompt_that_can_not_be_made(scene *s)
{
    s->episode->failed = FAIL_PROMPT;
    s->episode->stop = STOP_ERROR;
}
/* The last token was not sampled: the answer was not closed. */
static void an_early_end(scene *s)
{
    episode *e = s->episode;
    e->tokens.n--, e->turns[1].end--, e->tokens.segments[0].end--;
    for (char **text = (char *[]){ e->text, e->transcript, e->turns[1].text, NULL }; *text; text++)
        (*text)[strlen(*text) - 1] = 0;
}

static const struct {
    void (*forge)(scene *s);
    bool coherent; /* nothing but the witness can tell */
    const char *said;
} FORGED[] = {
    { a_better_answer, true, "turn 1: turn: from byte 8 '8</answer>' (a replay gives '7</answer>')" },
    { another_code, true, "turn 0: turn: from byte 8 '3+4" },
    { another_question, true, "of the prompt is" },
    { another_shot, true, "token 2 of the prompt is" },
    { another_first_token, true, "token 0 of the prompt is" },
    { a_shot_for_an_instruction, true, "the role of token 0 is 0 (a replay gives 1)" },
    { another_token, true, "(a replay gives" },
    { another_observation_token, true, "the id of token" },
    { another_observation, true, "the id of token" },
    { another_tool, true, "call 0: name: from byte 0 'search'" },
    { other_arguments, true, "call 0: arguments" },
    { words_of_other_tokens, true, "the number of bytes of token" },
    { an_answer_that_was_not_read, true, "answer: from byte 0 'answer' (a replay gives '7')" },
    { an_answer_that_was_not_heard, true, "answer is missing (in a replay it is present)" },
    { a_residue, true, "turn 1: residue is present" },
    { a_prompt_that_can_not_be_made, false, "it can" },
    { an_early_end, true, "continues after its last token" },
};

static void what_is_forged_everywhere_is_not_what_is_played(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof FORGED / sizeof *FORGED; i++) {
        error err = { 0 };
        scene *s = open_scene();
        FORGED[i].forge(s);
        if (FORGED[i].coherent) test_ok(limits_episode(&s->limits, &s->task, s->episode, &err), &err);
        if (witness_check(s->witness, &s->task, s->episode, &err) != ERR_PARSE)
            fail_msg("was taken: %s", FORGED[i].said);
        if (!strstr(err.text, FORGED[i].said)) fail_msg("'%s' does not say '%s'", err.text, FORGED[i].said);
        close_scene(s);
    }
}

/* The task's own words, not the episode's: another row, no shots, a hint, other templates-> */
static void an_episode_of_another_task_is_refused(void **state)
{
    (void)state;
    scene *s = open_scene();
    error err = { 0 };
    task t = s->task;
    static char other[] = "{\"prompt\": \"who?\"}", none[] = "{}",
                told[] = "{\"prompt\": \"what?\", \"demonstration\": \"<answer>7</answer>\"}";
    t.row = other;
    assert_int_equal(witness_check(s->witness, &t, s->episode, &err), ERR_PARSE);
    t.row = none;
    assert_int_equal(witness_check(s->witness, &t, s->episode, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "a replay fails (prompt)"));
    t = s->task;
    t.n_shots = 0;
    assert_int_equal(witness_check(s->witness, &t, s->episode, &err), ERR_PARSE);
    t = s->task;
    t.row = told, t.hint = 0.5f;
    assert_int_equal(witness_check(s->witness, &t, s->episode, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "a hint of 0 tokens"));
    t.hint = 0;
    test_ok(witness_check(s->witness, &t, s->episode, &err), &err);
    close_scene(s);
}

static const char TOUCHY[] = "return {\n"
                             "  prompt = function(_, spec) return { { 'question', spec.row.prompt } } end,\n"
                             "  observation = function() return { '[', ']' } end,\n"
                             "  parser = function()\n"
                             "    local said = ''\n"
                             "    return function(chunk)\n"
                             "      said = said .. chunk\n"
                             "      if said:find('!', 1, true) then error('boom') end\n"
                             "      if said:find('.', 1, true) then return { answer = 'right', rest = 0 } end\n"
                             "    end\n"
                             "  end,\n"
                             "}\n";

/* Where the dialect fails an actor fails, and has no answer. */
static void words_on_which_the_dialect_fails_have_no_answer(void **state)
{
    (void)state;
    char path[400];
    error err = { 0 };
    char *dir = test_folder_new();
    token_ids ids = { 0 };
    tokenizer *tk = small_tokenizer(false);
    test_file_write(dir, "touchy.lua", TOUCHY);
    snprintf(path, sizeof path, "%s/touchy.lua", dir);
    scripted p = open_scripted(tk, path, "");
    add_ids(tk, "a.", &ids);
    episode *e = run_ids(&p, &ids);
    const task t = played_task(&p, &ids);
    const rollout_config words = { .tokenizer = tk,
                                   .dialect = p.dialect,
                                   .dialect_name = path,
                                   .environment = EPISODE_ENVIRONMENT,
                                   .instruction = "",
                                   .max_turns = 8 };
    witness *w = witness_new(&words, 1000);
    assert_string_equal(e->answer, "right");
    test_ok(witness_check(w, &t, e, &err), &err);
    e->tokens.ids[e->turns[0].start] = tokenizer_id(tk, "!");
    put(&e->text, "a", "!"), put(&e->transcript, "a", "!"), put(&e->turns[0].text, "a", "!");
    assert_int_equal(witness_check(w, &t, e, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "a replay fails (engine)"));
    witness_free(w);
    episode_free(e);
    close_scripted(&p);
    vec_free(&ids);
    tokenizer_free(tk);
    test_folder_remove(dir);
}

/* What a tool said, and what the policy would have sampled, is for those to say who were there. */
static void nobody_else_can_tell_what_a_tool_said(void **state)
{
    (void)state;
    error err = { 0 };
    scene *s = open_scene();
    episode *e = s->episode;
    const int32_t seven = tokenizer_id(s->tokenizer, "7"), eight = tokenizer_id(s->tokenizer, "8");
    for (uint32_t i = e->turns[0].end; i < e->turns[1].start; i++)
        if (e->tokens.ids[i] == seven) e->tokens.ids[i] = eight;
    put(&e->calls[0].observation, "7", "8");
    put(&e->transcript, "<result>7", "<result>8");
    e->calls[0].ok = false;
    e->tokens.logprob[e->turns[0].start] = -3;
    e->wall_ms += 100;
    test_ok(limits_episode(&s->limits, &s->task, e, &err), &err);
    test_ok(witness_check(s->witness, &s->task, e, &err), &err);
    close_scene(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_forged_everywhere_is_not_what_is_played),
        cmocka_unit_test(an_episode_of_another_task_is_refused),
        cmocka_unit_test(words_on_which_the_dialect_fails_have_no_answer),
        cmocka_unit_test(nobody_else_can_tell_what_a_tool_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
