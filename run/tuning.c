/* SPDX-License-Identifier: MIT */
#include "run/tuning.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "run/check_data.h"
#include "run/episode_runner.h"
#include "run/keeping.h"
#include "run/rendezvous.h"
#include "run/run_dir.h"
#include "run/session_settings.h"
#include "run/tuning_test.h"
#include "show/shell_word.h"
#include "show/sinks.h"

enum { CHECKED_ROWS = 64, SAME_EVENT_MS = 1000, SILENCE_MS = 10000 };

typedef struct tuning {
    const tuning_options *options;
    FILE *to;
    run_dir run;
    recipe *recipe;
    dataset *train, *test; /* test: NULL without one */
    device *device;
    hf_folder *model;
    episode_runner *words; /* tokenizer and dialect */
    tuning_rows rows;
    trainer *trainer;
    sinks *sinks;
    metrics *metrics;
    char checkpoint[1200]; /* that is resumed; "": none */
    int64_t from, saved;   /* steps done before, and those of the newest checkpoint; saved -1: none */
    int64_t cut, empty;    /* rows that were cut, and of which nothing was left */
    double first, last;    /* losses */
    double before, after;  /* bits a byte of the test, before and after */
    int64_t began_ms, shown_ms;
} tuning;

/* ---- signals ---- */

static volatile sig_atomic_t asked; /* the signal that asked to stop; a handler has no other way to say it */
static volatile int64_t asked_ms;

/* Who asks a second time does not want to wait; one event may come as two signals, as in run/fleet.c. */
static void on_signal(int number)
{
    if (!asked) {
        asked = number;
        asked_ms = clock_ms();
        return;
    }
    if (number == asked && clock_ms() - asked_ms < SAME_EVENT_MS) return;
    signal(number, SIG_DFL);
    raise(number);
}

static void take_signals(void)
{
    static const int STOPS[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU };
    struct sigaction how = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&how.sa_mask);
    for (size_t i = 0; i < sizeof STOPS / sizeof *STOPS; i++) sigaction(STOPS[i], &how, NULL);
    signal(SIGPIPE, SIG_IGN); /* `troupe sft | head`: the reader is gone, the run continues */
}

/* ---- what has to hold before anything is written ---- */

static const char *rows_key(const tuning *t, const dataset *d) { return d == t->train ? "data.train" : "data.test"; }

/* All rows have a form; the first ones become tokens, too, which shows what dialect and tokenizer say of them. */
static int check_rows(const tuning *t, const dataset *d, error *err)
{
    error why = { 0 };
    uint64_t learned = 0;
    const char *key = rows_key(t, d);
    for (uint64_t i = 0; i < dataset_size(d); i++) {
        bool cut;
        const char *row = dataset_row(d, i);
        episode *e = i < CHECKED_ROWS ? tuning_row(&t->rows, row, &cut, &why) : NULL;
        const int rc = i < CHECKED_ROWS ? (e ? OK : why.code) : tuning_row_check(row, &why);
        episode_free(e);
        learned += rc == OK;
        if (rc == OK || rc == ERR_LIMIT) continue;
        error_within(&why, "row %" PRIu64, i + 1);
        return recipe_error(t->recipe, key, &why, err);
    }
    if (learned > 0) return OK;
    error_set(&why, ERR_LIMIT, "no row has anything to learn within sft.max_tokens = %" PRId64,
              t->recipe->sft.max_tokens);
    return recipe_error(t->recipe, key, &why, err);
}

/* The objectives of fine-tuning are the rows' groups: there is one loss, and no reward. */
static int check_moo(const recipe *r, error *err)
{
    error why = { .code = ERR_ARGUMENT };
    const moo_over over = r->trainer.moo.over;
    if (over == MOO_OVER_NOTHING || over == MOO_OVER_GROUPS) return OK;
    snprintf(why.text, sizeof why.text,
             "fine-tuning has no rewards to reconcile; \"groups\" reconciles groups of rows");
    return recipe_error(r, "moo.over", &why, err);
}

