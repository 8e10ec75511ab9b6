/* SPDX-License-Identifier: MIT */
/* What people type wrong, as a table: the command, the exit status (2: bad usage, 1: it can't be done), and the words
 * that tell them what to do. Nothing here may start a process of a run, and nothing may end with 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { MAX_WORDS = 16 };

typedef struct mistake {
    const char *command; /* split at spaces; RECIPE, REWARD and MODEL stand for the calculator's */
    int status;
    const char *says[4];
} mistake;

static char files[3][1100];
static const char *const STANDS[] = { "RECIPE", "REWARD", "MODEL" };

static int find_files(void **state)
{
    (void)state;
    static const char *const PATHS[] = { "recipes/calculator/recipe.lua", "recipes/calculator/reward.lua",
                                         "models/stagehand" };
    const char *source = getenv("TROUPE_SOURCE");
    for (int i = 0; source && i < 3; i++) snprintf(files[i], sizeof files[i], "%s/%s", source, PATHS[i]);
    return source ? 0 : 1;
}

static void expect(const mistake *m)
{
    const char *words[MAX_WORDS + 1] = { NULL };
    char *text = strdup(m->command);
    int n = 0;
    for (char *rest = text, *word; n < MAX_WORDS && (word = strsep(&rest, " "));) {
        words[n] = word;
        for (int i = 0; i < 3; i++)
            if (strcmp(word, STANDS[i]) == 0) words[n] = files[i];
        n++;
    }
    outcome o = troupe_run(NULL, 60, words);
    for (int i = 0; i < 4 && m->says[i]; i++)
        if (!strstr(o.text, m->says[i])) fail_msg("%s: expected '%s' in: %s", m->command, m->says[i], o.text);
    if (o.status != m->status) fail_msg("%s: status %d: %s", m->command, o.status, o.text);
    outcome_free(&o);
    free(text);
}

static void expect_all(const mistake *all, size_t n)
{
    for (size_t i = 0; i < n; i++) expect(&all[i]);
}
#define EXPECT_ALL(table) expect_all(table, sizeof table / sizeof *(table))

static void values_of_options_are_checked(void **state)
{
    (void)state;
    static const mistake ALL[] = {
        { "eval RECIPE --prompts x", 2, { "--prompts", "whole number", "'x'" } },
        { "eval RECIPE --prompts -3", 2, { "--prompts", "from 0", "'-3'" } },
        { "eval RECIPE --prompts 3x", 2, { "--prompts", "'3x'" } },
        { "eval RECIPE --shots -1", 2, { "--shots", "from 0 to 64", "'-1'" } },
        { "eval RECIPE --shots 1.5", 2, { "--shots", "'1.5'" } },
        { "eval RECIPE --shots=", 2, { "--shots", "''" } },
        { "chat RECIPE --shots x", 2, { "--shots", "'x'" } },
        { "chat RECIPE --temperature hot", 2, { "--temperature", "'hot'" } },
        { "chat RECIPE --temperature -1", 2, { "--temperature", "from 0 to 100" } },
        { "rollouts runs/x --step x", 2, { "--step", "'x'" } },
        { "rollouts runs/x --limit -1", 2, { "--limit", "from 1" } },
        { "rollouts runs/x --limit 0", 2, { "--limit", "from 1" } },
        { "rollouts runs/x --id zz", 2, { "--id", "hexadecimal", "'zz'" } },
        { "rollouts runs/x --json --text", 2, { "not both" } },
        { "score REWARD x.jsonl --timeout abc", 2, { "--timeout", "'abc'" } },
        { "score REWARD x.jsonl --timeout -5", 2, { "--timeout", "from 1" } },
        { "train RECIPE --every x", 2, { "--every", "'x'" } },
        { "train RECIPE --every 0", 2, { "--every", "from 1" } },
        { "env call --tool python {} --repeat 0", 2, { "--repeat", "from 1" } },
        { "env call --tool python {} --repeat many", 2, { "--repeat", "'many'" } },
        { "probe --model MODEL --text hi --greedy -1", 2, { "--greedy", "from 0" } },
        { "probe --model MODEL --text hi --greedy 99999999999999999999", 2, { "--greedy" } },
        { "bench train --seconds x", 2, { "--seconds", "'x'" } },
        { "bench train --threads 0", 2, { "--threads", "from 1" } },
        { "bench train --size medium", 2, { "--size", "small, large", "'medium'" } },
        { "bench moo --group 4", 2, { "--group", "goes with train alone" } },
        { "bench train --reply 4", 2, { "--reply", "--group" } },
        { "bench train --model MODEL", 2, { "--model", "only decode" } },
        { "bench decode --model MODEL --size small", 2, { "--model", "--size" } },
        { "bench decode --model nowhere", 1, { "nowhere/config.json" } },
        { "bench train --precision fp8", 2, { "--precision", "f32, bf16", "'fp8'" } },
        { "export --model MODEL --dtype f16 out", 2, { "--dtype", "f32, bf16", "'f16'" } },
        { "import --from ggml a b c", 2, { "--from", "llama2.c", "'ggml'" } },
        { "moo --method mgda --order random", 2, { "--order", "natural" } },
        { "moo --method mgda c=x", 2, { "c", "'x'" } },
        { "moo --method mgda c=-1", 2, { "c", "from 0" } },
        { "learner RECIPE --run r --bind ipc://x --rank x", 2, { "--rank", "'x'" } },
        { "reward-host a b c d e f g", 2, { "descriptor", "'b'" } },
    };
    EXPECT_ALL(ALL);
}

