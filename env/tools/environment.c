/* SPDX-License-Identifier: MIT */
#include "env/tools/environment.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* One world behind several tools of the router. The one that resets listens for all, and lets go of plays. */
typedef struct shared {
    world *world;
    int users;
} shared;

typedef struct part {
    shared *played;
    const char *tool; /* NULL: one of our own */
} part;

static int reset(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    (void)arguments;
    return world_reset(((part *)self)->played->world, call, ctx, now_ms, err);
}

static int step(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    const part *p = self;
    return world_step(p->played->world, call, p->tool, arguments, ctx, now_ms, err);
}

static void cancel(void *self, uint64_t call) { world_cancel(((part *)self)->played->world, call); }

static void leave(void *self, uint64_t play) { world_leave(((part *)self)->played->world, play); }

static int fds(void *self, struct pollfd *out, int max) { return world_fds(((part *)self)->played->world, out, max); }

static int take(void *self, int64_t now_ms, tool_result *out, int max)
{
    return world_poll(((part *)self)->played->world, now_ms, out, max);
}

static int64_t deadline_ms(void *self) { return world_deadline_ms(((part *)self)->played->world); }

static void let_go(shared *s)
{
    if (--s->users > 0) return;
    world_free(s->world);
    free(s);
}

static void part_free(void *self)
{
    let_go(((part *)self)->played);
    free(self);
}

static part *part_of(shared *s, const char *name)
{
    part *p = xcalloc(1, sizeof *p);
    *p = (part){ .played = s, .tool = name };
    s->users++;
    return p;
}

static int add_reset(router *r, shared *s, error *err)
{
    return router_add(r,
                      &(tool){ .name = ROUTER_RESET,
                               .description = "",
                               .parameters = "{}",
                               .self = part_of(s, NULL),
                               .begin = reset,
                               .cancel = cancel,
                               .fds = fds,
                               .poll = take,
                               .deadline_ms = deadline_ms,
                               .free = part_free,
                               .leave = leave,
                               .own = true },
                      err);
}

static int add_step(router *r, shared *s, const world_tool *t, error *err)
{
    return router_add(r,
                      &(tool){ .name = t ? t->name : ROUTER_SAY,
                               .description = t ? t->description : "",
                               .parameters = t ? t->parameters : "{}",
                               .self = part_of(s, t ? t->name : NULL),
                               .begin = step,
                               .cancel = cancel,
                               .free = part_free,
                               .own = !t,
                               .once = true },
                      err);
}

static int add_all(router *r, shared *s, error *err)
{
    int rc = router_has_environment(r) ? error_set(err, ERR_STATE, "there is more than one T.env") : OK;
    if (rc == OK) rc = add_reset(r, s, err);
    if (rc == OK) rc = add_step(r, s, NULL, err);
    for (size_t i = 0; rc == OK && i < world_n_tools(s->world); i++)
        rc = add_step(r, s, world_tool_at(s->world, i), err);
    return rc;
}

static int add_words(router *r, const world *w, error *err)
{
    int rc = OK;
    for (size_t i = 0; rc == OK && i < world_n_tools(w); i++) {
        const world_tool *t = world_tool_at(w, i);
        rc = router_add_words(r, t->name, t->description, t->parameters, err);
    }
    return rc;
}

int environment_add(router *r, const world_config *config, bool words, error *err)
{
    shared *s = xcalloc(1, sizeof *s);
    s->users = 1; /* this function, until it returns */
    s->world = world_open(config, err);
    int rc = ERR_PEER;
    if (s->world) rc = words ? add_words(r, s->world, err) : add_all(r, s, err);
    let_go(s);
    return rc;
}
