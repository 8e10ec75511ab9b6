/* SPDX-License-Identifier: MIT */
/* troupe env: tools by hand. Lists them, or makes one call, as an episode would; plays an environment, or tests it;
 * brings in one of a Python package. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/env_import.h"
#include "cli/makeshift.h"
#include "cli/verbs.h"
#include "env/repeat.h"
#include "run/environment_by_hand.h"
#include "run/environment_trial.h"
#include "run/tools_by_hand.h"
#include "show/tools.h"

enum { MAX_REPEATS = 100000, MAX_CALLERS = 256 };

static const char USAGE[] =
    "usage: troupe env list [--recipe RECIPE.lua | PLUGIN]\n"
    "       troupe env call --tool NAME ARGUMENTS [--recipe RECIPE.lua] [--repeat N [--callers N]]\n"
    "       troupe env play --recipe RECIPE.lua | PLUGIN [--row N|JSON] [--seed N]\n"
    "       troupe env test --recipe RECIPE.lua | PLUGIN [--row JSON] [--resets N]\n"
    "       troupe env import KIND:NAME [--into FOLDER] [--model FOLDER] [--rows N] [--seed N]\n\n"
    "list shows tools, call makes one call. play is an episode of an environment with you as the policy: a line is "
    "what\n"
    "you say, or a tool's name and its arguments as JSON. test finds out whether an environment keeps what "
    "docs/env.md\n"
    "asks of one. import writes a recipe for an environment of a Python package, with its rows and a reward.\n\n"
    "PLUGIN is game.lua, game.so, a program, KIND:NAME, or -- COMMAND WITH ARGUMENTS; to list, also mcp:SERVER, a "
    "command\n"
    "or an address. KIND is gymnasium, openenv, reasoning_gym, skyrl_gym, textworld, verifiers or file, as in\n"
    "gymnasium:FrozenLake-v1 (docs/env_python.md).\n\n"
    "  --recipe RECIPE.lua  the tools of a recipe (default: the python tool with its defaults)\n"
    "  --repeat N           make the call N times and print the latency\n"
    "  --callers N          as N callers that each wait for their answer: N calls at once (default: 1)\n"
    "  --row N              which row is played: of data.train, or of those that KIND:NAME makes (default: 1, the "
    "first)\n"
    "  --row JSON           the row that PLUGIN is played with (default: those that KIND:NAME makes, else {})\n"
    "  --config JSON        the config that PLUGIN is opened with (default: {})\n"
    "  --python PATH        the Python that has KIND's package, or the folder of a virtual environment\n"
    "                       (default: $VIRTUAL_ENV, else python3)\n"
    "  --seed N             the seed that the environment is told; import: of the first row (default: 1)\n"
    "  --resets N           episodes after which memory should be what it was (default: 1000)\n"
    "  --into FOLDER        where import writes (default: a folder with the environment's name)\n"
    "  --model FOLDER       the model that the imported recipe trains (default: models/smollm2)\n"
    "  --data FILE          rows of yours for the imported recipe, in place of those that the environment makes\n"
    "  --rows N             how many rows import writes (default: 256), or KIND:NAME makes (16)\n\n"
    "example: troupe env call --tool python '{\"code\":\"print(2+2)\"}'\n"
    "         troupe env import reasoning_gym:leg_counting --python venv-rg\n";

typedef struct request {
    const char *what; /* list, call, play, test, import */
    const char *recipe, *tool, *arguments_json;
    const char *row_text, *into, *model, *data;
    makeshift_words plugin; /* of list, play, test; its `plugin` is import's KIND:NAME, too */
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

/* ---- what the words ask for, before anything is opened ---- */

enum { ROWS_OF_IMPORT = 256, ROWS_OF_PLUGIN = 16 };

static bool has_plugin(const request *q) { return q->plugin.plugin || q->plugin.n_command > 0; }

/* The words after the first: PLUGIN, or "--" and a command. */
static int take_plugin(const arguments *a, request *q, error *err)
{
    if (a->n_before > 2)
        return error_set(err, ERR_ARGUMENT,
                         "%s takes no further word '%.80s' (a program with arguments: -- COMMAND ...)", q->what,
                         a->positional[2]);
    if (a->n_before == 2) q->plugin.plugin = a->positional[1];
    q->plugin.command = a->positional + a->n_before;
    q->plugin.n_command = a->n_positional - a->n_before;
    if (q->plugin.plugin && q->plugin.n_command > 0)
        return error_set(err, ERR_ARGUMENT, "%s takes '%.80s' or a command, not both", q->what, q->plugin.plugin);
    return OK;
}