static void options_and_words_that_nobody_takes_are_refused(void **state)
{
    (void)state;
    static const mistake ALL[] = {
        { "train", 2, { "RECIPE.lua", "--resume RUN" } },
        { "train RECIPE --resume r", 2, { "--resume takes no RECIPE.lua", "--take-changes" } },
        { "train --resume r --fresh", 2, { "--resume continues a run and --fresh starts it over" } },
        { "train --resume r --run-dir x", 2, { "--run-dir is for a new one" } },
        { "train RECIPE --take-changes", 2, { "--take-changes goes with --resume" } },
        { "train RECIPE --without-episodes", 2, { "--without-episodes goes with --resume" } },
        { "train --markdown", 2, { "--markdown goes with --keys" } },
        { "train RECIPE --steps=3", 2, { "no option '--steps=3'", "without dashes: steps=3" } },
        { "train RECIPE -rollout.group=4", 2, { "without dashes: rollout.group=4" } },
        { "train RECIPE RECIPE", 2, { "unexpected word" } },
        { "train steps=3", 2, { "RECIPE.lua" } },
        { "train RECIPE --stepz 3", 2, { "no option '--stepz'" } },
        { "eval", 2, { "usage: troupe eval" } },
        { "eval RECIPE --modle x", 2, { "did you mean '--model'?" } },
        { "eval RECIPE --model --json", 2, { "'--model' needs a value" } },
        { "eval RECIPE --json=yes", 2, { "'--json' takes no value" } },
        { "chat RECIPE hello", 2, { "unexpected word 'hello'" } },
        { "score REWARD", 2, { "REWARD.lua FILE" } },
        { "score REWARD a.jsonl b.jsonl", 2, { "unexpected word 'b.jsonl'" } },
        { "rollouts", 2, { "usage: troupe rollouts" } },
        { "rollouts runs/a runs/b", 2, { "'runs/b'" } },
        { "rollouts runs/a steps=3", 2, { "unexpected word 'steps=3'" } },
        { "plot out.svg", 2, { "OUT.svg RUN" } },
        { "plot out.png run", 2, { "out.png: a drawing is SVG", "ends in .svg" } },
        { "plot a.svg/out.PDF run", 2, { "ends in .svg" } },
        { "plot out.svg 1 2 3 4 5 6 7", 2, { "unexpected word '7'", "six runs" } },
        { "forgetting runs/a x=1", 2, { "'x=1'" } },
        { "env", 2, { "usage: troupe env" } },
        { "env list twice twice", 2, { "list takes no further word" } },
        { "env show", 2, { "list, call, play, test or import", "'show'" } },
        { "env call {}", 2, { "--tool" } },
        { "env call --tool python", 2, { "as JSON" } },
        { "env list env.max_turns=3", 2, { "--recipe" } },
        { "tokenize --model MODEL --decode 99999999999999999999", 2, { "no id at '99999999999999999999'" } },
        { "tokenize --model MODEL --decode x", 2, { "no id at 'x'" } },
        { "moo --method mgda", 1, { "no problem on standard input" } },
        { "eval RECIPE --prompts 1 --out /nowhere/x", 1, { "cannot write /nowhere/x: ", "No such file" } },
        { "doctor now", 2, { "unexpected word 'now'", "options alone" } },
        { "tokenize --model MODEL two words", 2, { "needs quotes" } },
        { "probe --model MODEL --text two words", 2, { "needs quotes" } },
        { "render --template t", 2, { "MESSAGES.json" } },
        { "render messages.json", 2, { "--model DIR or --template FILE" } },
        { "export out", 2, { "--model" } },
        { "import a b c", 2, { "--from" } },
        { "bench", 2, { "usage: troupe bench" } },
        { "bench fast", 2, { "train, decode, moo, ops", "'fast'" } },
        { "moo x --method mgda", 2, { "standard input" } },
        { "actor RECIPE", 2, { "--connect" } },
        { "learner RECIPE", 2, { "--run" } },
        { "pretrain", 2, { "usage: troupe pretrain" } },
        { "pretrain a.lua b.lua", 2, { "'b.lua'" } },
    };
    EXPECT_ALL(ALL);
}

/* A role by hand whose learner never comes says for whom it waits, and for how long. */
static void roles_without_a_learner_give_up(void **state)
{
    (void)state;
    static const mistake ALL[] = {
        { "reward RECIPE --connect ipc:///tmp/troupe-no-learner-here --wait 1",
          1,
          { "waiting for a learner at ipc:///tmp/troupe-no-learner-here, for 1 s",
            "no learner has answered for 1 s" } },
        { "reward RECIPE --connect ipc:///tmp/troupe-no-learner-here --wait soon", 2, { "--wait", "'soon'" } },
        { "actor RECIPE --connect nowhere", 1, { "nowhere", "ipc://" } },
    };
    EXPECT_ALL(ALL);
}

/* ---- recipes ---- */

static char *dir;

