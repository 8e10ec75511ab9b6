/* SPDX-License-Identifier: MIT */
/* troupe env: tools by hand. Lists them, or makes one call, as an episode would. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"
#include "env/repeat.h"
#include "run/tools_by_hand.h"
#include "show/tools.h"

enum { MAX_REPEATS = 100000, MAX_CALLERS = 256 };

static const char USAGE[] =
    "usage: troupe env list [--recipe RECIPE.lua]\n"
    "       troupe env call --tool NAME ARGUMENTS [--recipe RECIPE.lua] [--repeat N [--callers N]]\n\n"
    "  --recipe RECIPE.lua  the tools of a recipe (default: the python tool with its defaults)\n"
    "  --repeat N           make the call N times and print the latency\n"
    "  --callers N          as N callers that each wait for their answer: N calls at once (default: 1)\n\n"
    "example: troupe env call --tool python '{\"code\":\"print(2+2)\"}'\n";

typedef struct request {
    bool calls; /* else it lists */
    const char *recipe, *tool, *arguments_json;
    int64_t repeats, callers;
} request;

/* ---- call ---- */

static void print_text(const char *text)
{
    const size_t len = strlen(text);
    fputs(text, stdout);
    if (len == 0 || text[len - 1] != '\n') putchar('\n');
}

/* The first result is printed: it stands for all. status 0: the tool did it; 1: it told of an error. */
static int call_tool(router *r, const request *q, int *status, error *err)
{
    const repetition what = {
        .tool = q->tool, .arguments_json = q->arguments_json, .calls = (int)q->repeats, .callers = (int)q->callers
    };
    tool_result first;
    latency took;
    const int rc = repeat_calls(r, &what, &first, &took, err);

    if (first.text) print_text(first.text);
    if (rc == OK && what.calls > 1) /* stdout has the tool's words alone */
        fprintf(stderr, "%d calls: p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n", what.calls, took.p50,
                took.p90, took.p99, took.max);
    if (rc == OK) *status = first.ok ? 0 : 1;
    free(first.text);
    return rc;
}

/* ---- the verb ---- */

static int check_list(const arguments *a, const request *q, error *err)
{
    if (a->n_positional == 1 && !q->tool) return OK;
    return error_set(err, ERR_ARGUMENT, "list takes no %s", q->tool ? "--tool" : "further word");
}

static int check_call(const arguments *a, const request *q, error *err)
{
    if (!q->tool) return error_set(err, ERR_ARGUMENT, "call needs --tool NAME ('troupe env list' shows them)");
    if (a->n_positional > 1) return OK;
    return error_set(err, ERR_ARGUMENT, "call needs the arguments as JSON: '{\"code\":\"print(2+2)\"}'");
}

/* What the words ask for, before anything is opened. */
static int read_words(const arguments *a, request *q, error *err)
{
    q->calls = strcmp(a->positional[0], "call") == 0;
    if (!q->calls && strcmp(a->positional[0], "list") != 0)
        return error_set(err, ERR_ARGUMENT, "expected list or call, found '%.80s'", a->positional[0]);
    if ((q->calls ? check_call(a, q, err) : check_list(a, q, err)) != OK) return err->code;

    if (a->n_overrides && !q->recipe)
        return error_set(err, ERR_ARGUMENT, "'%.80s' is a key of a recipe: it needs --recipe RECIPE.lua",
                         a->overrides[0]);
    q->arguments_json = a->positional[1];
    return OK;
}

static int run(const request *q, const arguments *a, int *status, error *err)
{
    tools_by_hand tools;
    if (tools_by_hand_open(&tools, q->recipe, a->overrides, a->n_overrides, err) != OK) return err->code;
    const int rc = q->calls ? call_tool(tools.router, q, status, err) : show_tools(stdout, tools.router, err);
    tools_by_hand_close(&tools);
    return rc;
}

static int run_verb(call *c, error *err)
{
    request q = { .repeats = 1, .callers = 1 };
    const flag flags[] = { { .name = "--recipe", .text = &q.recipe },
                           { .name = "--tool", .text = &q.tool },
                           { .name = "--repeat", .whole = &q.repeats, .min = 1, .max = MAX_REPEATS },
                           { .name = "--callers", .whole = &q.callers, .min = 1, .max = MAX_CALLERS },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    if (read_words(&c->arguments, &q, err) != OK) return call_checked(c, err->code);
    return run(&q, &c->arguments, &c->status, err);
}

const verb VERB_ENV = { .name = "env",
                        .synopsis = "list | call --tool NAME ARGS",
                        .help = "one tool call by hand",
                        .usage = USAGE,
                        .words = "list, or call ARGUMENTS",
                        .min_words = 1,
                        .max_words = 2,
                        .keys = true,
                        .run = run_verb };