/* --row is a row, or the number of one. */
static int take_row(request *q, error *err)
{
    if (!q->row_text) return OK;
    if (q->row_text[0] != '{') return value_whole("--row", q->row_text, 1, INT32_MAX, &q->row, err);
    if (!has_plugin(q)) return error_set(err, ERR_ARGUMENT, "--row JSON is for PLUGIN; a recipe has rows: --row N");
    q->plugin.row = q->row_text;
    return OK;
}

/* An option that this word has no use for was meant for another. */
static int check_options(const request *q, error *err)
{
    const bool plugin = has_plugin(q), import = is(q, "import");
    const struct {
        const char *name;
        bool given, fits;
        const char *goes_with;
    } OPTIONS[] = { { "--into", q->into, import, "import" },
                    { "--model", q->model, import, "import" },
                    { "--data", q->data, import, "import" },
                    { "--config", q->plugin.config, plugin || import, "PLUGIN and import" },
                    { "--python", q->plugin.python, plugin || import, "KIND:NAME" },
                    { "--rows", q->plugin.rows > 0, plugin || import, "KIND:NAME" },
                    { "--row", q->row_text, !import && !is(q, "call") && !is(q, "list"), "play and test" } };
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
        if (OPTIONS[i].given && !OPTIONS[i].fits)
            return error_set(err, ERR_ARGUMENT, "%s goes with %s", OPTIONS[i].name, OPTIONS[i].goes_with);
    return OK;
}

static int check_object(const char *name, const char *text, error *err)
{
    error why = { 0 };
    json_t *value = text ? json_parse(text, strlen(text), name, &why) : json_object();
    const bool good = json_is_object(value);
    json_decref(value);
    if (good) return OK;
    return error_set(err, ERR_ARGUMENT, "%s: expected a JSON object, such as '{\"size\": 5}', found '%.120s'", name,
                     text);
}

static int check_import(const arguments *a, const request *q, error *err)
{
    if (a->n_positional != 2)
        return error_set(err, ERR_ARGUMENT, "import needs one KIND:NAME, such as gymnasium:FrozenLake-v1");
    if (q->recipe) return error_set(err, ERR_ARGUMENT, "import writes a recipe, and takes no --recipe");
    if (strncmp(q->plugin.plugin, "mcp:", 4) == 0)
        return error_set(err, ERR_ARGUMENT,
                         "an MCP server has tools, but no tasks to learn: docs/mcp.md shows its recipe, and "
                         "'troupe env list %.200s' its tools",
                         q->plugin.plugin);
    return OK;
}

/* list, play and test. */
static int check_played(const request *q, error *err)
{
    if (q->recipe && has_plugin(q))
        return error_set(err, ERR_ARGUMENT, "%s takes --recipe or PLUGIN, not both", q->what);
    if (is(q, "list") || q->recipe || has_plugin(q)) {
        const bool mcp = q->plugin.plugin && strncmp(q->plugin.plugin, "mcp:", 4) == 0;
        if (!mcp || is(q, "list")) return OK;
        return error_set(err, ERR_ARGUMENT,
                         "an MCP server has tools, and no episodes to %s: 'troupe env list' shows them", q->what);
    }
    return error_set(
        err, ERR_ARGUMENT,
        "%s needs --recipe RECIPE.lua, with a T.env{...}, or an environment: game.lua, game.so, KIND:NAME, "
        "or -- COMMAND",
        q->what);
}

static int check_call(const arguments *a, const request *q, error *err)
{
    if (!q->tool) return error_set(err, ERR_ARGUMENT, "call needs --tool NAME ('troupe env list' shows them)");
    if (a->n_positional > 2) return error_set(err, ERR_ARGUMENT, "unexpected word '%.80s'", a->positional[2]);
    if (a->n_positional > 1) return OK;
    return error_set(err, ERR_ARGUMENT, "call needs the arguments as JSON: '{\"code\":\"print(2+2)\"}'");
}

