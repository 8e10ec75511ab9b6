/* SPDX-License-Identifier: MIT */
/* import_gguf - a model of llama.cpp (GGUF 2 or 3) -> a Hugging Face folder.
 *
 * Architectures: the rows of model/import_gguf_config.c. Numbers: F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, written
 * as fp32: exactly what the file says. Tokenizer, chat template and special tokens come from the metadata
 * (model/import_vocab.h). llama.cpp rotates neighbours (2 i, 2 i + 1) of a llama's heads where transformers rotates
 * halves: rows of q and k are put in that order. Gemma's norms are written as 1 + w, from which 1 is taken again.
 *
 * config.json is written first; which tensors the file must have is what any reader of that would ask for. What the
 * file has and the folder couldn't say is refused by name. */
#pragma once

#include "base/error.h"

/* Writes OUT; a model of ours that is there is replaced (model/model_folder.h). ERR_PARSE: a hostile or broken file;
 * ERR_UNSUPPORTED: a model that is not read here, with what it would need. */
int import_gguf(const char *path, const char *out, error *err);
