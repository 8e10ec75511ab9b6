/* SPDX-License-Identifier: MIT */
/* tokenizer - tokenizer.json, or vocab.json + merges.txt: text -> ids -> text, with the model's own split pattern and
 * added tokens.
 *
 *     text --added tokens--> segments --normalizer--> --pre_tokenizer--> pieces --merges--> ids
 *
 * Done as `tokenizers` does it: BPE, of bytes (ByteLevel) or of characters with byte fallback (Llama 2); Split, Digits,
 * Metaspace and Sequence before it; NFC, Prepend and Replace; added tokens with all their flags. Refused by name when a
 * file is opened: other models, normalizers and pre-tokenizers. A folder with vocab.json and merges.txt is read as the
 * family that its tokenizer_config.json names (GPT2Tokenizer, Qwen2Tokenizer).
 * The post_processor is not read: encoding adds no token that is not in the text.
 *
 * Bytes that are no UTF-8 are encoded too: decoding what was encoded gives the same bytes back (where no added token
 * swallowed white space and no prefix space was added).
 *
 * Immutable after opening: any number of threads may share one. Independent of chat and tools. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct tokenizer tokenizer;

tokenizer *tokenizer_open(const char *model_dir, error *err); /* DIR/tokenizer.json, or DIR/vocab.json and its like */
tokenizer *tokenizer_parse(const char *json, size_t len, const char *where, error *err);
void tokenizer_free(tokenizer *t);
/* One more than the largest id; a model's vocab_size may be larger. */
int tokenizer_vocab(const tokenizer *t);
/* The id of a token as written in the vocabulary or among the added tokens; -1: none. */
int32_t tokenizer_id(const tokenizer *t, const char *token);
bool tokenizer_is_special(const tokenizer *t, int32_t id); /* for tests: who may write control tokens */

typedef struct token_ids {
    int32_t *data;
    size_t len, capacity; /* release with vec_free */
} token_ids;

/* Appends the ids of `text`. Added tokens written out in the text are recognised when `specials`; otherwise they are
 * plain text (what a tool printed must never become a control token). Bytes and characters that the vocabulary has no
 * token for, not even an unknown one, are left out, as Hugging Face leaves them out. On failure `out` is as before:
 * ERR_LIMIT, the pattern gave up on the text. */
int tokenizer_encode(const tokenizer *t, const char *text, size_t len, bool specials, token_ids *out, error *err);
/* The same for a text that continues after others: no prefix space is put before it. */
int tokenizer_encode_on(const tokenizer *t, const char *text, size_t len, bool specials, token_ids *out, error *err);
/* Appends the bytes of one id ("" for a special token when !specials). A byte-level token may be half a character. */
void tokenizer_decode_one(const tokenizer *t, int32_t id, bool specials, str *out);
void tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool specials, str *out);
