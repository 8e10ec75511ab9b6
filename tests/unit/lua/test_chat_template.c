/* SPDX-License-Identifier: MIT */
/* Dialects that speak through a model's own chat template: what a prompt's pieces hold is what the template writes of
 * the conversation, and what can't be told apart is refused. */
#include "base/file.h"
#include "base/json.h"
#include "dialects.h"
#include "lua/chat_model.h"

typedef struct model {
    char *dir;
} model;

static model model_with(const char *template)
{
    model m = { .dir = test_folder_new() };
    test_file_write(m.dir, "chat_template.jinja", template);
    test_file_write(m.dir, "tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    return m;
}

static dialect *speaking(const char *name, const model *m)
{
    error err = { 0 };
    dialect *d = open_dialect(name, NULL);
    test_ok(dialect_use_template(d, m->dir, &err), &err);
    return d;
}

/* The template's own text of a conversation: what Hugging Face would feed the model. */
static char *rendered(const model *m, const char *conversation)
{
    error err = { 0 };
    str out = { 0 };
    chat_template *t = chat_model_template(m->dir, true, &err);
    json_t *c = json_parse(conversation, strlen(conversation), "test", &err);
    assert_non_null(t);
    assert_non_null(c);
    test_ok(chat_model_tokens(m->dir, c, &err), &err);
    test_ok(chat_render(t, c, &out, &err), &err);
    json_decref(c);
    chat_template_free(t);
    return str_take(&out);
}

/* Two examples and a question, through the template: the same bytes as of the conversation as a whole. */
static void check_prompt(const char *name, const char *template, const char *conversation)
{
    token_role roles[64];
    model m = model_with(template);
    dialect *d = speaking(name, &m);
    char *said = whole_prompt(d, 2, roles), *want = rendered(&m, conversation);
    assert_string_equal(said, want);
    free(said);
    free(want);
    dialect_free(d);
    test_folder_remove(m.dir);
}

static const char CHATML[] = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                             "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/* Trims, counts turns, and begins with a token of the model's. */
static const char LLAMA2[] =
    "{% if messages[0].role == 'system' %}{% set s = '<<SYS>>' ~ messages[0].content|trim ~ '<</SYS>>' %}"
    "{% set rest = messages[1:] %}{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must "
    "alternate') }}"
    "{% endif %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ s if loop.first }}{{ m.content|trim }} [/INST]"
    "{% else %} {{ m.content|trim }} {{ eos_token }}{% endif %}{% endfor %}";

static const char GEMMA[] =
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content|trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}";

#define REPLY "<python>print(1+1)</python><result>2</result><answer>2</answer>"
#define EXAMPLE(text)                                                                                                  \
    "{\"role\": \"user\", \"content\": \"" text "1+1?\"}, {\"role\": \"assistant\", \"content\": \"" REPLY "\"}, "
#define QUESTION "{\"role\": \"user\", \"content\": \"2+2?\"}]}"
#define WITH_SYSTEM                                                                                                    \
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Use tools.\"}, " EXAMPLE("") EXAMPLE("") QUESTION

static void tags_stand_in_the_messages_of_any_template(void **state)
{
    (void)state;
    check_prompt("xml", CHATML, WITH_SYSTEM);
    check_prompt("xml", LLAMA2, WITH_SYSTEM);
}

/* A template that refuses the role: its text comes before the first question. */
static void an_instruction_without_a_system_role_is_the_user_s(void **state)
{
    (void)state;
    check_prompt("xml", GEMMA, "{\"messages\": [" EXAMPLE("Use tools.\\n\\n") EXAMPLE("") QUESTION);
}