static int check_recipe(const recipe *r, error *err)
{
    const unsigned needs = NEEDS_MODEL | NEEDS_TRAIN | NEEDS_TEST | NEEDS_WORDS;
    return check_moo(r, err) == OK ? check_data(r, needs, err) : err->code;
}

static int open_words(tuning *t, error *err)
{
    const recipe *r = t->recipe;
    const model_config *mc = &t->model->config;
    if (!(t->words = episode_runner_of_words(r, mc, err))) return err->code;
    t->rows = (tuning_rows){
        .recipe = r, .tokenizer = t->words->tokenizer, .dialect = t->words->dialect, .eos = mc->eos, .n_eos = mc->n_eos
    };
    return OK;
}

static int open_rows(tuning *t, error *err)
{
    const recipe *r = t->recipe;
    if (!(t->train = recipe_rows(r, r->curriculum.train, err))) return err->code;
    if (check_rows(t, t->train, err) != OK) return err->code;
    if (!r->curriculum.test[0]) return OK;
    if (!(t->test = recipe_rows(r, r->curriculum.test, err))) return err->code;
    return check_rows(t, t->test, err);
}

/* All that the run needs, opened: it is the run's, and what is wrong is found before it has a folder. */
static int open_inputs(tuning *t, error *err)
{
    const recipe *r = t->recipe;
    const session_options alone = { .rank = -1 };
    if (check_recipe(r, err) != OK) return err->code;
    if (!(t->device = rendezvous_device(&alone, NULL, r, err))) return err->code;
    device_set_precision(t->device, r->run.precision);
    if (!(t->model = hf_folder_open(r->run.model, t->device, err))) return err->code;
    return open_words(t, err) == OK ? open_rows(t, err) : err->code;
}

/* ---- begin ---- */

static void tell(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "troupe: sft: %s\n", sentence);
}

static void damaged(void *ctx, const char *dir, const char *why)
{
    (void)ctx;
    fprintf(stderr, "troupe: sft: %s is damaged (%s); the checkpoint before it is used\n", dir, why);
}

/* Before anything of it is written down: what is refused changes nothing in the run. */
static int agree(void *ctx, const recipe *r, error *err)
{
    tuning *t = ctx;
    if (session_checkpoint(t->run.path, damaged, NULL, t->checkpoint, sizeof t->checkpoint, &t->from, err) != OK)
        return err->code;
    if (r->run.steps < t->from)
        return error_set(err, ERR_ARGUMENT,
                         "steps = %" PRId64 ", but %" PRId64
                         " steps of this run are done, and steps cannot be undone (%s/checkpoints has the models of "
                         "earlier steps)",
                         r->run.steps, t->from, t->run.path);
    return check_recipe(r, err);
}

static int resume_run(tuning *t, error *err)
{
    const tuning_options *o = t->options;
    char episodes[1200];
    const resume_options how = { .words = o->overrides,
                                 .n_words = o->n_overrides,
                                 .take_changes = o->take_changes,
                                 .tell = tell,
                                 .agree = agree,
                                 .ctx = t };
    if (file_exists(path_join(episodes, sizeof episodes, o->resume, "rollouts.db")))
        return error_set(err, ERR_STATE, "%s is a run of 'troupe train': continue it with 'troupe train --resume'",
                         o->resume);
    t->recipe = run_dir_resume(&t->run, o->resume, &how, err);
    return t->recipe ? OK : err->code;
}

static int new_run(tuning *t, error *err)
{
    const tuning_options *o = t->options;
    char path[1024];
    t->recipe = recipe_open(o->recipe, o->overrides, o->n_overrides, err);
    if (!t->recipe || (!o->dir && run_name_check(t->recipe->run.name, err) != OK)) return err->code;
    if (open_inputs(t, err) != OK) return err->code;
    snprintf(path, sizeof path, "runs/%s-sft", t->recipe->run.name);
    return run_dir_begin(&t->run, o->dir ? o->dir : path, t->recipe, o->overrides, o->n_overrides, o->fresh, err);
}

