/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/file.h"
#include "tests/unit/model/tokenizer/small.h"

/* ---- against others ---- */

static json_t *golden_case(const json_t *model, const json_t *c)
{
    json_t *j = json_object();
    json_object_set(j, "model", (json_t *)(uintptr_t)model);
    const char *const keys[] = { "added_tokens", "pre_tokenizer", "decoder" };
    for (int i = 0; i < 3; i++) json_object_set(j, keys[i], json_object_get(c, keys[i]));
    return j;
}

static void check_texts(const tokenizer *t, const json_t *texts, const char *name)
{
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *row = json_array_get(texts, i), *text = json_array_get(row, 0), *ids = json_array_get(row, 1);
        error err = { 0 };
        token_ids got = { 0 };
        test_ok(tokenizer_encode(t, json_string_value(text), json_string_length(text), true, &got, &err), &err);
        bool same = got.len == json_array_size(ids);
        for (size_t k = 0; same && k < got.len; k++) same = got.data[k] == json_integer_value(json_array_get(ids, k));
        if (!same) fail_msg("%s: text %zu '%s': other ids than the reference", name, i, json_string_value(text));
        vec_free(&got);
    }
}

/* tests/golden/make_tokenizers.py: random texts through the library that the files are made for. */
static void pieces_and_ids_are_those_of_the_reference_library(void **state)
{
    (void)state;
    char path[1024];
    error err = { 0 };
    json_t *golden =
        json_parse_file(path_join(path, sizeof path, getenv("TROUPE_SOURCE"), "tests/golden/tokenizers.json"), &err);
    if (!golden) fail_msg("%s", err.text);
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) >= 20);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *name = json_string_value(json_object_get(c, "name"));
        tokenizer *t = small_open(golden_case(json_object_get(golden, "model"), c), &err);
        if (!t) fail_msg("%s: %s", name, err.text);
        check_texts(t, json_object_get(c, "texts"), name);
        tokenizer_free(t);
    }
    json_decref(golden);
}

/* One line of ids for each text between the separators. */
static void check_vectors(const tokenizer *t, char *inputs, char *outputs)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    int n = 0;
    for (char *text = inputs, *line = outputs; text && line && *line; n++) {
        char *end = strstr(text, separator), *next = end ? end + strlen(separator) : NULL;
        if (end) *end = 0;
        vec(int32_t) want = { 0 };
        char *eol = strchr(line, '\n'), *p = line;
        if (eol) *eol = 0;
        for (char *q; *p; p = q) {
            vec_push(&want, (int32_t)strtol(p, &q, 10));
            if (q == p) want.len--, q = p + 1; /* a space at the end */
        }
        small_check(t, text, strlen(text), false, want.data, want.len);
        vec_free(&want);
        text = next;
        line = eol ? eol + 1 : NULL;
    }
    assert_true(n >= 40);
}

static char *read_all(const char *folder, const char *name)
{
    char *path = test_data(folder), *text = path ? test_file_read(path, name) : NULL;
    free(path);
    return text;
}

static void check_published(tokenizer *t, const char *inp, const char *outp)
{
    char *in = read_all("data/tokenizers/vectors", inp), *out = read_all("data/tokenizers/vectors", outp);
    assert_true(in && out);
    check_vectors(t, in, out);
    free(in);
    free(out);
    tokenizer_free(t);
}

static void published_vectors_of_gpt2_are_met(void **state)
{
    (void)state;
    char *dir = test_data("data/tokenizers/gpt2");
    if (!dir) skip();
    error err = { 0 };
    tokenizer *t = tokenizer_open(dir, &err);
    free(dir);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(tokenizer_vocab(t), 50257);
    check_published(t, "ggml-vocab-gpt-2.gguf.inp", "ggml-vocab-gpt-2.gguf.out");
}

/* vocab.json, merges.txt and the family's split pattern, put together as its tokenizer.json has them. */
static tokenizer *qwen2(const char *dir, error *err)
{
    static const char PATTERN[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                                  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    char *vocab = test_file_read(dir, "vocab.json"), *lines = test_file_read(dir, "merges.txt"), *rest = NULL;
    json_t *j = small_json(), *model = json_object_get(j, "model"), *merges = json_array();
    for (char *line = strtok_r(lines, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest))
        if (strncmp(line, "#version", 8) != 0) json_array_append_new(merges, json_string(line));
    json_t *tokens = json_parse(vocab, strlen(vocab), "vocab.json", err);
    if (!tokens) fail_msg("%s", err->text);
    json_object_set_new(model, "vocab", tokens);
    json_object_set_new(model, "merges", merges);
    json_object_set_new(j, "added_tokens", json_pack("[{s:i, s:s}]", "id", 151643, "content", "<|endoftext|>"));
    json_object_set_new(j, "pre_tokenizer",
                        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s, s:b, s:b}]}", "type", "Sequence",
                                  "pretokenizers", "type", "Split", "pattern", "Regex", PATTERN, "behavior", "Isolated",
                                  "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0));
    free(vocab);
    free(lines);
    return small_open(j, err);
}

