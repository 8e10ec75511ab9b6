#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/dialect.h"
#include "tests/support/support.h"

static const char TOOLS[] =
    "[{\"name\": \"python\", \"description\": \"runs code\", \"parameters\": {\"type\": \"object\", \"properties\": "
    "{\"code\": {\"type\": \"string\"}}}},"
    " {\"name\": \"search\", \"description\": \"finds\", \"parameters\": {\"type\": \"object\", \"properties\": "
    "{\"q\": {\"type\": \"string\"}, \"n\": {\"type\": \"integer\"}}}}]";
static const char SHOT[] = "{\"prompt\": \"1+1?\", \"steps\": [{\"tool\": \"python\", \"arguments\": {\"code\": "
                           "\"print(1+1)\"}, \"result\": \"2\"}], \"answer\": \"2\"}";

static dialect *open_dialect(const char *name, const char *options)
{
    error err = { 0 };
    dialect *d = dialect_new(name, options, TOOLS, &err);
    if (!d) fail_msg("%s", err.text);
    return d;
}

static char *whole_prompt(dialect *d, int n_shots, token_role *roles)
{
    error err = { 0 };
    prompt_pieces p = { 0 };
    str text = { 0 };
    const char *const shots[] = { SHOT, SHOT };
    test_ok(dialect_prompt(d, "Use tools.", shots, n_shots, "{\"prompt\": \"2+2?\"}", &p, &err), &err);
    for (size_t i = 0; i < p.len; i++) {
        str_add(&text, p.data[i].text, p.data[i].len);
        if (roles) roles[i] = p.data[i].role;
    }
    prompt_pieces_free(&p);
    return str_take(&text);
}

static void a_prompt_is_instruction_shots_question(void **state)
{
    (void)state;
    token_role roles[8];
    dialect *d = open_dialect("xml", NULL);
    char *text = whole_prompt(d, 2, roles);
    assert_string_equal(
        text, "Use tools.\n\nExample: 1+1?\nA: <python>print(1+1)</python><result>2</result><answer>2</answer>\n\n"
              "Example: 1+1?\nA: <python>print(1+1)</python><result>2</result><answer>2</answer>\n\nQ: 2+2?\nA: ");
    const token_role want[] = { ROLE_INSTRUCTION, ROLE_SHOT, ROLE_SHOT, ROLE_QUESTION };
    assert_memory_equal(roles, want, sizeof want);
    free(text);
    dialect_free(d);
}

static void options_change_the_words(void **state)
{
    (void)state;
    dialect *d = open_dialect("xml", "{\"before_question\": \"Frage: \", \"tags\": {\"python\": \"py\"}}");
    char *text = whole_prompt(d, 1, NULL);
    assert_non_null(strstr(text, "<py>print(1+1)</py>"));
    assert_non_null(strstr(text, "Frage: 2+2?"));
    free(text);
    dialect_free(d);
}

static void qwen_speaks_chatml(void **state)
{
    (void)state;
    dialect *d = open_dialect("qwen", NULL);
    char *text = whole_prompt(d, 1, NULL);
    assert_true(strncmp(text, "<|im_start|>system\nUse tools.\n\n# Tools\n", 38) == 0);
    assert_non_null(strstr(text, "<tool_call>\n{"));
    assert_non_null(strstr(text, "<tool_response>\n2\n</tool_response>"));
    assert_string_equal(text + strlen(text) - 39, "user\n2+2?<|im_end|>\n<|im_start|>assistant\n" + 3);
    free(text);
    dialect_free(d);
}

/* Feeds text in chunks of `cut` bytes until something is closed. */
static dialect_result read_text(dialect *d, const char *text, size_t cut)
{
    error err = { 0 };
    dialect_result r = { 0 };
    dialect_parser *p = dialect_parser_new(d, &err);
    assert_non_null(p);
    for (size_t at = 0, len = strlen(text); at < len && r.event == DIALECT_MORE; at += cut) {
        dialect_result_reset(&r);
        test_ok(dialect_feed(p, text + at, at + cut < len ? cut : len - at, &r, &err), &err);
    }
    dialect_parser_free(p);
    return r;
}

static void expect(dialect *d, const char *text, dialect_event event, const char *first, const char *second)
{
    for (size_t cut = 1; cut <= 40; cut += 3) {
        dialect_result r = read_text(d, text, cut);
        if (r.event != event) fail_msg("%s (cut %zu): event %d, not %d", text, cut, r.event, event);
        if (event == DIALECT_CALL) assert_string_equal(r.name, first), assert_string_equal(r.arguments, second);
        if (event == DIALECT_ANSWER) assert_string_equal(r.text, first);
        if (event == DIALECT_BAD && !strstr(r.text, first)) fail_msg("expected '%s' in: %s", first, r.text);
        dialect_result_reset(&r);
    }
}