/* What the policy would write stands in pieces of its own, as play cuts it. */
static void an_example_is_cut_where_play_cuts(void **state)
{
    (void)state;
    static const char *const WANT[] = { "<|im_start|>system\nUse tools.",
                                        "<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n",
                                        "<python>print(1+1)</python>",
                                        "<result>",
                                        "2",
                                        "</result>",
                                        "<answer>2</answer>",
                                        "<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n" };
    error err = { 0 };
    model m = model_with(CHATML);
    dialect *d = speaking("xml", &m);
    prompt_pieces p = { 0 };
    const char *const shots[] = { SHOT };
    test_ok(dialect_prompt(d, "Use tools.", shots, 1, "{\"prompt\": \"2+2?\"}", &p, &err), &err);
    assert_int_equal(p.len, 8);
    for (size_t i = 0; i < p.len; i++) {
        assert_string_equal(p.data[i].text, WANT[i]);
        assert_true(p.data[i].plain == (i == 4)); /* a tool's words hold no control token */
    }
    prompt_pieces_free(&p);

    /* An answer stands alone in front of another example, too. */
    p = (prompt_pieces){ 0 };
    test_ok(dialect_prompt(d, "", (const char *const[]){ SHOT, SHOT }, 2, "{\"prompt\": \"2+2?\"}", &p, &err), &err);
    assert_int_equal(p.len, 13);
    assert_string_equal(p.data[5].text, "<answer>2</answer>");
    prompt_pieces_free(&p);
    dialect_free(d);
    test_folder_remove(m.dir);
}

/* Hermes, with other words around than the qwen dialect's own. */
static const char HERMES[] =
    "{% for m in messages %}{% if m.role == 'tool' %}{% if loop.index0 == 0 or messages[loop.index0 - 1].role != "
    "'tool' %}"
    "<|im_start|>tools\n{% endif %}<tool_response>{{ m.content }}</tool_response>"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>\n{% endif %}"
    "{% else %}<|im_start|>{{ m.role }}\n{% if loop.first and tools %}{{ tools|tojson }}\n{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{% if not loop.first %}\n{% endif %}<tool_call>\n{\"name\": {{ "
    "c.function.name|tojson }}, "
    "\"arguments\": {{ c.function.arguments|tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

#define CALL                                                                                                           \
    "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": " \
    "\"python\", \"arguments\": {\"code\": \"print(1+1)\"}}}]}, {\"role\": \"tool\", \"content\": \"2\"}, "
#define CALLED "{\"role\": \"user\", \"content\": \"1+1?\"}, " CALL "{\"role\": \"assistant\", \"content\": \"2\"}, "

static void tools_calls_and_results_are_the_template_s(void **state)
{
    (void)state;
    char conversation[3000];
    json_t *tools = json_parse(TOOLS, strlen(TOOLS), "tools", NULL), *signatures = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_t *one = json_object();
        json_object_set_new(one, "type", json_string("function"));
        json_object_set(one, "function", json_array_get(tools, i));
        json_array_append_new(signatures, one);
    }
    char *text = json_dumps(signatures, JSON_ENSURE_ASCII);
    snprintf(conversation, sizeof conversation,
             "{\"messages\": [{\"role\": \"system\", \"content\": \"Use tools.\"}, " CALLED CALLED
             "{\"role\": \"user\", \"content\": \"2+2?\"}], \"tools\": %s}",
             text);
    check_prompt("qwen", HERMES, conversation);
    free(text);
    json_decref(signatures);
    json_decref(tools);
}

static void what_stands_around_results_is_the_template_s(void **state)
{
    (void)state;
    error err = { 0 };
    model m = model_with(HERMES);
    dialect *d = speaking("qwen", &m);
    dialect_frame f = { 0 };
    const char *const names[] = { "python", "search" };
    test_ok(dialect_observation(d, names, (const bool[]){ true, true }, 2, "", &f, &err), &err);
    assert_int_equal(f.n, 3);
    assert_string_equal(f.parts[0].data, "<|im_end|>\n<|im_start|>tools\n<tool_response>");
    assert_string_equal(f.parts[1].data, "</tool_response><tool_response>");
    assert_string_equal(f.parts[2].data, "</tool_response><|im_end|>\n<|im_start|>assistant\n");
    dialect_frame_reset(&f);
    dialect_free(d);
    test_folder_remove(m.dir);
}

/* Public templates show a call and its marks in front of the conversation, to teach them: those are no calls. */
static const char TEACHES[] =
    "{% if tools %}<|im_start|>system\nCall within <tool_call></tool_call>:\n<tool_call>\n{\"name\": <name>}\n"
    "</tool_call><|im_end|>\n{% endif %}";

