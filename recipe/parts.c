/* SPDX-License-Identifier: MIT */
#include "recipe/parts.h"

void recipe_parts(recipe *r, config_part parts[RECIPE_PARTS + 1])
{
    const config_part all[] = {
        { &RUN_OPTIONS, r ? &r->run : NULL },           { &DATA_OPTIONS, r ? &r->curriculum : NULL },
        { &ENV_OPTIONS, r ? &r->env : NULL },           { &PROMPT_OPTIONS, r ? &r->prompt : NULL },
        { &REWARD_OPTIONS, r ? &r->reward : NULL },     { &OBJECTIVE_OPTIONS, r ? &r->trainer : NULL },
        { &ROLLOUT_OPTIONS, r ? &r->exchange : NULL },  { &CURRICULUM_OPTIONS, r ? &r->curriculum : NULL },
        { &ACTOR_OPTIONS, r ? &r->actor : NULL },       { &ALGORITHM_OPTIONS, r ? &r->trainer : NULL },
        { &IMITATION_OPTIONS, r ? &r->trainer : NULL }, { &MOO_OPTIONS, r ? &r->trainer : NULL },
        { &OPTIM_OPTIONS, r ? &r->trainer : NULL },     { &EVAL_OPTIONS, r ? &r->run : NULL },
        { &FLEET_OPTIONS, r ? &r->run : NULL },
    };
    _Static_assert(sizeof all / sizeof *all + N_METHODS == RECIPE_PARTS, "room for every part");

    config_part *end = parts;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *end++ = all[i];
    for (int i = 0; METHODS[i]; i++)
        if (METHODS[i]->options) *end++ = (config_part){ METHODS[i]->options, r ? &r->trainer : NULL };
    *end = (config_part){ NULL, NULL };
}
