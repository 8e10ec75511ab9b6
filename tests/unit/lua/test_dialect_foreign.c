/* SPDX-License-Identifier: MIT */
/* What a dialect makes of calls and answers that are written in another form than its own. */
#include "dialects.h"

/* What models write that were taught another form, or half of this one: {text, name, words that the policy reads}; a
 * call by such words would be a guess, and an answer would end the episode. */
typedef const char *const foreign_call[3];

static void expect_told(const char *dialect_name, foreign_call *calls, size_t n)
{
    dialect *d = open_dialect(dialect_name, NULL);
    for (size_t i = 0; i < n; i++) expect_bad(d, calls[i][0], calls[i][1], calls[i][2]);
    dialect_free(d);
}

static void xml_passes_over_no_tag_with_attributes(void **state)
{
    (void)state;
    static const char PYTHON[] = "a call of python is written as <python>code</python>, without attributes";
    static const char ANSWER[] = "the answer is written as <answer>...</answer>";
    foreign_call calls[] = {
        { "<python lang=\"py\">print(1)</python>", "python", PYTHON },
        { "<python lang=py>1</python>", "python", PYTHON },
        { "<python/>", "python", PYTHON },
        { "so <python /> so", "python", PYTHON },
        { "<python code=\"print(1 > 0)\"/>", "python", PYTHON },
        { "<python code=\"if a<b: 'x'\"/> x", "python", PYTHON },
        { "<python code='1'></python>", "python", PYTHON },
        { "<python lang=\"py>print('<answer>5</answer>')</python>", "python", PYTHON },
        { "<python interactive>1</python>", "python", PYTHON },
        { "<search q=\"x\" n='3'/>", "search", "<search>{\"n\": integer, \"q\": string}</search>" },
        { "<foo/>", "foo", "no tool named foo (there are: python, search)" },
        { "<tool name=\"python\">1</tool>", "tool", "no tool named tool" },
        { "<function=python>1</function>", "function", "no tool named function" },
        { "<answer value=\"4\"/>", "answer", ANSWER },
        { "<answer/>", "answer", ANSWER },
        { "<Answer>4</Answer>", "Answer", ANSWER },
    };
    expect_told("xml", calls, sizeof calls / sizeof *calls);
    dialect *d = open_dialect("xml", NULL);
    const wanted_call kept = { "python", "\"lang=\\\"py\\\">1\"", PYTHON };
    expect_event(d, "<python lang=\"py\">1</python> 2", DIALECT_CALLS, "<python lang=\"py\">1</python>", check_one_call,
                 &kept);
    expect_call(d, "<python\n>1</python>", "python", "{\"code\":\"1\"}");
    expect_answer(d, "<answer type=\"number\">4</answer>", "4");
    expect_answer(d, "<think effort=\"low\"><answer>5</answer></think><answer>4</answer>", "4");
    expect_answer(d, "<Think><python>1</python></Think><answer>4</answer>", "4");
    /* Prose, code and web pages. */
    static const char *const PROSE[] = {
        "a <python interpreter> or <python here",       "x <y and z> w",       "if a<b and c>d",
        "<br/> <img src=\"x > y\"/> <a href='u'>t</a>", "it <y's> or <y k='s", "vector<int> m; map<string, int> n",
    };
    for (size_t i = 0; i < sizeof PROSE / sizeof *PROSE; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s <answer>4</answer>", PROSE[i]);
        expect_answer(d, text, "4");
    }
    dialect_free(d);
}

