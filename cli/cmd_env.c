/* SPDX-License-Identifier: MIT */
/* troupe env: tools by hand. Lists them, or makes one call, as an episode would. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/verbs.h"
#include "env/tools/python.h"
#include "recipe/recipe.h"

enum { MAX_REPEATS = 100000, MAX_CALLERS = 256, WAITED_FDS = 256, LONGEST_WAIT_MS = 1000 };

static const char USAGE[] =
    "usage: troupe env list [--recipe RECIPE.lua]\n"
    "       troupe env call --tool NAME ARGUMENTS [--recipe RECIPE.lua] [--repeat N [--callers N]]\n\n"
    "  --recipe RECIPE.lua  the tools of a recipe (default: the python tool with its defaults)\n"
    "  --repeat N           make the call N times and print the latency\n"
    "  --callers N          as N callers that each wait for their answer: N calls at once (default: 1)\n\n"
    "example: troupe env call --tool python '{\"code\":\"print(2+2)\"}'\n";

static router *default_tools(error *err)
{
    tool python;
    router *r = router_new(NULL);
    const box_config limits = { 0 };
    if (python_tool(&limits, 0, &python, err) == OK && router_add(r, &python, err) == OK) return r;
    router_free(r);
    return NULL;
}

static int list(router *r, error *err)
{
    char *text = router_tools_json(r);
    json_t *tools = json_parse(text, strlen(text), "tools", err);
    size_t i;
    json_t *t;
    json_array_foreach(tools, i, t)
    {
        char *parameters = json_text(json_object_get(t, "parameters"), true);
        printf("%s\n  %s\n  parameters: %s\n", json_string_value(json_object_get(t, "name")),
               json_string_value(json_object_get(t, "description")), parameters);
        free(parameters);
    }
    json_decref(tools);
    free(text);
    return tools ? OK : err->code;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_latency(double *ms, int n)
{
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    fprintf(stderr, "%d calls: p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n", n, ms[n / 2], ms[n * 9 / 10],
            ms[n * 99 / 100], ms[n - 1]);
}

typedef struct repetition {
    router *router;
    const char *name, *json;
    int repeats, at_once; /* how many calls, and how many of them are under way at any time */
    int begun, ended;
    double *ms; /* [repeats], in the order in which the calls ended */
} repetition;

/* Waits until a tool has something to say, or its deadline is due. */
static void wait_for_tools(router *r)
{
    struct pollfd fds[WAITED_FDS];
    const int n = router_fds(r, fds, WAITED_FDS);
    int64_t left = router_deadline_ms(r) - clock_ms();
    if (left > LONGEST_WAIT_MS) left = LONGEST_WAIT_MS;
    poll(fds, (nfds_t)n, left > 0 ? (int)left : 0);
}

/* The first result is printed: it stands for all. */
static void print_result(const tool_result *result)
{
    const size_t len = strlen(result->text);
    fputs(result->text, stdout);
    if (len == 0 || result->text[len - 1] != '\n') putchar('\n');
}

static int take(repetition *rep, tool_result *result, int *status, error *err)
{
    int rc = OK;
    if (result->failed != FAIL_NONE)
        rc = error_set(err, ERR_PEER, "%s: %s: %s", rep->name, failure_name(result->failed), result->text);
    if (rc == OK && rep->ended == 0) {
        print_result(result);
        *status = result->ok ? 0 : 1;
    }
    rep->ms[rep->ended++] = result->ms;
    free(result->text);
    return rc;
}

/* Like callers that each wait for an answer before they ask again. status 0: the tool did it; 1: it told of an error;
 * the machinery's failures are errors. */
static int make_calls(repetition *rep, int *status, error *err)
{
    int rc = OK;
    while (rc == OK && rep->ended < rep->repeats) {
        while (rep->begun < rep->repeats && rep->begun - rep->ended < rep->at_once) {
            router_begin(rep->router, rep->name, rep->json, NULL, clock_ms());
            rep->begun++;
        }

        tool_result results[WAITED_FDS];
        const int n = router_poll(rep->router, clock_ms(), results, WAITED_FDS);
        for (int i = 0; i < n; i++) {
            const int taken = take(rep, &results[i], status, err);
            if (rc == OK) rc = taken;
        }
        if (n == 0) wait_for_tools(rep->router);
    }
    return rc;
}

static int call_tool(router *r, const char *name, const char *json, int repeats, int callers, int *status, error *err)
{
    repetition rep = { .router = r, .name = name, .json = json, .repeats = repeats, .at_once = callers };
    rep.ms = xcalloc((size_t)repeats, sizeof *rep.ms);
    const int rc = make_calls(&rep, status, err);
    if (rc == OK && repeats > 1) print_latency(rep.ms, repeats);
    free(rep.ms);
    return rc;
}

/* What the words ask for, before anything is opened. */
static int check(const arguments *a, bool calls, const char *recipe_path, const char *name, error *err)
{
    const bool lists = strcmp(a->positional[0], "list") == 0;
    if (!calls && !lists) return error_set(err, ERR_ARGUMENT, "expected list or call, found '%.80s'", a->positional[0]);
    if (lists && (a->n_positional > 1 || name))
        return error_set(err, ERR_ARGUMENT, "list takes no %s", name ? "--tool" : "further word");
    if (calls && !name) return error_set(err, ERR_ARGUMENT, "call needs --tool NAME ('troupe env list' shows them)");
    if (calls && a->n_positional < 2)
        return error_set(err, ERR_ARGUMENT, "call needs the arguments as JSON: '{\"code\":\"print(2+2)\"}'");
    if (a->n_overrides && !recipe_path)
        return error_set(err, ERR_ARGUMENT, "'%.80s' is a key of a recipe: it needs --recipe RECIPE.lua",
                         a->overrides[0]);
    return OK;
}

static int run_verb(call *c, error *err)
{
    const char *path = NULL, *name = NULL;
    int64_t repeats = 1, callers = 1;
    const flag flags[] = { { .name = "--recipe", .text = &path },
                           { .name = "--tool", .text = &name },
                           { .name = "--repeat", .whole = &repeats, .min = 1, .max = MAX_REPEATS },
                           { .name = "--callers", .whole = &callers, .min = 1, .max = MAX_CALLERS },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    const bool calls = strcmp(c->arguments.positional[0], "call") == 0;
    if (check(&c->arguments, calls, path, name, err) != OK) return call_checked(c, err->code);

    recipe *recipe_file = path ? recipe_open(path, c->arguments.overrides, c->arguments.n_overrides, err) : NULL;
    static const char *const USED[] = { "env", NULL };
    const bool fit = recipe_file && recipe_uses(recipe_file, "env", USED, err) == OK;
    router *r = NULL;
    if (!path)
        r = default_tools(err);
    else if (fit)
        r = recipe_router(recipe_file, NULL, err);

    int rc = r ? OK : err->code;
    if (rc == OK)
        rc = calls ? call_tool(r, name, c->arguments.positional[1], (int)repeats, (int)callers, &c->status, err)
                   : list(r, err);
    router_free(r);
    recipe_free(recipe_file);
    if (rc != OK) c->status = 0;
    return rc;
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
