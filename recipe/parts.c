/* SPDX-License-Identifier: MIT */
#include "recipe/parts.h"

#include <stddef.h>

/* A table of keys, and where in a recipe the struct is that its rows fill. */
typedef struct part {
    const option_table *table;
    size_t offset;
} part;

/* Data and Curriculum fill one struct, as do the learner's five: a table is a chapter of docs/keys.md, not a struct. */
static const part PARTS[] = {
    { &RUN_OPTIONS, offsetof(recipe, run) },           { &DATA_OPTIONS, offsetof(recipe, curriculum) },
    { &ENV_OPTIONS, offsetof(recipe, env) },           { &PROMPT_OPTIONS, offsetof(recipe, prompt) },
    { &REWARD_OPTIONS, offsetof(recipe, reward) },     { &OBJECTIVE_OPTIONS, offsetof(recipe, trainer) },
    { &ROLLOUT_OPTIONS, offsetof(recipe, exchange) },  { &CURRICULUM_OPTIONS, offsetof(recipe, curriculum) },
    { &ACTOR_OPTIONS, offsetof(recipe, actor) },       { &ALGORITHM_OPTIONS, offsetof(recipe, trainer) },
    { &IMITATION_OPTIONS, offsetof(recipe, trainer) }, { &MOO_OPTIONS, offsetof(recipe, trainer) },
    { &OPTIM_OPTIONS, offsetof(recipe, trainer) },     { &EVAL_OPTIONS, offsetof(recipe, run) },
    { &FLEET_OPTIONS, offsetof(recipe, run) },         { &SFT_OPTIONS, offsetof(recipe, sft) },
};
_Static_assert(sizeof PARTS / sizeof *PARTS + N_METHODS == RECIPE_PARTS, "room for every part");

static config_part part_at(recipe *r, const option_table *table, size_t offset)
{
    return (config_part){ .table = table, .out = r ? (char *)r + offset : NULL };
}

void recipe_parts(recipe *r, config_part parts[RECIPE_PARTS + 1])
{
    int n = 0;
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) parts[n++] = part_at(r, PARTS[i].table, PARTS[i].offset);

    /* A method's rows are offsets into the whole trainer_config: its settings have their place in there. */
    for (int i = 0; METHODS[i]; i++)
        if (METHODS[i]->options) parts[n++] = part_at(r, METHODS[i]->options, offsetof(recipe, trainer));
    parts[n] = (config_part){ NULL, NULL };
}