static trainer_config settings(const recipe *r)
{
    trainer_config c = r->trainer;
    c.objectives = tuning_objectives();
    c.advantage.drop_dead = false; /* every row counts, though none is better than others */
    c.loss.aggregation = AGGREGATE_TOKEN;
    if (c.loss.imitation == IMITATION_NONE || c.loss.imitation == IMITATION_GUIDE) c.loss.imitation = IMITATION_SFT;
    c.loss.imitation_weight = 1;
    c.loss.kl = 0;
    c.temperature = 1;
    c.epochs = 1;
    c.supervised = true;
    return c;
}

static keeping keeping_of(tuning *t)
{
    return (keeping){ .recipe = t->recipe, .run_dir = t->run.path, .trainer = t->trainer, .w = t->model->weights };
}

static int open_trainer(tuning *t, error *err)
{
    trainer_config c = settings(t->recipe);
    c.rows = t->train;
    if (!(t->trainer = trainer_new(&c, t->model->weights, err))) return err->code;
    const keeping k = keeping_of(t);
    if (t->checkpoint[0] && keeping_load(&k, t->checkpoint, &t->saved, err) != OK) return err->code;
    t->sinks = sinks_open(t->run.path, -1, t->from, err);
    return t->sinks ? OK : err->code;
}

static int begin(tuning *t, error *err)
{
    umask(077); /* weights and rows are their owner's */
    const int rc = t->options->resume ? resume_run(t, err) : new_run(t, err);
    if (rc == OK && t->options->resume && open_inputs(t, err) != OK) return err->code;
    return rc == OK ? open_trainer(t, err) : rc;
}

/* ---- what is said ---- */

static void say_begin(const tuning *t)
{
    const recipe *r = t->recipe;
    fprintf(t->to, "%s: %s, %.3g M parameters, %s, on %s\n", r->run.name, r->run.model,
            (double)t->model->table->total * 1e-6, words_of(PRECISION_WORDS, (int)r->run.precision),
            device_name(t->device));
    fprintf(t->to, "  data  %" PRIu64 " rows", dataset_size(t->train));
    if (t->test) fprintf(t->to, "; %" PRIu64 " to test", dataset_size(t->test));
    fprintf(t->to, "\n  plan  %" PRId64 " steps of %" PRId64 " rows, %.3g times all\n", r->run.steps,
            r->sft.rows_per_step, (double)(r->run.steps * r->sft.rows_per_step) / (double)dataset_size(t->train));
    fprintf(t->to, "  run   %s\n", t->run.path);
    if (t->from > 0) fprintf(t->to, "  from  step %" PRId64 "\n", t->from);
    fputs("  stop  Ctrl-C ends the step and saves\n", t->to);
    fflush(t->to);
}

static void say_left(const tuning *t, int64_t step)
{
    const int64_t done = step - t->from, left = t->recipe->run.steps - step;
    const int64_t seconds = (clock_ms() - t->began_ms) * left / (done * 1000);
    if (left > 0) fprintf(t->to, "  %" PRId64 ":%02d left", seconds / 60, (int)(seconds % 60));
}

static void say_step(tuning *t, int64_t step)
{
    const int64_t now_ms = clock_ms(), every = t->options->every;
    const bool due = step == t->from + 1 || step == t->recipe->run.steps || step % (every > 0 ? every : 1) == 0;
    if (!due && now_ms - t->shown_ms < SILENCE_MS) return;
    t->shown_ms = now_ms;
    fprintf(t->to, "step %" PRId64 "/%" PRId64 "  loss %.4f  lr %.3g  %.3g tok/s", step, t->recipe->run.steps, t->last,
            metrics_get(t->metrics, "actor/lr", 0), metrics_get(t->metrics, "perf/throughput", 0));
    say_left(t, step);
    fputc('\n', t->to);
    fflush(t->to);
}

static void say_test(const tuning *t, int64_t step)
{
    size_t n;
    static const char PREFIX[] = "eval/bits_per_byte/";
    const metric *all = metrics_all(t->metrics, &n);
    fprintf(t->to, "test at step %" PRId64 ": %.4f bits a byte", step, t->after);
    for (size_t i = 0; i < n; i++)
        if (strncmp(all[i].name, PREFIX, sizeof PREFIX - 1) == 0)
            fprintf(t->to, "  %s %.4f", all[i].name + sizeof PREFIX - 1, all[i].value);
    fputc('\n', t->to);
    fflush(t->to);
}