/* A recipe that is right but for what `env`, `prompt`, `rest` (each a line of its own) put into it. */
static void write_recipe(const char *tools, const char *prompt, const char *rest)
{
    str text = { 0 };
    const char *source = getenv("TROUPE_SOURCE");
    str_printf(&text,
               "local T = require 'troupe'\n"
               "return { model = '%s/models/stagehand',\n"
               "data = { train = 'd.jsonl', test = 'd.jsonl' },\n"
               "env = { tools = %s },\n"
               "prompt = { instruction = 'Say it.', %s },\n"
               "reward = { script = 'r.lua', objectives = { accuracy = 1 } },\n"
               "%s }\n",
               source, tools, prompt, rest);
    test_file_write(dir, "recipe.lua", text.data);
    str_free(&text);
}

static void write_files(void)
{
    test_file_write(dir, "d.jsonl", "{\"prompt\": \"what is 1234 plus 5678 minus 999 times 3?\", \"answer\": \"2\"}\n");
    test_file_write(dir, "r.lua", "return function(task, episode) return { accuracy = 0 } end\n");
    test_file_write(dir, "shots.jsonl", "{\"prompt\": \"2+2\", \"answer\": \"4\"}\n");
    test_file_write(dir, "empty.jsonl", "\n");
    test_file_write(dir, "noanswer.jsonl", "{\"prompt\": \"2+2\", \"answer\": \"4\"}\n{\"prompt\": \"2+2\"}\n");
    test_file_write(dir, "nostep.jsonl",
                    "{\"prompt\": \"2\", \"steps\": [{\"tool\": \"python\"}], \"answer\": \"4\"}\n");
    test_file_write(dir, "badtool.jsonl",
                    "{\"prompt\": \"2\", \"steps\": [{\"tool\": \"pyton\", \"arguments\": {}, \"result\": \"4\"}], "
                    "\"answer\": \"4\"}\n");
    test_file_write(dir, "torn.jsonl", "{\"prompt\": \"2+2\", \"answer\": \"4\"}\n{\"prompt\": \n");
    test_file_write(dir, "base.lua", "return {\n rollout = {\n  grup = 3 } }\n");
    test_file_write(dir, "broken.lua", "return { prompt = 3 }\n");
}

#define SHOTS(file, n) "shots = T.shots{ file = '" file "', schedule = { { 0, " n " } } }"

#define LADDER(fields) "shots = T.shots{ file = 'shots.jsonl', schedule = 'success', " fields " }"

typedef struct recipe_mistake {
    const char *tools, *prompt, *rest, *says[3];
} recipe_mistake;

/* Found by this process, before there is a run's folder or another process, with the line. */
static void expect_recipes(const recipe_mistake *all, size_t n)
{
    char path[500], run[500];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    write_files();
    for (size_t i = 0; i < n; i++) {
        write_recipe(all[i].tools, all[i].prompt, all[i].rest);
        outcome o = TROUPE("train", path, "--run-dir", run);
        for (int k = 0; k < 3 && all[i].says[k]; k++)
            if (!strstr(o.text, all[i].says[k])) fail_msg("case %zu: expected '%s' in: %s", i, all[i].says[k], o.text);
        if (o.status != 1 || strchr(o.text, '\n') != o.text + strlen(o.text) - 1)
            fail_msg("case %zu: expected one line and status 1, found %d: %s", i, o.status, o.text);
        outcome_free(&o);
        assert_false(dir_exists(run));
    }
    test_folder_remove(dir);
}

