/* SPDX-License-Identifier: MIT */
/* Where a dialect ends: turns too long to be read twice, files that users write, and what is said when one is wrong. */
#include "dialects.h"

#include "base/clock.h"

/* Turn after turn of `text` in pieces of `piece` bytes; the CPU time it took: a busy machine fails no test. */
static int64_t time_to_read(dialect *d, const str *text, size_t piece)
{
    error err = { 0 };
    const int64_t began_ms = clock_cpu_us() / 1000;
    for (size_t at = 0; at < text->len;) {
        dialect_result r = { 0 };
        dialect_parser *p = dialect_parser_new(d, &err);
        while (at < text->len && r.event == DIALECT_MORE) {
            const size_t n = at + piece < text->len ? piece : text->len - at;
            test_ok(dialect_feed(p, text->data + at, n, &r, &err), &err);
            at += n;
        }
        if (r.event == DIALECT_MORE) test_ok(dialect_finish(p, 0, &r, &err), &err);
        if (piece >= text->len) at -= r.rest; /* in one piece: what is beyond the close is another turn */
        dialect_result_reset(&r);
        dialect_parser_free(p);
    }
    return clock_cpu_us() / 1000 - began_ms;
}

/* What makes a dialect work: a head, as much of the fill as fits, a tail. */
static const struct {
    const char *head, *fill, *tail;
} TURNS[] = {
    { "Answer: x", "<a", "" },
    { "Answer: x", " ", "y\n<|im_end|><|eot_id|>" },
    { "x", "\n", "y<|im_end|><|eot_id|>" },
    { "x", "<think></think>", "<|im_end|><|eot_id|>" },
    { "x", "<tool_call>", "<|im_end|><|eot_id|>" },
    { "x", "<tool_call>{}</tool_call>", "<|im_end|><|eot_id|>" },
    { "x", "<tool_call>\"</tool_call>", "<|im_end|><|eot_id|>" },
    { "<tool_call>", "</tool_call", "<|im_end|>" },
    { "<tool_call>\"", "\\\"</tool_call>", "<|im_end|>" },
    { "<tool_call>{\"name\": \"python\", \"arguments\": ", "[", "</tool_call><|im_end|>" },
    { "<tool_call>{\"name\": \"python\", \"arguments\": ", "{\"a\":", "</tool_call><|im_end|>" },
    { "<tool_call>", "{\"name\": \"", "</tool_call><|im_end|>" },
    { "<tool_call></tool_call>", "\n ", "x" },
    { "", "{\"a\": 1} ", "<|eot_id|>" },
    { "", "{ \"a\": ", "<|eot_id|>" },
    { "", "{\"name\": \"python\", \"parameters\": {}}", "<|eot_id|>" },
    { "", "{   ", "<|eot_id|>" },
    { "", "<function=python>", "<|eot_id|>" },
    { "", "<function=python>{}</function>", "<|eot_id|>" },
    { "", "<function=python></function", "<|eot_id|>" },
    { "<|python_tag|>python.call(", "a", ")<|eom_id|>" },
    { "<|python_tag|>python.call(", "a=\"", ")<|eom_id|>" },
    { "<|python_tag|>python.call(", "a ", ")<|eom_id|>" },
    { "<|python_tag|>python.call(", "a=1, ", ")<|eom_id|>" },
    { "<|python_tag|>python.call(", "a=[", ")<|eom_id|>" },
    { "<|python_tag|>python.call(a=\"", "\\\"", "\")<|eom_id|>" },
    { "", "<function=python>{", "</function><|eot_id|>" },
    { "", "<function=python>{}", "<|eot_id|>" },
    { "", "{\"name\": \"python\", 'a'}", "<|eot_id|>" },
    { "{", "<think></think>", "<|eot_id|>" },
    { "<|python_tag|>```", "\n``` ", "x<|eom_id|>" },
    { "<|python_tag|>", "<|python_tag|>", "<|eom_id|>" },
    { "<python>```\n", " ", "x</python>" },
    { "<python>```\n", "```  ", "x</python>" },
    { "<python>", "</python", ">" },
    { "<python>", "</python ", ">" },
    { "<python>", "</python                                      ", "></python>" },
    { "<python></python", " ", ">" },
    { "<yy>", "</yy ", "a>" },
    { "<python>", "<python>", "</python>" },
    { "<search>", "[", "</search>" },
    { "", "<aa></bb>", "" },
    { "", "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "" },
    { "Action: python[", "[", "\nThought: x\n" },
    { "Action: python[", "\"", "]\n" },
    { "Action: python[", "'\"", "\n" },
    { "Action: python[", "x\n", "]\n" },
    { "Action: python[", "x]y\n", "" },
    { "Action: search{", "\"a\": {\n", "" },
    { "Action: python\nAction Input: ", "```\n", "" },
    { "Action: python\nAction Input: ```", "\n` ``", "" },
    { "Action: ", "Action: ", "\n" },
    { "", "Action: python\n", "" },
    { "", "Observation:", "\n" },
    { "", "<python a=\"", "</python>" },
    { "<python a=\"", "</python", ">" },
    { "<python a=\"", "</python ", ">" },
    { "<python a=", "'\"", "</python>" },
    { "", "<python ", "</python>" },
    { "", "<y a='", "</y>" },
    { "", "<y a=<y ", "</y>" },
    { "", "<y  ", "</y>" },
    { "", "<y z>", "" },
    { "", "</tool_call>", "<|im_end|>" },
    { "", "{'name': '", "<|im_end|><|eot_id|>" },
    { "", "{    'a", "<|im_end|><|eot_id|>" },
    { "", "{\"tool\": {\"a\": 1}} ", "<|im_end|><|eot_id|>" },
    { "", "<think><|eot_id|></think>", "<|eot_id|>" },
    { "<think>", "<|eot_id|>", "</think>4<|eot_id|>" },
    { "[python(", "a", ")]<|im_end|><|eot_id|>" },
    { "", "<function=python", "<|im_end|><|eot_id|>" },
    { "", "\nAction:    ", "<|im_end|><|eot_id|>" },
    { "Action:", "\n", "x" },
    { "", "**Answer", ": 4\n" },
    { "Action: python[", "**Thought *:\n", "]\n" },
    { "x ", "Action: python", "[1]\n" },
    { "python", "[", "]\n" },
};

/* Nearly the largest response that is scored; a sanitizer's CPU time is several times as much. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { LONGEST = 1 << 20, SLOWER = 4 };
#else
enum { LONGEST = 12 << 20, SLOWER = 1 };
#endif

/* A turn costs its length, not its square, whether it comes token by token or in one piece, as it does to score a file:
 * what a policy repeats until it has no more tokens must not hold up its actor. */
static void a_long_turn_is_read_in_linear_time(void **state)
{
    (void)state;
    enum { N = 50000, MAX_MS = SLOWER * 1000 };
    static const char *const NAMES[] = { "xml", "qwen", "llama3", "react" };
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < sizeof TURNS / sizeof *TURNS; k++) {
            str text = { 0 };
            dialect *d = open_dialect(NAMES[i], NULL);
            str_puts(&text, TURNS[k].head);
            while (text.len < N) str_puts(&text, TURNS[k].fill);
            str_puts(&text, TURNS[k].tail);
            const int64_t pieces_ms = time_to_read(d, &text, 3), whole_ms = time_to_read(d, &text, text.len);
            if (pieces_ms > MAX_MS || whole_ms > MAX_MS)
                fail_msg("%s: '%s' and %d bytes of '%s' take %jd ms in pieces, %jd ms whole", NAMES[i], TURNS[k].head,
                         N, TURNS[k].fill, (intmax_t)pieces_ms, (intmax_t)whole_ms);
            str_free(&text);
            dialect_free(d);
        }
}

