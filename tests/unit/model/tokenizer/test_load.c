/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/unit/model/tokenizer/small.h"

/* Sets what `patch` (JSON) says at a path of keys ("model.merges"; "" is the file itself) and opens the result. */
static tokenizer *open_patched(const char *path, const char *patch, error *err)
{
    json_t *j = small_json(), *at = j, *value = json_loads(patch, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    char keys[64];
    if (!value) fail_msg("the test's patch is no JSON: %s", patch);
    snprintf(keys, sizeof keys, "%s", path);
    char *rest = NULL, *key = strtok_r(keys, ".", &rest);
    for (char *next; key && (next = strtok_r(NULL, ".", &rest)); key = next) at = json_object_get(at, key);
    if (!key) {
        json_decref(j);
        return small_open(value, err);
    }
    json_object_set_new(at, key, value);
    return small_open(j, err);
}

static void a_merge_may_be_spelled_in_two_ways(void **state)
{
    (void)state;
    error err = { 0 };
    tokenizer *t = open_patched("model.merges", "[\"h e\", [\"l\", \"l\"], [\"he\", \"ll\"]]", &err);
    if (!t) fail_msg("%s", err.text);
    SMALL_CHECK(t, "hello", false, 258, 'o');
    tokenizer_free(t);
}

static void what_is_read_without_a_word_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *path, *patch;
    } harmless[] = {
        { "post_processor", "{\"type\":\"TemplateProcessing\"}" },
        { "truncation", "null" },
        { "version", "\"1.0\"" },
        { "model.dropout", "null" },
        { "model.continuing_subword_prefix", "\"\"" },
        { "model.end_of_word_suffix", "null" },
        { "model.unk_token", "null" },
        { "model.fuse_unk", "false" },
        { "model.type", "null" },
    };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        error err = { 0 };
        tokenizer *t = open_patched(harmless[i].path, harmless[i].patch, &err);
        if (!t) fail_msg("%s: %s", harmless[i].path, err.text);
        SMALL_CHECK(t, " hello world", true, 260, 261, 263, 'd');
        tokenizer_free(t);
    }
}

typedef struct refusal {
    const char *path, *patch;
    int code;
    const char *says[2];
} refusal;

static void check_refusals(const refusal *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        error err = { 0 };
        tokenizer *t = open_patched(r[i].path, r[i].patch, &err);
        if (t) fail_msg("%s = %s was accepted", r[i].path, r[i].patch);
        for (int k = 0; k < 2; k++)
            if (r[i].says[k] && !strstr(err.text, r[i].says[k]))
                fail_msg("%s = %s: '%s' does not say '%s'", r[i].path, r[i].patch, err.text, r[i].says[k]);
        if (err.code != r[i].code) fail_msg("%s = %s: code %s", r[i].path, r[i].patch, error_name(err.code));
        assert_non_null(strstr(err.text, "small.json"));
        tokenizer_free(t);
    }
}

static void what_we_do_not_do_is_refused_by_name(void **state)
{
    (void)state;
    static const refusal REFUSALS[] = {
        { "model.type", "\"Unigram\"", ERR_UNSUPPORTED, { "model.type", "Unigram" } },
        { "model.byte_fallback", "true", ERR_UNSUPPORTED, { "byte_fallback" } },
        { "model.dropout", "0.1", ERR_UNSUPPORTED, { "dropout" } },
        { "model.continuing_subword_prefix", "\"##\"", ERR_UNSUPPORTED, { "continuing_subword_prefix", "##" } },
        { "model.end_of_word_suffix", "\"</w>\"", ERR_UNSUPPORTED, { "end_of_word_suffix", "</w>" } },
        { "normalizer", "{\"type\":\"NFKC\"}", ERR_UNSUPPORTED, { "normalizer", "NFKC" } },
        { "normalizer", "7", ERR_UNSUPPORTED, { "normalizer" } },
        { "decoder", "{\"type\":\"WordPiece\"}", ERR_UNSUPPORTED, { "decoder", "WordPiece" } },
        { "decoder", "null", ERR_UNSUPPORTED, { "decoder", "ByteLevel" } },
        { "pre_tokenizer", "null", ERR_UNSUPPORTED, { "pre_tokenizer", "ByteLevel" } },
        { "pre_tokenizer", "{\"type\":\"Metaspace\"}", ERR_UNSUPPORTED, { "ByteLevel in both" } },
        { "pre_tokenizer", "{\"type\":\"Whitespace\"}", ERR_UNSUPPORTED, { "Whitespace", "Metaspace" } },
        { "pre_tokenizer",
          "{\"type\":\"Metaspace\",\"prepend_scheme\":\"last\"}",
          ERR_UNSUPPORTED,
          { "prepend_scheme", "last" } },
        { "normalizer",
          "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"b\"}",
          ERR_UNSUPPORTED,
          { "normalizer", "Regex" } },
        { "pre_tokenizer",
          "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}",
          ERR_UNSUPPORTED,
          { "Digits", "after ByteLevel" } },
        { "pre_tokenizer",
          "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Sideways\"}",
          ERR_UNSUPPORTED,
          { "Sideways", "Isolated" } },
    };
    check_refusals(REFUSALS, sizeof REFUSALS / sizeof *REFUSALS);
}

