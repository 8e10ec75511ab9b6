/* SPDX-License-Identifier: MIT */
#include "recipe/parts.h"

void recipe_parts(recipe *r, config_part parts[RECIPE_PARTS + 1])
{
    const config_part all[] = {
        { &RUN_OPTIONS, r ? &r->run : NULL },          { &DATA_OPTIONS, r ? &r->curriculum : NULL },
        { &ENV_OPTIONS, r ? &r->env : NULL },          { &PROMPT_OPTIONS, r ? &r->prompt : NULL },
        { &REWARD_OPTIONS, r ? &r->reward : NULL },    { &OBJECTIVE_OPTIONS, r ? &r->trainer : NULL },
        { &ROLLOUT_OPTIONS, r ? &r->exchange : NULL }, { &CURRICULUM_OPTIONS, r ? &r->curriculum : NULL },
        { &ACTOR_OPTIONS, r ? &r->actor : NULL },      { &ALGORITHM_OPTIONS, r ? &r->trainer : NULL },
        { &METHOD_OPTIONS, r ? &r->trainer : NULL },   { &MOO_OPTIONS, r ? &r->trainer : NULL },
        { &OPTIM_OPTIONS, r ? &r->trainer : NULL },    { &EVAL_OPTIONS, r ? &r->run : NULL },
        { &FLEET_OPTIONS, r ? &r->run : NULL },        { NULL, NULL },
    };
    _Static_assert(sizeof all / sizeof *all <= RECIPE_PARTS + 1, "room for every part");

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) parts[i] = all[i];
}
