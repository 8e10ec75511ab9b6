/* SPDX-License-Identifier: MIT */
/* Each verb once as a newcomer types it, and the mistakes they make first:
 * every one ends with a sentence that helps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

static char recipe[1100], reward[1100], model[1100];

static int find_files(void **state)
{
    (void)state;
    const char *source = getenv("TROUPE_SOURCE");
    if (!source) return 1;
    snprintf(recipe, sizeof recipe, "%s/recipes/calculator/recipe.lua", source);
    snprintf(reward, sizeof reward, "%s/recipes/calculator/reward.lua", source);
    snprintf(model, sizeof model, "%s/models/stagehand", source);
    return 0;
}

static void contains(const char *text, const char *word)
{
    if (word && !strstr(text, word)) fail_msg("expected '%s' in: %s", word, text);
}

/* Ends with `status` and says all of `words` (NULL-terminated). */
static void expect(outcome o, int status, const char *const *words)
{
    for (; *words; words++) contains(o.text, *words);
    if (o.status != status) fail_msg("expected status %d, found %d: %s", status, o.status, o.text);
    outcome_free(&o);
}
#define EXPECT(status, o, ...) expect(o, status, (const char *const[]){ __VA_ARGS__, NULL })

static void help_is_there_for_every_verb(void **state)
{
    (void)state;
    static const char *const VERBS[] = { "train",    "sft",     "eval",       "chat",   "pretrain",  "score",
                                         "rollouts", "plot",    "forgetting", "env",    "probe",     "tokenize",
                                         "doctor",   "learner", "actor",      "reward", "advantage", "loss",
                                         "moo",      "bench",   "render",     "import", "export" };
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++)
        EXPECT(0, TROUPE(VERBS[i], "--help"), "usage: troupe", VERBS[i]);
    EXPECT(0, TROUPE("help", "train"), "usage: troupe train", "--take-changes");
    EXPECT(0, TROUPE("--help"), "train", "doctor");
    EXPECT(0, TROUPE("--version"), "troupe 0.");
}

static void typing_errors_name_the_nearest_right_word(void **state)
{
    (void)state;
    EXPECT(2, TROUPE("trian"), "did you mean 'train'?");
    EXPECT(2, TROUPE("train", recipe, "--frehs"), "did you mean '--fresh'?");
    EXPECT(1, TROUPE("train", recipe, "rollout.groups=4"), "rollout.groups", "4", "did you mean 'rollout.group'?");
    EXPECT(1, TROUPE("train", recipe, "rollout.group=many"), "rollout.group", "expected a number", "many");
}

static void mistakes_in_a_recipe_have_file_and_line(void **state)
{
    (void)state;
    char path[400];
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/bad.lua", dir);
    test_file_write(dir, "bad.lua", "return {\n    name = \"x\",\n    rollout = {\n        grup = 3,\n    },\n}\n");
    EXPECT(1, TROUPE("train", path), "bad.lua:4", "rollout.grup", "did you mean 'rollout.group'?");
    test_file_write(dir, "bad.lua", "return {\n    name = = 3\n}\n");
    EXPECT(1, TROUPE("train", path), "bad.lua:2");
    test_file_write(dir, "bad.lua", "while true do end\n");
    EXPECT(1, TROUPE("train", path), "bad.lua");
    test_folder_remove(dir);
}

