/* SPDX-License-Identifier: MIT */
/* Turns that no policy would write on purpose: words of the dialects, halves of them, brackets, quotes, control tokens
 * and broken bytes in random order, over real tokenizers, with tools that answer in the same words. Whatever they are:
 * the ids say what the transcript says, the loss mask is on the policy's tokens alone, no control token comes from a
 * tool, and a parser finds the same however the text is cut. */
#include "tests/unit/actor/scripted.h"

enum { MAX_WORDS = 40, EPISODES = 60, TURNS = 1500 };

static const char *const WORDS[] = {
    "<python>",
    "</python>",
    "</python",
    "</answer >",
    "<answer>",
    "</answer>",
    "<think>",
    "</think>",
    "<result>",
    "</result>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "<function=python>",
    "</function>",
    "<|python_tag|>",
    "<|im_end|>",
    "<|im_start|>assistant\n",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|endoftext|>",
    "{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}}",
    "{\"name\": \"python\", \"parameters\": {\"code\": ",
    "{\"name\": \"python\", \"arguments\": \"x\"}",
    "{\"name\": \"nobody\", \"arguments\": {}}",
    "\"name\"",
    "{\"",
    "python.call(code=\"1\")",
    "Action: python[",
    "Action: python",
    "\nAction Input: ",
    "\nThought: ",
    "Observation: ",
    "Answer: ",
    "Final Answer: ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\",
    "\\\"",
    "'",
    "`",
    "```",
    "```python\n",
    "\n",
    "\n\n",
    " ",
    "   ",
    "\t",
    "<",
    ">",
    "><",
    "</",
    "42",
    "x",
    ":",
    ",",
    "\xc3\xa9",
    "\xe6\x97\xa5",
    "\xf0\x9f\x99\x82",
    "\xff",
    "\xe6\x97",
    "\xc0\x80",
    "error: ",
    "...[truncated]",
};
enum { N_WORDS = sizeof WORDS / sizeof *WORDS };

static const char *const DIALECTS[] = { "xml", "qwen", "llama3", "react" };

/* As they are played: by themselves, and through the model's own chat template. */
static const struct {
    const char *dialect, *template;
} WAYS[] = {
    { "xml", NULL },
    { "qwen", NULL },
    { "llama3", NULL },
    { "react", NULL },
    { "xml", TEMPLATE_OF_CALLS },
    { "xml", TEMPLATE_OF_TURNS },
    { "xml", TEMPLATE_OF_THOUGHTS },
    { "qwen", TEMPLATE_OF_CALLS },
};
enum { N_WAYS = sizeof WAYS / sizeof *WAYS };

static void write_words(test_random *rnd, str *out)
{
    str_clear(out);
    for (uint64_t n = 1 + test_random_below(rnd, MAX_WORDS); n > 0; n--)
        str_puts(out, WORDS[test_random_below(rnd, N_WORDS)]);
}

/* ---- a parser by itself ---- */

/* The first event of `text` in pieces of 1 to `max` bytes, and after which byte the turn is closed. */
static dialect_result first_event(dialect *d, const str *text, test_random *rnd, size_t max, size_t *closed)
{
    error err = { 0 };
    dialect_result r = { 0 };
    size_t fed = 0;
    dialect_parser *p = dialect_parser_new(d, &err);
    if (!p) fail_msg("%s", err.text);
    while (fed < text->len && r.event == DIALECT_MORE) {
        const size_t left = text->len - fed, wish = 1 + test_random_below(rnd, max), n = wish < left ? wish : left;
        test_ok(dialect_feed(p, text->data + fed, n, &r, &err), &err);
        fed += n;
    }
    const bool open = r.event == DIALECT_MORE;
    if (open) test_ok(dialect_finish(p, 0, &r, &err), &err);
    *closed = open && r.event == DIALECT_MORE ? 0 : fed - r.rest;
    dialect_parser_free(p);
    return r;
}

static bool same_text(const char *a, const char *b) { return (!a && !b) || (a && b && strcmp(a, b) == 0); }

static bool same_result(const dialect_result *a, const dialect_result *b)
{
    bool same = a->event == b->event && a->n_calls == b->n_calls && same_text(a->answer, b->answer);
    for (size_t i = 0; same && i < a->n_calls; i++)
        same = same_text(a->calls[i].name, b->calls[i].name) &&
               same_text(a->calls[i].arguments, b->calls[i].arguments) && same_text(a->calls[i].bad, b->calls[i].bad);
    return same;
}