static void what_is_broken_is_refused_with_the_place(void **state)
{
    (void)state;
    static const refusal BROKEN[] = {
        { "", "[]", ERR_PARSE, { "object" } },
        { "model", "3", ERR_PARSE, { "model" } },
        { "model.vocab", "[1]", ERR_PARSE, { "vocab" } },
        { "model.vocab", "{\"a\":-1}", ERR_PARSE, { "'a'", "id" } },
        { "model.vocab", "{\"a\":1.5}", ERR_PARSE, { "'a'" } },
        { "model.vocab", "{\"a\":4194304}", ERR_PARSE, { "'a'" } },
        { "model.vocab", "{\"a\":9223372036854775807}", ERR_PARSE, { "'a'" } },
        { "model.vocab", "{\"a\":1, \"b\":1}", ERR_PARSE, { "'b'", "another" } },
        { "model.vocab", "{\"<|end|>\":1}", ERR_PARSE, { "<|end|>", "ids 1 and" } },
        { "model.merges", "{}", ERR_PARSE, { "merges" } },
        { "model.merges", "[\"he\"]", ERR_PARSE, { "merge 0" } },
        { "model.merges", "[[\"h\"]]", ERR_PARSE, { "merge 0" } },
        { "model.merges", "[\"h e\", 4]", ERR_PARSE, { "merge 1" } },
        { "model.merges", "[\"h q\"]", ERR_PARSE, { "merge 0", "'q'" } },
        { "model.ignore_merges", "\"yes\"", ERR_PARSE, { "ignore_merges" } },
        { "added_tokens", "[4]", ERR_PARSE, { "added_tokens" } },
        { "added_tokens", "[{\"id\":300}]", ERR_PARSE, { "content" } },
        { "added_tokens", "[{\"id\":300,\"content\":\"\"}]", ERR_PARSE, { "content" } },
        { "added_tokens", "[{\"content\":\"<x>\"}]", ERR_PARSE, { "<x>" } },
        { "added_tokens", "[{\"id\":300,\"content\":\"<x>\"},{\"id\":300,\"content\":\"<y>\"}]", ERR_PARSE, { "<y>" } },
        { "added_tokens", "[{\"id\":5,\"content\":\"<x>\"}]", ERR_PARSE, { "id 5" } },
        { "pre_tokenizer", "[]", ERR_PARSE, { "pre_tokenizer" } },
        { "pre_tokenizer", "{}", ERR_PARSE, { "type" } },
        { "pre_tokenizer", "{\"type\":\"Split\",\"behavior\":\"Isolated\"}", ERR_PARSE, { "pattern" } },
        { "pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}", ERR_PARSE, { "pattern" } },
        { "pre_tokenizer",
          "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}",
          ERR_PARSE,
          { "split pattern" } },
        { "pre_tokenizer",
          "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\C\"},\"behavior\":\"Isolated\"}",
          ERR_PARSE,
          { "split pattern" } },
    };
    check_refusals(BROKEN, sizeof BROKEN / sizeof *BROKEN);
}