static void say_command(const tuning *t, const char *before, const char *path)
{
    str word = { 0 };
    shell_word(&word, path);
    fprintf(t->to, "%s%s\n", before, word.data);
    str_free(&word);
}

static void say_end(const tuning *t)
{
    const int64_t steps = t->recipe->run.steps;
    char model[1200];
    if (steps == t->from) {
        fprintf(t->to, "finished: all %" PRId64 " steps of this run are done\n", steps);
        return;
    }
    fprintf(t->to, "done: %" PRId64 " steps in %.1f s; loss %.4f -> %.4f", steps - t->from,
            (double)(clock_ms() - t->began_ms) * 1e-3, t->first, t->last);
    if (isfinite(t->before)) fprintf(t->to, "; test %.4f -> %.4f bits a byte", t->before, t->after);
    fputc('\n', t->to);
    if (t->cut > 0)
        fprintf(t->to, "  %" PRId64 " rows were longer than sft.max_tokens: their ends are left out\n", t->cut);
    if (t->empty > 0) fprintf(t->to, "  %" PRId64 " rows had nothing to learn within sft.max_tokens\n", t->empty);
    snprintf(model, sizeof model, "%s/checkpoints/step-%" PRId64, t->run.path, steps);
    say_command(t, "  model ", model);
}

/* ---- a step ---- */

/* The row of visit `at`, counted where it is one of the step's own, in the first epoch: so each is counted once. NULL
 * with ERR_LIMIT: nothing of it is learned. */
static group *take_row(tuning *t, int64_t step, uint64_t at, bool own, error *err)
{
    bool cut;
    const uint64_t row = dataset_visit(t->train, (uint64_t)t->recipe->run.seed, at);
    const bool counted = own && at < dataset_size(t->train);
    episode *e = tuning_row(&t->rows, dataset_row(t->train, row), &cut, err);
    if (e) {
        t->cut += counted && cut;
        return tuning_group(e, row, step);
    }
    t->empty += counted;
    if (err->code != ERR_LIMIT) error_within(err, "row %" PRIu64 " of data.train", row + 1);
    return NULL;
}

/* The rows of step `step`, as groups: each epoch is a permutation of its own. Where nothing of them is learned, the
 * next one in order stands for them: a row that is too long must not end a run, and end it again when resumed. */
static int take_rows(tuning *t, int64_t step, group **groups, int *n, error *err)
{
    const uint64_t per_step = (uint64_t)t->recipe->sft.rows_per_step, from = (uint64_t)(step - 1) * per_step;
    const uint64_t all = per_step + 2 * dataset_size(t->train); /* two epochs: every row is among them */
    for (uint64_t i = 0; i < per_step || (*n == 0 && i < all); i++) {
        group *g = take_row(t, step, from + i, i < per_step, err);
        if (g) groups[(*n)++] = g;
        if (!g && err->code != ERR_LIMIT) return err->code;
    }
    if (*n > 0) return OK;
    return error_set(err, ERR_LIMIT, "no row of data.train has anything to learn within sft.max_tokens = %" PRId64,
                     t->recipe->sft.max_tokens);
}

static int train_on(tuning *t, group *const *groups, int n, int64_t step, error *err)
{
    const int64_t began_ms = clock_ms();
    metrics_clear(t->metrics);
    if (trainer_step(t->trainer, (const group *const *)groups, n, t->metrics, err) != OK) return err->code;
    t->last = metrics_get(t->metrics, "actor/given_nll", NAN);
    if (!isfinite(t->first)) t->first = t->last;

    const double tokens = metrics_get(t->metrics, "training/tokens_computed", 0);
    metrics_set(t->metrics, "training/rows", n);
    metrics_set(t->metrics, "reward/logprob/mean", -t->last); /* what grows: `troupe plot` draws it */
    metrics_set(t->metrics, "perf/throughput", tokens * 1000 / fmax(1, (double)(clock_ms() - began_ms)));
    return sinks_write(t->sinks, "step", step, t->metrics, err);
}