static void calls_and_answers_are_found_however_they_are_cut(void **state)
{
    (void)state;
    dialect *d = open_dialect("xml", NULL);
    expect(d, "so <python>print(1)</python>", DIALECT_CALL, "python", "{\"code\":\"print(1)\"}");
    expect(d, "<python>a<b</python>", DIALECT_CALL, "python", "{\"code\":\"a<b\"}");
    expect(d, "<search>{\"q\": \"x\", \"n\": 3}</search>", DIALECT_CALL, "search", "{\"n\":3,\"q\":\"x\"}");
    expect(d, "<search>not json</search>", DIALECT_BAD, "search", NULL);
    expect(d, "I say <answer>4</answer> and more", DIALECT_ANSWER, "4", NULL);
    expect(d, "<pyton>print(1)</pyton>", DIALECT_MORE, NULL, NULL);
    expect(d, "<python>\xff\xfe</python>", DIALECT_BAD, "no valid text", NULL);
    dialect_free(d);
    d = open_dialect("qwen", NULL);
    expect(d, "<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}}\n</tool_call>", DIALECT_CALL,
           "python", "{\"code\":\"1\"}");
    expect(d, "<tool_call>\n{\"name\": 3}\n</tool_call>", DIALECT_BAD, "", NULL);
    expect(d, "It is 4.<|im_end|>", DIALECT_ANSWER, "It is 4.", NULL);
    dialect_free(d);
    d = open_dialect("llama3", NULL);
    expect(d, "{\"name\": \"python\", \"parameters\": {\"code\": \"1\"}}<|eot_id|>", DIALECT_CALL, "python",
           "{\"code\":\"1\"}");
    expect(d, "{\"name\": 3}<|eom_id|>", DIALECT_BAD, "parameters", NULL);
    expect(d, "{\"name\": <|eot_id|>", DIALECT_BAD, "parameters", NULL);
    expect(d, " It is {4}.<|eot_id|>", DIALECT_ANSWER, "It is {4}.", NULL);
    expect(d, "{\"name\": \"python\", \"parameters\": {}}", DIALECT_MORE, NULL, NULL);
    dialect_free(d);
    d = open_dialect("react", NULL);
    expect(d, "Thought: a[b]\nAction: python[print(x[0])]\n", DIALECT_CALL, "python", "{\"code\":\"print(x[0])\"}");
    expect(d, "Action: search{\"q\": \"x\", \"n\": 3}\n", DIALECT_CALL, "search", "{\"n\":3,\"q\":\"x\"}");
    expect(d, "Action: search[x]\n", DIALECT_BAD, "tool[argument]", NULL);
    expect(d, "Thought: so\nAnswer:  4 \n", DIALECT_ANSWER, "4", NULL);
    expect(d, "Answer: 4", DIALECT_MORE, NULL, NULL);
    dialect_free(d);
}

static void llama3_and_react_prompt_as_they_parse(void **state)
{
    (void)state;
    dialect *d = open_dialect("llama3", NULL);
    char *text = whole_prompt(d, 1, NULL);
    assert_true(strncmp(text, "<|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n",
                        strlen("<|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n")) == 0);
    assert_non_null(strstr(text, "\"name\":\"python\",\"parameters\":{\"code\":\"print(1+1)\"}}<|eot_id|>"));
    assert_non_null(strstr(text, "<|start_header_id|>ipython<|end_header_id|>\n\n\"2\"<|eot_id|>"));
    assert_non_null(
        strstr(text, "user<|end_header_id|>\n\n2+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"));
    free(text);
    dialect_free(d);
    d = open_dialect("react", NULL);
    text = whole_prompt(d, 1, NULL);
    assert_non_null(strstr(text, "- python[code]: runs code\n"));
    assert_non_null(
        strstr(text, "Question: 1+1?\nAction: python[print(1+1)]\nObservation: 2\nAnswer: 2\n\nQuestion: 2+2?\n"));
    free(text);
    dialect_free(d);
}

static void a_dialect_of_the_users_is_a_file(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new(), path[400];
    snprintf(path, sizeof path, "%s/mine.lua", dir);
    test_file_write(
        dir, "mine.lua",
        "return { defaults = { mark = '!' },\n"
        "  prompt = function(o, spec) return { { 'question', spec.row.prompt .. o.mark } } end,\n"
        "  observation = function(o, call, text) return '[' .. text .. ']' end,\n"
        "  parser = function() return function(chunk) if chunk:find('!') then return 'answer', 'done' end end end }\n");
    dialect *d = open_dialect(path, "{\"mark\": \"?\"}");
    char *text = whole_prompt(d, 0, NULL);
    assert_string_equal(text, "2+2??");
    free(text);
    str seen = { 0 };
    test_ok(dialect_observation(d, "python", "4", 1, true, &seen, &err), &err);
    assert_string_equal(seen.data, "[4]");
    str_free(&seen);
    expect(d, "stop!", DIALECT_ANSWER, "done", NULL);
    dialect_free(d);
    test_folder_remove(dir);
}

static void what_is_wrong_with_a_dialect_is_said(void **state)
{
    (void)state;
    error err = { 0 };
    assert_null(dialect_new("xlm", NULL, TOOLS, &err));
    assert_non_null(strstr(err.text, "xlm"));
    assert_null(dialect_new("/nowhere.lua", NULL, TOOLS, &err));
    assert_non_null(strstr(err.text, "/nowhere.lua"));
    assert_null(dialect_new("xml", "{\"befor_question\": \"x\"}", TOOLS, &err));
    assert_non_null(strstr(err.text, "befor_question"));
}

static void a_row_without_a_question_is_an_error_not_a_crash(void **state)
{
    (void)state;
    error err = { 0 };
    prompt_pieces p = { 0 };
    dialect *d = open_dialect("xml", NULL);
    assert_int_not_equal(dialect_prompt(d, "", NULL, 0, "{\"answer\": 1}", &p, &err), OK);
    assert_non_null(strstr(err.text, "prompt"));
    prompt_pieces_free(&p);
    dialect_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_is_instruction_shots_question),
        cmocka_unit_test(options_change_the_words),
        cmocka_unit_test(qwen_speaks_chatml),
        cmocka_unit_test(calls_and_answers_are_found_however_they_are_cut),
        cmocka_unit_test(llama3_and_react_prompt_as_they_parse),
        cmocka_unit_test(a_dialect_of_the_users_is_a_file),
        cmocka_unit_test(what_is_wrong_with_a_dialect_is_said),
        cmocka_unit_test(a_row_without_a_question_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
