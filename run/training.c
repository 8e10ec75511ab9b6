/* SPDX-License-Identifier: MIT */
#include "run/training.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "exchange/store.h"
#include "run/checks.h"
#include "run/fleet.h"
#include "run/run_dir.h"
#include "run/session_settings.h"
#include "show/metrics_file.h"
#include "show/report.h"

typedef struct training {
    const training_options *options;
    run_dir run;
    recipe *recipe;
    checks checks;
    int64_t from; /* the step that is resumed; 0: the start */
    progress *progress;
    fleet *fleet;
    bool finished; /* nothing is left to do */
} training;

/* ---- what has to hold before anything is written ---- */

/* Before the run has a folder: what is refused leaves none behind. */
static int check(training *t, const recipe *r, error *err)
{
    const bool evaluates = r->run.eval_every > 0;
    const checks_for what = {
        .train = true, .scored = true, .test = evaluates, .test_shots = evaluates ? r->run.eval_shots : 0
    };
    return checks_open(r, &what, &t->checks, err);
}

static void tell(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "troupe: train: %s\n", sentence);
}

static void damaged(void *ctx, const char *dir, const char *why)
{
    (void)ctx;
    fprintf(stderr, "troupe: train: %s is damaged (%s); the checkpoint before it is used\n", dir, why);
}

static int newest_step(training *t, error *err)
{
    char dir[1200];
    return session_checkpoint(t->run.path, damaged, NULL, dir, sizeof dir, &t->from, err);
}

#define WITHOUT ": restore it, or continue without its episodes by --without-episodes"

/* A run that has trained has episodes: without them what was begun is played again, and nothing can be looked up. */
static int check_episodes(const char *path, int64_t trained, error *err)
{
    struct stat st;
    error why = { 0 };
    if (stat(path, &st) != 0 || st.st_size == 0)
        return error_set(err, ERR_STATE, "%s is missing or empty though step %" PRId64 " is trained" WITHOUT, path,
                         trained);
    if (store_check_whole(path, &why) == OK) return OK;
    return error_set(err, ERR_STATE, "%s" WITHOUT, why.text);
}

/* What can't be used is not thrown away, with the log that belongs to it. */
static int set_aside(const char *path, error *err)
{
    static const char *const PARTS[] = { "", "-wal", "-shm" };
    char from[1300], to[1320];
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
        snprintf(from, sizeof from, "%s%s", path, PARTS[i]);
        snprintf(to, sizeof to, "%s.damaged%s", path, PARTS[i]);
        if (rename(from, to) != 0 && errno != ENOENT) return error_sys(err, errno, "cannot rename %s to %s", from, to);
    }
    return OK;
}

static int look_at_episodes(const training *t, error *err)
{
    char path[1200];
    error why = { 0 };
    if (t->from == 0) return OK;
    if (check_episodes(path_join(path, sizeof path, t->run.path, "rollouts.db"), t->from, &why) == OK) return OK;
    if (t->options->without_episodes) return set_aside(path, err);
    return error_set(err, why.code, "%s", why.text);
}

/* Fewer steps than are done can't be asked for: no step is taken back. */
static int check_steps(const training *t, const recipe *r, error *err)
{
    const training_options *o = t->options;
    bool asked = o->take_changes; /* a recipe that is taken anew may have fewer */
    for (int i = 0; i < o->n_overrides; i++) asked |= strncmp(o->overrides[i], "steps=", 6) == 0;
    if (!asked || r->run.steps >= t->from) return OK;
    return error_set(err, ERR_ARGUMENT,
                     "steps = %" PRId64 ", but %" PRId64 " steps of this run are done, and steps cannot be undone (%s/"
                     "checkpoints has the models of earlier steps)",
                     r->run.steps, t->from, t->run.path);
}

/* Before anything of it is written down: what is refused changes nothing in the run. */
static int agree(void *ctx, const recipe *r, error *err)
{
    training *t = ctx;
    const training_options *o = t->options;
    if (!r->reward.script[0])
        return error_set(err, ERR_STATE, "%s is a run of 'troupe sft': continue it with 'troupe sft --resume'",
                         o->resume);
    if (newest_step(t, err) != OK || check_steps(t, r, err) != OK) return err->code;
    if (look_at_episodes(t, err) != OK) return err->code;

    const bool changes = o->take_changes || o->n_overrides > 0;
    t->finished = report_finished(r, t->run.path, t->from);
    if (t->finished && !changes) return OK; /* nothing will be started: what it would need is not asked for */
    return check(t, r, err);
}

