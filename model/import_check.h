/* SPDX-License-Identifier: MIT */
/* import_check - what can't be opened again is no import: tokens that are missing or twice, sizes that are none. */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Opens config and tokenizer of the folder `dir`, which was made of two files (or twice the same), whom errors name.
 * tokens: how many the tokenizer must have. */
int import_check(const char *dir, int64_t tokens, const char *model_path, const char *tokenizer_path, error *err);