static void calls_that_a_template_shows_are_no_calls(void **state)
{
    (void)state;
    error err = { 0 };
    char template[sizeof TEACHES + sizeof HERMES];
    snprintf(template, sizeof template, "%s%s", TEACHES, HERMES);
    const char *const names[] = { "python", "search", "python" };
    const bool ok[] = { true, true, true };

    dialect_frame plain = { 0 }, taught = { 0 };
    for (size_t n = 1; n <= 3; n++) {
        model m = model_with(HERMES), t = model_with(template);
        dialect *d = speaking("qwen", &m), *e = speaking("qwen", &t);
        test_ok(dialect_observation(d, names, ok, n, "", &plain, &err), &err);
        test_ok(dialect_observation(e, names, ok, n, "", &taught, &err), &err);
        for (size_t i = 0; i <= n; i++) assert_string_equal(taught.parts[i].data, plain.parts[i].data);
        dialect_frame_reset(&plain);
        dialect_frame_reset(&taught);
        dialect_free(d);
        dialect_free(e);
        test_folder_remove(m.dir);
        test_folder_remove(t.dir);
    }
}

/* As Llama 3.1's: the functions stand before the first question, a message has one call, results are JSON strings. */
static const char LLAMA3[] =
    "{% macro head(r) %}<|start_header_id|>{{ r }}<|end_header_id|>\n\n{% endmacro %}"
    "{% set has_system = messages[0].role == 'system' %}{% set rest = messages[1:] if has_system else messages %}"
    "{{ bos_token }}{{ head('system') }}Today Date: {{ date_string if date_string is defined else strftime_now('%d') "
    "}}\n\n"
    "{{ messages[0].content|trim if has_system }}<|eot_id|>"
    "{% for m in rest %}{% if m.role == 'tool' or m.role == 'ipython' %}{{ head('ipython') }}"
    "{% if m.content is iterable %}{{ m.content|tojson }}{% else %}{{ m.content }}{% endif %}<|eot_id|>"
    "{% elif m.tool_calls %}{% if m.tool_calls|length != 1 %}{{ raise_exception('one call at once') }}{% endif %}"
    "{% set c = m.tool_calls[0].function %}{{ head('assistant') }}"
    "{\"name\": \"{{ c.name }}\", \"parameters\": {{ c.arguments|tojson }}}<|eot_id|>"
    "{% else %}{{ head(m.role) }}{% if loop.first and tools %}{% for t in tools %}{{ t|tojson(indent=4) }}\n\n{% "
    "endfor %}"
    "{% endif %}{{ m.content|trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ head('assistant') }}{% endif %}";

/* A template that begins each reply with <think>: the policy thinks from its first word on, and only there. */
static void a_thought_that_the_template_opens_is_neither_call_nor_answer(void **state)
{
    (void)state;
    static const struct {
        const char *dialect, *template, *opens, *said, *answer;
    } WANT[] = {
        { "xml", CHATML, "<think>\n", "<answer>5</answer></think>\n<answer>6</answer>", "6" },
        { "xml", CHATML, "<thinking>", "<python>5</python></thinking><answer>6</answer>", "6" },
        { "xml", CHATML, "<think>\n\n</think>\n\n", "<answer>5</answer></think>\n<answer>6</answer>", "5" },
        { "xml", CHATML, "", "<answer>5</answer></think>\n<answer>6</answer>", "5" },
        { "qwen", HERMES, "<think>\n",
          "<tool_call>{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}}</tool_call></think>6<|im_end|>", "6" },
        { "qwen", HERMES, "<think>\n\n</think>\n\n", "6<|im_end|>", "6" },
        { "llama3", LLAMA3, "<think>\n", "{\"name\": \"python\", \"parameters\": {}}</think>6<|eot_id|>", "6" },
    };
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        error err = { 0 };
        dialect_result r = { 0 };
        char template[sizeof LLAMA3 + 100];
        snprintf(template, sizeof template, "%s%s", WANT[i].template, WANT[i].opens);
        model m = model_with(template);
        dialect *d = speaking(WANT[i].dialect, &m);
        dialect_parser *p = dialect_parser_new(d, &err);
        test_ok(dialect_feed(p, WANT[i].said, strlen(WANT[i].said), &r, &err), &err);
        assert_int_equal(r.event, DIALECT_ANSWER);
        assert_string_equal(r.answer, WANT[i].answer);
        dialect_result_reset(&r);
        dialect_parser_free(p);
        dialect_free(d);
        test_folder_remove(m.dir);
    }
}

