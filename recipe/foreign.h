/* SPDX-License-Identifier: MIT */
/* foreign - what users of other trainers type, and what it is called here.
 *
 * A hint is worth more than a list only when it is right: a word that means something else there is answered with what
 * there is here, and a misspelt one with a name only if it is nearly that name. */
#pragma once

#include "base/str.h"
#include "lua/config.h"

/* What other trainers have keys for and Troupe has not, for config.aliases. */
const config_alias *recipe_foreign_keys(void);
/* For config.hint. For `word`, which is none of `names` (NULL-terminated), the values of `key`: " (did you mean
 * 'grpo'?)", or what there is instead, is added to `hint`; or nothing. */
void recipe_foreign_hint(const char *key, const char *word, const char *const *names, str *hint);
