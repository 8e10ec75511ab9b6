/* SPDX-License-Identifier: MIT */
#include "env/tools/python.h"

#include <string.h>

#include "base/str.h"
#include "env/tools/boxed.h"
#include "env/tools/cells.h"

const char PYTHON_DESCRIPTION[] = "Runs Python 3 code and returns what it prints.";
const char PYTHON_SESSION_DESCRIPTION[] =
    "Runs Python 3 code and returns what it prints. Variables last from call to call.";
const char PYTHON_PARAMETERS[] =
    "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}},\"required\":[\"code\"]}";

/* Code may hold NULs, about which python has its own opinion. */
static char *code_of(void *owner, uint64_t call, const json_t *arguments, const tool_context *ctx, size_t *len)
{
    const json_t *code = json_object_get(arguments, "code");
    (void)owner;
    (void)call;
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

/* ---- with variables that last ---- */

static char *cells_of(void *owner, uint64_t call, const json_t *arguments, const tool_context *ctx, size_t *len)
{
    const json_t *code = json_object_get(arguments, "code");
    const size_t bytes = json_string_length(code);
    return cells_request(owner, call, bytes ? json_string_value(code) : "", bytes, ctx, len);
}

static void ended(void *owner, uint64_t call, bool ran) { cells_ended(owner, call, ran); }

static void leave(void *owner, uint64_t play) { cells_leave(owner, play); }

static void free_cells(void *owner) { cells_free(owner); }

int python_session_tool(const box_config *config, int at_once, tool *out, error *err)
{
    boxed_config boxed = {
        .name = PYTHON_NAME,
        .description = PYTHON_SESSION_DESCRIPTION,
        .parameters = PYTHON_PARAMETERS,
        .box = *config,
        .at_once = at_once,
        .owner = cells_new(),
        .request = cells_of,
        .ended = ended,
        .leave = leave,
        .free_owner = free_cells,
    };
    boxed.box.cells = true;
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
