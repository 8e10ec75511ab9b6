/* SPDX-License-Identifier: MIT */
/* troupe env: tools by hand. Lists them, or makes one call, as an episode would; plays an environment, or tests it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/verbs.h"
#include "env/repeat.h"
#include "run/environment_by_hand.h"
#include "run/environment_trial.h"
#include "run/tools_by_hand.h"
#include "show/tools.h"

enum { MAX_REPEATS = 100000, MAX_CALLERS = 256 };

static const char USAGE[] =
    "usage: troupe env list [--recipe RECIPE.lua]\n"
    "       troupe env call --tool NAME ARGUMENTS [--recipe RECIPE.lua] [--repeat N [--callers N]]\n"
    "       troupe env play --recipe RECIPE.lua [--row N] [--seed N]\n"
    "       troupe env test --recipe RECIPE.lua [--resets N]\n\n"
    "list shows tools, call makes one call. play is an episode of the recipe's environment, its T.env{...}, with you "
    "as\n"
    "the policy: a line is what you say, or a tool's name and its arguments as JSON. test finds out whether the\n"
    "environment keeps what docs/env.md asks of one.\n\n"
    "  --recipe RECIPE.lua  the tools of a recipe (default: the python tool with its defaults)\n"
    "  --repeat N           make the call N times and print the latency\n"
    "  --callers N          as N callers that each wait for their answer: N calls at once (default: 1)\n"
    "  --row N              which row of data.train is played (default: 1, the first)\n"
    "  --seed N             the seed that the environment is told (default: 1)\n"
    "  --resets N           episodes after which memory should be what it was (default: 1000)\n\n"
    "example: troupe env call --tool python '{\"code\":\"print(2+2)\"}'\n";

typedef struct request {
    const char *what; /* list, call, play, test */
    const char *recipe, *tool, *arguments_json;
    int64_t repeats, callers, row, seed, resets;
} request;

static bool is(const request *q, const char *what) { return strcmp(q->what, what) == 0; }

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

/* ---- play ---- */

static void hear(void *ctx, const char *words, const char *outcome)
{
    (void)ctx;
    print_text(words);
    json_t *said = outcome ? json_parse(outcome, strlen(outcome), "outcome", NULL) : NULL;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(said, "rewards"), name, value)
        printf("(%s %.6g)\n", name, json_number_value(value));
    if (json_is_true(json_object_get(said, "done"))) printf("(over)\n");
    json_decref(said);
    fflush(stdout); /* a program at the other end of a pipe waits for it */
}

static bool move(void *ctx, str *line)
{
    const bool *terminal = ctx;
    char *text = NULL;
    size_t capacity = 0;
    if (*terminal) {
        fputs("> ", stdout);
        fflush(stdout);
    }
    ssize_t len = getline(&text, &capacity, stdin);
    if (len > 0 && text[len - 1] == '\n') len--;
    if (len > 0) str_add(line, text, strnlen(text, (size_t)len));
    free(text);
    return len >= 0;
}

static int play(const recipe *r, const request *q, error *err)
{
    bool terminal = isatty(0) && isatty(1);
    const environment_by_hand by_hand = { .recipe = r,
                                          .row = (uint64_t)q->row - 1,
                                          .seed = (uint32_t)q->seed,
                                          .ctx = &terminal,
                                          .hear = hear,
                                          .move = move };
    return environment_by_hand_play(&by_hand, err);
}

/* ---- test ---- */

static void tell(void *ctx, const char *check, const char *note, const char *why)
{
    (void)ctx;
    printf("%-7s %-11s %s\n", why ? "FAILED" : "ok", check, why ? why : note);
    fflush(stdout);
}

/* ---- the verb ---- */

/* list, play and test are one word. */
static int check_alone(const arguments *a, const request *q, error *err)
{
    if (a->n_positional > 1 || q->tool)
        return error_set(err, ERR_ARGUMENT, "%s takes no %s", q->what, q->tool ? "--tool" : "further word");
    if (is(q, "list") || q->recipe) return OK;
    return error_set(err, ERR_ARGUMENT, "%s needs --recipe RECIPE.lua, with a T.env{...}", q->what);
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
    q->what = a->positional[0];
    if (!is(q, "call") && !is(q, "list") && !is(q, "play") && !is(q, "test"))
        return error_set(err, ERR_ARGUMENT, "expected list, call, play or test, found '%.80s'", q->what);
    if ((is(q, "call") ? check_call(a, q, err) : check_alone(a, q, err)) != OK) return err->code;

    if (a->n_overrides && !q->recipe)
        return error_set(err, ERR_ARGUMENT, "'%.80s' is a key of a recipe: it needs --recipe RECIPE.lua",
                         a->overrides[0]);
    q->arguments_json = a->positional[1];
    return OK;
}

/* Those for an environment. */
static int run_environment(const request *q, const arguments *a, error *err)
{
    recipe *r = recipe_open(q->recipe, a->overrides, a->n_overrides, err);
    if (!r) return err->code;
    logger *log = logger_new(2, "env", LOG_WARN, false);
    const environment_trial trial = { .recipe = r, .log = log, .resets = q->resets, .tell = tell };
    const int rc = is(q, "play") ? play(r, q, err) : environment_trial_run(&trial, err);
    logger_free(log);
    recipe_free(r);
    return rc;
}

static int run(const request *q, const arguments *a, int *status, error *err)
{
    if (is(q, "play") || is(q, "test")) return run_environment(q, a, err);
    tools_by_hand tools;
    if (tools_by_hand_open(&tools, q->recipe, a->overrides, a->n_overrides, err) != OK) return err->code;
    const int rc = is(q, "call") ? call_tool(tools.router, q, status, err) : show_tools(stdout, tools.router, err);
    tools_by_hand_close(&tools);
    return rc;
}

static int run_verb(call *c, error *err)
{
    request q = { .repeats = 1, .callers = 1, .row = 1, .seed = 1, .resets = 1000 };
    const flag flags[] = { { .name = "--recipe", .text = &q.recipe },
                           { .name = "--tool", .text = &q.tool },
                           { .name = "--repeat", .whole = &q.repeats, .min = 1, .max = MAX_REPEATS },
                           { .name = "--callers", .whole = &q.callers, .min = 1, .max = MAX_CALLERS },
                           { .name = "--row", .whole = &q.row, .min = 1, .max = INT32_MAX },
                           { .name = "--seed", .whole = &q.seed, .min = 0, .max = INT32_MAX },
                           { .name = "--resets", .whole = &q.resets, .min = 10, .max = 10000000 },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    if (read_words(&c->arguments, &q, err) != OK) return call_checked(c, err->code);
    return run(&q, &c->arguments, &c->status, err);
}

const verb VERB_ENV = { .name = "env",
                        .synopsis = "list | call | play | test",
                        .help = "tools and environments by hand",
                        .usage = USAGE,
                        .words = "list, play or test, or call ARGUMENTS",
                        .min_words = 1,
                        .max_words = 2,
                        .keys = true,
                        .run = run_verb };
