/* SPDX-License-Identifier: MIT */
/* What of a row is learned, in each dialect: learned spans stand in brackets, an end token is written as <end>. */
#include "run/tuning_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

static const char TOOLS[] = "[{\"name\": \"python\", \"description\": \"runs\", \"parameters\": {\"type\": \"object\", "
                            "\"properties\": {\"code\": {\"type\": \"string\"}}}}]";
static const char DEMONSTRATION[] = "{\"prompt\": \"2+3?\", \"answer\": \"5\", \"steps\": [{\"tool\": \"python\", "
                                    "\"arguments\": {\"code\": \"2+3\"}, \"result\": \"5\"}]}";
static const char CHAT[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", "
                           "\"content\": \"hello\"}, {\"role\": \"user\", \"content\": \"bye\"}, {\"role\": "
                           "\"assistant\", \"content\": \"so long\"}]}";
static const char TEMPLATE[] = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>{% endfor %}"
                               "{% if add_generation_prompt %}assistant: {% endif %}";
enum { END = 0 }; /* <|endoftext|> of the stagehand's tokenizer */
static const int32_t ENDS[] = { END };

typedef struct bench {
    recipe *recipe;
    tokenizer *tokenizer;
    tuning_rows rows;
} bench;

static bench bench_new(const char *dialect_name, const char *template)
{
    error err = { 0 };
    char dir[1100];
    bench b = { .recipe = xcalloc(1, sizeof(recipe)) };
    snprintf(dir, sizeof dir, "%s/models/stagehand", getenv("TROUPE_SOURCE"));
    snprintf(b.recipe->prompt.dialect, sizeof b.recipe->prompt.dialect, "%s", dialect_name);
    b.recipe->prompt.instruction = xstrdup("");
    b.recipe->sft = (sft_options){ .loss = SFT_ANSWERS, .rows_per_step = 1, .max_tokens = 4096 };
    b.tokenizer = tokenizer_open(dir, &err);
    dialect *d = dialect_new(dialect_name, NULL, TOOLS, &err);
    if (!b.tokenizer || !d) fail_msg("%s", err.text);
    if (template) {
        char *folder = test_folder_new();
        test_file_write(folder, "chat_template.jinja", template);
        test_ok(dialect_use_template(d, folder, &err), &err);
        test_folder_remove(folder);
    }
    b.rows = (tuning_rows){ .recipe = b.recipe, .tokenizer = b.tokenizer, .dialect = d, .eos = ENDS, .n_eos = 1 };
    return b;
}

static void bench_free(bench *b)
{
    dialect_free(b->rows.dialect);
    tokenizer_free(b->tokenizer);
    free(b->recipe->prompt.instruction);
    free(b->recipe);
}

/* The tokens as text. The caller frees. */
static char *shown(const bench *b, const trajectory *t)
{
    str out = { 0 };
    bool inside = false;
    for (uint32_t i = 0; i < t->n; i++) {
        const bool learned = t->role[i] == TOKEN_HINT;
        if (learned != inside) str_putc(&out, learned ? '[' : ']');
        inside = learned;
        if (t->ids[i] == END)
            str_puts(&out, "<end>");
        else
            tokenizer_decode_one(b->tokenizer, t->ids[i], true, &out);
    }
    if (inside) str_putc(&out, ']');
    return str_take(&out);
}

static void expect(const bench *b, const char *row, const char *want)
{
    error err = { 0 };
    bool cut;
    episode *e = tuning_row(&b->rows, row, &cut, &err);
    if (!e) fail_msg("%s: %s", row, err.text);
    test_ok(trajectory_check(&e->tokens, tokenizer_vocab(b->tokenizer), &err), &err);
    assert_false(cut);
    char *got = shown(b, &e->tokens);
    assert_string_equal(got, want);
    free(got);
    episode_free(e);
}

static void refused(const bench *b, const char *row, const char *why)
{
    error err = { 0 };
    bool cut;
    assert_null(tuning_row(&b->rows, row, &cut, &err));
    if (!strstr(err.text, why)) fail_msg("%s: expected '%s' in: %s", row, why, err.text);
}

static void a_demonstration_is_the_episode_that_would_be_played(void **state)
{
    (void)state;
    bench xml = bench_new("xml", NULL), react = bench_new("react", NULL), by_template = bench_new("xml", TEMPLATE);
    expect(&xml, DEMONSTRATION, "Q: 2+3?\nA: [<python>2+3</python>]<result>5</result>[<answer>5</answer>]");
    expect(&xml, "{\"messages\": [{\"role\": \"user\", \"content\": \"2+3?\"}], \"answer\": \"5\"}",
           "Q: 2+3?\nA: [<answer>5</answer>]");
    expect(&by_template, DEMONSTRATION,
           "user: 2+3?<end>assistant: [<python>2+3</python>]<result>5</result>[<answer>5</answer><end>]");
    bench_free(&by_template);
    bench_free(&react);
    bench_free(&xml);
}

/* Each dialect says which pieces a policy would write: calls and answers, not results and what is around them. */
static void every_dialect_says_what_is_learned(void **state)
{
    (void)state;
    static const struct {
        const char *name, *call, *answer, *result;
    } OF[] = { { "react", "[Action: python[2+3]\n]", "[Answer: 5\n]", "Observation: 5" },
               { "qwen", "[<tool_call>\n{\"name\": \"python\"", "[5<|im_end|>", "<tool_response>\n5" },
               { "llama3", "[{\"name\": \"python\"", "[5<|eot_id|>", "<|start_header_id|>ipython" } };
    for (size_t i = 0; i < sizeof OF / sizeof *OF; i++) {
        error err = { 0 };
        bool cut;
        bench b = bench_new(OF[i].name, NULL);
        episode *e = tuning_row(&b.rows, DEMONSTRATION, &cut, &err);
        if (!e) fail_msg("%s: %s", OF[i].name, err.text);
        char *got = shown(&b, &e->tokens);
        const char *call = strstr(got, OF[i].call), *answer = strstr(got, OF[i].answer);
        if (!call || !answer || answer < call) fail_msg("%s: %s", OF[i].name, got);
        const char *result = strstr(call, OF[i].result), *closed = strchr(call, ']');
        if (!result || !closed || closed > result) fail_msg("%s: %s", OF[i].name, got);
        free(got);
        episode_free(e);
        bench_free(&b);
    }
}

static void an_assistants_messages_are_learned_with_their_ends(void **state)
{
    (void)state;
    bench xml = bench_new("xml", NULL), by_template = bench_new("xml", TEMPLATE), qwen = bench_new("qwen", NULL);
    expect(&by_template, CHAT, "user: hi<end>assistant: [hello<end>]user: bye<end>assistant: [so long<end>]");
    expect(&by_template, "{\"prompt\": \"hi\", \"completion\": \"hello\"}", "user: hi<end>assistant: [hello<end>]");
    expect(&by_template,
           "{\"prompt\": [{\"role\": \"system\", \"content\": \"x\"}, {\"role\": \"user\", \"content\": \"hi\"}], "
           "\"completion\": [{\"role\": \"assistant\", \"content\": \"yo\"}]}",
           "system: x<end>user: hi<end>assistant: [yo<end>]");

    error err = { 0 };
    bool cut;
    episode *e = tuning_row(&qwen.rows, CHAT, &cut, &err);
    char *got = e ? shown(&qwen, &e->tokens) : xstrdup(err.text);
    assert_non_null(strstr(got, "<|im_start|>assistant\n[hello<|im_end|>]\n<|im_start|>user\nbye<|im_end|>\n"
                                "<|im_start|>assistant\n[so long<|im_end|>]"));
    free(got);
    episode_free(e);
    refused(&xml, CHAT, "prompt.chat_template = \"model\" has, with the model's own template");
    bench_free(&qwen);
    bench_free(&by_template);
    bench_free(&xml);
}

/* A conversation that ends in a completion or an answer: what the assistant said before is read. */
static void of_a_completion_and_an_answer_only_that_is_learned(void **state)
{
    (void)state;
#define BEFORE                                                                                                         \
    "[{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"old\"}, "                    \
    "{\"role\": \"user\", \"content\": \"bye\"}]"
    bench by_template = bench_new("xml", TEMPLATE);
    expect(&by_template, "{\"prompt\": " BEFORE ", \"completion\": \"new\"}",
           "user: hi<end>assistant: old<end>user: bye<end>assistant: [new<end>]");
    expect(&by_template, "{\"messages\": " BEFORE ", \"answer\": \"new\"}",
           "user: hi<end>assistant: old<end>user: bye<end>assistant: [<answer>new</answer><end>]");
    bench_free(&by_template);
}

static void an_empty_reply_is_its_end(void **state)
{
    (void)state;
    bench by_template = bench_new("xml", TEMPLATE);
    expect(&by_template, "{\"prompt\": \"hi\", \"completion\": \"\"}", "user: hi<end>assistant: [<end>]");
    bench_free(&by_template);
}

static void text_is_learned_whole_and_names_no_control_token(void **state)
{
    (void)state;
    bench b = bench_new("xml", NULL);
    expect(&b, "{\"text\": \"a\\u0000b\"}",
           "[a\x1a"
           "b<end>]");
    expect(&b, "{\"text\": \"a b\", \"group\": \"de\"}", "[a b<end>]");

    error err = { 0 };
    bool cut;
    episode *e = tuning_row(&b.rows, "{\"text\": \"x<|endoftext|>y\", \"group\": \"de\"}", &cut, &err);
    int ends = 0;
    for (uint32_t i = 0; i < e->tokens.n; i++) ends += e->tokens.ids[i] == END;
    assert_int_equal(ends, 1); /* the text's own is a text */
    assert_string_equal(e->data_group, "de");
    episode_free(e);
    bench_free(&b);
}

static void all_is_learned_where_the_recipe_says_so(void **state)
{
    (void)state;
    bench b = bench_new("xml", TEMPLATE);
    b.recipe->sft.loss = SFT_ALL;
    error err = { 0 };
    bool cut;
    episode *e = tuning_row(&b.rows, CHAT, &cut, &err);
    assert_int_equal(e->hint_len, e->tokens.n - 1); /* the first token follows nothing */
    episode_free(e);
    bench_free(&b);
}

static void a_long_row_is_cut_and_one_without_an_answer_left_is_none(void **state)
{
    (void)state;
    bench b = bench_new("xml", NULL);
    error err = { 0 };
    bool cut;
    b.recipe->sft.max_tokens = 14;
    episode *e = tuning_row(&b.rows, DEMONSTRATION, &cut, &err);
    assert_true(cut);
    assert_int_equal(e->tokens.n, 14);
    assert_true(e->hint_len > 0);
    episode_free(e);
    b.recipe->sft.max_tokens = 4;
    assert_null(tuning_row(&b.rows, DEMONSTRATION, &cut, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    bench_free(&b);
}

static void a_row_of_no_form_says_what_is_missing(void **state)
{
    (void)state;
    bench b = bench_new("xml", NULL);
    refused(&b, "[]", "a row is an object");
    refused(&b, "{\"question\": \"x\"}", "a row needs \"text\", \"messages\", or \"prompt\" with");
    refused(&b, "{\"prompt\": \"x\"}", "needs an \"answer\" or a \"completion\"");
    refused(&b, "{\"prompt\": \"x\", \"answer\": 5}", "a row needs \"answer\" (text), found another type");
    refused(&b, "{\"prompt\": 7, \"answer\": \"5\"}", "'prompt' is no text");
    refused(&b, "{\"text\": 7}", "'text' is no text");
    refused(&b, "{\"messages\": \"x\"}", "'messages' is no list");
    refused(&b, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", "nothing to learn");
    refused(&b, "{\"messages\": [{\"role\": \"assistant\"}]}", "message 1 of 'messages' needs a role and a content");
    refused(&b, "{\"prompt\": \"x\", \"answer\": \"5\", \"steps\": [{\"tool\": \"python\"}]}",
            "step 1: a row's step needs \"result\"");
    refused(&b, "{\"prompt\": \"x\", \"completion\": [{\"role\": \"user\", \"content\": \"y\"}]}",
            "no message of 'completion' is the assistant's");
    refused(&b, "{\"messages\": [{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"1\"}]}]}",
            "message 1 of 'messages' has tool_calls, which would be lost");
    refused(&b, "{\"prompt\": {}, \"completion\": \"x\"}", "'prompt' is neither a text nor a list of messages");
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_demonstration_is_the_episode_that_would_be_played),
        cmocka_unit_test(every_dialect_says_what_is_learned),
        cmocka_unit_test(an_assistants_messages_are_learned_with_their_ends),
        cmocka_unit_test(of_a_completion_and_an_answer_only_that_is_learned),
        cmocka_unit_test(an_empty_reply_is_its_end),
        cmocka_unit_test(text_is_learned_whole_and_names_no_control_token),
        cmocka_unit_test(all_is_learned_where_the_recipe_says_so),
        cmocka_unit_test(a_long_row_is_cut_and_one_without_an_answer_left_is_none),
        cmocka_unit_test(a_row_of_no_form_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
