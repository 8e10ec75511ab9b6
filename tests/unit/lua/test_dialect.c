/* SPDX-License-Identifier: MIT */
/* What the four dialects write, and how they read what a policy wrote. */
#include "dialects.h"

static void a_prompt_is_instruction_shots_question(void **state)
{
    (void)state;
    token_role roles[20];
    dialect *d = open_dialect("xml", NULL);
    char *text = whole_prompt(d, 2, roles);
    assert_string_equal(
        text, "Use tools.\n\nExample: 1+1?\nA: <python>print(1+1)</python><result>2</result><answer>2</answer>\n\n"
              "Example: 1+1?\nA: <python>print(1+1)</python><result>2</result><answer>2</answer>\n\nQ: 2+2?\nA: ");
    assert_int_equal(roles[0], TOKEN_INSTRUCTION);
    for (int i = 1; i <= 14; i++) /* an example in seven pieces: question, call, frame, words, frame, answer, space */
        assert_int_equal(roles[i], TOKEN_SHOT);
    assert_int_equal(roles[15], TOKEN_QUESTION);
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

static void xml_finds_calls_and_answers_however_they_are_cut(void **state)
{
    (void)state;
    dialect *d = open_dialect("xml", NULL);
    expect_call(d, "so <python>print(1)</python>", "python", "{\"code\":\"print(1)\"}");
    expect_call(d, "<python>a<b</python>", "python", "{\"code\":\"a<b\"}");
    expect_call(d, "<search>{\"q\": \"x\", \"n\": 3}</search>", "search", "{\"n\":3,\"q\":\"x\"}");
    expect_call(d, "<python>\n```python\nprint(1)\n```\n</python>", "python", "{\"code\":\"print(1)\"}");
    expect_call(d, "<python>```print(1)```</python>", "python", "{\"code\":\"print(1)\"}");
    expect_call(d, "<python>print('```')</python>", "python", "{\"code\":\"print('```')\"}");
    expect_answer(d, "I say <answer>4</answer> and more", "4");
    expect_answer(d, "<b>so</b> <p>x <answer>4</answer>", "4");
    expect_more(d, "<result>4</result>"); /* only a tool says that */
    expect_more(d, "a < b > c, </python> and <answer>4");
    dialect_free(d);
}

/* As in XML: </x > is </x>. A run of white space that no one means is none. */
static void xml_closes_at_a_tag_with_white_space_behind_its_name(void **state)
{
    (void)state;
    dialect *d = open_dialect("xml", NULL);
    expect_call(d, "<python>print(1)</python >", "python", "{\"code\":\"print(1)\"}");
    expect_call(d, "<python>a</pythonx ></python\n\t ></python>", "python", "{\"code\":\"a</pythonx >\"}");
    expect_call(d, "<python>a</python b></python </python >", "python", "{\"code\":\"a</python b></python \"}");
    expect_answer(d, "<think><answer>5</answer></think > <answer>4</answer >", "4");
    expect_event(d, "<answer>4</answer >\n5", DIALECT_ANSWER, "<answer>4</answer >", check_answer, "4");
    expect_bad(d, "<foo>1</foo >", "foo", "no tool named foo");
    expect_bad(d, "<foo>1</foo b></foo\n>", "foo", "no tool named foo");
    const wanted_call kept = { "python", "\"code=\\\"1\"", "without attributes" };
    expect_event(d, "<python code=\"1</python > 2", DIALECT_CALLS, "<python code=\"1</python >", check_one_call, &kept);
#define SPACES "                                " /* as many as count */
    expect_call(d, "<python>1</python" SPACES "></python>", "python", "{\"code\":\"1\"}");
    expect_call(d, "<python>1</python" SPACES " ></python>", "python", "{\"code\":\"1</python" SPACES " >\"}");
#undef SPACES
    dialect_free(d);
}

/* What a policy that stops in the middle of it would be told behind the tag that closes. */
static void xml_tells_who_stops_in_a_tools_tag(void **state)
{
    (void)state;
#define PYTHON "a call of python is written as <python>code</python>, "
#define OPEN PYTHON "with its closing tag"
#define FORM PYTHON "without attributes"
    static const struct {
        const char *text, *raw, *why; /* raw: NULL where there is no call */
    } STOPS[] = {
        { "so <python code=\"1\"><eos>", "\"code=\\\"1\\\">\"", FORM },
        { "<python code=\"1\">\nso <answer>4</answer><eos>", "\"code=\\\"1\\\">\\nso <answer>4</answer>\"", FORM },
        { "<python code=\"print(1)<eos>", "\"code=\\\"print(1)\"", FORM },
        { "<python code='1'<eos>", "\"code='1'\"", FORM },
        { "<python>print(1)<eos>", "\"print(1)\"", OPEN },
        { "so <python>print(1)</pyth<eos>", "\"print(1)</pyth\"", OPEN },
        { "<python><answer>4</answer><eos>", "\"<answer>4</answer>\"", OPEN },
        { "<python><eos>", "\"\"", OPEN },
        { "<answer>4<eos>", NULL, NULL },
        { "<think><python>print(1)<eos>", NULL, NULL },
        { "<answer type=\"number\">4<eos>", NULL, NULL },
        { "<think a=\"<python code='1'><eos>", NULL, NULL },
        { "a <python interpreter<eos>", NULL, NULL },
        { "<y a=\"1\"><eos>", NULL, NULL },
        { "<y a=\"1\"<eos>", NULL, NULL },
    };
    dialect *d = open_dialect("xml", NULL);
    for (size_t i = 0; i < sizeof STOPS / sizeof *STOPS; i++) {
        error err = { 0 };
        dialect_result r = { 0 };
        dialect_parser *p = dialect_parser_new(d, &err);
        test_ok(dialect_feed(p, STOPS[i].text, strlen(STOPS[i].text), &r, &err), &err);
        assert_int_equal(r.event, DIALECT_MORE);
        test_ok(dialect_finish(p, strlen("<eos>"), &r, &err), &err);
        if ((r.event == DIALECT_CALLS) != (STOPS[i].raw != NULL)) fail_msg("%s: event %d", STOPS[i].text, r.event);
        if (STOPS[i].raw) {
            check_one_call(&r, &(wanted_call){ "python", STOPS[i].raw, STOPS[i].why });
            assert_int_equal(r.rest, strlen("<eos>"));
        }
        dialect_result_reset(&r);
        dialect_parser_free(p);
    }
    dialect_free(d);
#undef FORM
#undef OPEN
#undef PYTHON
}

/* Wrong arguments are said, not replaced by {} and called with. */
static void a_call_that_cannot_be_made_says_why_and_keeps_its_words(void **state)
{
    (void)state;
    dialect *d = open_dialect("xml", NULL);
    expect_bad(d, "<search>not json</search>", "search", "should be a JSON object");
    expect_bad(d, "<search>[1]</search>", "search", "found an array");
    expect_bad(d, "<search>\"x\"</search>", "search", "found a string");
    expect_bad(d, "<search>3</search>", "search", "found a number");
    expect_bad(d, "<pyton>print(1)</pyton>", "pyton", "no tool named pyton (there are: python, search)");
    expect_bad(d, "<python>\xff\xfe</python>", "python", "not valid text");
    const wanted_call kept = { "search", "\"not json\"", "{\"n\": integer, \"q\": string}" };
    expect_event(d, "<search>not json</search>", DIALECT_CALLS, NULL, check_one_call, &kept);
    dialect_free(d);
    d = open_dialect("qwen", NULL);
    static const char *const SHAPES[][3] = {
        { "{\"name\": 3}", "", "no \"name\"" },
        { "{\"arguments\": {}}", "", "no \"name\"" },
        { "[1, 2]", "", "an array" },
        { "\"python\"", "", "a string" },
        { "nothing", "", "a tool call should be" },
        { "{\"name\": \"python\"}", "python", "no \"arguments\"" },
        { "{\"name\": \"python\", \"parameters\": {\"code\": \"1\"}}", "python", "found \"parameters\"" },
        { "{\"name\": \"python\", \"arguments\": \"print(1)\"}", "python", "found a string" },
        { "{\"name\": \"python\", \"arguments\": \"{\\\"code\\\": 1}\"}", "python", "found a string" },
        { "{\"name\": \"python\", \"arguments\": []}", "python", "found an array" },
        { "{\"name\": \"python\", \"arguments\": null}", "python", "null" },
        { "{\"name\": \"python\", \"arguments\": 4}", "python", "a number" },
        { "{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}", "python", "a tool call should be" },
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        char text[200];
        snprintf(text, sizeof text, "<tool_call>\n%s\n</tool_call><|im_end|>", SHAPES[i][0]);
        expect_bad(d, text, SHAPES[i][1], SHAPES[i][2]);
    }
    expect_call(d, "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call><|im_end|>", "now", "{}");
    dialect_free(d);
}

static const char SEARCH_ONLY[] = "[{\"name\": \"search\", \"description\": \"finds\", \"parameters\": {\"type\": "
                                  "\"object\", \"properties\": {\"q\": {\"type\": \"string\"}, \"n\": {}}}}]";

/* Malformed or of a wrong shape: that the tool isn't there comes first, and which there are. Whoever mends the shape
 * alone loses another turn. A call that is well formed goes to the tools, which say the same. */
static void of_an_unknown_tool_that_it_is_unknown_is_said_first(void **state)
{
    (void)state;
    static const char *const CASES[][3] = {
        { "react", "Action: foo[1]\n", "foo" },
        { "react", "Action: foo\n", "foo" },
        { "react", "Action: foo(1)\n", "foo" },
        { "react", "Action: foo\nAction Input: 1\n", "foo" },
        { "react", "Action: foo[{\"a\": ]\n", "foo" },
        { "react", "Action: foo[[1]]\n", "foo" },
        { "react", "Action: foo{\"a\": }\n", "foo" },
        { "xml", "<foo>{\"a\": 1}</foo>", "foo" },
        { "xml", "<foo>not json</foo>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"foo\"}</tool_call><|im_end|>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"foo\", \"parameters\": {}}</tool_call><|im_end|>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"foo\", \"arguments\": \"1\"}</tool_call><|im_end|>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"foo\", \"arguments\": [1]}</tool_call><|im_end|>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"foo\", \"arguments\": {\"a\": }}</tool_call><|im_end|>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"foo\", \"arguments\": {}<|im_end|>", "foo" },
        { "qwen", "<tool_call>{\"name\": \"fo\\no\", \"arguments\": {}}</tool_call><|im_end|>", "fo?o" },
        { "llama3", "{\"name\": \"foo\", \"parameters\": \"1\"}<|eot_id|>", "foo" },
        { "llama3", "{\"name\": \"foo\", \"arguments\": [1]}<|eot_id|>", "foo" },
        { "llama3", "{\"name\": \"foo\", \"parameters\": {\"a\": <|eot_id|>", "foo" },
        { "llama3", "<function=foo>not json</function><|eot_id|>", "foo" },
        { "llama3", "<|python_tag|>foo.call(query=\"x\")<|eom_id|>", "foo" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char words[80];
        error err = { 0 };
        dialect *d = dialect_new(CASES[i][0], NULL, SEARCH_ONLY, &err);
        if (!d) fail_msg("%s", err.text);
        snprintf(words, sizeof words, "error: there is no tool named %s (there are: search)", CASES[i][2]);
        expect_bad(d, CASES[i][1], CASES[i][2], words);
        dialect_free(d);
    }
}

/* What only may be the tool's name is not called unknown; a tag that a recipe chose is named, and not its tool. */
static void no_more_than_is_known_is_said_of_a_name(void **state)
{
    (void)state;
    dialect *d = open_dialect("qwen", NULL);
    const char *const broken =
        "<tool_call>{\"arguments\": {\"name\": \"Ann\"}, \"name\": \"search\"</tool_call><|im_end|>";
    expect_bad(d, broken, "Ann", "error: a tool call should be");
    expect_bad(d, "<tool_call>{\"arguments\": {}}</tool_call><|im_end|>", "", "(there are: python, search)");
    dialect_free(d);
    d = open_dialect("xml", "{\"tags\": {\"python\": \"py\"}}");
    expect_bad(d, "<python>1</python>", "python", "error: there is no tool named python (there are: py, search)");
    dialect_free(d);
}

static void check_three(const dialect_result *r, const void *want)
{
    const wanted_call *w = want;
    assert_int_equal(r->n_calls, 3);
    for (int i = 0; i < 3; i++) check_call(&r->calls[i], &w[i]);
}

static void qwen_calls_several_at_once_and_strings_hold_what_they_hold(void **state)
{
    (void)state;
    dialect *d = open_dialect("qwen", NULL);
#define CALL_1 "<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}}\n</tool_call>"
#define CALL_2 "<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"'</tool_call>\\\"\"}}\n</tool_call>"
#define CALL_3 "<tool_call>{\"name\": }</tool_call>"
    expect_call(d, "I run it. " CALL_1 "<|im_end|>", "python", "{\"code\":\"1\"}");
    expect_call(d, CALL_2 "<|im_end|>", "python", "{\"code\":\"'</tool_call>\\\"\"}");
    const wanted_call three[] = { { "python", "{\"code\":\"1\"}", NULL },
                                  { "python", "{\"code\":\"'</tool_call>\\\"\"}", NULL },
                                  { "", "\"{\\\"name\\\": }\"", "a tool call should be" } };
    const char *const text = CALL_1 "\n" CALL_2 "\n" CALL_3 "\n<|im_end|>";
    expect_event(d, text, DIALECT_CALLS, CALL_1 "\n" CALL_2 "\n" CALL_3, check_three, three);
    /* What the policy makes up after its calls is none of its turn. */
    const wanted_call one = { "python", "{\"code\":\"1\"}", NULL };
    expect_event(d, CALL_1 "\n<tool_response>7</tool_response>", DIALECT_CALLS, CALL_1, check_one_call, &one);
    expect_more(d, CALL_1 "\n");
    expect_more(d, CALL_1 "\n<tool_");
    expect_bad(d, "<tool_call>{\"name\": \"python\", \"arg<|im_end|>", "python", "not closed");
    expect_bad(d, "<tool_call>{\"name\": \"python\\u0000x\", \"arguments\": {}}</tool_call><|im_end|>", "python?x",
               "control");
    expect_answer(d, "It is 4.<|im_end|>", "It is 4.");
    dialect_free(d);
}

static void a_thought_is_no_answer_and_calls_nothing(void **state)
{
    (void)state;
    dialect *d = open_dialect("qwen", NULL);
    expect_answer(d, "<think>\n" CALL_1 " or 5?\n</think>\n\nIt is 4.<|im_end|>", "It is 4.");
    expect_call(d, "<think>maybe</think>\n" CALL_1 "<|im_end|>", "python", "{\"code\":\"1\"}");
    expect_answer(d, "it was prefilled</think>\n\n4<|im_end|>", "4");
    expect_more(d, "<think>4 is the answer<|im_end|>");
    expect_more(d, "<think>" CALL_1 "<|im_end|>");
    dialect_free(d);
    d = open_dialect("qwen", "{\"reply\": \"<think>\\n\"}");
    char *text = whole_prompt(d, 0, NULL);
    assert_string_equal(text + strlen(text) - 30, "<|im_start|>assistant\n<think>\n");
    free(text);
    expect_answer(d, CALL_1 "? no.\n</think>\n\n4<|im_end|>", "4");
    dialect_free(d);
    d = open_dialect("qwen", "{\"reply\": \"<think>\\n\\n</think>\\n\\n\"}"); /* told not to think */
    expect_answer(d, "4<|im_end|>", "4");
    expect_call(d, CALL_1 "<|im_end|>", "python", "{\"code\":\"1\"}");
    dialect_free(d);
    d = open_dialect("xml", NULL);
    expect_answer(d, "<think><answer>5</answer><python>1</python></think><answer>4</answer>", "4");
    expect_more(d, "<think><answer>5</answer>");
    dialect_free(d);
}

static void llama3_calls_as_it_was_taught(void **state)
{
    (void)state;
    dialect *d = open_dialect("llama3", NULL);
    static const char ONE[] = "{\"code\":\"1\"}";
#define CALL "{\"name\": \"python\", \"parameters\": {\"code\": \"1\"}}"
    expect_call(d, CALL "<|eot_id|>", "python", ONE);
    expect_call(d, "<|python_tag|>" CALL "<|eom_id|>", "python", ONE);
    expect_call(d, "<|python_tag|>print(1)<|eom_id|>", "python", "{\"code\":\"print(1)\"}");
    expect_call(d, "<|python_tag|>search.call(q=\"cats\")<|eom_id|>", "search", "{\"q\":\"cats\"}");
    /* The tag left out: a call all the same, whatever it is called with. */
    expect_call(d, "python.call(code=\"print(\\\"a\\\")\")<|eot_id|>", "python", "{\"code\":\"print(\\\"a\\\")\"}");
    expect_call(d, "python.call(code='" CALL "')<|eot_id|>", "python",
                "{\"code\":\"{\\\"name\\\": \\\"python\\\", \\\"parameters\\\": {\\\"code\\\": \\\"1\\\"}}\"}");
    expect_answer(d, "abacus.call(code=\"1\")<|eot_id|>", "abacus.call(code=\"1\")");
    expect_answer(d, "I like python.call(code=\"1\")<|eot_id|>", "I like python.call(code=\"1\")");
    expect_call(d, "<|python_tag|>python.call(code=\"a\\d\\\\n\")<|eom_id|>", "python", "{\"code\":\"a\\\\d\\\\n\"}");
    expect_call(d, "```json\n" CALL "\n```<|eot_id|>", "python", ONE);
    expect_call(d, "Let me see: " CALL "<|eot_id|>", "python", ONE);
    expect_call(d, "<function=python>{\"code\": \"1\"}</function><|eom_id|>", "python", ONE);
    const wanted_call three[] = { { "python", ONE, NULL }, { "python", ONE, NULL }, { "python", ONE, NULL } };
    expect_event(d, CALL "; " CALL "; " CALL "<|eot_id|>", DIALECT_CALLS, NULL, check_three, three);
    expect_bad(d, "{\"name\": 3}<|eom_id|>", "", "parameters");
    expect_bad(d, "{\"name\": <|eot_id|>", "", "parameters");
    expect_bad(d, "{\"name\": \"python\", \"parameters\": \"1\"}<|eot_id|>", "python", "found a string");
    expect_bad(d, "{\"name\": \"python\"}<|eot_id|>", "python", "no \"parameters\"");
    expect_answer(d, "{\"name\": \"Ann\"}<|eot_id|>", "{\"name\": \"Ann\"}");
    expect_answer(d, " It is {4}.<|eot_id|>", "It is {4}.");
    expect_answer(d, "{\"parameters\": {\"a\": 1}}<|eot_id|>", "{\"parameters\": {\"a\": 1}}");
    expect_call(d, "A {\"brace and " CALL "<|eot_id|>", "python", ONE);
    const wanted_call functions[] = { { "python", ONE, NULL }, { "python", ONE, NULL }, { "python", ONE, NULL } };
    expect_event(d,
                 "<function=python>{\"code\": \"1\"}</function><function=python>{\"code\": \"1\"}</function>"
                 "<function=python>{\"code\": \"1\"}</function><|eot_id|>",
                 DIALECT_CALLS, NULL, check_three, functions);
    expect_more(d, "{\"name\": \"python\", \"parameters\": {}}");
    dialect_free(d);
}

/* tool.call(name=value, ...): every value that Python and JSON both know, in its own type. What can't be read is no
 * call with the rest of its arguments. */
static void llama3_reads_the_arguments_of_a_built_in_tool(void **state)
{
    (void)state;
    dialect *d = open_dialect("llama3", NULL);
#define BUILT_IN(tool, list) "<|python_tag|>" tool ".call(" list ")<|eom_id|>"
    expect_call(d, BUILT_IN("python", "code=\"print(\\\"a\\\")\""), "python", "{\"code\":\"print(\\\"a\\\")\"}");
    expect_call(d, BUILT_IN("python", "code='it\\'s \"a\"'"), "python", "{\"code\":\"it's \\\"a\\\"\"}");
    expect_call(d, BUILT_IN("search", "q=\"a, n=4)\", n=-3"), "search", "{\"n\":-3,\"q\":\"a, n=4)\"}");
    expect_call(d, BUILT_IN("search", " q = None , n=[1, {\"a\": true}], "), "search",
                "{\"n\":[1,{\"a\":true}],\"q\":null}");
    expect_call(d, BUILT_IN("search", ""), "search", "{}");
    static const char *const WRONG[] = { "\"cats\"", "q=cats", "q='cats", "q=\"a\" n=3", "q=f(\"a\")", "q=[1",
                                         "q=1 + 2",
                                         /* strings of Python's that aren't read, or that Python doesn't */
                                         "q=b\"a\"", "q=f\"a\"", "q=br'a'", "q=\"\"\"a\"\"\"", "q=\"a\" \"b\"",
                                         "q=\"\\N{BULLET}\"", "q=\"\\x4\"", "q=\"\\xg1\"", "q=\"\\u004\"",
                                         "q=\"\\U0011ffff\"", "q=\"\\ud83d\\ude00\"", "q=\"\xff\"", "q=r\"\\\"",
                                         /* JSON would read these otherwise */
                                         "q=[\"a\\/b\"]", "q=[\"\\ud83d\\ude00\"]", "q=['a']", "q=[\"\\x41\"]" };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        char text[100];
        snprintf(text, sizeof text, BUILT_IN("search", "%s"), WRONG[i]);
        expect_bad(d, text, "search", "search.call(name=value, ...)");
    }
    expect_bad(d, BUILT_IN("search", "q=1, q=2"), "search", "duplicate");
    /* as Python reads them, each by itself and among others */
    static const char *const READ[][2] = {
        { "\"\\x41\\u00e9\\U0001F600\\101\\60\"", "A\u00e9\U0001F600A0" },
        { "\"\\x41b\\1018\"", "AbA8" },
        { "r\"\\x41\\n\"", "\\\\x41\\\\n" },
        { "R'a\\'b'", "a\\\\'b" },
        { "u\"\\u0041\"", "A" },
        { "'\\/\\d\\#'", "\\\\/\\\\d\\\\#" },
        { "'a\\\nb'", "ab" },
        { "'\\t\\\\t\\\"\\''", "\\t\\\\t\\\"'" },
    };
    for (size_t i = 0; i < sizeof READ / sizeof *READ; i++) {
        char text[200], wanted[200];
        snprintf(text, sizeof text, BUILT_IN("search", "q=%s, n=3"), READ[i][0]);
        snprintf(wanted, sizeof wanted, "{\"n\":3,\"q\":\"%s\"}", READ[i][1]);
        expect_call(d, text, "search", wanted);
    }
    dialect_free(d);
}

/* What only a call can be, but is not one, is told so: as an answer it would end the episode. */
static void llama3_takes_no_broken_call_for_an_answer(void **state)
{
    (void)state;
    dialect *d = open_dialect("llama3", NULL);
    expect_bad(d, "{\"name\": \"python\", \"parameters\": {'code': 1}}<|eot_id|>", "python", "not JSON");
    expect_bad(d, "{\"name\": \"python\", \"parameters\": {}, \"parameters\": {}}<|eot_id|>", "python", "duplicate");
    expect_bad(d, "{\"name\": \"foo\", \"parameters\": {\"a\": 1,}}<|eot_id|>", "foo", "no tool named foo");
    /* As other models call; what is no tool's stays an answer. */
    expect_bad(d, "{\"function\": \"python\", \"parameters\": {\"code\": \"1\"}}<|eot_id|>", "python", "\"name\": ...");
    expect_bad(d,
               "Sure: {\"type\": \"function\", \"function\": {\"name\": \"python\", \"parameters\": {\"code\": "
               "\"1\"}}}<|eot_id|>",
               "python", "\"name\": ...");
    expect_bad(d, "python(code=\"print(')')\")<|eot_id|>", "python", "\"name\": ...");
    expect_bad(d, "[search(q='x'), python(code='1')]<|eom_id|>", "search", "\"name\": ...");
    expect_bad(d, "search()<|eot_id|>", "search", "\"name\": ...");
    expect_bad(d, "python(\"1\")<|eot_id|>", "python", "\"name\": ...");
    expect_answer(d, "{\"function\": \"sine\", \"of\": 3}<|eot_id|>", "{\"function\": \"sine\", \"of\": 3}");
    expect_answer(d, "{\"function\": [1]}<|eot_id|>", "{\"function\": [1]}");
    expect_answer(d, "python (the language)<|eot_id|>", "python (the language)");
    expect_answer(d, "python(the language)<|eot_id|>", "python(the language)");
    expect_answer(d, "sin(x=3)<|eot_id|>", "sin(x=3)");
    expect_bad(d, "<function=python>{\"code\": \"1\"}<|eot_id|>", "python", "not closed by </function>");
    expect_call(d, "<function=python>{\"code\": \"</function>\"}</function><|eot_id|>", "python",
                "{\"code\":\"</function>\"}");
    expect_answer(d, "{\"name\": \"Ann\", \"age\": 3,}<|eot_id|>", "{\"name\": \"Ann\", \"age\": 3,}");
    expect_answer(d, "<think>" CALL "?</think> <think>no</think>\n4<|eot_id|>", "4");
    expect_call(d, "<think>4?</think>" CALL "<|eot_id|>", "python", "{\"code\":\"1\"}");
    expect_more(d, "<think>" CALL "<|eot_id|>");
    expect_answer(d, "<think>a<|eom_id|>b<|eot_id|></think>4<|eot_id|>", "4"); /* a thought's mark hides no other */
    expect_answer(d, "<think>a<|eot_id|></think><think>b<|eot_id|></think>4<|eot_id|>", "4");
    expect_call(d, "{\"name\": \"python\", \"parameters\": {\"code\": \"<think>\"}}<|eot_id|>", "python",
                "{\"code\":\"<think>\"}");
    dialect_free(d);
}

static void react_reads_lines(void **state)
{
    (void)state;
    dialect *d = open_dialect("react", NULL);
    expect_call(d, "Thought: a[b]\nAction: python[print(x[0])]\n", "python", "{\"code\":\"print(x[0])\"}");
    expect_call(d, "Action: python[print(\"[\")]\n", "python", "{\"code\":\"print(\\\"[\\\")\"}");
    expect_call(d, "Action: python[what's up]\n", "python", "{\"code\":\"what's up\"}");
    expect_call(d, "Action: python[a = [1,\n  2]\nprint(a)]\n", "python", "{\"code\":\"a = [1,\\n  2]\\nprint(a)\"}");
    expect_call(d, "Action: search{\"q\": \"x\",\n \"n\": 3}\n", "search", "{\"n\":3,\"q\":\"x\"}");
    expect_call(d, "Action: python\nAction Input: 1 + 1\nObservation:", "python", "{\"code\":\"1 + 1\"}");
    expect_call(d, "Action: python\nAction Input:\n```python\na = 1\n\na\n```\n", "python",
                "{\"code\":\"a = 1\\n\\na\"}");
    expect_call(d, "Action: search\nAction Input: {\"q\": \"x\"}\n", "search", "{\"q\":\"x\"}");
    expect_bad(d, "Action: search[x]\n", "search", "tool[argument]");
    expect_bad(d, "Action: python[print(1)\nThought: hm\n", "python", "tool[argument]");
    expect_bad(d, "Action: python\nObservation: 4\nAnswer: 4\n", "python", "tool[argument]");
    expect_bad(d, "Action: python\nAnswer: 4\n", "python", "tool[argument]");
    const wanted_call cut = { "python", "{\"code\":\"1\"}", NULL };
    expect_event(d, "Action: python[1]\nObs", DIALECT_CALLS, "Action: python[1]\n", check_one_call, &cut);
    expect_answer(d, "Thought: so\nAnswer:  4 \n", "4");
    expect_answer(d, "Thought: so\nFinal Answer: 4\n", "4");
    expect_more(d, "Answer: 4");
    /* Indented, as an action may be; what an open action has in its lines is the action's. */
    expect_answer(d, "Thought: so\n  Answer: 4\n", "4");
    expect_answer(d, "\tFinal Answer:\n 4\n", "4");
    expect_bad(d, "Action: python\n Answer: 4\n", "python", "tool[argument]");
    expect_call(d, "Action: python[x = [\n Answer: 4\n]]\n", "python", "{\"code\":\"x = [\\n Answer: 4\\n]\"}");
    /* The value on a line of its own: the first that says something, unless the policy goes on to something else. */
    expect_answer(d, "Thought: so\nAnswer:\n4\n", "4");
    expect_answer(d, "Final Answer: \n\n \n 4 cm \n", "4 cm");
    expect_more(d, "Answer:\n4");
    const char *const nothing = "";
    expect_event(d, "Answer:\nAction: python[1]\n", DIALECT_ANSWER, "Answer:\n", check_answer, nothing);
    expect_event(d, "Answer:\nObservation: 5\n", DIALECT_ANSWER, "Answer:\n", check_answer, nothing);
    dialect_free(d);
}

/* The policy stops after its answer, or where one was to come; a line that begins something else is no part of it. */
static void react_answers_where_the_policy_stops(void **state)
{
    (void)state;
    static const struct {
        const char *text, *answer;
        size_t rest;
    } STOPS[] = {
        { "Answer: 5<eos>", "5", 0 },   { "Answer:<eos>", "", 0 },     { "Answer:\n<eos>", "", 0 },
        { "Answer:\n \n<eos>", "", 0 }, { "Answer:\n5<eos>", "5", 0 }, { "Answer:\nThought: x<eos>", "", 15 }
    };
    dialect *d = open_dialect("react", NULL);
    for (size_t i = 0; i < sizeof STOPS / sizeof *STOPS; i++) {
        error err = { 0 };
        dialect_result r = { 0 };
        dialect_parser *p = dialect_parser_new(d, &err);
        test_ok(dialect_feed(p, STOPS[i].text, strlen(STOPS[i].text), &r, &err), &err);
        assert_int_equal(r.event, DIALECT_MORE);
        test_ok(dialect_finish(p, strlen("<eos>"), &r, &err), &err);
        if (r.event != DIALECT_ANSWER) fail_msg("%s: event %d", STOPS[i].text, r.event);
        assert_string_equal(r.answer, STOPS[i].answer);
        assert_int_equal(r.rest, STOPS[i].rest);
        dialect_result_reset(&r);
        dialect_parser_free(p);
    }
    dialect_free(d);
}

static void refused(const char *name, const char *options, const char *tool, const char *words)
{
    char tools[200];
    error err = { 0 };
    snprintf(tools, sizeof tools, "[{\"name\": \"%s\", \"parameters\": {}}]", tool);
    assert_null(dialect_new(name, options, tools, &err));
    if (!strstr(err.text, words)) fail_msg("expected '%s' in: %s", words, err.text);
}

static void a_tool_is_not_named_as_a_word_of_the_dialect(void **state)
{
    (void)state;
    refused("qwen", "\"banana\"", "f", "its options are not an object");
    refused("xml", "5", "f", "its options are not an object");
    refused("xml", NULL, "answer", "'answer'");
    refused("xml", NULL, "result", "'result'");
    refused("xml", NULL, "think", "'think'");
    refused("xml", NULL, "x y<z>", "'x y<z>'");
    refused("xml", NULL, "a\", \"parameters\": {}}, {\"name\": \"a", "two tools are named 'a'");
    refused("xml", "{\"answer\": \"result\"}", "python", "same tag 'result'");
    refused("xml", "{\"tags\": {\"python\": \"answer\"}}", "python", "'answer'");
    refused("qwen", NULL, "tool_call", "'tool_call'");
    refused("react", NULL, "Thought", "'Thought'");
    refused("react", "{\"answer\": \"Action\"}", "python", "answer is 'Action'");
    refused("react", "{\"answer\": \"Observation\"}", "python", "answer is 'Observation'");
    refused("llama3", NULL, "a\\nb", "a name is");
}

static void llama3_ended_otherwise_has_answered(void **state)
{
    (void)state;
    error err = { 0 };
    char *answer;
    dialect *d = open_dialect("llama3", NULL);
    test_ok(dialect_answer(d, " It is 4. ", 10, &answer, &err), &err);
    assert_string_equal(answer, "It is 4.");
    free(answer);
    dialect_free(d);
}

/* A NUL ends a string in C: what stands after it must not be lost to whoever judges the answer. */
static void a_nul_hides_nothing(void **state)
{
    (void)state;
    static const char SAID[] = "<answer>42\0 or 43</answer>";
    error err = { 0 };
    char *answer;
    dialect *d = open_dialect("xml", NULL);
    test_ok(dialect_answer(d, SAID, sizeof SAID - 1, &answer, &err), &err);
    assert_string_equal(answer, "42\x1a or 43");
    free(answer);
    dialect_free(d);
}

static char *framed(dialect *d, size_t n)
{
    static const char *const NAMES[] = { "python", "python" };
    static const bool OKAY[] = { true, true };
    error err = { 0 };
    dialect_frame f;
    str text = { 0 };
    test_ok(dialect_observation(d, NAMES, OKAY, n, "written\n", &f, &err), &err);
    for (size_t i = 0; i <= n; i++) {
        str_add(&text, f.parts[i].data ? f.parts[i].data : "", f.parts[i].len);
        if (i < n) test_ok(dialect_payload(d, "a\"b", 3, &text, &err), &err);
    }
    dialect_frame_reset(&f);
    return str_take(&text);
}

static void results_stand_in_the_frame_that_models_know(void **state)
{
    (void)state;
    static const struct {
        const char *name, *one, *two;
    } WANT[] = {
        { "xml", "<result>a\"b</result>", "<result>a\"b</result><result>a\"b</result>" },
        { "react", "Observation: a\"b\n", "Observation: a\"b\nObservation: a\"b\n" },
        { "qwen",
          "<|im_end|>\n<|im_start|>user\n<tool_response>\na\"b\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
          "<|im_end|>\n<|im_start|>user\n<tool_response>\na\"b\n</tool_response>\n<tool_response>\na\"b\n"
          "</tool_response><|im_end|>\n<|im_start|>assistant\n" },
        { "llama3",
          "<|start_header_id|>ipython<|end_header_id|>\n\n\"a\\\"b\"<|eot_id|><|start_header_id|>assistant"
          "<|end_header_id|>\n\n",
          "<|start_header_id|>ipython<|end_header_id|>\n\n\"a\\\"b\"<|eot_id|><|start_header_id|>ipython"
          "<|end_header_id|>\n\n\"a\\\"b\"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
    };
    for (size_t i = 0; i < 4; i++) {
        dialect *d = open_dialect(WANT[i].name, NULL);
        char *one = framed(d, 1), *two = framed(d, 2);
        assert_string_equal(one, WANT[i].one);
        assert_string_equal(two, WANT[i].two);
        free(one);
        free(two);
        dialect_free(d);
    }
}

static void llama3_and_react_prompt_as_they_parse(void **state)
{
    (void)state;
    dialect *d = open_dialect("llama3", NULL);
    char *text = whole_prompt(d, 1, NULL);
    assert_true(strncmp(text, "<|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n",
                        strlen("<|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n")) == 0);
    assert_non_null(strstr(text, "{\"name\": \"python\", \"parameters\": {\"code\": \"print(1+1)\"}}<|eot_id|>"));
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
    char *dir = test_folder_new(), path[400];
    snprintf(path, sizeof path, "%s/mine.lua", dir);
    test_file_write(dir, "mine.lua",
                    "return { defaults = { mark = '!' },\n"
                    "  prompt = function(o, spec) return { { 'question', spec.row.prompt .. o.mark } } end,\n"
                    "  observation = function(o, calls) return { '[' .. calls[1].name .. ' ', ']' } end,\n"
                    "  parser = function() return function(chunk) if chunk:find('!') then return { answer = 'done' } "
                    "end end end }\n");
    dialect *d = open_dialect(path, "{\"mark\": \"?\"}");
    char *text = whole_prompt(d, 0, NULL);
    assert_string_equal(text, "2+2??");
    free(text);
    text = framed(d, 1);
    assert_string_equal(text, "[python a\"b]");
    free(text);
    expect_answer(d, "stop!", "done");
    dialect_free(d);
    test_folder_remove(dir);
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

/* What stands around an environment's words to a turn without a call. */
static void expect_reply(dialect *d, const char *before, const char *after, bool plain)
{
    error err = { 0 };
    dialect_frame f;
    test_ok(dialect_reply(d, "left", &f, &err), &err);
    assert_int_equal(f.n, 2);
    assert_string_equal(f.parts[0].data, before);
    assert_string_equal(f.parts[1].data, after);
    assert_int_equal(f.plain, plain);
    dialect_frame_reset(&f);
}

static void an_environment_speaks_as_the_user_does(void **state)
{
    (void)state;
    static const struct {
        const char *name, *options, *before, *after;
        bool plain;
    } WANT[] = {
        { "xml", NULL, "<result>", "</result>", true },
        { "xml", "{\"result\": \"out\"}", "<out>", "</out>", true },
        { "qwen", "{\"reply\": \"<think>\\n\"}", "<|im_end|>\n<|im_start|>user\n",
          "<|im_end|>\n<|im_start|>assistant\n<think>\n", true },
        { "llama3", NULL, "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
          "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", true },
        { "react", NULL, "\nObservation: ", "\n", false }, /* it has none: as one call's result */
    };
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        dialect *d = open_dialect(WANT[i].name, WANT[i].options);
        expect_reply(d, WANT[i].before, WANT[i].after, WANT[i].plain);
        dialect_free(d);
    }
}

static void a_reply_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const REPLIES[][2] = {
        { "{ 'one' }", "reply: expected a list of 2 texts" },
        { "{ 'a', 'b', 'c' }", "reply: expected a list of 2 texts" },
        { "'text'", "reply: expected a list of 2 texts" },
        { "{ {}, 'b' }", "string expected" },
    };
    char *dir = test_folder_new(), path[400];
    snprintf(path, sizeof path, "%s/mine.lua", dir);
    for (size_t i = 0; i < sizeof REPLIES / sizeof *REPLIES; i++) {
        char text[600];
        error err = { 0 };
        dialect_frame f;
        snprintf(text, sizeof text,
                 "return { prompt = function() return {} end, observation = function() return { '[', ']' } end,\n"
                 "  reply = function() return %s end, parser = function() return function() end end }\n",
                 REPLIES[i][0]);
        test_file_write(dir, "mine.lua", text);
        dialect *d = open_dialect(path, NULL);
        assert_int_equal(dialect_reply(d, "left", &f, &err), ERR_SCRIPT);
        if (!strstr(err.text, REPLIES[i][1])) fail_msg("'%s' does not say '%s'", err.text, REPLIES[i][1]);
        dialect_frame_reset(&f);
        dialect_free(d);
    }
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_environment_speaks_as_the_user_does),
        cmocka_unit_test(a_reply_that_is_none_is_refused),
        cmocka_unit_test(a_prompt_is_instruction_shots_question),
        cmocka_unit_test(options_change_the_words),
        cmocka_unit_test(qwen_speaks_chatml),
        cmocka_unit_test(xml_finds_calls_and_answers_however_they_are_cut),
        cmocka_unit_test(xml_closes_at_a_tag_with_white_space_behind_its_name),
        cmocka_unit_test(xml_tells_who_stops_in_a_tools_tag),
        cmocka_unit_test(a_call_that_cannot_be_made_says_why_and_keeps_its_words),
        cmocka_unit_test(of_an_unknown_tool_that_it_is_unknown_is_said_first),
        cmocka_unit_test(no_more_than_is_known_is_said_of_a_name),
        cmocka_unit_test(qwen_calls_several_at_once_and_strings_hold_what_they_hold),
        cmocka_unit_test(a_thought_is_no_answer_and_calls_nothing),
        cmocka_unit_test(llama3_calls_as_it_was_taught),
        cmocka_unit_test(llama3_reads_the_arguments_of_a_built_in_tool),
        cmocka_unit_test(llama3_takes_no_broken_call_for_an_answer),
        cmocka_unit_test(react_reads_lines),
        cmocka_unit_test(react_answers_where_the_policy_stops),
        cmocka_unit_test(a_tool_is_not_named_as_a_word_of_the_dialect),
        cmocka_unit_test(llama3_ended_otherwise_has_answered),
        cmocka_unit_test(a_nul_hides_nothing),
        cmocka_unit_test(results_stand_in_the_frame_that_models_know),
        cmocka_unit_test(llama3_and_react_prompt_as_they_parse),
        cmocka_unit_test(a_dialect_of_the_users_is_a_file),
        cmocka_unit_test(a_row_without_a_question_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
