/* SPDX-License-Identifier: MIT */
#include "run/tools_by_hand.h"

#include "env/tools/python.h"

static router *open_tools(const recipe *r, error *err)
{
    static const char *const KEYS[] = { "env", NULL };
    const box_config limits = { 0 };
    if (!r) return python_router(&limits, err);
    return recipe_uses(r, "env", KEYS, err) == OK ? recipe_router(r, NULL, err) : NULL;
}

int tools_by_hand_open(tools_by_hand *t, const char *path, const char *const *overrides, int n, error *err)
{
    *t = (tools_by_hand){ 0 };
    if (path && !(t->recipe = recipe_open(path, overrides, n, err))) return err->code;
    if ((t->router = open_tools(t->recipe, err))) return OK;
    tools_by_hand_close(t);
    return err->code;
}

void tools_by_hand_close(tools_by_hand *t)
{
    router_free(t->router);
    recipe_free(t->recipe);
}
