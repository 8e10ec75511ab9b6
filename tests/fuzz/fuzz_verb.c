/* SPDX-License-Identifier: MIT */
/* fuzz_verb - files that verbs read: metrics.jsonl (plot, forgetting, a resumed run), problems of moo,
 * conversations and chat templates (render), shots, rows of data, run.json. Any bytes give a result or a sentence.
 *
 * Input: one byte that chooses the file, then what stands in it. */
#include "base/json.h"
#include "run/run_dir.h"
#include "run/run_files.h"
#include "run/shots.h"
#include "run/silence.h"
#include "show/sinks.h"
#include "cli/verbs.h"
#include "curriculum/sampler.h"
#include "curriculum/templates.h"
#include "learner/methods/preference.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* `words`: up to the first NULL. */
static void run(const verb *v, const char *const *words)
{
    char *argv[8] = { (char *)(uintptr_t)v->name };
    error err = { 0 };
    call c = { .verb = v, .argc = 1, .argv = argv };
    while (words[c.argc - 1]) argv[c.argc] = (char *)(uintptr_t)words[c.argc - 1], c.argc++;
    const int rc = v->run(&c, &err);
    if (rc != OK && rc != CALL_OVER) fuzz_failed(rc, &err);
}

static void read_metrics(str_view text)
{
    char svg[256];
    error err = { 0 };
    silence s;
    fuzz_put("metrics.jsonl", text);
    fuzz_path(svg, sizeof svg, "out.svg");
    run(&VERB_PLOT, (const char *const[]){ svg, fuzz_folder(), NULL });
    run(&VERB_FORGETTING, (const char *const[]){ fuzz_folder(), "--json", NULL });
    silence_init(&s, &(silence_config){ .patience = 3 });
    silence_recall(&s, fuzz_folder());
    sinks *k = sinks_open(fuzz_folder(), -1, 2, &err);
    if (!k) fuzz_failed(err.code, &err);
    sinks_close(k);
}

static void read_problems(str_view text)
{
    char path[256];
    fuzz_put("problems.jsonl", text);
    if (!freopen(fuzz_path(path, sizeof path, "problems.jsonl"), "re", stdin)) abort();
    run(&VERB_MOO, (const char *const[]){ "--method", "mgda", NULL });
}

static void read_messages(str_view text)
{
    char path[256];
    fuzz_put("messages.json", text);
    fuzz_put("tokenizer_config.json", text);
    fuzz_path(path, sizeof path, "messages.json");
    run(&VERB_RENDER, (const char *const[]){ path, "--dialect", "qwen3", NULL });
    run(&VERB_RENDER, (const char *const[]){ path, "--model", fuzz_folder(), "--json", NULL });
}

static void read_shots(str_view text)
{
    char path[256];
    error err = { 0 };
    shot_pool shots = { 0 };
    fuzz_put("shots.jsonl", text);
    int rc = shots_read(&shots, fuzz_path(path, sizeof path, "shots.jsonl"), &err);
    if (rc == OK) rc = shots_check_tools(&shots, "[{\"name\": \"python\"}]", &err);
    if (rc != OK) fuzz_failed(rc, &err);
    shots_free(&shots);
}

/* What rows may say beside a prompt: group, complexity, preference. */
static void read_rows(str_view text)
{
    char path[256];
    error err = { 0 };
    const double complexity[] = { 0.2, 0.8 };
    const sampler_config how = { .kind = SAMPLE_BY_FAILURE,
                                 .group = 2,
                                 .complexity = complexity,
                                 .n_templates = 2,
                                 .stages = { { .groups = { "a" }, .n_groups = 1, .gate = 2 } },
                                 .n_stages = 1 };
    const objective_set two = { .n = 2, .items = { { .name = "x", .weight = 1 }, { .name = "y", .weight = 1 } } };
    fuzz_put("rows.jsonl", text);
    dataset *d = dataset_open(fuzz_path(path, sizeof path, "rows.jsonl"), 0, &err);
    if (!d) {
        fuzz_failed(err.code, &err);
        return;
    }
    sampler *s = sampler_new(&how, d, &err);
    if (!s) fuzz_failed(err.code, &err);
    if (s) sampler_pick(s, 1, 4, (picked_row[4]){ 0 });
    sampler_free(s);
    template_bandit *b = template_bandit_new(complexity, 2, d, &err);
    if (!b) fuzz_failed(err.code, &err);
    template_bandit_free(b);
    const int rc = preference_check(d, 100, "preference", &two, &err);
    if (rc != OK) fuzz_failed(rc, &err);
    dataset_free(d);
}

/* With a seal that fits, or the seal would be all that is looked at. */
static void read_run(str_view text)
{
    error err = { 0 };
    json_t *json = json_parse(text.data, text.len, "run.json", NULL);
    if (json_is_object(json)) {
        json_seal(json);
        char *sealed = json_text(json, false);
        fuzz_put("run.json", (str_view){ sealed, strlen(sealed) });
        free(sealed);
    } else {
        fuzz_put("run.json", text);
    }
    json_decref(json);
    run_dir r;
    (void)run_files_is_run(fuzz_folder());
    recipe *with = run_dir_resume(&r, fuzz_folder(), &(resume_options){ 0 }, &err);
    if (!with) fuzz_failed(err.code, &err);
    recipe_free(with);
    run_dir_end(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const READERS[])(str_view) = { read_metrics, read_problems, read_messages,
                                                 read_shots,   read_rows,     read_run };
    static bool quiet;
    if (!quiet && !freopen("/dev/null", "we", stdout)) abort();
    quiet = true;
    if (size < 1) return 0;
    READERS[(data[0] - '0') % 6u]((str_view){ (const char *)data + 1, size - 1 });
    return 0;
}