static void missing_files_are_named(void **state)
{
    (void)state;
    EXPECT(1, TROUPE("train", "/nowhere/recipe.lua"), "/nowhere/recipe.lua");
    EXPECT(1, TROUPE("train", recipe, "model=/nowhere"), "model", "/nowhere");
    EXPECT(1, TROUPE("train", recipe, "data.train=/nowhere.jsonl"), "data.train", "/nowhere.jsonl");
    EXPECT(1, TROUPE("train", recipe, "reward.script=/nowhere.lua"), "reward.script", "/nowhere.lua");
    EXPECT(1, TROUPE("eval", recipe, "--model", "/nowhere"), "/nowhere");
    EXPECT(1, TROUPE("rollouts", "/nowhere"), "/nowhere is not a run");
    /* --model takes the recipe's place in everything: what is said is not of the model that is not used. */
    EXPECT(1, TROUPE("eval", recipe, "model=/nowhere", "--model", model, "prompt.chat_template=model"),
           "stagehand has no chat template");
    EXPECT(1, TROUPE("train", "--resume", "/nowhere"), "/nowhere");
    EXPECT(1, TROUPE("probe", "--model", "/nowhere", "--text", "x"), "/nowhere");
    /* What is there and can't be read is not said to be absent (a link to itself: root may read all else). */
    char *dir = test_folder_new(), link[400];
    snprintf(link, sizeof link, "%s/rollouts.db", dir);
    assert_int_equal(symlink("rollouts.db", link), 0);
    EXPECT(1, TROUPE("rollouts", dir), "rollouts.db could not be opened: Too many levels");
    snprintf(link, sizeof link, "%s/run.json", dir);
    assert_int_equal(symlink("run.json", link), 0);
    EXPECT(1, TROUPE("train", "--resume", dir), "run.json", "Too many levels");
    /* What a learner by hand would write over. */
    char bind[400];
    test_file_write(dir, "metrics.jsonl", "mine");
    snprintf(bind, sizeof bind, "ipc://%s/socket", dir);
    EXPECT(1, TROUPE("learner", recipe, "--run", dir, "--bind", bind),
           "metrics.jsonl exists and does not belong to a run");
    test_file_write(dir, "socket", "mine");
    snprintf(link, sizeof link, "%s/new", dir);
    EXPECT(2, TROUPE("learner", recipe, "--run", link, "--bind", bind), "socket exists and is not a socket");
    test_folder_remove(dir);
}

static void tools_can_be_called_by_hand(void **state)
{
    (void)state;
    need_sandbox();
    EXPECT(0, TROUPE("env", "list"), "python", "parameters");
    EXPECT(0, TROUPE("env", "call", "--tool", "python", "{\"code\":\"print(2+2)\"}"), "4");
    EXPECT(1, TROUPE("env", "call", "--tool", "python", "{\"code\":\"1/0\"}"), "ZeroDivisionError");
    EXPECT(0,
           TROUPE("env", "call", "--tool", "python", "{\"code\":\"print(6*7)\"}", "--repeat", "20", "--callers", "8"),
           "42", "20 calls: p50");
    EXPECT(1, TROUPE("env", "call", "--tool", "pyhton", "{}"), "there is no tool 'pyhton'", "python");
    EXPECT(0, TROUPE("env", "call", "--recipe", recipe, "--tool", "python", "{\"code\":\"print(6*7)\"}"), "42");
}