/* The largest response that is scored, full of what makes the dialect work: it has no answer, which is no error. */
static void no_turn_is_too_long_for_the_caps(void **state)
{
    (void)state;
    error err = { 0 };
    char *answer;
    str text = { 0 };
    dialect *d = open_dialect("xml", NULL);
    while (text.len < LONGEST) str_puts(&text, "<think></think>");
    test_ok(dialect_answer(d, text.data, text.len, &answer, &err), &err);
    assert_null(answer);
    str_free(&text);
    dialect_free(d);
}

/* A file with this parser and this observation. */
static dialect *written_dialect(const char *dir, const char *parser, const char *observation, error *err)
{
    char path[400], text[1000];
    snprintf(path, sizeof path, "%s/mine.lua", dir);
    snprintf(text, sizeof text,
             "return { prompt = function(o, spec) return { { 'question', 'q' } } end,\n"
             "observation = function(o, calls, written) %s end,\nparser = function(o, tools) %s end }\n",
             observation, parser);
    test_file_write(dir, "mine.lua", text);
    return dialect_new(path, NULL, TOOLS, err);
}

static const char FRAME[] = "return { '[', ']' }";

/* What a dialect would fail with in every episode is said before the first. */
static void what_every_turn_would_fail_with_is_said_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *parser, *observation, *words;
    } WRONG[] = {
        { "return nil", FRAME, "parser returned a nil" },
        { "return 5", FRAME, "parser returned a number" },
        { "return print, 5", FRAME, "parser returned a number" },
        { "return print, nil, {}", FRAME, "parser returned a table" },
        { "error('boom')", FRAME, "mine.lua:3: boom" },
        { "while true do end", FRAME, "mine.lua:3: stopped after" },
        { "return print", "return 'x'", "expected a list of 2 texts" },
        { "return print", "return { '[' }", "expected a list of 2 texts" },
        { "return print", "return { '[', {} }", "string expected" },
        { "return print", "while true do end", "mine.lua:2: stopped after" },
    };
    char *dir = test_folder_new();
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        error err = { 0 };
        assert_null(written_dialect(dir, WRONG[i].parser, WRONG[i].observation, &err));
        if (!strstr(err.text, WRONG[i].words)) fail_msg("expected '%s' in: %s", WRONG[i].words, err.text);
    }
    test_folder_remove(dir);
}