static int take_step(tuning *t, int64_t step, error *err)
{
    int n = 0;
    group **groups = xcalloc((size_t)t->recipe->sft.rows_per_step, sizeof *groups);
    int rc = take_rows(t, step, groups, &n, err);
    if (rc == OK) rc = train_on(t, groups, n, step, err);
    for (int i = 0; i < n; i++) group_free(groups[i]);
    free(groups);
    if (rc == OK) say_step(t, step);
    return rc;
}

/* ---- between steps ---- */

static int save(tuning *t, error *err)
{
    const keeping k = keeping_of(t);
    if (t->saved == trainer_version(t->trainer)) return OK;
    if (keeping_save(&k, err) != OK) return err->code;
    t->saved = trainer_version(t->trainer);
    return OK;
}

static int test(tuning *t, int64_t step, error *err)
{
    const tuning_test how = { .rows = &t->rows,
                              .data = t->test,
                              .w = t->model->weights,
                              .n = (uint64_t)t->recipe->run.eval_prompts,
                              .micro_tokens = trainer_micro_tokens(t->trainer) };
    metrics_clear(t->metrics);
    if (tuning_test_run(&how, t->metrics, err) != OK) return err->code;
    t->after = metrics_get(t->metrics, "eval/bits_per_byte", NAN);
    if (step == 0) t->before = t->after;
    say_test(t, step);
    return sinks_write(t->sinks, "eval", step, t->metrics, err);
}

/* With rows to test on: before the first step, after the last, and as eval_every says between. */
static bool test_due(const tuning *t, int64_t step)
{
    const run_options *run = &t->recipe->run;
    if (!t->test) return false;
    return step == 0 || step == run->steps || (run->eval_every > 0 && step % run->eval_every == 0);
}

static bool save_due(const tuning *t, int64_t step)
{
    const run_options *run = &t->recipe->run;
    return step == run->steps || (run->checkpoint_every > 0 && step % run->checkpoint_every == 0);
}

static int after_step(tuning *t, int64_t step, error *err)
{
    if (save_due(t, step) && save(t, err) != OK) return err->code;
    return test_due(t, step) ? test(t, step, err) : OK;
}

static int stopped(tuning *t, error *err)
{
    const int number = asked;
    if (save(t, err) != OK) return err->code;
    return error_set(err, ERR_INTERRUPTED, "stopped by %s at step %" PRId64 " (continue with: troupe sft --resume %s)",
                     strsignal(number), trainer_version(t->trainer), t->run.path);
}

static int train(tuning *t, error *err)
{
    int rc = t->from == 0 && test_due(t, 0) ? test(t, 0, err) : OK;
    t->began_ms = t->shown_ms = clock_ms();
    for (int64_t step = t->from + 1; rc == OK && step <= t->recipe->run.steps && !asked; step++) {
        rc = take_step(t, step, err);
        if (rc == OK) rc = after_step(t, step, err);
    }
    return rc == OK && asked && trainer_version(t->trainer) < t->recipe->run.steps ? stopped(t, err) : rc;
}

/* ---- end ---- */

static void close_all(tuning *t)
{
    trainer_free(t->trainer);
    episode_runner_free(t->words);
    hf_folder_close(t->model);
    device_close(t->device);
    dataset_free(t->train);
    dataset_free(t->test);
    sinks_close(t->sinks);
    metrics_free(t->metrics);
    recipe_free(t->recipe);
    run_dir_end(&t->run);
}

int run_tuning(const tuning_options *o, FILE *to, error *err)
{
    tuning t = { .options = o,
                 .to = to,
                 .run = { .lock_fd = -1, .sockets.lock = -1, .n_before = -1 },
                 .metrics = metrics_new(),
                 .saved = -1,
                 .first = NAN,
                 .before = NAN };
    take_signals();
    int rc = begin(&t, err);
    if (rc == OK) {
        say_begin(&t);
        rc = train(&t, err);
    }
    if (rc == OK) say_end(&t);
    close_all(&t);
    return rc;
}