static void a_model_can_be_evaluated_and_asked(void **state)
{
    (void)state;
    need_sandbox();
    EXPECT(0, TROUPE("eval", recipe, "--prompts", "16", "--shots", "3"), "eval/accuracy/mean", "tools/calls");
    EXPECT(0, TROUPE("eval", recipe, "--prompts", "16", "--json"), "\"eval/accuracy/mean\": 0",
           "\"eval/episodes\": 16");
    const char *const chat[] = { "chat", recipe, "--shots", "2", NULL };
    EXPECT(0, troupe_run("what is 348 times 28?\n", 60, chat), "<python>print(348*28)</python><result>9744</result>");
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The episodes of an evaluation with `word` added, a line each, sorted: those that call no tool end first. */
static char *episodes_with(const char *folder, const char *word)
{
    enum { MAX_LINES = 64 };
    char path[1200], *lines[MAX_LINES];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/episodes.jsonl", folder);
    EXPECT(0, TROUPE("eval", recipe, "eval_prompts=16", "eval_shots=3", "eval_temperature=1", word, "--out", path),
           "eval/accuracy/mean");

    char *text = test_file_read(folder, "episodes.jsonl");
    for (char *line = strtok(text, "\n"); line && n < MAX_LINES; line = strtok(NULL, "\n")) lines[n++] = line;
    assert_true(n > 0);
    qsort(lines, n, sizeof *lines, by_text);

    str sorted = { 0 };
    for (size_t i = 0; i < n; i++) str_printf(&sorted, "%s\n", lines[i]);
    free(text);
    return str_take(&sorted);
}

/* The promise: a key on the command line is obeyed, or refused (test_mistakes.c), and never taken and forgotten. */
static void each_key_that_eval_accepts_changes_what_is_played(void **state)
{
    (void)state;
    need_sandbox();
    static const char *const WORDS[] = { "seed=2",
                                         "eval_prompts=8",
                                         "eval_shots=1",
                                         "eval_temperature=0",
                                         "rollout.top_p=0.05",
                                         "rollout.max_tokens=4",
                                         "prompt.instruction=Calculate:",
                                         "env.max_turns=0",
                                         "env.max_observation=1" };
    char *folder = test_folder_new();
    char *base = episodes_with(folder, "eval_prompts=16"), *again = episodes_with(folder, "learner_threads=1");
    assert_string_equal(base, again);
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        char *other = episodes_with(folder, WORDS[i]);
        if (strcmp(base, other) == 0) fail_msg("%s has no effect", WORDS[i]);
        free(other);
    }
    free(base);
    free(again);
    test_folder_remove(folder);
}

static void text_becomes_ids_and_logits(void **state)
{
    (void)state;
    EXPECT(0, TROUPE("tokenize", "--model", model, "what is 12 plus 30?"), "344");
    EXPECT(0, TROUPE("probe", "--model", model, "--text", "what is", "--greedy", "3", "--json"), "\"ids\"",
           "\"token_logprobs\"");
}

static void near(const json_t *got, const json_t *want, const char *key)
{
    const json_t *a = json_object_get(got, key), *b = json_object_get(want, key);
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(b); i++)
        test_near(json_number_value(json_array_get(a, i)), json_number_value(json_array_get(b, i)), 1e-4, key);
}

/* What tests/golden/make_llama.py had from `transformers`, through the verb. */
static void the_probe_prints_what_transformers_computes(void **state)
{
    (void)state;
    static const char *const FOLDERS[] = { "llama_tied", "llama_untied" };
    for (int f = 0; f < 2; f++) {
        char dir[1100], path[1200];
        error err = { 0 };
        snprintf(dir, sizeof dir, "%s/tests/golden/%s", getenv("TROUPE_SOURCE"), FOLDERS[f]);
        json_t *golden = json_parse_file(path_join(path, sizeof path, dir, "golden.json"), &err);
        const json_t *want = json_array_get(json_object_get(golden, "cases"), 0);
        const char *text = json_string_value(json_object_get(want, "text"));
        outcome o = TROUPE("probe", "--model", dir, "--text", text, "--greedy", "16", "--json");
        json_t *got = json_parse(o.text, strlen(o.text), "probe", &err);
        if (!got) fail_msg("%s: %s", err.text, o.text);
        assert_true(json_equal(json_object_get(got, "ids"), json_object_get(want, "ids")));
        assert_true(json_equal(json_object_get(got, "greedy_ids"), json_object_get(want, "greedy_ids")));
        near(got, want, "token_logprobs");
        near(got, want, "last_logits");
        json_decref(got);
        json_decref(golden);
        outcome_free(&o);
    }
}

static void answers_are_scored_offline(void **state)
{
    (void)state;
    char path[400];
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/a.jsonl", dir);
    test_file_write(dir, "right.lua",
                    "local verify = require 'troupe.verify'\n"
                    "return function(task, episode) return { right = verify.math_equal(episode.answer or nil, "
                    "task.answer) and 1 or 0 } end\n");
    test_file_write(
        dir, "a.jsonl",
        "{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"<answer>2.0</answer>\"}\n"
        "{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"<python>print(1+1)</python><answer>3</answer>\"}\n"
        "{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"no idea\"}\n");
    char script[400];
    snprintf(script, sizeof script, "%s/right.lua", dir);
    EXPECT(0, TROUPE("score", script, path), "1: right 1", "2: right 0", "3: right 0", "mean 0.3333 over 3");
    test_file_write(dir, "right.lua", "return function(task, episode) error('too hard') end\n");
    EXPECT(0, TROUPE("score", script, path), "missing", "right.lua:1: too hard", "3 without a score");
    test_file_write(dir, "right.lua", "return function(\n");
    EXPECT(1, TROUPE("score", script, path), "right.lua:", "expected near");
    test_folder_remove(dir);
}

