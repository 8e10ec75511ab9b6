/* SPDX-License-Identifier: MIT */
#include "show/tools.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static void show_tool(FILE *to, const json_t *t)
{
    char *parameters = json_text(json_object_get(t, "parameters"), true);
    fprintf(to, "%s\n  %s\n  parameters: %s\n", json_string_value(json_object_get(t, "name")),
            json_string_value(json_object_get(t, "description")), parameters);
    free(parameters);
}

int show_tools(FILE *to, const router *r, error *err)
{
    /* by way of the text that prompts are made of: what is shown is what a policy is told */
    char *text = router_tools_json(r);
    json_t *tools = json_parse(text, strlen(text), "tools", err);
    free(text);
    if (!tools) return err->code;

    for (size_t i = 0; i < json_array_size(tools); i++) show_tool(to, json_array_get(tools, i));
    json_decref(tools);
    return OK;
}
