/* SPDX-License-Identifier: MIT */
/* Vocabularies of characters, normal form C, tokens that stand alone: as the reference library does it
 * (tests/golden/make_character_tokenizers.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/vec.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/support/support.h"

static json_t *goldens(void)
{
    error err = { 0 };
    char path[1200];
    snprintf(path, sizeof path, "%s/tests/golden/character_tokenizers.json", getenv("TROUPE_SOURCE"));
    json_t *j = json_parse_file(path, &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

static tokenizer *open_one(const json_t *golden)
{
    error err = { 0 };
    char *text = json_text(json_object_get(golden, "tokenizer"), false);
    tokenizer *t = tokenizer_parse(text, strlen(text), json_string_value(json_object_get(golden, "name")), &err);
    free(text);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static void check_case(const char *name, const tokenizer *t, const json_t *c)
{
    error err = { 0 };
    token_ids ids = { 0 };
    str text = { 0 };
    const json_t *want = json_object_get(c, "ids"), *given = json_object_get(c, "text");
    test_ok(tokenizer_encode(t, json_string_value(given), json_string_length(given), true, &ids, &err), &err);
    bool same = ids.len == json_array_size(want);
    for (size_t i = 0; same && i < ids.len; i++) same = ids.data[i] == json_integer_value(json_array_get(want, i));
    if (!same) {
        str got = { 0 };
        for (size_t i = 0; i < ids.len; i++) str_printf(&got, " %d", ids.data[i]);
        char *expected = json_text(want, false), *shown = json_text(given, false);
        fail_msg("%s: %s: got%s, want %s", name, shown, got.data ? got.data : "", expected);
    }
    tokenizer_decode(t, ids.data, ids.len, true, &text);
    const json_t *decoded = json_object_get(c, "decoded");
    assert_int_equal(text.len, json_string_length(decoded));
    if (text.len) assert_memory_equal(text.data, json_string_value(decoded), text.len);
    str_free(&text);
    vec_free(&ids);
}

static void ids_and_texts_are_those_of_the_reference_library(void **state)
{
    (void)state;
    size_t i, k;
    json_t *g, *c, *all = goldens();
    assert_true(json_array_size(all) >= 10);
    json_array_foreach(all, i, g)
    {
        tokenizer *t = open_one(g);
        json_array_foreach(json_object_get(g, "cases"), k, c)
            check_case(json_string_value(json_object_get(g, "name")), t, c);
        tokenizer_free(t);
    }
    json_decref(all);
}

/* With byte fallback nothing is unknown: any bytes come back, those that are no text too. */
static void any_bytes_come_back_through_byte_fallback(void **state)
{
    (void)state;
    json_t *all = goldens();
    tokenizer *t = open_one(json_array_get(all, 0));
    test_random rnd = test_random_seed(9);
    for (int i = 0; i < 500; i++) {
        error err = { 0 };
        token_ids ids = { 0 };
        str text = { 0 };
        unsigned char bytes[40];
        const size_t n = 1 + test_random_below(&rnd, sizeof bytes);
        test_random_bytes(&rnd, bytes, n);
        for (size_t k = 0; i % 2 && k < n; k++) bytes[k] = (unsigned char)(' ' + bytes[k] % 95);
        test_ok(tokenizer_encode(t, (char *)bytes, n, false, &ids, &err), &err);
        tokenizer_decode(t, ids.data, ids.len, true, &text);
        assert_int_equal(text.len, n);
        assert_memory_equal(text.data, bytes, n);
        str_free(&text);
        vec_free(&ids);
    }
    tokenizer_free(t);
    json_decref(all);
}

/* What only looks like a byte's token is text: a number with a sign led far outside the table of bytes. */
static void what_only_looks_like_a_bytes_token_is_text(void **state)
{
    (void)state;
    static const char *const WORDS[] = { "<0x-2>", "<0x+7>", "<0x 7>", "<0x-F>", "<0x7>>", "<0xG7>", "<0x\t7>" };
    json_t *all = goldens(), *first = json_array_get(all, 0);
    tokenizer *plain = open_one(first);
    json_t *vocab = json_object_get(json_object_get(json_object_get(first, "tokenizer"), "model"), "vocab");
    const int32_t begin = tokenizer_vocab(plain), seven = tokenizer_id(plain, "<0x07>");
    assert_true(seven >= 0);
    for (int32_t i = 0; i < (int32_t)(sizeof WORDS / sizeof *WORDS); i++)
        json_object_set_new(vocab, WORDS[i], json_integer(begin + i));

    tokenizer *t = open_one(first);
    for (int32_t i = 0; i < (int32_t)(sizeof WORDS / sizeof *WORDS); i++) {
        str text = { 0 };
        const int32_t id = begin + i;
        tokenizer_decode(t, &id, 1, true, &text);
        const char *shown = text.data + (text.data[0] == ' ' ? 1 : 0);
        if (strcmp(shown, WORDS[i]) != 0) fail_msg("token '%s' reads '%s'", WORDS[i], text.data);
        str_free(&text);
    }
    str bell = { 0 };
    tokenizer_decode(t, &seven, 1, true, &bell);
    assert_string_equal(bell.data, "\a");
    str_free(&bell);
    tokenizer_free(t);
    tokenizer_free(plain);
    json_decref(all);
}

static void a_folder_with_vocab_and_merges_is_a_tokenizer(void **state)
{
    (void)state;
    char *dir = test_folder_new();
    error err = { 0 };
    token_ids ids = { 0 };
    test_file_write(dir, "vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"\\u0120\": 3, \"\\u0120ab\": 4}");
    test_file_write(dir, "merges.txt", "#version: 0.2\na b\n\xc4\xa0 ab\n");
    test_file_write(dir, "tokenizer_config.json",
                    "{\"tokenizer_class\": \"GPT2Tokenizer\", \"added_tokens_decoder\": {\"5\": {\"content\": \"<e>\","
                    " \"special\": true}}}");
    tokenizer *t = tokenizer_open(dir, &err);
    if (!t) fail_msg("%s", err.text);
    test_ok(tokenizer_encode(t, "ab ab<e>", 8, true, &ids, &err), &err);
    assert_int_equal(ids.len, 3);
    assert_true(ids.data[0] == 2 && ids.data[1] == 4 && ids.data[2] == 5);
    vec_free(&ids);
    tokenizer_free(t);
    test_file_write(dir, "tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}");
    assert_null(tokenizer_open(dir, &err));
    assert_non_null(strstr(err.text, "BertTokenizer"));
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_texts_are_those_of_the_reference_library),
        cmocka_unit_test(any_bytes_come_back_through_byte_fallback),
        cmocka_unit_test(what_only_looks_like_a_bytes_token_is_text),
        cmocka_unit_test(a_folder_with_vocab_and_merges_is_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
