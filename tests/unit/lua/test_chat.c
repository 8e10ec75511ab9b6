/* SPDX-License-Identifier: MIT */
/* Chat templates, rendered: the goldens of the shared suite, and our own of calls, results and refusals. */
#include "lua/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/support.h"

static json_t *parse(const char *text)
{
    error err = { 0 };
    json_t *j = json_parse(text, strlen(text), "test", &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

/* ---- the shared suite ---- */

static const struct {
    const char *name, *family;
} TEMPLATES[] = { { "Hermes-3", "hermes3" },
                  { "Qwen2.5", "qwen2.5" },
                  { "qwen2_5", "qwen2.5" },
                  { "gemma-2", "gemma" },
                  { "Llama-3.1-8B", "llama3.1" },
                  { "Llama-3.2", "llama3.1" },
                  { "Phi-3.5", "phi3" },
                  { "Mistral-Nemo", "mistral" },
                  { "llama3_1", "llama3.1" },
                  { "llama3.jinja", "llama3" },
                  { "qwen3", "qwen3" } };

static const char *family_of(const char *name)
{
    for (size_t i = 0; i < sizeof TEMPLATES / sizeof *TEMPLATES; i++)
        if (strstr(name, TEMPLATES[i].name)) return TEMPLATES[i].family;
    fail_msg("no family for %s", name);
    return NULL;
}

/* What a context leaves out the suite filled in. */
static json_t *context_of(const json_t *contexts, const json_t *golden)
{
    json_t *c = json_deep_copy(json_object_get(contexts, json_string_value(json_object_get(golden, "context"))));
    json_t *thinking = json_object_get(golden, "enable_thinking");
    if (!json_object_get(c, "bos_token")) json_object_set_new(c, "bos_token", json_string("<|startoftext|>"));
    if (!json_object_get(c, "eos_token")) json_object_set_new(c, "eos_token", json_string("<|endoftext|>"));
    if (json_is_boolean(thinking)) json_object_set(c, "enable_thinking", thinking);
    return c;
}

static void check_golden(const json_t *contexts, const json_t *golden)
{
    error err = { 0 };
    str got = { 0 };
    const char *name = json_string_value(json_object_get(golden, "template"));
    const char *want = json_string_value(json_object_get(golden, "output"));
    json_t *c = context_of(contexts, golden);
    const int rc = chat_render(family_of(name), c, &got, &err);
    if (!want) {
        const char *why = strstr(json_string_value(json_object_get(golden, "error")), ": ") + 2;
        assert_int_equal(rc, ERR_ARGUMENT);
        assert_non_null(strstr(err.text, why));
    } else {
        test_ok(rc, &err);
        if (strcmp(got.data, want) != 0) fail_msg("%s: got\n%s\nwant\n%s", name, got.data, want);
    }
    str_free(&got);
    json_decref(c);
}

static void the_open_goldens_are_met(void **state)
{
    (void)state;
    char *dir = test_data("data/suites/chat_templates"), path[1200], *rest = NULL;
    if (!dir) skip();
    error err = { 0 };
    json_t *contexts = json_parse_file(path_join(path, sizeof path, dir, "contexts.json"), &err);
    char *lines = test_file_read(dir, "goldens_open.jsonl");
    int n = 0;
    for (char *line = strtok_r(lines, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
        json_t *golden = parse(line);
        check_golden(contexts, golden);
        json_decref(golden);
    }
    assert_true(n >= 30);
    free(lines);
    json_decref(contexts);
    free(dir);
}

/* ---- our own ---- */

static const char TOOLS[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"add\", \"description\": \"Adds \\\"two\\\".\", "
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"number\"}, "
    "\"a\": {\"type\": \"number\", \"default\": 1.0}}}}}]";
static const char ASKED[] = "{\"messages\": [{\"role\": \"user\", \"content\": \" 1+2? \"}, {\"role\": \"assistant\", "
                            "\"content\": \"\", \"tool_calls\": "
                            "[{\"id\": \"abcdefghi\", \"type\": \"function\", \"function\": {\"name\": \"add\", "
                            "\"arguments\": {\"b\": 2, \"a\": 0.1}}}]}, "
                            "{\"role\": \"tool\", \"content\": \"2.1\", \"tool_call_id\": \"abcdefghi\"}], "
                            "\"bos_token\": \"<B>\", \"eos_token\": "
                            "\"<E>\", \"tools\": ";

static void check_calls(const char *family, const char *const *pieces)
{
    error err = { 0 };
    str text = { 0 }, asked = { 0 };
    str_printf(&asked, "%s%s}", ASKED, TOOLS);
    json_t *c = parse(asked.data);
    test_ok(chat_render(family, c, &text, &err), &err);
    const char *at = text.data;
    for (; *pieces; pieces++) { /* in this order */
        const char *found = strstr(at, *pieces);
        if (!found) fail_msg("%s: no '%s' in\n%s", family, *pieces, text.data);
        at = found + strlen(*pieces);
    }
    assert_true(*at == '\0');
    json_decref(c);
    str_free(&asked);
    str_free(&text);
}

/* Keys in their order, numbers as Python writes them. */
static void tools_calls_and_results_look_as_each_family_has_them(void **state)
{
    (void)state;
#define PARAMETERS                                                                                                     \
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"number\"}, \"a\": {\"type\": "        \
    "\"number\", \"default\": 1.0}}}}"
    check_calls("qwen2.5", (const char *const[]){
                               "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"add\", \"description\": "
                               "\"Adds \\\"two\\\".\", " PARAMETERS "}\n</tools>",
                               "<|im_start|>user\n 1+2? <|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": "
                               "\"add\", \"arguments\": {\"b\": 2, \"a\": 0.1}}\n</tool_call><|im_end|>\n",
                               "<|im_start|>user\n<tool_response>\n2.1\n</tool_response><|im_end|>\n<|im_start|>"
                               "assistant\n",
                               NULL });
    check_calls(
        "llama3.1",
        (const char *const[]){ "<B><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n",
                               "{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"add\",",
                               "\n\n1+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{\"name\": \"add\", "
                               "\"parameters\": {\"b\": 2, \"a\": 0.1}}<|eot_id|><|start_header_id|>ipython"
                               "<|end_header_id|>\n\n\"2.1\"<|eot_id|>",
                               "<|start_header_id|>assistant<|end_header_id|>\n\n", NULL });
    check_calls("mistral",
                (const char *const[]){
                    "<B>[AVAILABLE_TOOLS][{\"type\": \"function\", \"function\": {\"name\": \"add\", "
                    "\"description\": \"Adds \"two\".\", " PARAMETERS "}][/AVAILABLE_TOOLS][INST] 1+2? [/INST]",
                    "[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {\"b\": 2, \"a\": 0.1}, \"id\": "
                    "\"abcdefghi\"}]<E>[TOOL_RESULTS]{\"content\": 2.1, \"call_id\": \"abcdefghi\"}"
                    "[/TOOL_RESULTS]",
                    NULL });
}

static void qwen3_forgets_what_was_thought_before_the_last_question(void **state)
{
    (void)state;
    error err = { 0 };
    str text = { 0 };
    json_t *c = parse(
        "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"<think>\\nold\\n</think>"
        "\\n\\nb\"}, {\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": "
        "\"<think>\\nnew\\n</think>\\n\\nd\"}]");
    test_ok(chat_render("qwen3", c, &text, &err), &err);
    assert_string_equal(text.data,
                        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc"
                        "<|im_end|>\n<|im_start|>assistant\n<think>\nnew\n</think>\n\nd<|im_end|>\n<|im_start|>"
                        "assistant\n");
    str_free(&text);
    json_decref(c);
}

static void what_a_template_refuses_is_refused_in_its_words(void **state)
{
    (void)state;
    static const char *const BAD[][3] = {
        { "gemma", "[{\"role\": \"assistant\", \"content\": \"a\"}]", "must alternate" },
        { "mistral", "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]",
          "must alternate" },
        { "mistral", "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"tool\", \"content\": \"b\"}]",
          "length 9" },
        { "qwen2.5", "[]", "a list of messages" },
        { "qwen2.5", "{\"messages\": [{\"content\": \"x\"}]}", "messages[0]" },
        { "unknown", "[{\"role\": \"user\", \"content\": \"a\"}]", "no such family" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        str text = { 0 };
        json_t *c = parse(BAD[i][1]);
        assert_int_not_equal(chat_render(BAD[i][0], c, &text, &err), OK);
        if (!strstr(err.text, BAD[i][2])) fail_msg("'%s' does not say '%s'", err.text, BAD[i][2]);
        str_free(&text);
        json_decref(c);
    }
}

/* Of any shape: the sentence says where and what, in no family is it an error of ours that is shown. */
static void what_is_no_conversation_is_named_in_every_family(void **state)
{
    (void)state;
    static const char *const FAMILIES[] = { "chatml",   "qwen2.5", "qwen3", "hermes3", "llama3",
                                            "llama3.1", "mistral", "gemma", "phi3" };
#define OF_USER "[{\"role\": \"user\", \"content\": "
#define WITH "{\"messages\": " OF_USER "\"x\"}], "
#define CALLS "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": "
    static const char *const BAD[][2] = {
        { OF_USER "{\"a\": 1}}]", "messages[0].content: expected text" },
        { OF_USER "[\"a\"]}]", "messages[0].content[0]: " },
        { OF_USER "[{\"text\": {}}]}]", "messages[0].content[0]: " },
        { CALLS "3}]", "messages[0].tool_calls: expected a list" },
        { CALLS "[3]}]", "messages[0].tool_calls[0]: " },
        { CALLS "[{}]}]", "messages[0].tool_calls[0]: " },
        { CALLS "[{\"function\": 3}]}]", "messages[0].tool_calls[0]: " },
        { CALLS "[{\"function\": {\"name\": 3}}]}]", "\"name\"" },
        { WITH "\"tools\": [3]}", "tools[0]: " },
        { WITH "\"tools\": [{\"function\": 3}]}", "tools[0]: " },
        { WITH "\"bos_token\": 3}", "bos_token: expected text" },
        { WITH "\"date_string\": {}}", "date_string: expected text" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        for (size_t k = 0; k < sizeof FAMILIES / sizeof *FAMILIES; k++) {
            error err = { 0 };
            str text = { 0 };
            json_t *c = parse(BAD[i][0]);
            if (chat_render(FAMILIES[k], c, &text, &err) != ERR_PARSE || !strstr(err.text, BAD[i][1]))
                fail_msg("%s: %s: '%s' does not say '%s'", FAMILIES[k], BAD[i][0], err.text, BAD[i][1]);
            str_free(&text);
            json_decref(c);
        }
}

static void a_familys_template_is_recognised(void **state)
{
    (void)state;
    assert_string_equal(chat_family("{{'<|im_start|>'}} {% if m.reasoning_content %}"), "qwen3");
    assert_string_equal(chat_family("<|start_header_id|> <|eot_id|>"), "llama3");
    assert_string_equal(chat_family("{% for m in messages %}<|im_start|>...<|im_end|>"), "chatml");
    assert_null(chat_family("### Instruction:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_open_goldens_are_met),
        cmocka_unit_test(tools_calls_and_results_look_as_each_family_has_them),
        cmocka_unit_test(qwen3_forgets_what_was_thought_before_the_last_question),
        cmocka_unit_test(what_a_template_refuses_is_refused_in_its_words),
        cmocka_unit_test(what_is_no_conversation_is_named_in_every_family),
        cmocka_unit_test(a_familys_template_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
