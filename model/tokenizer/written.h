/* SPDX-License-Identifier: MIT */
/* written - token ids as people and programs write them: "1 2 3", and as JSON beside their tokens. */
#pragma once

#include "model/tokenizer/tokenizer.h"

/* Appends the ids of a text like "1 2 3" or "1,2,3". ERR_ARGUMENT: something else stands there, or an id that `t` does
 * not have; the ids before it are in `out`. */
int written_ids_read(const tokenizer *t, const char *text, token_ids *out, error *err);
/* Appends "1 2 3", with `between` between two. */
void written_ids(const token_ids *ids, const char *between, str *out);
/* Appends {"ids":[],"tokens":[]}: each token as it stands in a text, special ones too; half a character is U+FFFD. */
void written_tokens_json(const tokenizer *t, const token_ids *ids, str *out);