static void a_turn_is_read_alike_however_it_is_cut(void **state)
{
    (void)state;
    static const char TOOLS[] = "[{\"name\": \"python\", \"parameters\": {\"properties\": {\"code\": {\"type\": "
                                "\"string\"}}}}, {\"name\": \"search\", \"parameters\": {}}]";
    str text = { 0 };
    for (size_t i = 0; i < 4; i++) {
        error err = { 0 };
        dialect *d = dialect_new(DIALECTS[i], NULL, TOOLS, &err);
        if (!d) fail_msg("%s", err.text);
        for (uint64_t seed = 1; seed <= TURNS; seed++) {
            test_random rnd = test_random_seed(seed);
            size_t closed, closed_cut;
            write_words(&rnd, &text);
            dialect_result whole = first_event(d, &text, &rnd, 1, &closed);
            for (size_t max = 2; max <= 2048; max *= 8) {
                dialect_result cut = first_event(d, &text, &rnd, max, &closed_cut);
                if (!same_result(&whole, &cut) || closed != closed_cut)
                    fail_msg("%s, seed %ju, pieces of up to %zu: closed at %zu and %zu: %s", DIALECTS[i],
                             (uintmax_t)seed, max, closed, closed_cut, text.data);
                dialect_result_reset(&cut);
            }
            dialect_result_reset(&whole);
        }
        dialect_free(d);
    }
    str_free(&text);
}

/* ---- whole episodes ---- */

/* What the ids after the prompt say; the bytes of NULs as they are written. */
static void decode(const tokenizer *t, const episode *e, str *out)
{
    str_clear(out);
    tokenizer_decode(t, e->tokens.ids + e->tokens.n_prompt, e->tokens.n - e->tokens.n_prompt, true, out);
    for (size_t i = 0; i < out->len; i++)
        if (!out->data[i]) out->data[i] = NUL_WRITTEN;
}

static size_t controls_of(const tokenizer *t, const int32_t *ids, size_t n)
{
    size_t controls = 0;
    for (size_t i = 0; i < n; i++) controls += tokenizer_is_special(t, ids[i]);
    return controls;
}

/* At most the control tokens of the frames: what tools say has none. */
static size_t max_controls(scripted *p, const episode *e)
{
    token_ids ids = { 0 };
    error err = { 0 };
    size_t n = 0;
    for (uint32_t i = 0; i < e->n_calls; i++) {
        const char *names[] = { e->calls[i].name };
        dialect_frame f;
        test_ok(dialect_observation(p->dialect, names, &e->calls[i].ok, 1, "", &f, &err), &err);
        ids.len = 0;
        for (size_t k = 0; k < f.n; k++)
            test_ok(tokenizer_encode_on(p->tokenizer, f.parts[k].data, f.parts[k].len, true, &ids, &err), &err);
        n += controls_of(p->tokenizer, ids.data, ids.len);
        dialect_frame_reset(&f);
    }
    vec_free(&ids);
    return n;
}

static void check_tokens(scripted *p, const episode *e)
{
    size_t controls = 0;
    for (uint32_t k = 0; k < e->tokens.n; k++) {
        const bool policy = e->tokens.role[k] == TOKEN_POLICY;
        assert_int_equal(e->tokens.mask[k], policy);
        assert_true(policy ? e->tokens.logprob[k] < 0 : e->tokens.logprob[k] == 0); /* the engine gives -0.5 to each */
        if (e->tokens.role[k] == TOKEN_OBSERVATION) controls += controls_of(p->tokenizer, e->tokens.ids + k, 1);
    }
    assert_true(controls <= max_controls(p, e));
    assert_true(e->tokens.n <= (p->room ? p->room : 100000));
    if (p->max_tokens) assert_true(trajectory_sampled(&e->tokens) <= p->max_tokens);
}

