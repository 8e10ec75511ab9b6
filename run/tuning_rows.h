/* SPDX-License-Identifier: MIT */
/* tuning_rows - a row of fine-tuning data becomes tokens, and which of them are learned.
 *
 *     {"text": TEXT}                          all of it, and the model's end token after it
 *     {"prompt", "answer", "steps": [...]}    what an episode of the recipe would be: prompt, calls with their results,
 *                                             the answer, as the dialect writes them (run/shots.h); "messages" may
 *                                             stand for "prompt"
 *     {"prompt", "completion"}                a question and an assistant's words as they are; either may be a list of
 *                                             messages
 *     {"messages": [...]}                     a conversation: what the assistant says is learned
 *
 * The tokens are those that rollouts of the same recipe have: pieces are cut where play would cut them
 * (actor/rollouts_prompt.c), and control tokens of the chat template are control tokens. What is learned has the role
 * of given tokens, TOKEN_HINT; where it is followed by an end token of the model, that is learned with it. */
#pragma once

#include "lua/dialect.h"
#include "model/tokenizer/tokenizer.h"
#include "recipe/recipe.h"
#include "rollout/group.h"

typedef struct tuning_rows {
    const recipe *recipe; /* borrowed, as all of it */
    const tokenizer *tokenizer;
    dialect *dialect;
    const int32_t *eos; /* [n_eos] */
    int n_eos;
} tuning_rows;

/* Whether it has one of the forms above: ERR_PARSE says what is missing or of another type. */
int tuning_row_check(const char *row_json, error *err);
/* An episode that holds the row's tokens and its data group, for the caller to free; *cut: it was longer than
 * sft.max_tokens. NULL: ERR_PARSE, or what dialect and tokenizer say of it; ERR_LIMIT: nothing of it is learned within
 * sft.max_tokens. */
episode *tuning_row(const tuning_rows *m, const char *row_json, bool *cut, error *err);

/* The row as a group of one for a trainer or a packer, which takes the episode. Its one objective has a score of 0, so
 * that no advantage has any part in it. */
group *tuning_group(episode *e, uint64_t row, int64_t step);
objective_set tuning_objectives(void);