/* Whatever a dialect gives for a turn: an error that says what, or a call that can't be made; no crash, no {}. */
static void what_is_wrong_with_a_turn_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *feed, *words; /* of the error, or of what the policy reads */
    } WRONG[] = {
        { "return 7", "returned a number" },
        { "return 'x'", "returned a string" },
        { "return {}", "without calls or answer" },
        { "return { calls = {} }", "an empty list of calls" },
        { "return { calls = setmetatable({}, { __len = function() return 1 << 40 end }) }", "an empty list of calls" },
        { "return { calls = { 'python' } }", "returned a string as a call" },
        { "return { calls = { { arguments = {} } } }", "a call without a name" },
        { "return { answer = 'x', rest = 4 }", "a rest of 4 bytes, but was fed only 3" },
        { "return { answer = 'x', rest = -1 }", "a rest of -1 bytes, but was fed only 3" },
        { "return { answer = 'x', rest = 0/0 }", "a rest that is not a whole number" },
        { "return { answer = 'x', rest = {} }", "a rest that is not a whole number" },
        { "error({})", "" },
        { "while true do end", "stopped after" },
        { "return coroutine.yield()", "outside a coroutine" },
        { "local t = {} t.t = t return { calls = { { name = 'python', arguments = t } } }", "not valid text" },
        { "return { calls = { { name = 'python', arguments = { code = print } } } }", "not valid text" },
        { "return { calls = { { name = 'python', arguments = '[]' } } }", "not valid text" },
        { "return { calls = { { name = 'python', arguments = { 1, 2 } } } }", "not valid text" },
        { "return { calls = { { name = 'python' } } }", "not valid text" },
        { "return { calls = { { name = 'python\\0x', arguments = {} } } }", "no control characters" },
    };
    char *dir = test_folder_new();
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        char parser[400];
        error err = { 0 };
        dialect_result r;
        snprintf(parser, sizeof parser, "return function(chunk) %s end", WRONG[i].feed);
        dialect *d = written_dialect(dir, parser, FRAME, &err);
        dialect_parser *p = d ? dialect_parser_new(d, &err) : NULL;
        if (!p) fail_msg("%s", err.text);
        const bool failed = dialect_feed(p, "abc", 3, &r, &err) != OK;
        const char *said = failed ? err.text : r.n_calls == 1 && r.calls[0].bad ? r.calls[0].bad : "nothing";
        if (!strstr(said, WRONG[i].words)) fail_msg("%s: expected '%s' in: %s", parser, WRONG[i].words, said);
        dialect_result_reset(&r);
        dialect_parser_free(p);
        dialect_free(d);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_turn_is_read_in_linear_time),
        cmocka_unit_test(no_turn_is_too_long_for_the_caps),
        cmocka_unit_test(what_every_turn_would_fail_with_is_said_at_once),
        cmocka_unit_test(what_is_wrong_with_a_turn_is_said),
        cmocka_unit_test(what_is_wrong_with_a_dialect_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
