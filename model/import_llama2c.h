/* SPDX-License-Identifier: MIT */
/* import_llama2c - a model of llama2.c (its legacy checkpoint and tokenizer.bin) -> a Hugging Face folder.
 *
 * The checkpoint: seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; a negative
 * vocabulary means that the head is a matrix of its own), then fp32 tensors. There the rotary embedding turns
 * neighbours (2 i, 2 i + 1) where transformers turns halves (i, i + hd/2): rows of q and k are put in that order.
 * tokenizer.bin: per token a score and its bytes; the pair whose joint token scores best is merged first. As merges of
 * a tokenizer.json that is: tokens by falling score, each with all its ways to be put together. */
#pragma once

#include "base/error.h"

/* Writes OUT (config.json, model.safetensors, tokenizer.json); a model of ours that is there is replaced
 * (model/model_folder.h). Hostile files are refused: ERR_PARSE names file, expected and found. */
int import_llama2c(const char *model_path, const char *tokenizer_path, const char *out, error *err);
