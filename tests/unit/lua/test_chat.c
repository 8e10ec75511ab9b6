/* SPDX-License-Identifier: MIT */
/* A conversation and a model's own chat template: what is no conversation, which template a folder has, what reaches
 * it. (How templates are read: test_jinja.c.) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "lua/chat_model.h"
#include "tests/support/support.h"

static json_t *parse(const char *text)
{
    error err = { 0 };
    json_t *j = json_parse(text, strlen(text), "test", &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

/* Of the template, or the error's sentence. The caller frees. */
static char *rendered(chat_template *t, const char *conversation, error *err)
{
    str out = { 0 };
    json_t *c = parse(conversation);
    const int rc = t ? chat_render(t, c, &out, err) : err->code;
    if (rc != OK) str_cut(&out, 0);
    if (rc != OK) str_puts(&out, err->text);
    json_decref(c);
    return str_take(&out);
}

static void check_text(const char *text, const char *conversation, const char *want)
{
    error err = { 0 };
    chat_template *t = chat_template_new(text, strlen(text), "test", &err);
    char *got = rendered(t, conversation, &err);
    assert_string_equal(got, want);
    free(got);
    chat_template_free(t);
}

/* ---- conversations ---- */

#define X "[{\"role\": \"user\", \"content\": \"x\"}]"
#define WITH "{\"messages\": " X ", "

static void every_key_of_a_conversation_is_a_variable(void **state)
{
    (void)state;
    check_text("{{ messages[0].content }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}", X,
               "xTrueTrueTrue");
    check_text("{{ bos_token is defined }}{{ enable_thinking is defined }}", X, "FalseFalse");
    check_text("{{ enable_thinking }}{{ mine.b }}{{ mine|tojson }}",
               WITH "\"enable_thinking\": false, \"mine\": {\"b\": "
                    "1.0, \"a\": [null, true, 2]}}",
               "False1.0{\"b\": 1.0, \"a\": [null, true, 2]}");
    check_text("{{ add_generation_prompt }}{{ tools }}", WITH "\"add_generation_prompt\": false, \"tools\": []}",
               "False[]");
    check_text("{{ range is defined }}{{ range }}", WITH "\"range\": 3}", "True3");
}

static void today_is_what_the_conversation_says(void **state)
{
    (void)state;
    check_text("{{ strftime_now('%d %b %Y, %A') }}", WITH "\"date\": \"2026-11-26\"}", "26 Nov 2026, Thursday");
    check_text("{{ strftime_now('%Y-%m-%d') }}{{ date_string }}", WITH "\"date_string\": \"26 Jul 2024\"}",
               "2024-07-2626 Jul 2024");
    check_text("{{ strftime_now('%Y') == '2026' and false }}{{ date_string }}", WITH "\"date_string\": \"now\"}",
               "Falsenow");
    check_text("{{ strftime_now('') }}", WITH "\"date\": \"2024-02-29\"}", "");
    check_text("x", WITH "\"date\": \"2026-02-30\"}", "date: expected a day as \"2026-11-26\", found \"2026-02-30\"");
    check_text("x", WITH "\"date\": \"26 Nov 2026\"}", "date: expected a day as \"2026-11-26\", found \"26 Nov 2026\"");
}

/* Of any shape: the sentence says where and what. */
static void what_is_no_conversation_is_named(void **state)
{
    (void)state;
#define OF_USER "[{\"role\": \"user\", \"content\": "
#define CALLS "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": "
    static const char *const BAD[][2] = {
        { "[]", "a list of messages" },
        { "3", "a list of messages" },
        { "{\"messages\": [{\"content\": \"x\"}]}", "messages[0]: " },
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
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        str out = { 0 };
        json_t *c = json_loads(BAD[i][0], JSON_DECODE_ANY, NULL);
        chat_template *t = chat_template_new("x", 1, "test", &err);
        if (chat_render(t, c, &out, &err) != ERR_PARSE || !strstr(err.text, BAD[i][1]))
            fail_msg("%s: '%s' does not say '%s'", BAD[i][0], err.text, BAD[i][1]);
        chat_template_free(t);
        json_decref(c);
        str_free(&out);
    }
}

static void what_a_template_refuses_is_refused_in_its_words(void **state)
{
    (void)state;
    check_text("{{ raise_exception('System role\nnot supported') }}", X, "test: System role\\nnot supported");
    check_text("\n{{ messages[0].x.y }}", X, "test: line 2: 'dict object' has no attribute 'x'");
}

/* ---- model folders ---- */

typedef struct file {
    const char *name, *text;
} file;

#define TOOL "\"tools\": [{\"name\": \"f\"}]}"
#define SEVERAL                                                                                                        \
    "{\"chat_template\": [{\"name\": \"default\", \"template\": \"plain\"}, "                                          \
    "{\"name\": \"tool_use\", \"template\": \"tools\"}]}"