/* ---- begin and end ---- */

static void find_last_step(void *ctx, const json_t *line)
{
    const double step = metrics_file_number(line, "step");
    double *last = ctx;
    if (step > *last) *last = step;
}

/* Killed before its first checkpoint, or without those that it had: what was done is done once more. */
static void say_without_checkpoint(const training *t)
{
    double last = 0;
    if (t->from > 0 || metrics_file_read(t->run.path, find_last_step, &last, NULL) != OK || last < 1) return;
    char sentence[200];
    snprintf(sentence, sizeof sentence,
             "%.0f step%s of this run were done, but there is no checkpoint of it: it begins "
             "again at step 1",
             last, last > 1 ? "s" : "");
    tell(NULL, sentence);
}

static int resume_run(training *t, error *err)
{
    const training_options *o = t->options;
    const resume_options how = { .words = o->overrides,
                                 .n_words = o->n_overrides,
                                 .take_changes = o->take_changes,
                                 .tell = tell,
                                 .agree = agree,
                                 .ctx = t };
    t->recipe = run_dir_resume(&t->run, o->resume, &how, err);
    if (t->recipe) say_without_checkpoint(t);
    return t->recipe ? OK : err->code;
}

static int begin_run(training *t, error *err)
{
    const training_options *o = t->options;
    char path[1024];
    umask(077); /* episodes and weights are their owner's: whoever can take the lock can stop the run */
    if (o->resume) return resume_run(t, err);

    t->recipe = recipe_open(o->recipe, o->overrides, o->n_overrides, err);
    if (!t->recipe || (!o->dir && run_name_check(t->recipe->run.name, err) != OK) || check(t, t->recipe, err) != OK)
        return err->code;
    snprintf(path, sizeof path, "runs/%s", t->recipe->run.name);
    return run_dir_begin(&t->run, o->dir ? o->dir : path, t->recipe, o->overrides, o->n_overrides, o->fresh, err);
}

static int start_all(training *t, error *err)
{
    const recipe *r = t->recipe;
    t->progress = progress_new(1, r->run.steps, (int)t->options->every);
    const fleet_config config = {
        .run = &t->run, .recipe = r, .progress = t->progress, .resumed = t->options->resume != NULL
    };
    if (!(t->fleet = fleet_new(&config, err))) return err->code;

    char memory[300];
    const memory_room room = memory_machine_now("");
    const report_facts facts = { .memory = memory_plan_line(&t->checks.memory, &room, memory, sizeof memory),
                                 .parameters = t->checks.parameters,
                                 .device = t->checks.device,
                                 .train_rows = t->checks.train_rows,
                                 .test_rows = t->checks.test_rows,
                                 .note = t->checks.note,
                                 .reward_note = t->checks.reward_note };
    report_begin(t->progress, r, &facts, t->run.path, t->from);
    return fleet_start(t->fleet, err);
}

static int train(training *t, error *err)
{
    int rc = start_all(t, err);
    if (rc == OK) rc = fleet_watch(t->fleet, err);
    if (t->fleet && fleet_failed_at_once(t->fleet))
        run_dir_take_back(&t->run, NULL); /* what it was resumed with didn't work: it is no part of it */
    return rc;
}

static int say_end(training *t, int64_t began_ms, error *err)
{
    progress_end(t->progress);
    if (!t->progress) t->progress = progress_new(1, t->recipe->run.steps, 1);
    const double seconds = t->finished ? -1 : (double)(clock_ms() - began_ms) * 1e-3;
    return report_end(t->progress, t->recipe, t->run.path, t->from, seconds, err);
}

static void close_all(training *t)
{
    fleet_free(t->fleet);
    progress_end(t->progress);
    progress_free(t->progress);
    recipe_free(t->recipe);
    run_dir_end(&t->run);
}

int run_training(const training_options *o, error *err)
{
    training t = { .options = o, .run = { .lock_fd = -1, .sockets.lock = -1, .n_before = -1 } };
    const int64_t began_ms = clock_ms();
    int rc = begin_run(&t, err);
    if (rc == OK && !t.finished) rc = train(&t, err);
    if (rc == OK) rc = say_end(&t, began_ms, err);

    close_all(&t);
    return rc;
}