static void more_steps_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *j = small_json(), *steps = json_array();
    for (int i = 0; i <= MAX_SPLITS; i++) json_array_append_new(steps, json_pack("{s:s}", "type", "Digits"));
    json_object_set_new(j, "pre_tokenizer", json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps));
    assert_null(small_open(j, &err));
    assert_int_equal(err.code, ERR_UNSUPPORTED);
}

/* Ids may have gaps; what is no id decodes to nothing, and the vocabulary ends after the largest. */
static void gaps_between_ids_are_nothing(void **state)
{
    (void)state;
    error err = { 0 };
    tokenizer *t = open_patched("added_tokens", "[{\"id\":1000,\"content\":\"<x>\"}]", &err);
    if (!t) fail_msg("%s", err.text);
    str out = { 0 };
    const int32_t ids[] = { 'a', 999, 1000 };
    tokenizer_decode(t, ids, 3, true, &out);
    assert_string_equal(out.data, "a<x>");
    assert_int_equal(tokenizer_vocab(t), 1001);
    str_free(&out);
    tokenizer_free(t);
}

/* Some files list characters that stand for no byte; such a token is decoded as it is written. */
static void a_token_out_of_the_alphabet_is_its_own_text(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *j = small_json();
    json_object_set_new(json_object_get(json_object_get(j, "model"), "vocab"), "▁你", json_integer(400));
    tokenizer *t = small_open(j, &err);
    if (!t) fail_msg("%s", err.text);
    str out = { 0 };
    tokenizer_decode_one(t, 400, true, &out);
    assert_string_equal(out.data, "▁你");
    str_free(&out);
    tokenizer_free(t);
}

static void a_folder_without_the_file_is_named(void **state)
{
    (void)state;
    error err = { 0 };
    char *folder = test_folder_new();
    assert_null(tokenizer_open(folder, &err));
    assert_non_null(strstr(err.text, "tokenizer.json"));
    test_folder_remove(folder);
}

/* The promise: a pattern that Hugging Face (Oniguruma) reads otherwise than PCRE2 is refused by what it holds; it never
 * gives other ids without a word. What both read alike is read. */
static void a_pattern_that_would_be_read_otherwise_is_refused(void **state)
{
    (void)state;
    static const char *const ALL[][2] = {
        { "[\\p{L}&&[^\\p{Han}]]+", "(&&) at byte 6" },
        { "\\p{N}|[a-z&&b]", "(&&)" },
        { "[a[bc]]+", "a class in a class" },
        { "[]a[b]]", "a class in a class" },
        { "[[:alpha:]]+", "a POSIX class" },
        { "[^[:^punct:]]", "a POSIX class" },
        { "\\h+", "\\h, which" },
        { "[\\H]", "\\h, which" },
        { "\\v", "\\v, which" },
        { "a{,2}", "({,n})" },
        { "(?m).+", "(?m)" },
        { "(?i-m:a)", "(?m)" },
        { "\\\\\\h", "\\h, which" },
    };
    static const char *const SAME[] = {
        "\\[\\p{L}&&", "[\\[&]&", "(?i:'m|'s)|.", "\\\\h+", "[]]x", "[^]]x", "(?=m)x", "x{2,}", "a\\{,2", "[(?m)]",
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        error err = { 0 };
        split s = { 0 };
        assert_int_equal(split_compile(&s, ALL[i][0], false, &err), ERR_UNSUPPORTED);
        if (!strstr(err.text, ALL[i][1])) fail_msg("%s: %s", ALL[i][0], err.text);
    }
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++) {
        error err = { 0 };
        split s = { 0 };
        if (split_compile(&s, SAME[i], false, &err) != OK) fail_msg("%s: %s", SAME[i], err.text);
        split_reset(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_that_would_be_read_otherwise_is_refused),
        cmocka_unit_test(a_merge_may_be_spelled_in_two_ways),
        cmocka_unit_test(what_is_read_without_a_word_changes_nothing),
        cmocka_unit_test(what_we_do_not_do_is_refused_by_name),
        cmocka_unit_test(what_is_broken_is_refused_with_the_place),
        cmocka_unit_test(more_steps_than_there_is_room_for_are_refused),
        cmocka_unit_test(gaps_between_ids_are_nothing),
        cmocka_unit_test(a_token_out_of_the_alphabet_is_its_own_text),
        cmocka_unit_test(a_folder_without_the_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
