/* SPDX-License-Identifier: MIT */
/* internal - the parts of a tokenizer, as load.c and load_splits.c make them and as encoding uses them. */
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/tokenizer/tokenizer.h"

enum { MAX_SPLITS = 8, MAX_NORMALIZERS = 8 };

#define MARK "\xe2\x96\x81" /* the character that stands for a space where a vocabulary is one of characters */

/* What a split makes of its matches and of the segments between them. */
typedef enum split_behaviour {
    SPLIT_ISOLATED,       /* each match and each segment is a piece */
    SPLIT_REMOVED,        /* the matches are dropped */
    SPLIT_CONTIGUOUS,     /* matches that touch are one piece */
    SPLIT_MERGE_PREVIOUS, /* a match ends the piece before it */
    SPLIT_MERGE_NEXT,     /* a match begins the piece after it */
} split_behaviour;

/* One step of the pre-tokenizer: cuts each piece of text into smaller ones. */
typedef struct split {
    pcre2_code *code; /* NULL: cuts nothing */
    split_behaviour behaviour;
    bool invert;       /* the segments are the matches */
    bool prefix_space; /* a piece that does not begin with a space is given one, before it is cut */
    bool metaspace;    /* spaces become marks first; cut before each mark where code is set */
    enum { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } prepend; /* a mark before the text, before each segment */
} split;

typedef struct normalizer {
    enum { NORMALIZE_NFC, NORMALIZE_PREPEND, NORMALIZE_REPLACE } kind;
    char *from, *to;
} normalizer;

typedef struct added_token {
    char *text;
    size_t len;
    int32_t id;
    bool normalized;     /* looked for only where no other added token was found */
    bool lstrip, rstrip; /* swallows the white space before, after it */
    bool single_word;    /* only where no letter, digit or underscore touches it */
} added_token;

struct tokenizer {
    int vocab;
    char **texts;       /* [vocab] a token's bytes (decoded from the byte alphabet), NULL: no such id */
    size_t *lengths;    /* [vocab] */
    bool *special;      /* [vocab] */
    int32_t bytes[256]; /* the token of a single byte; -1: none */
    map *ids;           /* token as written in the vocabulary -> id + 1 */
    idmap *merges;      /* (left, right) -> rank << 32 | merged id, + 1 */
    bool ignore_merges; /* a piece that is a token as a whole is that token */
    bool byte_level;    /* the vocabulary is written in the byte alphabet; else in characters, as Llama 2's */
    bool byte_fallback; /* a character that is no token becomes those of its bytes, <0x0A> */
    bool fuse_unk;      /* several unknown characters in a row are one */
    int32_t unk;        /* the token of an unknown character; -1: none */
    bool strips_space;  /* decoding drops one space from the front */
    normalizer normalizers[MAX_NORMALIZERS];
    int n_normalizers;
    split splits[MAX_SPLITS];
    int n_splits;
    added_token *added;
    size_t n_added;
    bool added_begins[256]; /* bytes an added token begins with */
};

/* ---- alphabet.c: the printable characters that stand for bytes in byte-level vocabularies ---- */

/* Appends the character (UTF-8) that stands for `byte`. */
void byte_to_alphabet(unsigned char byte, str *out);
/* The bytes that `text` stands for, appended; false: it has a character that is not of the alphabet. */
bool alphabet_to_bytes(const char *text, str *out);

/* ---- unicode.c ---- */

/* Length of the white space character that begins at p, or 0; of the one that ends at p, or 0. */
size_t space_at(const char *p, const char *end);
size_t space_before(const char *begin, const char *p);
/* True when normal form C leaves the text as it is for certain; else *at is the byte that casts doubt. */
bool nfc_for_certain(const char *text, size_t len, size_t *at);

/* ---- normalize.c: the only file that calls utf8proc ---- */

/* Where a segment of text stands: before everything, after an added token, or in the middle of what was written
 * before. */
typedef enum place { AT_BEGIN, BEHIND_TOKEN, CONTINUES } place;

/* False: normalizing would leave the text as it is. */
bool normalize_is_needed(const tokenizer *t, const char *text, size_t len);
/* out = the segment, normalized by all steps in turn. */
int normalize(const tokenizer *t, const char *text, size_t len, place where, str *out, error *err);
bool is_word_character(const char *p, const char *end); /* a letter, mark, digit or underscore begins at p */

/* ---- added.c ---- */

typedef struct added_match {
    const added_token *token;
    size_t begin, end; /* with the white space it swallows */
} added_match;
/* The first added token in text[from..len), the longest of several at one place; only those with `normalized`. */
bool added_find(const tokenizer *t, bool normalized, const char *text, size_t from, size_t len, added_match *found);

/* ---- pretokenize.c: the only file that calls PCRE2 ---- */

int split_compile(split *s, const char *pattern, bool literal, error *err);
void split_reset(split *s);
/* Cuts text (see `place`: only what does not continue gets a prefix space) into pieces by all splits in turn and hands
 * each to `piece`. Bytes that are no UTF-8 are pieces of their own. */
typedef int (*piece_fn)(void *ctx, const char *data, size_t len, error *err);
int pretokenize(const tokenizer *t, const char *text, size_t len, place where, piece_fn piece, void *ctx, error *err);

/* ---- load_splits.c ---- */

int read_pretokenizer(tokenizer *t, const json_t *pretokenizer, const char *where, error *err);

/* ---- load_text.c ---- */

int read_normalizer(tokenizer *t, const json_t *j, const char *where, error *err);
int read_decoder(tokenizer *t, const json_t *j, const char *where, error *err);
/* The tokenizer.json that a folder with vocab.json, merges.txt and tokenizer_config.json stands for; the caller's. */
json_t *tokenizer_json_of_vocab(const char *dir, error *err);

/* ---- bpe.c ---- */

/* Memory of the merging of one piece, kept for the next one. Zero-initialise; bpe_reset releases. */
typedef struct bpe_part {
    int32_t id; /* -1: swallowed by its left neighbour */
    int32_t previous, next;
} bpe_part;
typedef struct bpe_merge {
    uint64_t order; /* rank << 32 | place of the left part: best rank first, the leftmost of equals */
    int32_t left, right, merged;
} bpe_merge;
typedef struct bpe {
    const tokenizer *t;
    vec(bpe_part) parts;
    vec(bpe_merge) heap;
    str written;
} bpe;
/* Byte-pair encoding of one piece, appended to out. */
void bpe_encode(bpe *b, const char *data, size_t len, token_ids *out);
void bpe_reset(bpe *b);