/* What is no row costs itself: it is named with its line, and the others have their scores and their ids. */
static void a_bad_row_costs_itself(void **state)
{
    (void)state;
    char path[TEST_PATH], script[TEST_PATH];
    char *dir = test_folder_new();
    test_file_at(dir, "r.lua",
                 "return function(task, episode) return { right = episode.answer == task.answer and 1 or 0 } end\n",
                 script);
    test_file_at(dir, "a.jsonl",
                 "\xef\xbb\xbf{\"id\":\"first\",\"answer\":\"2\",\"response\":\"<answer>2</answer>\"}\n"
                 "{\"id\":2,\"response\":\"\\ud800\"}\n"
                 "{\"n\":12345678901234567890,\"response\":\"x\"}\n"
                 "{\"n\":NaN,\"response\":\"x\"}\n\n"
                 "{\"id\":\"silent\"}\n"
                 "{\"id\":7,\"answer\":\"2\",\"response\":\"<answer>3</answer>\"}",
                 path);
    EXPECT(0, TROUPE("score", script, path), "1: right 1", "a.jsonl:2:", "too big integer",
           "a.jsonl:4:", "a.jsonl:6: row: response", "6: right 0", "(4 of them are lines that could not be read)");
    EXPECT(0, TROUPE("score", script, path, "--json"), "{\"id\":\"first\",\"episode\":1,\"status\":\"ok\"",
           "{\"id\":\"silent\",\"episode\":5,\"status\":\"row\"", "{\"id\":7,\"episode\":6");
    test_file_write(dir, "r.lua", "return function(task, episode) return { right = task.anwser and 1 or 0 } end\n");
    EXPECT(0, TROUPE("score", script, path), "r.lua:1: task has no field 'anwser': did you mean 'answer'?");
    /* What only an episode that was played has is no 0 for a response from a file. */
    test_file_write(dir, "r.lua", "return function(task, episode) return { right = episode.tokens } end\n");
    EXPECT(0, TROUPE("score", script, path), "r.lua:1: a response from a file has no 'tokens'");
    test_file_write(dir, "r.lua",
                    "local verify = require 'troupe.verify'\n"
                    "return function(task, episode) return verify.tool_calls(episode, 'python') end\n");
    EXPECT(0, TROUPE("score", script, path), "r.lua:2: ", "a response from a file has no 'tool_calls'");
    test_file_write(dir, "a.jsonl", "nothing\n");
    EXPECT(1, TROUPE("score", script, path), "a.jsonl:1:");
    test_folder_remove(dir);
}