static void qwen_takes_no_call_without_its_tags_for_an_answer(void **state)
{
    (void)state;
    static const char FORM[] = "a tool call should be <tool_call>{\"name\": ...";
#define BARE "{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}}"
    foreign_call calls[] = {
        { BARE "<|im_end|>", "python", FORM },
        { "Sure: " BARE "<|im_end|>", "python", FORM },
        { "```json\n" BARE "\n```<|im_end|>", "python", FORM },
        { "<tools>\n" BARE "\n</tools><|im_end|>", "python", FORM },
        { "<think>4</think>" BARE "<|im_end|>", "python", FORM },
        { "{\"name\": \"pyton\", \"arguments\": {}}<|im_end|>", "pyton", "no tool named pyton" },
        { "</tool_call>4<|im_end|>", "", "not opened by <tool_call>" },
        { BARE "\n</tool_call><|im_end|>", "python", "not opened by <tool_call>" },
        { "<tool_call name=\"python\">{\"code\": \"1\"}</tool_call><|im_end|>", "", "not opened by <tool_call>" },
        { "<function=python>\n<parameter=code>\n1\n</parameter>\n</function><|im_end|>", "python", FORM },
        { "\xe2\x9c\xbf"
          "FUNCTION\xe2\x9c\xbf: python\n1<|im_end|>",
          "python", FORM },
        { "[python(code=\"1\")]<|im_end|>", "python", FORM },
        { "Thought: so\nAction: python\nAction Input: 1<|im_end|>", "python", FORM },
        { "<tool_call>{'name': 'python', 'arguments': {}}</tool_call><|im_end|>", "python", "not JSON" },
        { "<tool_call><function=python></function></tool_call><|im_end|>", "python", "not JSON" },
    };
    expect_told("qwen", calls, sizeof calls / sizeof *calls);
    dialect *d = open_dialect("qwen", NULL);
    const wanted_call kept = { "python",
                               "\"{\\\"name\\\": \\\"python\\\", \\\"arguments\\\": "
                               "{\\\"code\\\": \\\"1\\\"}}\"",
                               FORM };
    expect_event(d, "So: " BARE "<|im_end|>", DIALECT_CALLS, "So: " BARE, check_one_call, &kept);
    expect_more(d, "<think>" BARE "<|im_end|>");
    expect_answer(d, "{\"name\": \"Ann\"}<|im_end|>", "{\"name\": \"Ann\"}");
    expect_answer(d, "{\"name\": \"Ann\", \"arguments\": 3}<|im_end|>", "{\"name\": \"Ann\", \"arguments\": 3}");
    expect_answer(d, "{\"action\": \"search\"}<|im_end|>", "{\"action\": \"search\"}");
    expect_answer(d, "{\"python\": 3}<|im_end|>", "{\"python\": 3}");
    expect_answer(d, "python (the language)<|im_end|>", "python (the language)");
    expect_answer(d, "functions.sin(x=1)<|im_end|>", "functions.sin(x=1)");
    expect_answer(d, "my.python(x=1)<|im_end|>", "my.python(x=1)");
    dialect_free(d);
}

/* Objects that call, by other keys than name and arguments. */
static void a_call_in_another_models_words_is_told_how_calls_are_written(void **state)
{
    (void)state;
    static const char *const CALLS[] = {
        "{\"function\": \"python\", \"arguments\": {\"code\": \"1\"}}",
        "{\"type\": \"function\", \"function\": {\"name\": \"python\", \"arguments\": \"{}\"}}",
        "{\"tool\": \"python\", \"args\": {\"code\": \"1\"}}",
        "{\"action\": \"python\", \"action_input\": \"1\"}",
        "{\"tool_calls\": [{\"function\": {\"name\": \"python\"}}]}",
        "{\"function_call\": {\"name\": \"python\", \"arguments\": \"{}\"}}",
        "{\"python\": {\"code\": \"1\"}}",
        "functions.python(code=\"1\")",
        "[tools.python(code=\"1\")]",
        "{\"recipient_name\": \"functions.python\", \"parameters\": {\"code\": \"1\"}}",
        "{'name': 'functions.python', 'arguments': {}}",
        "<function=functions.python{\"code\": \"1\"}</function>",
        "{'name': 'python', 'parameters': {'code': '1'}}",
        "{name: \"python\", arguments: {code: \"1\"}}",
        "<function=python{\"code\": \"1\"}</function>",
        "Action: python[1]",
    };
    dialect *qwen = open_dialect("qwen", NULL), *llama3 = open_dialect("llama3", NULL);
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s<|im_end|>", CALLS[i]);
        expect_bad(qwen, text, "python", "a tool call should be <tool_call>");
        snprintf(text, sizeof text, "%s<|eot_id|>", CALLS[i]);
        expect_bad(llama3, text, "python", "a tool call should be {");
    }
    dialect_free(qwen);
    dialect_free(llama3);
}