static void check_folder(const file *files, const char *conversation, const char *want)
{
    error err = { 0 };
    char *dir = test_folder_new(), path[1200];
    test_ok(dir_make_all(path_join(path, sizeof path, dir, "additional_chat_templates"), &err), &err);
    for (; files->name; files++) test_file_write(dir, files->name, files->text);
    if (strcmp(files[-1].name, "additional_chat_templates/tool_use.jinja") != 0)
        test_ok(dir_remove_all(path, &err), &err);

    json_t *c = parse(conversation);
    chat_template *t = chat_model_template(dir, json_object_get(c, "tools") != NULL, &err);
    if (t) test_ok(chat_model_tokens(dir, c, &err), &err);
    char *with_tokens = json_text(c, false), *got = rendered(t, with_tokens, &err);
    if (!strstr(got, want)) fail_msg("got '%s', want '%s'", got, want);
    free(got);
    free(with_tokens);
    chat_template_free(t);
    json_decref(c);
    test_folder_remove(dir);
}

static void a_models_template_is_found_where_transformers_find_it(void **state)
{
    (void)state;
    static const char CONFIG[] = "tokenizer_config.json", JINJA[] = "chat_template.jinja";
    static const char TOOL_USE[] = "additional_chat_templates/tool_use.jinja";
    check_folder((file[]){ { CONFIG, "{\"chat_template\": \"in config\"}" }, { 0 } }, WITH "\"a\": 1}", "in config");
    check_folder((file[]){ { CONFIG, "{\"chat_template\": \"in config\"}" }, { JINJA, "in a file\n" }, { 0 } },
                 WITH "\"a\": 1}", "in a file");
    check_folder((file[]){ { JINJA, "alone" }, { 0 } }, WITH TOOL, "alone");
    check_folder((file[]){ { CONFIG, SEVERAL }, { 0 } }, WITH "\"a\": 1}", "plain");
    check_folder((file[]){ { CONFIG, SEVERAL }, { 0 } }, WITH TOOL, "tools");
    check_folder((file[]){ { JINJA, "plain" }, { TOOL_USE, "tools in a file" }, { 0 } }, WITH TOOL, "tools in a file");
    check_folder((file[]){ { JINJA, "plain" }, { TOOL_USE, "tools in a file" }, { 0 } }, WITH "\"a\": 1}", "plain");

    check_folder((file[]){ { CONFIG, "{}" }, { 0 } }, WITH "\"a\": 1}", "has no chat template");
    check_folder((file[]){ { CONFIG, "{\"chat_template\": 3}" }, { 0 } }, WITH "\"a\": 1}",
                 "chat_template: expected text");
    check_folder((file[]){ { CONFIG, "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"x\"}]}" }, { 0 } },
                 WITH "\"a\": 1}", "none is called \"default\"");
    check_folder((file[]){ { JINJA, "\n{{ x" }, { 0 } }, WITH "\"a\": 1}", "chat_template.jinja: line 2: ");
}

static void a_models_tokens_reach_its_template(void **state)
{
    (void)state;
    static const char PRINTS[] = "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ unk_token }}";
    check_folder((file[]){ { "chat_template.jinja", PRINTS },
                           { "tokenizer_config.json", "{\"bos_token\": \"<B>\", \"eos_token\": {\"content\": \"<E>\"}, "
                                                      "\"pad_token\": null, \"unk_token\": \"<U>\"}" },
                           { 0 } },
                 WITH "\"unk_token\": \"own\"}", "<B><E>Falseown");
    check_folder((file[]){ { "chat_template.jinja", PRINTS },
                           { "tokenizer_config.json", "{\"bos_token\": \"<B>\", \"eos_token\": \"<E>\"}" },
                           { "special_tokens_map.json", "{\"eos_token\": \"<M>\", \"pad_token\": \"<P>\"}" },
                           { 0 } },
                 WITH "\"a\": 1}", "<B><M>True");
    check_folder((file[]){ { "chat_template.jinja", PRINTS },
                           { "tokenizer_config.json", "{\"eos_token\": \"<E>\", \"added_tokens_decoder\": {}}" },
                           { "special_tokens_map.json", "{\"eos_token\": \"<M>\", \"pad_token\": \"<P>\"}" },
                           { 0 } },
                 WITH "\"a\": 1}", "<E>False");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_a_conversation_is_a_variable),
        cmocka_unit_test(today_is_what_the_conversation_says),
        cmocka_unit_test(what_is_no_conversation_is_named),
        cmocka_unit_test(what_a_template_refuses_is_refused_in_its_words),
        cmocka_unit_test(a_models_template_is_found_where_transformers_find_it),
        cmocka_unit_test(a_models_tokens_reach_its_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
