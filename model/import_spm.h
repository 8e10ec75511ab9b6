/* SPDX-License-Identifier: MIT */
/* import_spm - a vocabulary of scored pieces, as SentencePiece, llama2.c and GGUF keep it -> a tokenizer.json.
 *
 * SentencePiece puts together, again and again, the two neighbours whose joint piece scores best. As merges of a
 * tokenizer.json that is: pieces by falling score, each with all its ways to be put together, those in the order of
 * their parts' ids (as transformers converts them). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum { PIECE_NORMAL, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE } piece_kind;
typedef struct spm_piece {
    char *text; /* as a tokenizer.json writes it: U+2581 for spaces */
    float score;
    int32_t id;
    piece_kind kind;
} spm_piece;

/* The tokenizer.json of pieces[n]. space_first: a text begins as if a space stood before it.
 * A piece that is no text, or occurs twice, can't be written: its id stays empty. Bytes are fallen back to where
 * all 256 are there. bos: the id that a text begins with, -1: none. */
json_t *spm_tokenizer(const spm_piece *pieces, int32_t n, bool space_first, int32_t bos);
/* An element of added_tokens. normalized: it is looked for in what the normalizer leaves, not in the text. */
json_t *added_token_json(int32_t id, const char *content, bool special, bool normalized);
/* A post_processor that writes `content` (token `id`) before every text. */
json_t *begin_with_json(int32_t id, const char *content);