#define LLAMA3_EXAMPLE                                                                                                 \
    "{\"role\": \"user\", \"content\": \"1+1?\"}, {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": "       \
    "[{\"type\": "                                                                                                     \
    "\"function\", \"function\": {\"name\": \"python\", \"arguments\": {\"code\": \"print(1+1)\"}}}]}, "               \
    "{\"role\": \"tool\", \"content\": \"2\"}, {\"role\": \"assistant\", \"content\": \"2\"}, "

static void llama3_gives_the_template_its_calls_and_results(void **state)
{
    (void)state;
    str conversation = { 0 };
    str_printf(&conversation, "{\"date_string\": \"26 Jul 2024\", \"tools\": [");
    json_t *tools = json_loads(TOOLS, 0, NULL), *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        char *text = json_dumps(tool, JSON_PRESERVE_ORDER);
        str_printf(&conversation, "%s{\"type\": \"function\", \"function\": %s}", i ? ", " : "", text);
        free(text);
    }
    str_puts(&conversation,
             "], \"messages\": [{\"role\": \"system\", \"content\": \"Use tools.\"}, " LLAMA3_EXAMPLE LLAMA3_EXAMPLE
                 QUESTION);
    check_prompt("llama3", LLAMA3, conversation.data);
    json_decref(tools);
    str_free(&conversation);
}

/* What play writes around results is what the template writes: the first after the policy's own <|eot_id|>, and of
 * several calls, which the template refuses in one message, each in a message of its own. */
static void llama3_writes_results_as_the_template_does(void **state)
{
    (void)state;
    static const char HEAD[] = "<|start_header_id|>ipython<|end_header_id|>\n\n";
    error err = { 0 };
    dialect_frame f = { 0 };
    model m = model_with(LLAMA3);
    dialect *d = speaking("llama3", &m);
    const char *const names[] = { "python", "search" };
    test_ok(dialect_observation(d, names, (const bool[]){ true, true }, 2, "", &f, &err), &err);
    assert_string_equal(f.parts[0].data, HEAD);
    assert_string_equal(f.parts[1].data, "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n");
    assert_string_equal(f.parts[2].data, "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    dialect_frame_reset(&f);

    prompt_pieces p = { 0 };
    const char *const shots[] = { SHOT };
    test_ok(dialect_prompt(d, "", shots, 1, "{\"prompt\": \"2+2?\"}", &p, &err), &err);
    size_t i = 0;
    while (i < p.len && !p.data[i].plain) i++;
    assert_string_equal(p.data[i].text, "\"2\""); /* the result, with its quotes, as play writes it */
    assert_string_equal(p.data[i - 1].text, HEAD);
    assert_string_equal(p.data[i - 2].text,
                        "{\"name\": \"python\", \"parameters\": {\"code\": \"print(1+1)\"}}<|eot_id|>");
    prompt_pieces_free(&p);
    dialect_free(d);
    test_folder_remove(m.dir);
}

/* Qwen 3.5: the marks of Hermes around calls of another kind, which the dialect could not read. */
#define OTHER_CALLS                                                                                                    \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\n"   \
    "<function={{ c.function.name }}>\n</function>\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"

/* dialect and template, and what the sentence says: at once, or of the first prompt. */
static void what_cant_be_spoken_through_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dialect, *template, *says;
    } BAD[] = {
        { "react", CHATML, "no messages that one could write" },
        { "qwen", CHATML, "writes no <tool_call>" },
        { "llama3", CHATML, "writes no {\"name\": ..., \"parameters\"" },
        { "llama3", HERMES, "otherwise than as a JSON string" },
        { "qwen", OTHER_CALLS, "writes other calls than <tool_call>{" },
        { "xml", "{{ messages[0].content }}{{ messages[0].content }}", "once and in its turn" },
        { "xml", "{% for m in messages|reverse %}{{ m.content }}{% endfor %}", "once and in its turn" },
        { "xml", "{{ messages[0].content|length }}", "once and in its turn" },
        { "xml", "{{ raise_exception('No.') }}", "refuses the conversation: " },
        { "xml", "{% for", "line 1" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        prompt_pieces p = { 0 };
        model m = model_with(BAD[i].template);
        dialect *d = open_dialect(BAD[i].dialect, NULL);
        int rc = dialect_use_template(d, m.dir, &err);
        if (rc == OK) rc = dialect_prompt(d, "Use tools.", NULL, 0, "{\"prompt\": \"2+2?\"}", &p, &err);
        if (rc == OK || !strstr(err.text, BAD[i].says)) fail_msg("%zu: %s", i, rc == OK ? "accepted" : err.text);
        prompt_pieces_free(&p);
        dialect_free(d);
        test_folder_remove(m.dir);
    }
}

static void a_model_without_a_template_is_named(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new();
    dialect *d = open_dialect("xml", NULL);
    assert_int_equal(dialect_use_template(d, dir, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, dir));
    dialect_free(d);
    test_folder_remove(dir);
}

/* ---- an environment's words ---- */

#define SPOKEN "{\"role\": \"user\", \"content\": \"Begin.\"}, {\"role\": \"assistant\", \"content\": \"Left.\"}, "

/* A turn without a call, and the user's words behind it: what the dialect writes around them, and the template. */
static void check_reply(const char *name, const char *template)
{
    error err = { 0 };
    dialect_frame f;
    model m = model_with(template);
    dialect *d = speaking(name, &m);
    test_ok(dialect_reply(d, "Left.", &f, &err), &err);
    assert_int_equal(f.n, 2);
    char *whole = rendered(&m, "{\"messages\": [" SPOKEN "{\"role\": \"user\", \"content\": \"A wall.\"}]}"), *said;
    str frame = { 0 };
    str_printf(&frame, "%sA wall.%s", f.parts[0].data, str_text(&f.parts[1]));
    assert_non_null(said = strstr(whole, "Left."));
    assert_string_equal(frame.data, said + strlen("Left."));
    assert_true(f.plain); /* its words hold no control token */
    str_free(&frame);
    free(whole);
    dialect_frame_reset(&f);
    dialect_free(d);
    test_folder_remove(m.dir);
}

static void an_environment_speaks_as_the_template_s_user_does(void **state)
{
    (void)state;
    char thinking[sizeof CHATML + 20];
    snprintf(thinking, sizeof thinking, "%s<think>\n", CHATML);
    check_reply("xml", CHATML);
    check_reply("xml", thinking);
    check_reply("xml", LLAMA2);
    check_reply("xml", GEMMA); /* it has no system role */
    check_reply("qwen", HERMES);
    check_reply("llama3", LLAMA3);
}

/* Templates that speak of the first question, and of no conversation. */
static void replies_that_can_not_be_told_apart_are_refused(void **state)
{
    (void)state;
    static const char *const BAD[][2] = {
        { "{% for m in messages %}{{ m.content }}{% if not loop.first %}{{ raise_exception('One question.') }}{% endif "
          "%}"
          "{% endfor %}",
          "One question." },
        { "{{ messages[0].content }}", "once and in its turn" },
        { "{{ messages[0].content }}{% for m in messages[1:]|reverse %}{{ m.content }}{% endfor %}",
          "once and in its turn" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        dialect_frame f;
        prompt_pieces p = { 0 };
        model m = model_with(BAD[i][0]);
        dialect *d = speaking("xml", &m);
        test_ok(dialect_prompt(d, "", NULL, 0, "{\"prompt\": \"2+2?\"}", &p, &err), &err);
        assert_int_equal(dialect_reply(d, "Left.", &f, &err), ERR_SCRIPT);
        if (!strstr(err.text, BAD[i][1])) fail_msg("%zu: %s", i, err.text);
        prompt_pieces_free(&p);
        dialect_frame_reset(&f);
        dialect_free(d);
        test_folder_remove(m.dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_stand_in_the_messages_of_any_template),
        cmocka_unit_test(an_instruction_without_a_system_role_is_the_user_s),
        cmocka_unit_test(an_example_is_cut_where_play_cuts),
        cmocka_unit_test(tools_calls_and_results_are_the_template_s),
        cmocka_unit_test(what_stands_around_results_is_the_template_s),
        cmocka_unit_test(calls_that_a_template_shows_are_no_calls),
        cmocka_unit_test(a_thought_that_the_template_opens_is_neither_call_nor_answer),
        cmocka_unit_test(llama3_gives_the_template_its_calls_and_results),
        cmocka_unit_test(llama3_writes_results_as_the_template_does),
        cmocka_unit_test(what_cant_be_spoken_through_is_refused),
        cmocka_unit_test(a_model_without_a_template_is_named),
        cmocka_unit_test(an_environment_speaks_as_the_template_s_user_does),
        cmocka_unit_test(replies_that_can_not_be_told_apart_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
