/* SPDX-License-Identifier: MIT */
#include "env/tools/mcp.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* One server behind several tools of the router. The first of them listens for all. */
typedef struct shared {
    mcp_client *client;
    int users;
} shared;

typedef struct part {
    shared *server;
    size_t tool;
} part;

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    const part *p = self;
    return mcp_begin(p->server->client, p->tool, call, arguments, ctx, now_ms, err);
}

static void cancel(void *self, uint64_t call) { mcp_cancel(((part *)self)->server->client, call); }

static int fds(void *self, struct pollfd *out, int max) { return mcp_fds(((part *)self)->server->client, out, max); }

static int take(void *self, int64_t now_ms, tool_result *out, int max)
{
    return mcp_poll(((part *)self)->server->client, now_ms, out, max);
}

static int64_t deadline_ms(void *self) { return mcp_deadline_ms(((part *)self)->server->client); }

static void let_go(shared *s)
{
    if (--s->users > 0) return;
    mcp_free(s->client);
    free(s);
}

static void part_free(void *self)
{
    let_go(((part *)self)->server);
    free(self);
}

static int add(router *r, shared *s, size_t i, bool first, error *err)
{
    const mcp_tool *t = mcp_tool_at(s->client, i);
    part *p = xcalloc(1, sizeof *p);
    *p = (part){ .server = s, .tool = i };
    s->users++;
    return router_add(r,
                      &(tool){ .name = t->name,
                               .description = t->description,
                               .parameters = t->parameters,
                               .self = p,
                               .begin = begin,
                               .cancel = cancel,
                               .fds = first ? fds : NULL,
                               .poll = first ? take : NULL,
                               .deadline_ms = first ? deadline_ms : NULL,
                               .free = part_free },
                      err);
}

static int add_words(router *r, const mcp_tool *t, error *err)
{
    return router_add_words(r, t->name, t->description, t->parameters, err);
}

/* ---- which ---- */

static bool is_named(const char *const *only, const mcp_tool *t)
{
    for (; *only; only++)
        if (strcmp(*only, t->asked) == 0 || strcmp(*only, t->name) == 0) return true;
    return false;
}

static int no_such_tool(const mcp_client *c, const char *name, error *err)
{
    str known = { 0 };
    for (size_t i = 0; i < mcp_n_tools(c); i++) str_printf(&known, " %s", mcp_tool_at(c, i)->asked);
    const int rc = error_set(err, ERR_NOT_FOUND, "MCP server %s has no tool '%.80s' (it has:%.600s)", mcp_name(c), name,
                             str_text(&known));
    str_free(&known);
    return rc;
}

static int check_only(const mcp_client *c, const mcp_tools_config *config, error *err)
{
    for (const char *const *name = config->only; name && *name; name++) {
        const char *const one[] = { *name, NULL };
        bool found = false;
        for (size_t i = 0; i < mcp_n_tools(c); i++) found |= is_named(one, mcp_tool_at(c, i));
        if (!found) return no_such_tool(c, *name, err);
    }
    if (mcp_n_tools(c) > 0) return OK;
    return error_set(err, ERR_NOT_FOUND, "MCP server %s has no tools", mcp_name(c));
}

int mcp_add_tools(router *r, const mcp_tools_config *config, error *err)
{
    shared *s = xcalloc(1, sizeof *s);
    s->users = 1; /* this function, until it returns */
    s->client = mcp_open(&config->server, err);
    int rc = s->client ? check_only(s->client, config, err) : ERR_PEER;

    bool first = true;
    for (size_t i = 0; rc == OK && i < mcp_n_tools(s->client); i++) {
        const mcp_tool *t = mcp_tool_at(s->client, i);
        if (config->only && !is_named(config->only, t)) continue;
        rc = config->words ? add_words(r, t, err) : add(r, s, i, first, err);
        first = false;
    }
    let_go(s);
    return rc;
}
