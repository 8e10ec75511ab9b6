/* SPDX-License-Identifier: MIT */
#include "env/tools/lua.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "env/sandbox/host.h"
#include "env/tools/boxed.h"
#include "lua/bind.h"

/* {"arguments", "context": {"seed", "episode", "row"}} */
static char *request_of(void *owner, uint64_t id, const json_t *arguments, const tool_context *ctx, size_t *len)
{
    (void)owner;
    (void)id;
    json_t *row = ctx->row ? json_parse(ctx->row, strlen(ctx->row), "row", NULL) : NULL;
    json_t *context = json_pack("{s:I, s:I}", "seed", (json_int_t)ctx->seed, "episode", (json_int_t)ctx->episode);
    if (row) json_object_set_new(context, "row", row);
    json_t *all = json_pack("{s:O, s:o}", "arguments", arguments, "context", context);
    char *text = json_text(all, false);
    json_decref(all);
    *len = strlen(text);
    return text;
}

int lua_tool(const lua_tool_config *config, tool *out, error *err)
{
    const boxed_config boxed = {
        .name = config->name,
        .description = config->description,
        .parameters = config->parameters,
        .box = { .timeout_ms = config->timeout_ms, .output_bytes = 1 << 16, .host = config->host },
        .request = request_of,
    };
    return boxed_tool(&boxed, out, err);
}

/* ---- in the host's child ---- */

typedef struct serving {
    vm *vm;
    int function;
} serving;

typedef struct calling {
    const serving *s;
    const json_t *request;
    str out;
} calling;

static int call(lua_State *L)
{
    calling *c = lua_touserdata(L, 1);
    size_t len;
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->s->function);
    bind_push_json(L, json_object_get(c->request, "arguments"));
    bind_push_json(L, json_object_get(c->request, "context"));
    lua_call(L, 2, 1);

    if (lua_isnil(L, -1)) return luaL_error(L, "the tool returned nothing");
    if (lua_istable(L, -1)) {
        json_t *v = bind_to_json(L, -1);
        char *text = json_text(v, true);
        json_decref(v);
        str_puts(&c->out, text);
        free(text);
        return 0;
    }

    const int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) /* its text would be an address */
        return luaL_error(L, "the tool returned a %s (text, a number, true or false, or a table is expected)",
                          luaL_typename(L, -1));
    const char *text = luaL_tolstring(L, -1, &len);
    str_add(&c->out, text, len);
    return 0;
}

static void write_all(int fd, const str *text)
{
    for (size_t done = 0; done < text->len;) {
        const ssize_t n = write(fd, text->data + done, text->len - done);
        if (n < 0) return;
        done += (size_t)n;
    }
}

/* Without the folders of the file in "/home/me/recipe.lua:5: ...": they are not the policy's business, and the same
 * episode is to read the same everywhere. */
static const char *without_folders(const char *text)
{
    const char *name = text;
    for (const char *p = text; *p && *p != ':' && *p != ' '; p++)
        if (*p == '/') name = p + 1;
    return name;
}

static bool run(void *ctx, const char *request, size_t len, int out_fd)
{
    error err = { 0 };
    calling c = { .s = ctx, .request = json_parse(request, len, "request", &err) };
    const int rc = c.request ? vm_protect(c.s->vm, call, &c, &err) : ERR_PARSE;
    if (rc != OK) {
        str_clear(&c.out);
        str_printf(&c.out, "error: %s", without_folders(err.text));
    }
    write_all(out_fd, &c.out);
    return rc == OK; /* what is held here goes with the process */
}

int lua_tool_serve(vm *v, int function, int sock)
{
    serving s = { v, function };
    const box_host host = { .ctx = &s, .run = run };
    return box_host_main(&host, sock);
}