static void recipes_are_checked_before_anything_starts(void **state)
{
    (void)state;
    static const recipe_mistake ALL[] = {
        { "{}", "dialect = 'xlm'", "", { "recipe.lua:5: prompt.dialect", "no dialect 'xlm'", "xml, qwen" } },
        { "{}",
          "dialect = 'broken.lua'",
          "",
          { "recipe.lua:5: prompt.dialect", "broken.lua", "no function 'prompt'" } },
        { "{}", "options = { answr = 'x' }", "", { "recipe.lua:5: prompt.options", "no option 'answr'" } },
        { "{}", "options = 'qwen'", "", { "recipe.lua:5: prompt.options", "a table", "'qwen'" } },
        { "{}", "dialect = 'qwen', options = 5", "", { "recipe.lua:5: prompt.options", "a table", "5" } },
        { "{}", "", "moo = {\nover = 'banana' }", { "recipe.lua:8: moo.over", "moo.method", "'banana'" } },
        { "{}", "", "moo = {\nc = 0.3 }", { "recipe.lua:8: moo.c", "moo.method" } },
        { "{ T.python{} }",
          SHOTS("badtool.jsonl", "1"),
          "",
          { "recipe.lua:5: prompt.shots", "badtool.jsonl: shot 1, step 1", "no 'pyton' (did you mean 'python'?)" } },
        { "{}", SHOTS("badtool.jsonl", "1"), "", { "recipe.lua:5", "calls 'pyton'", "env.tools is empty" } },
        { "{}", LADDER(""), "", { "recipe.lua:5: prompt.shots", "levels = { 3, 1, 0 }" } },
        { "{}", LADDER("levels = { 0, 1 }"), "", { "recipe.lua:5: prompt.shots", "levels that fall" } },
        { "{}", LADDER("levels = { 3, 0 }, lost = 0.9"), "", { "recipe.lua:5", "lost (0.9) below enough (0.8)" } },
        { "{}", LADDER("levels = { 3, 0 }, probe = 2"), "", { "recipe.lua:5", "up to 1 for probe" } },
        { "{}", LADDER("levels = { 3, 0 }, probe = 'x'"), "", { "recipe.lua:5", "probe should be a number" } },
        { "{}", LADDER("levels = { 3, 0 }, mixture = 'group'"), "", { "recipe.lua:5", "no mixture beside" } },
        { "{}", LADDER("levels = { 2, 0 }"), "", { "recipe.lua:5", "2 shots in a prompt", "shots.jsonl holds 1" } },
        { "{}", "", "algorithm = {\ncarry = true }", { "recipe.lua:8: algorithm.carry", "algorithm.given" } },
        { "{}", SHOTS("nowhere.jsonl", "1"), "", { "recipe.lua:5: prompt.shots", "nowhere.jsonl" } },
        { "{}", SHOTS("empty.jsonl", "1"), "", { "recipe.lua:5: prompt.shots", "empty.jsonl contains no shots" } },
        { "{}", SHOTS("noanswer.jsonl", "1"), "", { "recipe.lua:5", "noanswer.jsonl:2", "a shot needs \"answer\"" } },
        { "{}", SHOTS("nostep.jsonl", "1"), "", { "recipe.lua:5", "nostep.jsonl:1: step 1", "\"result\"" } },
        { "{}", SHOTS("torn.jsonl", "1"), "", { "recipe.lua:5", "torn.jsonl:2" } },
        { "{}", SHOTS("shots.jsonl", "2"), "", { "recipe.lua:5", "2 shots in a prompt", "shots.jsonl holds 1" } },
        { "{}",
          SHOTS("shots.jsonl", "1"),
          "eval_every = 1,\neval_shots = 9",
          { "recipe.lua:8: eval_shots", "9 shots" } },
        { "{}", "", "eval_every = 1, eval_shots = 1", { "recipe.lua:7: eval_shots", "prompt.shots" } },
        { "{}", "", "device = 'tpu'", { "recipe.lua:7: device", "no device 'tpu'", "auto, cpu, cuda:N" } },
        { "{}", "", "precision = 'fp8'", { "recipe.lua:7: precision", "f32, bf16", "'fp8'" } },
        { "{}", "", "rollout = {\nmax_context = 16 }", { "recipe.lua:8: rollout.max_context", "no prompt", "16" } },
        { "{}", "", "rollout = {\nnum_generations = 4 }", { "recipe.lua:8", "did you mean 'rollout.group'?" } },
        { "{}", "", "name = 'a\\0b'", { "recipe.lua:7: name", "a NUL byte", "'a'" } },
        { "{}", "templates = { 'a\\0b' }", "", { "recipe.lua:5: prompt.templates", "a NUL byte" } },
        { "{}",
          "",
          "model = '../nowhere',\nmodel_from = 'make model'",
          { "recipe.lua:7: model: there is no ", "../nowhere (to get it: make model)" } },
        { "{}", "", "steps = 'many'", { "recipe.lua:7: steps", "expected a number, found 'many'" } },
    };
    expect_recipes(ALL, sizeof ALL / sizeof *ALL);
}

static void tools_are_checked_before_anything_starts(void **state)
{
    (void)state;
    static const recipe_mistake ALL[] = {
        { "T.python{}", "", "", { "recipe.lua:4: env.tools", "a list of T.python{...}" } },
        { "{ T.mcp{} }", "", "", { "recipe.lua:4: T.mcp needs command" } },
        { "{ T.mcp{ command = { 'x', 3 } } }", "", "", { "recipe.lua:4: T.mcp: command should be a list" } },
        { "{ T.mcp{ command = { 'x' }, url = 'http://a/' } }", "", "", { "recipe.lua:4: T.mcp needs command" } },
        { "{ T.mcp{ url = 'localhost:8000' } }", "", "", { "recipe.lua:4: T.mcp: url should be an address" } },
        { "{ T.mcp{ command = { 'x' }, headers = {} } }", "", "", { "recipe.lua:4: T.mcp: headers are of" } },
        { "{ 'python' }", "", "", { "recipe.lua:4: env.tools", "entry 1", "'python'" } },
        { "{ T.python{}, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17 }",
          "",
          "",
          { "recipe.lua:4: env.tools", "17 tools (at most 16" } },
        { "{ T.browser{ k = 3 } }",
          "",
          "",
          { "recipe.lua:4", "there is no T.browser",
            "T.calculator, T.env, T.mcp, T.python, T.random, T.search, T.shots, T.sql, T.submit, T.tool" } },
        { "{ T.search{ k = 3 } }", "", "", { "recipe.lua:4: env.tools", "entry 1", "env.index" } },
        { "{ T.search{ k = 0 } }", "", "", { "recipe.lua:4: T.search: k is 0", "from 1 to 50" } },
        { "{ T.search{ index = 'x' } }", "", "", { "recipe.lua:4: T.search", "env.index" } },
        { "{ T.search{ url = '127.0.0.1:8000' } }", "", "", { "recipe.lua:4: T.search: url should be an address" } },
        { "{ T.search{ url = 'http://a b/' } }", "", "", { "recipe.lua:4: T.search: url should be an address" } },
        { "{ T.search{ headers = {} } }", "", "", { "recipe.lua:4: T.search", "needs url" } },
        { "{ T.search{ url = 'http://a/', headers = { 'x' } } }", "", "", { "recipe.lua:4: T.search: headers" } },
        { "{ T.search{ name = 'answer' } }", "", "", { "recipe.lua:4: T.search", "'answer' is a word" } },
        { "{ T.sql{ database = 'x' } }", "", "", { "recipe.lua:4: T.sql has no field 'database'", "env.database" } },
        { "{ T.sql{ rows = 0 } }", "", "", { "recipe.lua:4: T.sql: rows is 0", "from 1 to 10000" } },
        { "{ T.sql{ limit = 3 } }", "", "", { "recipe.lua:4: T.sql has no field 'limit'", "rows" } },
        { "{ T.sql{ name = 'answer' } }", "", "", { "recipe.lua:4: T.sql", "'answer' is a word" } },
        { "{}, database = 'x.sql'",
          "",
          "",
          { "recipe.lua:4: env.database: it is asked where env.tools has a T.sql{}" } },
        { "{ T.sql{} }, database = 'x.sql'", "", "", { "recipe.lua:4: env.database: there is no ", "x.sql" } },
        { "{ T.sql{} }, database = 'recipe.lua'", "", "", { "recipe.lua:4: env.database: ", "syntax error" } },
        { "{ T.submit{ answer = 'x' } }", "", "", { "recipe.lua:4: T.submit has no field 'answer'" } },
        { "{ T.submit{}, T.submit{} }", "", "", { "recipe.lua:4: env.tools: 2 T.submit{}" } },
        { "{ T.submit{}, T.env{ command = { 'x' } } }", "", "", { "recipe.lua:4: env.tools: T.submit{} beside" } },
        { "{ T.pyhton{} }", "", "", { "recipe.lua:4", "there is no T.pyhton" } },
        { "{ T.python{ memry_mb = 3 } }", "", "", { "recipe.lua:4", "no field 'memry_mb'", "memory_mb" } },
        { "{ T.python{ sandbox = 'jail' } }", "", "", { "recipe.lua:4: T.python", "sandbox", "jail" } },
    };
    expect_recipes(ALL, sizeof ALL / sizeof *ALL);
}