static void a_run_can_be_read_scored_again_and_drawn(void **state)
{
    (void)state;
    need_sandbox();
    char run[400], db[450], svg[400];
    const char *words[64];
    char *dir = test_folder_new();
    snprintf(run, sizeof run, "%s/a run", dir);
    snprintf(db, sizeof db, "%s/rollouts.db", run);
    snprintf(svg, sizeof svg, "%s/curve.svg", dir);
    train_words(words, recipe, run, (const char *const[]){ "steps=2", "eval_every=2", "eval_prompts=4", NULL });
    EXPECT(0, troupe_run(NULL, 240, words), "0.693 M parameters, f32, on", "plan  2 steps of 2 prompts x 4 episodes",
           "eval at step 0 (0 shots, 4 questions)", "step 2/2", "eval at step 2", "done: 2 steps",
           "accuracy:  rollouts", "next:  troupe chat", "a run' --text --limit 5", "a run/checkpoints/step-2'");
    EXPECT(1, troupe_run(NULL, 60, words), "exists", "--resume", "--fresh");
    /* There is nothing to resume, and no evaluation to be played again. */
    outcome again = TROUPE("train", "--resume", run);
    assert_null(strstr(again.text, "eval at step"));
    EXPECT(0, again, "finished: all 2 steps", "checkpoints/step-2");
    EXPECT(1, TROUPE("train", "--resume", run, "steps=1"), "steps = 1, but 2 steps of this run are done",
           "/checkpoints");
    EXPECT(0, TROUPE("rollouts", run, "--step", "1"), "step 1", "shots 3", "trained: 2 steps, 4 groups, 16 episodes");
    EXPECT(0, TROUPE("rollouts", run, "--step", "1", "--text", "--limit", "1"), "<python>");
    EXPECT(0, TROUPE("rollouts", run, "--eval", "--json"), "\"eval\":true");
    EXPECT(1, TROUPE("rollouts", run, "--step", "77"), "no such episodes");
    EXPECT(0, TROUPE("score", reward, db), "24 episodes, 0 without a score");
    EXPECT(0, TROUPE("plot", svg, run, run, run, run), "");
    EXPECT(1, TROUPE("plot", svg, run, "--objective", "acuracy"), "no values of 'acuracy' yet (it has accuracy)");
    EXPECT(1, TROUPE("plot", svg, dir), "is not a run");
    EXPECT(1, TROUPE("eval", recipe, "--model", run), "is a run; its models are in", "checkpoints/step-N");
    EXPECT(1, TROUPE("forgetting", run), "no evaluations of data groups");
    size_t len;
    char *text = bytes_of(svg, &len);
    assert_non_null(strstr(text, "</svg>"));
    /* The title has its line to itself, however many runs the legend names. */
    char *title = strstr(text, "y=\"22\"");
    assert_non_null(title);
    assert_null(strstr(title + 1, "y=\"22\""));
    assert_non_null(strstr(title, "y=\"44\">a run</text>"));
    assert_non_null(strstr(title, "y=\"62\">a run</text>"));
    free(text);
    test_folder_remove(dir);
}

static void a_model_is_pretrained_and_opens_again(void **state)
{
    (void)state;
    char out[400], override[450], generator[1200];
    char *dir = test_folder_new();
    snprintf(out, sizeof out, "%s/model", dir);
    snprintf(override, sizeof override, "out=%s", out);
    snprintf(generator, sizeof generator, "%s/recipes/calculator/pretrain.lua", getenv("TROUPE_SOURCE"));
    EXPECT(0, TROUPE("pretrain", generator, override, "steps=3", "threads=1", "report_every=1"), "step 3/3", "loss",
           "wrote");
    EXPECT(0, TROUPE("probe", "--model", out, "--text", "what is 12 plus 30?", "--greedy", "2"), "");
    EXPECT(1, TROUPE("pretrain", generator, override, "stps=3"), "did you mean 'steps'?");
    EXPECT(1, TROUPE("pretrain", generator, override, "zzzzzzz=3"), "troupe pretrain --help lists them");
    test_folder_remove(dir);
}

static void a_pretraining_names_what_its_function_did_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *document, *sentence;
    } CASES[] = {
        { "3", "pretrain.lua:1: document: expected a function(rng, progress)" },
        { "function() return {} end", "document: expected a text, found a table" },
        { "function() end", "document: expected a text, found a nil" },
        { "function(rng) return 'a' .. rng(0) end", "rng(n): n must be positive" },
        { "function() error('no words left') end", "pretrain.lua:1: no words left" },
    };
    char path[1200], out[1200], text[1400];
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/pretrain.lua", dir);
    snprintf(out, sizeof out, "out=%s/model", dir);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(text, sizeof text, "return { model = '%s', document = %s }", model, CASES[i].document);
        test_file_write(dir, "pretrain.lua", text);
        EXPECT(1, TROUPE("pretrain", path, out), CASES[i].sentence);
    }
    test_folder_remove(dir);
}

