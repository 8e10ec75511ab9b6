/* SPDX-License-Identifier: MIT */
#include "env/tools/python.h"

#include <string.h>

#include "base/str.h"
#include "env/tools/boxed.h"

const char PYTHON_DESCRIPTION[] = "Runs Python 3 code and returns what it prints.";
const char PYTHON_PARAMETERS[] =
    "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}},\"required\":[\"code\"]}";

/* Code may hold NULs, about which python has its own opinion. */
static char *code_of(const json_t *arguments, const tool_context *ctx, size_t *len)
{
    const json_t *code = json_object_get(arguments, "code");
    (void)ctx;
    *len = json_string_length(code);
    return memcpy(xmalloc(*len + 1), *len ? json_string_value(code) : "", *len);
}

int python_tool(const box_config *config, int at_once, tool *out, error *err)
{
    const boxed_config boxed = {
        .name = PYTHON_NAME,
        .description = PYTHON_DESCRIPTION,
        .parameters = PYTHON_PARAMETERS,
        .box = *config,
        .at_once = at_once,
        .request = code_of,
    };
    return boxed_tool(&boxed, out, err);
}

router *python_router(const box_config *config, error *err)
{
    tool python;
    router *r = router_new(NULL);
    if (python_tool(config, 0, &python, err) == OK && router_add(r, &python, err) == OK) return r;
    router_free(r);
    return NULL;
}