/* A worker on another machine has the recipe and what its own role opens: nothing else is missed, and what is, is said
 * with the recipe's line. */
static void a_role_needs_its_own_files_alone(void **state)
{
    (void)state;
#define NOBODY "RECIPE --connect ipc:///tmp/troupe-no-learner-here --wait 1"
    static const struct {
        const char *model, *script;
        mistake with;
    } ALL[] = {
        { "nowhere", "r.lua", { "reward " NOBODY, 1, { "no learner has answered for 1 s" } } },
        { "nowhere", "nowhere.lua", { "reward " NOBODY, 2, { "recipe.lua:4: reward.script: there is no " } } },
        { "MODEL", "nowhere.lua", { "actor " NOBODY, 1, { "no learner has answered for 1 s" } } },
        { "nowhere", "r.lua", { "actor " NOBODY, 2, { "recipe.lua:2: model: there is no " } } },
        { "nowhere", "nowhere.lua", { "env list --recipe RECIPE", 0, { "twice" } } },
        { "MODEL", "r.lua", { "train RECIPE", 1, { "recipe.lua:3: data.train: there is no " } } },
    };
    char ours[sizeof files[0]];
    char path[500], model[1100];
    dir = test_folder_new();
    write_files();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    memcpy(ours, files[0], sizeof ours);
    snprintf(files[0], sizeof files[0], "%s", path);
    snprintf(model, sizeof model, "%s/models/stagehand", getenv("TROUPE_SOURCE"));
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        char text[3000];
        snprintf(text, sizeof text,
                 "local T = require 'troupe'\n"
                 "return { model = '%s',\n"
                 "data = { train = 'nowhere.jsonl', test = 'nowhere.jsonl' },\n"
                 "reward = { script = '%s', objectives = { accuracy = 1 } },\n"
                 "env = { tools = { T.tool{ name = 'twice', call = function(a) return 2 end } } } }\n",
                 strcmp(ALL[i].model, "MODEL") == 0 ? model : ALL[i].model, ALL[i].script);
        test_file_write(dir, "recipe.lua", text);
        expect(&ALL[i].with);
    }
    memcpy(files[0], ours, sizeof ours);
    test_folder_remove(dir);
}

static void a_mistake_in_a_required_module_names_that_file(void **state)
{
    (void)state;
    char path[500];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    write_files();
    test_file_write(dir, "recipe.lua", "local r = require 'base'\nr.steps = 3\nreturn r\n");
    outcome o = TROUPE("train", path);
    if (!strstr(o.text, "base.lua:3: rollout.grup")) fail_msg("%s", o.text);
    outcome_free(&o);
    test_file_write(dir, "recipe.lua", "\033Lua");
    o = TROUPE("train", path);
    if (o.status != 1 || !strstr(o.text, "recipe.lua: attempt to load a binary chunk")) fail_msg("%s", o.text);
    outcome_free(&o);
    test_file_write(dir, "recipe.lua", "local r = require 'base'\nr.rollout = nil\nr['stepz'] = 3\nreturn r\n");
    o = TROUPE("train", path);
    if (!strstr(o.text, "recipe.lua:3: stepz") || !strstr(o.text, "did you mean 'steps'?")) fail_msg("%s", o.text);
    outcome_free(&o);
    test_folder_remove(dir);
}

