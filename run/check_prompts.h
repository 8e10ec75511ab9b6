/* SPDX-License-Identifier: MIT */
/* check_prompts - prompts as the model will see them, before any is played: whether they can be made, and whether they
 * fit. A run none of whose prompts fits would do nothing, fast. */
#pragma once

#include "run/shots.h"
#include "lua/dialect.h"
#include "model/tokenizer/tokenizer.h"
#include "recipe/recipe.h"
#include "rollout/dataset.h"

typedef struct prompt_maker {
    const recipe *recipe;
    const tokenizer *tokenizer;
    dialect *dialect;
    const shot_pool *shots;
    int max_context; /* tokens of an episode: the recipe's or the model's, what is less */
} prompt_maker;

/* Makes the prompts of up to 65 rows of `rows` (the longest of them all is among them) with `n_shots` shots.
 * ERR_ARGUMENT when none can be made, or none fits; when some don't, `note` [size] says so (else it is left as it is).
 * `name`: of the rows, "data.train". */
int check_prompts(const prompt_maker *m, const dataset *rows, const char *name, int n_shots, char *note, size_t size,
                  error *err);
