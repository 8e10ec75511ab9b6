/* SPDX-License-Identifier: MIT */
/* small - a byte-level tokenizer.json made in memory: ids 0..255 are the bytes, then one token a merge, then
 * <|end|> (special) and <tool> (not special). A test changes what it wants to change, then opens it. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/vec.h"
#include "model/tokenizer/internal.h"
#include "tests/support/support.h"

/* Tokens as they are written in the vocabulary: a Ġ is a space. */
static const char *const SMALL_MERGES[][2] = {
    { "h", "e" }, { "l", "l" },  { "he", "ll" }, { "hell", "o" }, { "Ġ", "hello" }, { "Ġ", "w" },
    { "o", "r" }, { "or", "l" }, { "Ġw", "or" }, { "l", "d" },    { "a", "a" },     { "aa", "a" },
};
enum {
    SMALL_N_MERGES = sizeof SMALL_MERGES / sizeof *SMALL_MERGES,
    SMALL_END = 256 + SMALL_N_MERGES,
    SMALL_TOOL = SMALL_END + 1
};

static inline json_t *small_vocabulary(void)
{
    json_t *vocab = json_object();
    str s = { 0 };
    for (int b = 0; b < 256; b++) {
        str_clear(&s);
        byte_to_alphabet((unsigned char)b, &s);
        json_object_set_new(vocab, s.data, json_integer(b));
    }
    for (int m = 0; m < SMALL_N_MERGES; m++) {
        str_clear(&s);
        str_printf(&s, "%s%s", SMALL_MERGES[m][0], SMALL_MERGES[m][1]);
        json_object_set_new(vocab, s.data, json_integer(256 + m));
    }
    str_free(&s);
    return vocab;
}

static inline json_t *small_json(void)
{
    json_t *merges = json_array();
    for (int m = 0; m < SMALL_N_MERGES; m++)
        json_array_append_new(merges, json_sprintf("%s %s", SMALL_MERGES[m][0], SMALL_MERGES[m][1]));
    return json_pack("{s:n, s:[{s:i, s:s, s:b}, {s:i, s:s, s:b}], s:{s:s, s:b}, s:{s:s}, s:{s:s, s:o, s:o}}",
                     "normalizer", "added_tokens", "id", SMALL_END, "content", "<|end|>", "special", 1, "id",
                     SMALL_TOOL, "content", "<tool>", "special", 0, "pre_tokenizer", "type", "ByteLevel",
                     "add_prefix_space", 0, "decoder", "type", "ByteLevel", "model", "type", "BPE", "vocab",
                     small_vocabulary(), "merges", merges);
}

/* Takes j. NULL and err when it is refused. */
static inline tokenizer *small_open(json_t *j, error *err)
{
    char *text = json_text(j, false);
    tokenizer *t = tokenizer_parse(text, strlen(text), "small.json", err);
    free(text);
    json_decref(j);
    return t;
}

static inline tokenizer *small_new(void)
{
    error err = { 0 };
    tokenizer *t = small_open(small_json(), &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

/* Fails the test unless text encodes to `want`. */
static inline void small_check(const tokenizer *t, const char *text, size_t len, bool specials, const int32_t *want,
                               size_t n)
{
    error err = { 0 };
    token_ids got = { 0 };
    test_ok(tokenizer_encode(t, text, len, specials, &got, &err), &err);
    for (size_t i = 0; i < got.len && i < n; i++)
        if (got.data[i] != want[i])
            fail_msg("'%.*s': id %zu: got %d, want %d", (int)len, text, i, got.data[i], want[i]);
    if (got.len != n) fail_msg("'%.*s': got %zu ids, want %zu", (int)len, text, got.len, n);
    vec_free(&got);
}

#define SMALL_CHECK(t, text, specials, ...)                                                                            \
    small_check(t, text, strlen(text), specials, (const int32_t[]){ __VA_ARGS__ },                                     \
                sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))