/* A hint says what is meant, or there is none. */
static void words_of_other_trainers_are_answered(void **state)
{
    (void)state;
    static const mistake ALL[] = {
        { "train RECIPE algorithm.name=ppo", 1, { "grpo, dapo", "there is no critic", "algorithm.loss" } },
        { "train RECIPE algorithm.name=GAE", 1, { "grpo, dapo", "there is no critic" } },
        { "train RECIPE algorithm.name=GRPO", 1, { "did you mean 'grpo'?" } },
        { "train RECIPE algorithm.name=drgrpo", 1, { "did you mean 'dr_grpo'?" } },
        { "train RECIPE algorithm.kl_kind=low_var_kl", 1, { "did you mean 'k3'?" } },
        { "train RECIPE algorithm.aggregation=token-mean", 1, { "did you mean 'token'?" } },
        { "train RECIPE precision=fp16", 1, { "expected one of f32, bf16, found 'fp16'\n" } },
        { "train RECIPE algorithm.kl_kind=k4", 1, { "found 'k4'\n" } },
        { "train RECIPE critic.lr=1", 1, { "critic.lr", "there is no critic" } },
        { "train RECIPE rollout.top_k=1", 1, { "there is no top-k sampling" } },
        { "train RECIPE env.max_steps=1", 1, { "did you mean 'env.max_turns'?" } },
        { "train RECIPE optim.epsilon=1", 1, { "AdamW's epsilon is 1e-8" } },
        { "train RECIPE rollout.group.x=3", 1, { "argument 'rollout.group.x=3'", "expected a number, found a table" } },
        { "train RECIPE model=nowhere model_from=here", 1, { "nowhere, and none of this name here\n" } },
        { "eval RECIPE prompt.chat_template=model",
          1,
          { "has no chat template (chat_template.jinja, or in tokenizer_config.json)" } },
        { "train RECIPE prompt.shots.schdule=3", 1, { "no field 'schdule'", "did you mean 'schedule'?" } },
        { "train RECIPE prompt.shots.file=nowhere.jsonl", 1, { "there is no ", "nowhere.jsonl, and none of this" } },
        { "train RECIPE reward.objectives.accuracy={lest=0}", 1, { "no field 'lest'", "did you mean 'least'?" } },
        { "train RECIPE data.stages={{steps=3,gats=1}}", 1, { "no field 'gats'", "did you mean 'gate'?" } },
        { "train RECIPE prompt.templates={{text='a',complexity='b'}}", 1, { "complexity = number" } },
        { "train RECIPE prompt.templates={{text='a',complexty=1}}", 1, { "did you mean 'complexity'?" } },
        { "train RECIPE algorithm.clip={0.2,", 1, { "algorithm.clip: not a table as Lua writes it" } },
        { "train RECIPE algorithm.clip={os.exit(),1}", 1, { "algorithm.clip: not a table as Lua writes it" } },
        { "train RECIPE --run-dir /tmp/\xff", 1, { "is not UTF-8" } },
    };
    EXPECT_ALL(ALL);
}

/* What an evaluation and a chat are asked to show has to be there, too. */
static void shots_that_are_not_there_are_refused(void **state)
{
    (void)state;
    static const mistake ALL[] = {
        { "eval RECIPE --shots 64", 1, { "--shots: 64 shots", "shots.jsonl holds 48" } },
        { "eval RECIPE --shots 4 rollout.max_context=100", 1, { "no prompt of data.test fits with 4 shots" } },
        { "eval RECIPE --model nowhere", 1, { "nowhere" } },
        { "eval RECIPE device=tpu", 1, { "argument 'device=tpu'" } },
        { "eval RECIPE optim.lr=1", 1, { "argument 'optim.lr=1'", "does not use this key", "eval_temperature" } },
        { "eval RECIPE rollout.temperature=1", 1, { "does not use this key" } },
        { "eval RECIPE rollout.grup=1", 1, { "did you mean 'rollout.group'?" } },
        { "chat RECIPE steps=3", 1, { "argument 'steps=3'", "chat does not use" } },
        { "env list --recipe RECIPE steps=3", 1, { "env does not use" } },
        { "pretrain nowhere.lua", 1, { "nowhere.lua" } },
        { "chat RECIPE prompt.dialect=xlm", 1, { "argument 'prompt.dialect=xlm'", "no dialect" } },
    };
    EXPECT_ALL(ALL);
}

/* ---- runs that learn nothing ---- */

typedef struct hollow {
    const char *reward, *data, *rest; /* of recipe.lua */
    const char *says[2];
} hollow;

static void expect_hollow(const hollow *h, const char *path, const char *run)
{
    write_files();
    write_recipe("{}", "", h->rest);
    if (h->reward) test_file_write(dir, "r.lua", h->reward);
    if (h->data) test_file_write(dir, "d.jsonl", h->data);
    outcome o =
        TROUPE("train", path, "--run-dir", run, "--fresh", "steps=40", "patience=2", "actors=1", "rollout.group=2",
               "rollout.prompts_per_step=2", "rollout.max_tokens=4", "reward.rehearse=false");
    for (int k = 0; k < 2 && h->says[k]; k++)
        if (!strstr(o.text, h->says[k])) fail_msg("%s: expected '%s' in: %s", h->reward, h->says[k], o.text);
    if (!strstr(o.text, "step 1 had nothing to learn from")) fail_msg("%s: %s", h->reward, o.text);
    if (!strstr(o.text, "2 such steps in a row")) fail_msg("%s: %s", h->reward, o.text);
    if (o.status != 1) fail_msg("%s: status %d: %s", h->reward, o.status, o.text);
    outcome_free(&o);
}