static void published_vectors_of_qwen2_are_met(void **state)
{
    (void)state;
    char *dir = test_data("data/tokenizers/qwen2");
    if (!dir) skip();
    error err = { 0 };
    tokenizer *t = qwen2(dir, &err);
    free(dir);
    if (!t) fail_msg("%s", err.text);
    check_published(t, "ggml-vocab-qwen2.gguf.inp", "ggml-vocab-qwen2.gguf.out");
}

/* ---- merging ---- */

/* The rule itself: join the leftmost pair of the best rank until there is none. */
static size_t merge_plainly(const tokenizer *t, int32_t *ids, size_t n)
{
    for (;;) {
        uint64_t best = UINT64_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const uint64_t m = (uint64_t)(uintptr_t)idmap_get(t->merges, (uint64_t)ids[i] << 32 | (uint32_t)ids[i + 1]);
            if (m && m < best) best = m, at = i;
        }
        if (best == UINT64_MAX) return n;
        ids[at] = (int32_t)((best - 1) & 0xffffffff);
        memmove(ids + at + 1, ids + at + 2, sizeof *ids * (n - at - 2));
        n--;
    }
}

static void the_heap_merges_as_the_rule_says(void **state)
{
    (void)state;
    tokenizer *t = small_new();
    split_reset(&t->splits[0]); /* the whole text is one piece */
    t->n_splits = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        test_random rnd = test_random_seed(seed);
        char text[64];
        int32_t want[64];
        const size_t len = 1 + test_random_below(&rnd, sizeof text - 1);
        for (size_t i = 0; i < len; i++) text[i] = "helloworlda "[test_random_below(&rnd, 12)];
        for (size_t i = 0; i < len; i++) want[i] = t->bytes[(unsigned char)text[i]];
        small_check(t, text, len, false, want, merge_plainly(t, want, len));
    }
    tokenizer_free(t);
}

/* A tool may print this: the cost of a piece must not be the square of its length. */
static void a_megabyte_without_a_space_takes_no_minutes(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    tokenizer *t = small_new();
    error err = { 0 };
    char *text = xmalloc(N);
    memset(text, 'a', N);
    token_ids ids = { 0 };
    const int64_t begin_ms = clock_cpu_us() / 1000;
    test_ok(tokenizer_encode(t, text, N, true, &ids, &err), &err);
    assert_true(clock_cpu_us() / 1000 - begin_ms < 20000); /* 0.2 s when it was written; the square takes hours */
    assert_int_equal(ids.len, N / 4 * 2);                  /* aa + aa: the pair (a, a) is better than (aa, a) */
    vec_free(&ids);
    free(text);
    tokenizer_free(t);
}

static void a_piece_that_is_a_token_is_it_when_merges_are_ignored(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *j = small_json(), *model = json_object_get(j, "model");
    json_object_set_new(json_object_get(model, "vocab"), "Ġxyz", json_integer(300)); /* no merge leads there */
    json_object_set_new(model, "ignore_merges", json_true());
    json_object_set_new(json_object_get(j, "pre_tokenizer"), "use_regex", json_true());
    tokenizer *with = small_open(json_deep_copy(j), &err);
    json_object_set_new(model, "ignore_merges", json_false());
    tokenizer *without = small_open(j, &err);
    SMALL_CHECK(with, " xyz xyzz", false, 300, ' ', 'x', 'y', 'z', 'z');
    SMALL_CHECK(without, " xyz", false, ' ', 'x', 'y', 'z');
    tokenizer_free(with);
    tokenizer_free(without);
}

/* ---- there and back ---- */

static void any_bytes_come_back(void **state)
{
    (void)state;
    tokenizer *t = small_new();
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        test_random rnd = test_random_seed(seed);
        char text[80];
        error err = { 0 };
        token_ids ids = { 0 };
        str back = { 0 };
        const size_t len = test_random_below(&rnd, sizeof text);
        test_random_bytes(&rnd, text, len);
        for (size_t i = 0; i < len; i++) /* half of them text, with whole and broken characters */
            if (test_random_below(&rnd, 2))
                text[i] = "hello world \xc3\xa9\xf0\x9f\xa6\x99"[test_random_below(&rnd, 18)];
        test_ok(tokenizer_encode(t, text, len, true, &ids, &err), &err);
        tokenizer_decode(t, ids.data, ids.len, true, &back);
        if (back.len != len || (len && memcmp(back.data, text, len) != 0))
            fail_msg("seed %ju: other bytes came back", (uintmax_t)seed);
        vec_free(&ids);
        str_free(&back);
    }
    tokenizer_free(t);
}