static void the_doctor_finds_the_machine_fit(void **state)
{
    (void)state;
    outcome o = TROUPE("doctor");
    assert_non_null(strstr(o.text, "python tool"));
    assert_non_null(strstr(o.text, "cpu"));
    if (strstr(o.text, "system calls allowed")) { /* there is a sandbox: each of its layers was tried */
        static const char *const LAYERS[] = { "root", "read-only", "nobody", "system calls", "memory", "processor" };
        for (size_t i = 0; i < sizeof LAYERS / sizeof *LAYERS; i++) contains(o.text, LAYERS[i]);
        assert_null(strstr(o.text, "did not hold"));
    }
    outcome_free(&o); /* its verdict is about the machine, not about us */
}

static void moo_answers_each_line(void **state)
{
    (void)state;
#define MOO(input, ...) troupe_run(input, 60, (const char *const[]){ "moo", __VA_ARGS__, NULL })
    EXPECT(0, MOO("{\"J\":[[1,3],[-3,-1]]}\n\n{\"G\":[[10,-6],[-6,10]],\"pref\":[1,1]}\n", "--method", "mgda"),
           "{\"weights\":[0.5,0.5],\"direction\":[-1,1],\"cosines\":[[1,-0.5", "{\"weights\":[0.5,0.5],\"cosines\"");
    EXPECT(2, MOO("", "--method", "cagard"), "no method 'cagard' (did you mean 'cagrad'?)");
    EXPECT(2, MOO("", "--method", "zzz"), "no method 'zzz' (there are sum, pref, mgda,");
    EXPECT(2, MOO("", "--method", "cagrad", "d=3"), "no setting 'd'");
    EXPECT(1, MOO("{\"J\":[[1,3],[-3]]}", "--method", "mgda"), "line 1: J: row 1: expected 2 numbers, found 1");
    EXPECT(1, MOO("{\"J\":[[1,0],[0,1]],\"pref\":[0,0]}", "--method", "mgda"), "line 1: pref: all are 0");
    EXPECT(1, MOO("{}\n", "--method", "mgda"), "line 1: expected \"J\"");
    EXPECT(1, MOO("{\"J\":", "--method", "mgda"), "line 1");
    EXPECT(1, MOO("{\"J\":[1,2]}", "--method", "mgda"), "J: row 0: expected a list of at least one number");
    EXPECT(1, MOO("{\"J\":[[1],[2]],\"prefs\":[0,1]}", "--method", "mgda"), "no key \"prefs\" (J, G, pref)");
    EXPECT(1, MOO("{\"J\":[[1]],\"G\":[[1]]}", "--method", "mgda"), "expected \"J\" or \"G\", found both");
    EXPECT(1, MOO("{\"J\":[[1e200],[1]]}", "--method", "mgda"), "objectives 0 and 0 is inf");
#undef MOO
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moo_answers_each_line),
        cmocka_unit_test(help_is_there_for_every_verb),
        cmocka_unit_test(typing_errors_name_the_nearest_right_word),
        cmocka_unit_test(mistakes_in_a_recipe_have_file_and_line),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(tools_can_be_called_by_hand),
        cmocka_unit_test(a_model_can_be_evaluated_and_asked),
        cmocka_unit_test(each_key_that_eval_accepts_changes_what_is_played),
        cmocka_unit_test(text_becomes_ids_and_logits),
        cmocka_unit_test(the_probe_prints_what_transformers_computes),
        cmocka_unit_test(answers_are_scored_offline),
        cmocka_unit_test(a_bad_row_costs_itself),
        cmocka_unit_test(a_run_can_be_read_scored_again_and_drawn),
        cmocka_unit_test(a_model_is_pretrained_and_opens_again),
        cmocka_unit_test(a_pretraining_names_what_its_function_did_wrong),
        cmocka_unit_test(the_doctor_finds_the_machine_fit),
    };
    return cmocka_run_group_tests(tests, find_files, NULL);
}