/* exact: the vocabulary has all bytes, so that nothing is dropped of what is spliced in. */
static void run_words(const tokenizer *t, size_t way, uint64_t seed, bool exact)
{
    const char *dialect_name = WAYS[way].dialect;
    test_random rnd = test_random_seed(seed);
    str words = { 0 }, said = { 0 }, decoded = { 0 };
    token_ids ids = { 0 };
    write_words(&rnd, &words);
    write_words(&rnd, &said);
    add_ids(t, words.data, &ids);
    scripted p = open_scripted(t, dialect_name, said.data);
    p.template = WAYS[way].template;
    p.max_turns = 1 + (int)test_random_below(&rnd, 4);
    p.max_observation = 1 + (int)test_random_below(&rnd, 40);
    if (test_random_below(&rnd, 3) == 0) p.max_tokens = 1 + test_random_below(&rnd, ids.len);
    open_parts(&p);
    episode *e = run_ids(&p, &ids);
    if (test_random_below(&rnd, 2) == 0) { /* again, where there is not room for all of it */
        p.room = e->tokens.n_prompt + 1 + test_random_below(&rnd, e->tokens.n - e->tokens.n_prompt + 2);
        episode_free(e);
        e = run_ids(&p, &ids);
    }
    check_tokens(&p, e);
    decode(t, e, &decoded);
    if (exact && strcmp(decoded.data ? decoded.data : "", e->transcript) != 0)
        fail_msg("way %zu, %s, seed %ju: the ids say %s, the transcript %s", way, dialect_name, (uintmax_t)seed,
                 decoded.data, e->transcript);
    episode_free(e);
    close_scripted(&p);
    vec_free(&ids);
    str_free(&words);
    str_free(&said);
    str_free(&decoded);
}

static void the_ids_say_what_the_transcript_says(void **state)
{
    (void)state;
    for (int i = 0; i < N_TOKENIZERS; i++) {
        const char *name;
        tokenizer *t = open_tokenizer(i, &name);
        for (size_t way = 0; t && way < N_WAYS; way++)
            for (uint64_t seed = 1; seed <= (WAYS[way].template ? EPISODES / 10 : EPISODES); seed++)
                run_words(t, way, seed, i >= 3);
        tokenizer_free(t);
    }
}

/* ---- what the last words are ---- */

static episode *run_text(scripted *p, const tokenizer *t, const char *text)
{
    token_ids ids = { 0 };
    add_ids(t, text, &ids);
    episode *e = run_ids(p, &ids);
    vec_free(&ids);
    return e;
}

/* A call that was closed is made, though it was closed by the last token that the policy had. */
static void a_call_closed_by_the_last_token_is_made(void **state)
{
    (void)state;
    static const char *const CALLS[] = { "<python>1+1</python>",
                                         "<tool_call>{\"name\": \"python\", \"arguments\": {\"code\": "
                                         "\"1+1\"}}</tool_call>",
                                         "{\"name\": \"python\", \"parameters\": {\"code\": \"1+1\"}}<|eot_id|>",
                                         "Action: python[1+1]\n" };
    tokenizer *t = small_tokenizer(false);
    for (size_t i = 0; i < 4; i++) {
        scripted p = open_scripted(t, DIALECTS[i], "2");
        episode *e = run_text(&p, t, CALLS[i]); /* max_tokens: its length */
        assert_int_equal(e->n_calls, 1);
        assert_string_equal(p.parrot.asked.data, "{\"code\":\"1+1\"}\n");
        assert_int_equal(e->stop, STOP_LENGTH);
        assert_string_equal(e->turns[0].text, CALLS[i]);
        assert_null(e->answer);
        episode_free(e);
        close_scripted(&p);
    }
    scripted p = open_scripted(t, "qwen", "2"); /* the second call is not closed: it is neither made nor an answer */
    episode *e = run_text(&p, t,
                          "<tool_call>{\"name\": \"python\", \"arguments\": {\"code\": \"1\"}}</tool_call>\n"
                          "<tool_call>{\"name\": \"python\", \"arguments\": {\"code\": \"2");
    assert_string_equal(p.parrot.asked.data, "{\"code\":\"1\"}\n");
    assert_null(e->answer);
    episode_free(e);
    close_scripted(&p);
    p = open_scripted(t, "react", "2");
    e = run_text(&p, t, "Action: python[1+1]"); /* "[1+1][0]" may have been meant */
    assert_int_equal(e->n_calls, 0);
    assert_null(e->answer);
    episode_free(e);
    close_scripted(&p);
    tokenizer_free(t);
}