/* What a tool printed must never end an episode. */
static void control_tokens_count_only_where_they_are_asked_for(void **state)
{
    (void)state;
    tokenizer *t = small_new();
    SMALL_CHECK(t, "hello<|end|><tool>", true, 259, SMALL_END, SMALL_TOOL);
    SMALL_CHECK(t, "<|end|>", false, '<', '|', 'e', 'n', 'd', '|', '>');
    str out = { 0 };
    const int32_t ids[] = { 259, SMALL_END, SMALL_TOOL, -1, 100000, 260 };
    tokenizer_decode(t, ids, 6, true, &out);
    assert_string_equal(out.data, "hello<|end|><tool> hello");
    str_clear(&out);
    tokenizer_decode(t, ids, 6, false, &out);
    assert_string_equal(out.data, "hello<tool> hello");
    assert_true(tokenizer_is_special(t, SMALL_END));
    assert_false(tokenizer_is_special(t, SMALL_TOOL) || tokenizer_is_special(t, -1) ||
                 tokenizer_is_special(t, 1 << 20));
    assert_int_equal(tokenizer_id(t, "<|end|>"), SMALL_END);
    assert_int_equal(tokenizer_id(t, "Ġhello"), 260);
    assert_int_equal(tokenizer_id(t, " hello"), -1);
    str_free(&out);
    tokenizer_free(t);
}

/* ---- what the vocabulary lacks ---- */

/* As `tokenizers` does: a byte without a token is left out, between others, alone, and beside an added token. */
static void what_the_vocabulary_lacks_is_left_out(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *j = small_json();
    json_object_del(json_object_get(json_object_get(j, "model"), "vocab"), "z");
    tokenizer *t = small_open(j, &err);
    token_ids with = { 0 }, without = { 0 };
    test_ok(tokenizer_encode(t, "zhezllo wzorldz", 15, true, &with, &err), &err);
    test_ok(tokenizer_encode(t, "hello world", 11, true, &without, &err), &err);
    str text = { 0 };
    tokenizer_decode(t, with.data, with.len, true, &text);
    assert_string_equal(text.data, "hello world");
    with.len = 0;
    test_ok(tokenizer_encode(t, "zzz", 3, true, &with, &err), &err);
    assert_int_equal(with.len, 0);
    str_free(&text);
    vec_free(&with);
    vec_free(&without);
    tokenizer_free(t);
}

static void a_text_is_brought_into_its_normal_form(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *j = small_json();
    json_object_set_new(j, "normalizer", json_pack("{s:s}", "type", "NFC"));
    tokenizer *t = small_open(j, &err);
    if (!t) fail_msg("%s", err.text);
    SMALL_CHECK(t, "hello é", true, 259, ' ', 0xc3, 0xa9);
    SMALL_CHECK(t, "hello e\u0301", true, 259, ' ', 0xc3, 0xa9);
    SMALL_CHECK(t,
                "e\u0301\xff"
                "e\u0301",
                true, 0xc3, 0xa9, 0xff, 0xc3, 0xa9); /* a byte that is no text stays */
    tokenizer_free(t);
}

static void a_pattern_that_explodes_is_given_up_with_a_sentence(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *j = small_json();
    json_object_set_new(j, "pre_tokenizer",
                        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s, s:b}]}", "type", "Sequence", "pretokenizers",
                                  "type", "Split", "pattern", "Regex", "(a+)+$", "behavior", "Isolated", "type",
                                  "ByteLevel", "add_prefix_space", 0));
    tokenizer *t = small_open(j, &err);
    if (!t) fail_msg("%s", err.text);
    token_ids ids = { 0 };
    const char *text = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    assert_int_equal(tokenizer_encode(t, text, strlen(text), true, &ids, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "gave up"));
    vec_free(&ids);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_and_ids_are_those_of_the_reference_library),
        cmocka_unit_test(published_vectors_of_gpt2_are_met),
        cmocka_unit_test(published_vectors_of_qwen2_are_met),
        cmocka_unit_test(the_heap_merges_as_the_rule_says),
        cmocka_unit_test(a_megabyte_without_a_space_takes_no_minutes),
        cmocka_unit_test(a_piece_that_is_a_token_is_it_when_merges_are_ignored),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(control_tokens_count_only_where_they_are_asked_for),
        cmocka_unit_test(what_the_vocabulary_lacks_is_left_out),
        cmocka_unit_test(a_text_is_brought_into_its_normal_form),
        cmocka_unit_test(a_pattern_that_explodes_is_given_up_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