/* Before a model is loaded or a folder made. */
static void addresses_that_others_can_reach_are_refused(void **state)
{
    (void)state;
    static const mistake ALL[] = {
        { "learner RECIPE --run /nowhere/r --bind ipc://@troupe", 1, { "ipc://@troupe", "abstract", "ipc:///path" } },
        { "learner RECIPE --run /nowhere/r --bind tcp://0.0.0.0:5555", 1, { "0.0.0.0", "leaves this machine" } },
        { "learner RECIPE --run /nowhere/r --bind tcp://*:5555", 1, { "tcp://*:5555", "leaves this machine" } },
        { "learner RECIPE --run /nowhere/r --bind tcp://example.org:5555",
          1,
          { "example.org", "leaves this machine" } },
        { "learner RECIPE --run /nowhere/r --bind tcp://[::]:5555", 1, { "[::]", "leaves this machine" } },
        { "learner RECIPE --run /nowhere/r --bind tcp://localhost:x", 2, { "port 'x'", "65535" } },
        { "actor RECIPE --connect ipc://@troupe", 1, { "ipc://@troupe", "abstract" } },
        { "reward RECIPE --connect tcp://10.0.0.1:5555", 1, { "10.0.0.1", "leaves this machine" } },
        { "actor RECIPE --connect tcp://127.0.0.1:*", 2, { "port '*'" } },
    };
    EXPECT_ALL(ALL);
}

static void runs_that_learn_nothing_say_why_and_end(void **state)
{
    (void)state;
    static const hollow ALL[] = {
        { "return function() error('too hard') end",
          NULL,
          "",
          { "r.lua:1: too hard", "4 of 4 episodes have no score" } },
        { "return function() while true do end end", NULL, "seed = 2", { "r.lua:1: stopped after", "no score" } },
        { "return function() return { acuracy = 1 } end",
          NULL,
          "",
          { "did you mean 'acuracy'?", "reward.objectives" } },
        { "return function() return {} end", NULL, "", { "returns no objective 'accuracy'" } },
        { "return function() return 'much' end", NULL, "", { "no score" } },
        { "return function() return { accuracy = 0/0 } end", NULL, "", { "nothing to learn from" } },
        { "return function() return { accuracy = 0.1 } end",
          NULL,
          "",
          { "all 4 episodes have the same reward (0.1)" } },
        { "return function() return { accuracy = 1 } end",
          NULL,
          "",
          { "all 4 episodes have the same reward (1)", "max_tokens = 4" } },
    };
    char path[500], run[500];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) expect_hollow(&ALL[i], path, run);
    test_folder_remove(dir);
}

/* Shorter than its patience: the steps are done, and the status still says that they were for nothing. */
static void a_short_run_without_a_signal_is_no_success(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int status;
        const char *says;
    } ALL[] = {
        { "patience=10", 1, "troupe: train: nothing was learned: in none of 2 steps" },
        { "patience=0", 0, "nothing was learned: no step" }, /* who doesn't mind says so */
        { "optim.lr=0", 0, "note: optim.lr = 0: the model stays as it is" },
    };
    char path[500], run[500];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    write_files();
    write_recipe("{}", "", "");
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        outcome o = TROUPE("train", path, "--run-dir", run, "--fresh", "steps=2", "actors=1", "rollout.group=2",
                           "rollout.prompts_per_step=1", "rollout.max_tokens=4", ALL[i].key);
        if (o.status != ALL[i].status || !strstr(o.text, ALL[i].says)) fail_msg("status %d: %s", o.status, o.text);
        assert_non_null(strstr(o.text, "step 1 had nothing to learn from"));
        assert_non_null(strstr(o.text, "done: 2 steps"));
        outcome_free(&o);
    }
    test_folder_remove(dir);
}

/* It learned from the other objectives: the steps are done, and the status says that one of them was never there. */
static void an_objective_that_is_never_returned_is_no_success(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int status;
        const char *says;
    } ALL[] = {
        { "reward.objectives.acuracy=1", 1,
          "troupe: train: reward.objectives.acuracy: r.lua returned no such objective in" },
        { "reward.objectives.acuracy=0", 0, "done: 2 steps" }, /* of no weight: asked for to be shown */
    };
    char path[500], run[500];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    write_files();
    write_recipe("{}", "", "");
    test_file_write(dir, "r.lua", "return function(task, e) return { accuracy = e.tokens % 2 } end");
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        outcome o = TROUPE("train", path, "--run-dir", run, "--fresh", "steps=2", "actors=1", "rollout.group=8",
                           "rollout.prompts_per_step=2", "rollout.max_tokens=8", ALL[i].key);
        if (o.status != ALL[i].status || !strstr(o.text, ALL[i].says)) fail_msg("status %d: %s", o.status, o.text);
        assert_non_null(strstr(o.text, "done: 2 steps"));
        assert_null(strstr(o.text, "nothing was learned"));
        outcome_free(&o);
    }
    test_folder_remove(dir);
}

