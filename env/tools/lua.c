#include "env/tools/lua.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "lua/bind.h"

typedef struct written_tool {
    vm *vm;
    int function;
    char *name, *description, *parameters;
    vec(tool_result) ready;
} written_tool;

typedef struct calling {
    const written_tool *t;
    const json_t *arguments;
    str out;
} calling;

static int run(lua_State *L)
{
    calling *c = lua_touserdata(L, 1);
    size_t len;
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->t->function);
    bind_push_json(L, c->arguments);
    lua_newtable(L); /* context: nothing in it yet */
    lua_call(L, 2, 1);
    if (lua_istable(L, -1)) {
        json_t *v = bind_to_json(L, -1);
        char *text = json_text(v, true);
        json_decref(v);
        str_puts(&c->out, text);
        free(text);
        return 0;
    }
    const char *text = luaL_tolstring(L, -1, &len);
    str_add(&c->out, text, len);
    return 0;
}

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    written_tool *t = self;
    error why = { 0 };
    json_t *j = json_parse(arguments, strlen(arguments), "arguments", err);
    (void)now_ms, (void)ctx;
    if (!j) return ERR_ARGUMENT;
    calling c = { .t = t, .arguments = j };
    const int64_t began_us = clock_us();
    const int rc = vm_protect(t->vm, run, &c, &why);
    json_decref(j);
    if (rc != OK) {
        str_clear(&c.out);
        str_printf(&c.out, "error: %s", why.text);
    }
    vec_push(&t->ready, (tool_result){ .call = call,
                                       .ok = rc == OK,
                                       .text = str_take(&c.out),
                                       .ms = (double)(clock_us() - began_us) * 1e-3 });
    return OK;
}

static int fds(void *self, struct pollfd *out, int max)
{
    (void)self, (void)out, (void)max;
    return 0;
}

static int64_t deadline_ms(void *self) { return ((written_tool *)self)->ready.len > 0 ? 0 : INT64_MAX; }

static int poll_results(void *self, int64_t now_ms, tool_result *out, int max)
{
    written_tool *t = self;
    int n = 0;
    (void)now_ms;
    while (n < max && t->ready.len > 0) out[n++] = t->ready.data[--t->ready.len];
    return n;
}

static void free_tool(void *self)
{
    written_tool *t = self;
    for (size_t i = 0; i < t->ready.len; i++) free(t->ready.data[i].text);
    vec_free(&t->ready);
    free(t->name);
    free(t->description);
    free(t->parameters);
    free(t);
}

int lua_tool(const lua_tool_config *config, tool *out, error *err)
{
    (void)err;
    written_tool *t = xcalloc(1, sizeof *t);
    *t = (written_tool){ .vm = config->vm,
                         .function = config->function,
                         .name = xstrdup(config->name),
                         .description = xstrdup(config->description),
                         .parameters = xstrdup(config->parameters) };
    *out = (tool){ .name = t->name,
                   .description = t->description,
                   .parameters = t->parameters,
                   .self = t,
                   .begin = begin,
                   .fds = fds,
                   .poll = poll_results,
                   .deadline_ms = deadline_ms,
                   .free = free_tool };
    return OK;
}
