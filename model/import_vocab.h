/* SPDX-License-Identifier: MIT */
/* import_vocab - the tokenizer in a GGUF file's metadata -> tokenizer.json, tokenizer_config.json, chat_template.jinja.
 *
 * tokenizer.ggml.model "gpt2" is BPE over the byte alphabet, cut before by the expression that tokenizer.ggml.pre
 * names; "llama" is SentencePiece with scores. Other models and other names are refused: a tokenizer that is nearly
 * right trains on other tokens than the model was made for. */
#pragma once

#include "base/error.h"
#include "model/gguf.h"

/* rows: of the embedding. Writes into the folder `dir`. tokens: one more than the last id that a token has; llama.cpp's
 * padding up to the embedding's rows is left out. */
int import_vocab(gguf *g, int64_t rows, const char *dir, int64_t *tokens, error *err);
/* The id under a key such as "tokenizer.ggml.bos_token_id"; -1: none. ERR_PARSE: not below tokens. */
int import_vocab_id(const gguf *g, const char *key, int64_t tokens, int32_t *id, error *err);
