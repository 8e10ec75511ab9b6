/* SPDX-License-Identifier: MIT */
/* troupe env: tools by hand. Lists them, or makes one call, as an episode would. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/verbs.h"
#include "env/tools/python.h"
#include "recipe/recipe.h"

enum { MAX_REPEATS = 100000 };

static const char USAGE[] =
    "usage: troupe env list [--recipe RECIPE.lua]\n"
    "       troupe env call --tool NAME ARGUMENTS [--recipe RECIPE.lua] [--repeat N]\n\n"
    "  --recipe RECIPE.lua  the tools of a recipe (default: the python tool with its defaults)\n"
    "  --repeat N           make the call N times and print the latency\n\n"
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

/* 0: the tool did it; 1: it told of an error; the machinery's failures are errors. */
static int call_tool(router *r, const char *name, const char *json, int repeats, int *status, error *err)
{
    double *ms = xcalloc((size_t)repeats, sizeof *ms);
    int rc = OK;
    for (int i = 0; rc == OK && i < repeats; i++) {
        tool_result result = { 0 };
        rc = router_call(r, name, json, &result, err);
        if (rc == OK && result.failed != FAIL_NONE)
            rc = error_set(err, ERR_PEER, "%s: %s: %s", name, failure_name(result.failed), result.text);
        if (rc == OK && i == 0) fputs(result.text, stdout), *status = result.ok ? 0 : 1;
        if (rc == OK && i == 0 && (!result.text[0] || result.text[strlen(result.text) - 1] != '\n')) putchar('\n');
        ms[i] = result.ms;
        free(result.text);
    }
    if (rc == OK && repeats > 1) print_latency(ms, repeats);
    free(ms);
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
    int64_t repeats = 1;
    const flag flags[] = { { .name = "--recipe", .text = &path },
                           { .name = "--tool", .text = &name },
                           { .name = "--repeat", .whole = &repeats, .min = 1, .max = MAX_REPEATS },
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
        rc = calls ? call_tool(r, name, c->arguments.positional[1], (int)repeats, &c->status, err) : list(r, err);
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