/* Where there are no tools, a call may be what was asked for. */
static void without_tools_a_call_is_an_answer(void **state)
{
    (void)state;
    static const char *const NAMES[][2] = { { "qwen", "<|im_end|>" }, { "llama3", "<|eot_id|>" } };
    static const char *const SAID[] = { "{\"name\": \"f\", \"parameters\": {}}", "{\"name\": \"f\", \"arguments\": {}}",
                                        "4</tool_call>", "[f(x=1)]" };
    for (size_t i = 0; i < 2; i++) {
        error err = { 0 };
        dialect *d = dialect_new(NAMES[i][0], NULL, "[]", &err);
        for (size_t k = 0; k < sizeof SAID / sizeof *SAID; k++) {
            char text[100];
            snprintf(text, sizeof text, "%s%s", SAID[k], NAMES[i][1]);
            expect_answer(d, text, SAID[k]);
        }
        dialect_free(d);
    }
}

static void react_reads_its_words_as_models_write_them(void **state)
{
    (void)state;
    static const char ONE[] = "{\"code\":\"1\"}";
    static const char *const ANSWERS[] = {
        "**Answer:** 4\n",
        "**Answer**: 4\n",
        "**Answer: 4**\n",
        "answer: 4\n",
        "ANSWER: 4\n",
        "FINAL ANSWER: 4\n",
        "Final answer: 4\n",
        "Answer : 4\n",
        "> Answer: 4\n",
        "### Final Answer: 4\n",
        "Answer\xef\xbc\x9a"
        "4\n",
        "_Answer:_ 4\n",
    };
    static const char *const CALLS[] = {
        "ACTION: python[1]\n",
        "action: python[1]\n",
        "Thought 1: so\nAction 1: python[1]\nObservation 1: ",
        "**Action:** python[1]\n",
        "**Action: python[1]**\n",
        "Action:\npython[1]\n",
        "Action 1: python\nAction Input 1: 1\nObservation 1:",
        "ACTION: python\nAction input: 1\n\n",
        "Action: python\n**Action Input:** 1\n**Observation:**",
    };
    dialect *d = open_dialect("react", NULL);
    for (size_t i = 0; i < sizeof ANSWERS / sizeof *ANSWERS; i++) expect_answer(d, ANSWERS[i], "4");
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) expect_call(d, CALLS[i], "python", ONE);
    expect_answer(d, "Answer: **4**\n", "**4**");
    expect_more(d, "Answer 1: 4\nAnswer 2: 5\n- Answer: 6\nThe answer: 7\n");
    /* In an open action they are code, but as we write them. */
    expect_call(d, "Action: python[x = 1\nanswer: int = 4\n# Thought: x\n]\n", "python",
                "{\"code\":\"x = 1\\nanswer: int = 4\\n# Thought: x\\n\"}");
    expect_bad(d, "Action: python[1\nObservation 1:", "python", "tool[argument]");
    /* Calls that are no action. */
    expect_bad(d, "Thought: so. Action: python[1]\n", "python", "a line that begins with \"Action:\"");
    expect_bad(d, "python[1]\n", "python", "a line that begins with \"Action:\"");
    expect_bad(d, "{\"action\": \"python\", \"action_input\": \"1\"}\n", "python", "tool[argument]");
    expect_bad(d, "Action: Finish[4]\n", "Finish", "the answer is written as \"Answer: ...\"");
    expect_more(d, "Thought: I could use python[1] or search it\nThought: Action matters[1]\n");
    dialect_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xml_passes_over_no_tag_with_attributes),
        cmocka_unit_test(qwen_takes_no_call_without_its_tags_for_an_answer),
        cmocka_unit_test(a_call_in_another_models_words_is_told_how_calls_are_written),
        cmocka_unit_test(without_tools_a_call_is_an_answer),
        cmocka_unit_test(react_reads_its_words_as_models_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