/* A chat model ends its message after its action: that is a call, and the observation stands on a line of its own. */
static void an_action_that_the_policy_stops_behind_is_a_call(void **state)
{
    (void)state;
    static const struct {
        const char *said, *asked, *transcript;
    } WANT[] = {
        { "Action: python[1+1]<|endoftext|>", "{\"code\":\"1+1\"}\n",
          "Action: python[1+1]<|endoftext|>\nObservation: 2\nAnswer: 2\n" },
        { "Action: python\nAction Input: 1+1<|endoftext|>", "{\"code\":\"1+1\"}\n",
          "Action: python\nAction Input: 1+1<|endoftext|>\nObservation: 2\nAnswer: 2\n" },
        { "Action: python[1\n+1]<|endoftext|>", "{\"code\":\"1\\n+1\"}\n",
          "Action: python[1\n+1]<|endoftext|>\nObservation: 2\nAnswer: 2\n" },
        { "Action: python[1\n+<|endoftext|>", NULL,
          "Action: python[1\n+<|endoftext|>\nObservation: error: an action is written as tool[argument] or "
          "tool{\"name\": value}\nAnswer: 2\n" },
    };
    tokenizer *t = small_tokenizer(false);
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        str said = { 0 };
        str_printf(&said, "%sAnswer: 2\n", WANT[i].said);
        scripted p = open_scripted(t, "react", "2");
        p.max_observation = 0;
        episode *e = run_text(&p, t, said.data);
        assert_string_equal(e->transcript, WANT[i].transcript);
        assert_string_equal(e->answer, "2");
        assert_string_equal(e->turns[0].residue, "<|endoftext|>");
        if (WANT[i].asked)
            assert_string_equal(p.parrot.asked.data, WANT[i].asked);
        else
            assert_null(p.parrot.asked.data);
        episode_free(e);
        close_scripted(&p);
        str_free(&said);
    }
    tokenizer_free(t);
}

/* Tokens of an observation that finds no room are not in the record, and neither are its words. */
static void an_observation_without_room_is_said_nowhere(void **state)
{
    (void)state;
    tokenizer *t = small_tokenizer(false);
    scripted p = open_scripted(t, "xml", "a long observation");
    episode *e = run_text(&p, t, "<python>1</python>");
    p.room = e->tokens.n_prompt + strlen("<python>1</python>") + 3;
    episode_free(e);
    e = run_text(&p, t, "<python>1</python>");
    assert_int_equal(e->stop, STOP_LENGTH);
    assert_string_equal(e->transcript, "<python>1</python>");
    assert_string_equal(e->calls[0].observation, "a long observation");
    episode_free(e);
    close_scripted(&p);
    tokenizer_free(t);
}

/* A NUL would end each of an episode's texts for whoever judges it. */
static void a_nul_hides_nothing_of_an_episode(void **state)
{
    (void)state;
    char *dir = test_data("data/tokenizers/gpt2");
    if (!dir) skip();
    error err = { 0 };
    token_ids ids = { 0 };
    tokenizer *t = tokenizer_open(dir, &err);
    scripted p = open_scripted(t, "xml", "2");
    test_ok(tokenizer_encode_on(t, "<python>1\0#</python>", 20, true, &ids, &err), &err);
    test_ok(tokenizer_encode_on(t, "no\0<answer>4\0 or 5</answer>\0", 28, true, &ids, &err), &err);
    episode *e = run_ids(&p, &ids);
    assert_string_equal(e->answer, "4\x1a or 5");
    assert_string_equal(e->turns[0].text, "<python>1\x1a#</python>");
    assert_string_equal(e->text, "<python>1\x1a#</python>no\x1a<answer>4\x1a or 5</answer>");
    assert_string_equal(e->transcript, "<python>1\x1a#</python><result>2</result>no\x1a<answer>4\x1a or 5</answer>");
    episode_free(e);
    close_scripted(&p);
    vec_free(&ids);
    tokenizer_free(t);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_is_read_alike_however_it_is_cut),
        cmocka_unit_test(the_ids_say_what_the_transcript_says),
        cmocka_unit_test(a_call_closed_by_the_last_token_is_made),
        cmocka_unit_test(an_action_that_the_policy_stops_behind_is_a_call),
        cmocka_unit_test(an_observation_without_room_is_said_nowhere),
        cmocka_unit_test(a_nul_hides_nothing_of_an_episode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