/* An evaluation without a single score is no evaluation. */
static void an_evaluation_without_a_score_fails(void **state)
{
    (void)state;
    char path[500];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    write_files();
    write_recipe("{}", "", "");
    test_file_write(dir, "r.lua", "return function() error('too hard') end");
    outcome o = TROUPE("eval", path, "reward.rehearse=false");
    if (o.status != 1 || !strstr(o.text, "none of 1 questions has a score") || !strstr(o.text, "r.lua:1: too hard"))
        fail_msg("status %d: %s", o.status, o.text);
    outcome_free(&o);
    test_folder_remove(dir);
}

/* A row that fits no context is left out and told of; it is no failure of a machine, and the metrics of a step that it
 * leaves empty are no zeros. */
static void a_row_that_does_not_fit_is_left_out_and_told_of(void **state)
{
    (void)state;
    char path[500], run[500];
    str rows = { 0 };
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    write_files();
    write_recipe("{}", "", "");
    for (int i = 0; i < 40; i++)
        str_printf(&rows, "{\"prompt\": \"what is %d plus 5?\", \"answer\": \"%d\"}\n", i, i + 5);
    str_puts(&rows, "{\"prompt\": \"");
    for (int i = 0; i < 100000; i++) str_puts(&rows, "what is ");
    str_puts(&rows, "\", \"answer\": \"5\"}\n");
    test_file_write(dir, "d.jsonl", rows.data);
    test_file_write(dir, "r.lua", "return function(t, e) return { accuracy = #e.text % 7 / 7 } end");
    outcome o = TROUPE("train", path, "--run-dir", run, "steps=12", "rollout.group=2", "rollout.prompts_per_step=4",
                       "rollout.max_tokens=4", "patience=0");
    assert_non_null(strstr(o.text, "note: 1 of 41 prompts of data.train don't fit"));
    assert_non_null(strstr(o.text, "could not be played and are left out: a prompt of"));
    assert_int_equal(o.status, 0);
    double failed[16], unplayable[16];
    const int n = metric_values(run, "step", "exchange/episodes_failed", failed, 16);
    assert_int_equal(metric_values(run, "step", "exchange/episodes_unplayable", unplayable, 16), n);
    assert_true(n == 12 && failed[n - 1] == 0 && unplayable[n - 1] > 0);
    outcome_free(&o);
    str_free(&rows);
    test_folder_remove(dir);
}

/* Nothing was played: there are no figures of it, rather than zeros that look like some. */
static void an_empty_step_has_no_figures(void **state)
{
    (void)state;
    char path[500], run[500];
    str rows = { 0 };
    double values[8];
    dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    write_files();
    write_recipe("{}", "", "");
    str_puts(&rows, "{\"prompt\": \"what is 1 plus 5?\", \"answer\": \"6\"}\n{\"prompt\": \"");
    for (int i = 0; i < 2000; i++) str_puts(&rows, "what is ");
    str_puts(&rows, "\", \"answer\": \"5\"}\n");
    test_file_write(dir, "d.jsonl", rows.data);
    outcome o = TROUPE("train", path, "--run-dir", run, "steps=4", "rollout.group=2", "rollout.prompts_per_step=1",
                       "rollout.max_tokens=4", "patience=0", "--every", "1");
    if (o.status != 0 || !strstr(o.text, "no episode could be played: a prompt of")) fail_msg("%s", o.text);
    if (!strstr(o.text, "  no episode\n") && !strstr(o.text, "  no episode  ")) fail_msg("%s", o.text);
    assert_int_equal(metric_values(run, "step", "training/episodes", values, 8), 4);
    static const char *const ABSENT[] = { "reward/mean", "reward/accuracy/missing", "prompt/shots/mean",
                                          "training/staleness/mean", "actor/entropy" };
    for (size_t i = 0; i < sizeof ABSENT / sizeof *ABSENT; i++)
        if (metric_values(run, "step", ABSENT[i], values, 8) != 2) fail_msg("%s of 2 empty steps of 4", ABSENT[i]);
    outcome_free(&o);
    str_free(&rows);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_options_are_checked),
        cmocka_unit_test(options_and_words_that_nobody_takes_are_refused),
        cmocka_unit_test(roles_without_a_learner_give_up),
        cmocka_unit_test(recipes_are_checked_before_anything_starts),
        cmocka_unit_test(tools_are_checked_before_anything_starts),
        cmocka_unit_test(a_role_needs_its_own_files_alone),
        cmocka_unit_test(a_mistake_in_a_required_module_names_that_file),
        cmocka_unit_test(words_of_other_trainers_are_answered),
        cmocka_unit_test(shots_that_are_not_there_are_refused),
        cmocka_unit_test(addresses_that_others_can_reach_are_refused),
        cmocka_unit_test(runs_that_learn_nothing_say_why_and_end),
        cmocka_unit_test(a_short_run_without_a_signal_is_no_success),
        cmocka_unit_test(an_objective_that_is_never_returned_is_no_success),
        cmocka_unit_test(an_empty_step_has_no_figures),
        cmocka_unit_test(an_evaluation_without_a_score_fails),
        cmocka_unit_test(a_row_that_does_not_fit_is_left_out_and_told_of),
    };
    return cmocka_run_group_tests(tests, find_files, NULL);
}