static int check_words(const arguments *a, const request *q, error *err)
{
    if (is(q, "call")) return check_call(a, q, err);
    if (q->tool) return error_set(err, ERR_ARGUMENT, "%s takes no --tool", q->what);
    return is(q, "import") ? check_import(a, q, err) : check_played(q, err);
}

static int read_words(const arguments *a, request *q, error *err)
{
    q->what = a->positional[0];
    if (!is(q, "call") && !is(q, "list") && !is(q, "play") && !is(q, "test") && !is(q, "import"))
        return error_set(err, ERR_ARGUMENT, "expected list, call, play, test or import, found '%.80s'", q->what);
    if (!is(q, "call") && take_plugin(a, q, err) != OK) return err->code;
    if (check_words(a, q, err) != OK || take_row(q, err) != OK || check_options(q, err) != OK) return err->code;
    if (check_object("--config", q->plugin.config, err) != OK || check_object("--row", q->plugin.row, err) != OK)
        return err->code;

    if (a->n_overrides && !q->recipe)
        return error_set(err, ERR_ARGUMENT, "'%.80s' is a key of a recipe: it needs --recipe RECIPE.lua",
                         a->overrides[0]);
    if (is(q, "call")) q->arguments_json = a->positional[1];
    return OK;
}

/* ---- the verb ---- */

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

static int run_plugin(request *q, call *c, error *err)
{
    makeshift made;
    if (is(q, "list"))
        q->plugin.rows = 0;
    else if (q->plugin.rows == 0)
        q->plugin.rows = q->row > ROWS_OF_PLUGIN ? q->row : ROWS_OF_PLUGIN;
    const int opened = makeshift_open(&made, &q->plugin, &c->status, err);
    if (opened != OK || c->status != 0) return call_checked(c, opened);
    q->recipe = made.recipe;
    const int rc = run(q, &c->arguments, &c->status, err);
    if (rc != OK) makeshift_unname(&made, err);
    makeshift_close(&made);
    return rc;
}

static int run_import(const request *q, int *status, error *err)
{
    const makeshift_words *w = &q->plugin;
    const env_import made = { .what = w->plugin,
                              .into = q->into,
                              .model = q->model,
                              .python = w->python,
                              .config = w->config,
                              .data = q->data,
                              .rows = w->rows > 0 ? w->rows : ROWS_OF_IMPORT,
                              .seed = q->seed };
    return env_import_run(&made, status, err);
}

static int run_verb(call *c, error *err)
{
    request q = { .repeats = 1, .callers = 1, .row = 1, .seed = 1, .resets = 1000 };
    const flag flags[] = { { .name = "--recipe", .text = &q.recipe },
                           { .name = "--tool", .text = &q.tool },
                           { .name = "--repeat", .whole = &q.repeats, .min = 1, .max = MAX_REPEATS },
                           { .name = "--callers", .whole = &q.callers, .min = 1, .max = MAX_CALLERS },
                           { .name = "--row", .text = &q.row_text },
                           { .name = "--rows", .whole = &q.plugin.rows, .min = 1, .max = 1e6 },
                           { .name = "--config", .text = &q.plugin.config },
                           { .name = "--python", .text = &q.plugin.python },
                           { .name = "--into", .text = &q.into },
                           { .name = "--model", .text = &q.model },
                           { .name = "--data", .text = &q.data },
                           { .name = "--seed", .whole = &q.seed, .min = 0, .max = INT32_MAX },
                           { .name = "--resets", .whole = &q.resets, .min = 10, .max = 10000000 },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    if (read_words(&c->arguments, &q, err) != OK) return call_checked(c, err->code);
    if (is(&q, "import")) return call_checked(c, run_import(&q, &c->status, err));
    if (has_plugin(&q)) return run_plugin(&q, c, err);
    return run(&q, &c->arguments, &c->status, err);
}

const verb VERB_ENV = { .name = "env",
                        .synopsis = "list|call|play|test|import",
                        .help = "tools and environments by hand",
                        .usage = USAGE,
                        .words = "list, play, test, import, or call ARGUMENTS",
                        .min_words = 1,
                        .max_words = MAX_POSITIONAL,
                        .keys = true,
                        .run = run_verb };
