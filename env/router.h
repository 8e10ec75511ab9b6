/* SPDX-License-Identifier: MIT */
/* router - tool name -> tool; calls run beside the engine, never in its way.
 *
 * router_begin starts a call and returns at once; the result comes out of router_poll when the tool, or its deadline,
 * has spoken. Every call ends: with an observation, or with a failure of the machinery (another type: see
 * rollout/episode.h). The owner waits on router_fds and calls router_poll when one is readable or a deadline is due.
 *
 * One of the tools may be an environment (env/tools/environment.h): it begins episodes (router_reset), is told of turns
 * without a call (router_say), and lets go of what it keeps for one (router_leave). */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "rollout/episode.h"

typedef struct tool_result {
    uint64_t call;
    bool ok; /* false: the observation tells of an error of the policy's (bad arguments, exception, time limit) */
    failure failed; /* FAIL_NONE, or why the machinery could not say */
    char *text;     /* observation, or the failure's sentence; owned: free */
    double ms;
    char *outcome; /* an environment's, of a step: as in rollout/episode.h; NULL: none. Owned */
} tool_result;
void tool_result_reset(tool_result *r); /* frees what it owns */

/* Whose call it is. What is random in a tool follows from the seed, which is the same whoever plays the episode. */
typedef struct tool_context {
    uint64_t seed;    /* of this call: of the task's seed, its place in the group, and the number of the call */
    uint64_t episode; /* the task's id; 0: none */
    uint64_t play;    /* one play of an episode: no other in this process has this number; 0: none */
    uint64_t start;   /* seed of how an environment begins: the same for all samples of a row */
    const char *turn; /* all that the policy wrote in the turn that made the call; NULL: unknown. Lives as row does */
    const char *row;  /* the data row as JSON text; NULL: none. Lives as long as begin runs */
} tool_context;

/* What a tool implements. begin: starts call `call`; cancel: forget it; fds/poll as the router's. All non-blocking.
 * fds, poll and deadline_ms are NULL together: it has nothing to say, or another tool of the router says it, as of
 * several with one program behind them the first does.
 * `cancel` may be NULL: of a tool without it the router drops what comes of a call that was cancelled. leave: what was
 * kept for a play is not needed any more; NULL: nothing is kept. */
typedef struct tool tool;
struct tool {
    const char *name, *description, *parameters; /* parameters: JSON Schema text */
    void *self;
    int (*begin)(void *self, uint64_t call, const char *arguments_json, const tool_context *ctx, int64_t now_ms,
                 error *err);
    void (*cancel)(void *self, uint64_t call);
    int (*fds)(void *self, struct pollfd *out, int max);
    int (*poll)(void *self, int64_t now_ms, tool_result *out, int max);
    int64_t (*deadline_ms)(void *self); /* when poll must be called at the latest; INT64_MAX: nothing under way */
    void (*free)(void *self);
    void (*leave)(void *self, uint64_t play);
    bool own;  /* called by us alone: the policy is not told of it, and can't call it by its name */
    bool once; /* a lost call is not asked again: what it would say follows from the calls before */
};

typedef struct router router;
router *router_new(logger *lg);
void router_free(router *r); /* frees the tools, kills what runs */
/* Takes the tool. ERR_STATE for a name that is there already, ERR_PARSE for parameters that are no JSON Schema: then
 * the tool is freed. */
int router_add(router *r, const tool *t, error *err);
/* The same of a tool that is only spoken of: the router can be asked for its words, and not to call it. Copies them. */
int router_add_words(router *r, const char *name, const char *description, const char *parameters, error *err);
char *router_tools_json(const router *r); /* [{"name","description","parameters"}, ...]; the caller frees */
/* An unknown tool, or arguments that don't keep to its parameters, is the policy's fault: the call is accepted and
 * yields an observation with ok false. ctx: copied; NULL: a call outside of any episode. */
uint64_t router_begin(router *r, const char *name, const char *arguments_json, const tool_context *ctx, int64_t now_ms);
void router_cancel(router *r, uint64_t call);
/* How the environment's episodes begin and what a turn without a call is: tools of these names, which are `own`. */
#define ROUTER_RESET "(reset)"
#define ROUTER_SAY "(say)"
/* Of ctx->row: the result's text is JSON that belongs into the row. Only where router_has_environment says so. */
uint64_t router_reset(router *r, const tool_context *ctx, int64_t now_ms);
/* said: said_arguments of what the policy wrote. */
uint64_t router_say(router *r, const char *said, const tool_context *ctx, int64_t now_ms);
void router_leave(router *r, uint64_t play);
bool router_has_environment(const router *r);
int router_fds(router *r, struct pollfd *out, int max);
int64_t router_deadline_ms(const router *r);
int router_poll(router *r, int64_t now_ms, tool_result *out, int max);
/* Waits until a tool has something to say or a deadline is due, for at most max_ms: for who has nothing else to wait
 * for. Then router_poll. */
void router_wait(router *r, int64_t max_ms);
/* Blocking convenience for one call (CLI, tests): until call `call` has its result. ERR_STATE: no tool knows of it. */
int router_await(router *r, uint64_t call, tool_result *out, error *err);
/* The same of a call that is begun here. */
int router_call(router *r, const char *name, const char *arguments_json, tool_result *out, error *err);
