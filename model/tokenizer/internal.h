/* internal - the parts of a tokenizer, as load.c makes them and encoding uses them. */
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/map.h"
#include "model/tokenizer/tokenizer.h"

enum { MAX_SPLITS = 8 };

/* A pre-tokenizer step: cuts a piece of text into smaller ones at the matches of a pattern. */
typedef struct split {
    pcre2_code *code;
    bool removed; /* the matches are dropped; else each match and each stretch between is a piece */
} split;

typedef struct added_token {
    char *text;
    size_t len;
    int32_t id;
    bool special;
} added_token;

struct tokenizer {
    char **texts;       /* [vocab] a token's bytes (decoded from the byte alphabet), NULL: no such id */
    size_t *lengths;    /* [vocab] */
    bool *special;      /* [vocab] */
    int vocab;
    int32_t bytes[256]; /* the token of a single byte; -1: none */
    map *ids;           /* token as written in the vocabulary -> id + 1 */
    idmap *merges;      /* (left, right) -> rank << 32 | merged id, + 1 */
    bool ignore_merges; /* a piece that is a token as a whole is that token */
    split splits[MAX_SPLITS];
    int n_splits;
    bool prefix_space;
    added_token *added;
    size_t n_added;
};

/* The printable character (UTF-8) that stands for a byte in byte-level vocabularies, and back. */
void byte_to_alphabet(unsigned char byte, str *out);
int alphabet_to_byte(const char **text, const char *end); /* -1: not of the alphabet */

/* Cuts text into pieces by all split steps and hands each to `piece`. Bytes that are no UTF-8 are pieces of their own. */
typedef int (*piece_fn)(void *ctx, const char *data, size_t len, error *err);
int pretokenize(const tokenizer *t, const char *text, size_t len, piece_fn piece, void *ctx, error *err);
int split_compile(split *s, const char *pattern, bool literal, error *err);

/* Byte-pair encoding of one piece, appended to out. */
int bpe_encode(const tokenizer *t, const char *data, size_t len, token_ids *out, error *err);
