/* SPDX-License-Identifier: MIT */
/* troupe train: everything on this machine. Starts the learner, the actors and the reward workers as children of its
 * own, shows what they do, starts again who crashes, and stops all in order. It computes nothing itself, so that it
 * survives a child's crash and can report it. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/vec.h"
#include "run/checks.h"
#include "show/progress.h"
#include "show/report.h"
#include "run/run_dir.h"
#include "run/supervisor.h"
#include "cli/verbs.h"
#include "learner/checkpoint_files.h"
#include "proto/weights.h"
#include "recipe/recipe.h"

enum { MAX_CHILDREN = 194, MAX_ARGV = 24 + RUN_WORDS, POLL_MS = 1000, LINE_BYTES = 1 << 16 };
_Static_assert((int)RUN_WORDS <= (int)MAX_OVERRIDES, "a process of a run reads all its words");

typedef struct child_words {
    char name[32], log[1100], rank[16];
    const char *argv[MAX_ARGV], *restart[MAX_ARGV];
} child_words;

typedef struct train {
    run_dir run;
    recipe *recipe;
    checks checks;
    int64_t from; /* the step that is resumed; 0: the start */
    supervisor *supervisor;
    progress *progress;
    char self[1024], address[240], report_text[16], learners_text[24];
    int report[2], signals;
    child_words *children;
    int n_children;
    str line;
    bool resumed, finished, stepped; /* stepped: a step was done in this life */
} train;

typedef struct train_options {
    arguments arguments;
    const char *resume, *dir;
    bool fresh, take_changes, without_episodes;
} train_options;

static const char USAGE[] =
    "usage: troupe train RECIPE.lua [key=value ...] [--run-dir DIR] [--fresh] [--every N]\n"
    "       troupe train --resume RUN [key=value ...] [--take-changes]\n\n"
    "  --run-dir DIR  where the run lives (default: runs/NAME)\n"
    "  --fresh        start over when the run exists\n"
    "  --resume RUN   go on from the last checkpoint as if nothing had happened, with the run's own copy of\n"
    "                 recipe, scripts and data; key=value changes it from here on, and is recorded\n"
    "  --take-changes with --resume: take recipe, scripts and data anew from where they came from\n"
    "  --without-episodes  with --resume: go on though rollouts.db is gone\n"
    "  --every N      without a terminal: print each N-th step (default 10)\n"
    "  --keys         list the recipe's keys with their defaults; with --markdown as a page, a paragraph each\n\n"
    "example: troupe train recipes/calculator/recipe.lua steps=50 rollout.group=4\n";

/* ---- children ---- */

static child_words *new_child(train *t, const char *name)
{
    child_words *c = &t->children[t->n_children++];
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->log, sizeof c->log, "%s/logs/%s.log", t->run.path, name);
    return c;
}

/* argv = self, the words, the run's own, NULL. */
static void words(const train *t, const char **argv, const char *const *first)
{
    int n = 0;
    argv[n++] = t->self;
    while (*first) argv[n++] = *first++;
    for (int i = 0; i < t->run.n_words; i++) argv[n++] = t->run.words[i];
    argv[n] = NULL;
}

/* The first learner (rank 0) has the run, and reports; the others only train with it. */
static int start_learner(train *t, int rank, error *err)
{
    char name[32], *end = name + snprintf(name, sizeof name, "learner");
    if (rank > 0) snprintf(end, sizeof name - 7, "-%d", rank + 1);
    child_words *c = new_child(t, name);
    snprintf(c->rank, sizeof c->rank, "%d", rank);
    const char *first[20] = { "learner", t->run.recipe, "--run", t->run.path, "--bind", t->address };
    int n = 6;
    if (rank == 0) first[n++] = "--report-fd", first[n++] = t->report_text;
    if (t->recipe->run.learners > 1) {
        const char *const together[] = { "--rank", c->rank, "--of", t->learners_text, "--meet", t->run.sockets.path };
        for (int i = 0; i < 6; i++) first[n++] = together[i];
    }
    if (t->resumed) first[n] = "--resume";
    words(t, c->argv, first);
    first[n] = "--resume";
    words(t, c->restart, first);
    return supervisor_add(t->supervisor,
                          &(child_options){ .name = c->name,
                                            .argv = c->argv,
                                            .restart_argv = c->restart,
                                            .log_path = c->log,
                                            .report_fd = rank == 0 ? t->report[1] : -1,
                                            .principal = rank == 0 },
                          err);
}

static int start_learners(train *t, error *err)
{
    int rc = OK;
    snprintf(t->learners_text, sizeof t->learners_text, "%" PRId64, t->recipe->run.learners);
    for (int rank = 0; rc == OK && rank < t->recipe->run.learners; rank++) rc = start_learner(t, rank, err);
    return rc;
}

static int start_workers(train *t, const char *role, int64_t n, error *err)
{
    int rc = OK;
    for (int64_t i = 1; rc == OK && i <= n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s-%" PRId64, role, i);
        child_words *c = new_child(t, name);
        const char *const first[] = { role, t->run.recipe, "--connect", t->address, "--name", c->name, NULL };
        words(t, c->argv, first);
        rc = supervisor_add(
            t->supervisor,
            &(child_options){ .name = c->name, .argv = c->argv, .log_path = c->log, .report_fd = -1, .connects = true },
            err);
    }
    return rc;
}

/* ---- the live report ---- */

/* What the supervisor makes of it: the learner lives, it moves on, these are with it. */
static void heed(train *t, const json_t *line)
{
    const char *event = "", *text = "";
    int64_t step = 0;
    json_opt_string(line, "event", "report", "", &event, NULL);
    json_opt_string(line, "text", "report", "", &text, NULL);
    json_opt_int(line, "step", "report", 0, &step, NULL);
    supervisor_heard(t->supervisor, strcmp(event, "peers") == 0 ? text : NULL);
    if (strcmp(event, "step") == 0) t->stepped = true, supervisor_step(t->supervisor, step);
    if (strcmp(event, "farewell") == 0) supervisor_farewell(t->supervisor);
}

static void show_line(train *t, const char *line, size_t len)
{
    json_t *json = json_parse(line, len, "report", NULL);
    if (json) heed(t, json), progress_event(t->progress, json);
    json_decref(json);
}

static void read_report(train *t)
{
    char bytes[4096];
    const ssize_t n = read(t->report[0], bytes, sizeof bytes);
    if (n <= 0) return;
    str_add(&t->line, bytes, (size_t)n);
    char *begin = t->line.data, *end;
    while ((end = memchr(begin, '\n', t->line.len - (size_t)(begin - t->line.data)))) {
        show_line(t, begin, (size_t)(end - begin));
        begin = end + 1;
    }
    const size_t rest = t->line.len - (size_t)(begin - t->line.data);
    memmove(t->line.data, begin, rest);
    t->line.len = rest < LINE_BYTES ? rest : 0;
}

/* ---- the watch ---- */

/* Waits for a report, a signal or a child's end. Returns the signal, or 0. */
static int wait_for_news(train *t)
{
    struct pollfd fds[2 + MAX_CHILDREN] = { { .fd = t->signals, .events = POLLIN },
                                            { .fd = t->report[0], .events = POLLIN } };
    int pids[MAX_CHILDREN];
    const int n = supervisor_fds(t->supervisor, pids, MAX_CHILDREN);
    for (int i = 0; i < n; i++) fds[2 + i] = (struct pollfd){ .fd = pids[i], .events = POLLIN };
    if (poll(fds, (nfds_t)(2 + n), POLL_MS) <= 0) return 0;
    if (fds[1].revents & POLLIN) read_report(t);
    struct signalfd_siginfo info;
    if ((fds[0].revents & POLLIN) && read(t->signals, &info, sizeof info) == sizeof info) return (int)info.ssi_signo;
    return 0;
}

/* What ends a run in order: Ctrl-C, Ctrl-backslash, a terminal that is closed, and what schedulers send before they
 * kill. */
static void stop_signals(sigset_t *mask)
{
    static const int ALL[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU };
    sigemptyset(mask);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) sigaddset(mask, ALL[i]);
}

static void drain_report(train *t)
{
    struct pollfd fd = { .fd = t->report[0], .events = POLLIN };
    while (poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN)) read_report(t);
}

/* Waits for the step under way as long as it takes: whoever has no time asks again. */
static int stop_in_order(train *t, int signal, error *err)
{
    sigset_t mask;
    progress_end(t->progress);
    progress_say(t->progress,
                 "stopping: the step under way ends and a checkpoint is written (Ctrl-C again stops at once)");
    /* From here a second signal has its default effect: it ends this process, and the children die with it. */
    stop_signals(&mask);
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
    supervisor_stop(t->supervisor, SUPERVISOR_WAITS);
    drain_report(t);
    return error_set(err, ERR_INTERRUPTED, "stopped by %s (go on with: troupe train --resume %s)", strsignal(signal),
                     t->run.path);
}

/* Ctrl-Z: the children are in groups of their own, so the terminal stops this process alone. They stop with it and go
 * on with it. */
static void pause_all(train *t)
{
    progress_end(t->progress);
    progress_say(t->progress, "paused, and all its processes with it ('fg' goes on)");
    supervisor_pause(t->supervisor, true);
    raise(SIGSTOP);
    supervisor_pause(t->supervisor, false);
}

static int watch(train *t, error *err)
{
    for (;;) {
        const int signal = wait_for_news(t); /* never longer than a second: supervisor_poll looks after all processes */
        if (signal == SIGTSTP)
            pause_all(t);
        else if (signal)
            return stop_in_order(t, signal, err);
        switch (supervisor_poll(t->supervisor, err)) {
        case RUN_GOES_ON:
            continue;
        case RUN_FINISHED:
            supervisor_stop(t->supervisor, 0);
            drain_report(t);
            return OK;
        case RUN_FAILED:
            drain_report(t);
            if (!t->stepped)
                run_dir_take_back(&t->run, NULL); /* what it was resumed with didn't work: it is no part of it */
            return err->code;
        }
    }
}

/* ---- begin and end ---- */

static int block_signals(train *t, error *err)
{
    sigset_t mask;
    signal(SIGPIPE, SIG_IGN); /* `troupe train | head`: the reader is gone, the run continues */
    stop_signals(&mask);
    sigaddset(&mask, SIGTSTP);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    t->signals = signalfd(-1, &mask, SFD_CLOEXEC);
    return t->signals >= 0 ? OK : error_sys(err, errno, "signalfd");
}

static int open_report(train *t, error *err)
{
    if (pipe(t->report) != 0) return error_sys(err, errno, "pipe");
    snprintf(t->report_text, sizeof t->report_text, "%d", t->report[1]);
    return OK;
}

static void say(void *ctx, const char *sentence) { progress_say(((train *)ctx)->progress, "%s", sentence); }

static int start_all(train *t, int every, error *err)
{
    const recipe *r = t->recipe;
    snprintf(t->address, sizeof t->address, "ipc://%s/exchange", t->run.sockets.path);
    if (process_self_path(t->self, sizeof t->self, err) != OK || open_report(t, err) != OK ||
        block_signals(t, err) != OK)
        return err->code;
    t->progress = progress_new(1, r->run.steps, every);
    t->supervisor = supervisor_new(&(supervisor_config){ .say = say, .ctx = t });
    const report_facts facts = { .parameters = t->checks.parameters,
                                 .device = t->checks.device,
                                 .train_rows = t->checks.train_rows,
                                 .test_rows = t->checks.test_rows,
                                 .note = t->checks.note,
                                 .reward_note = t->checks.reward_note };
    report_begin(t->progress, r, &facts, t->run.path, t->from);
    t->children = xcalloc((size_t)(r->run.learners + r->run.actors + r->run.reward_workers), sizeof *t->children);
    if (start_learners(t, err) != OK || start_workers(t, "actor", r->run.actors, err) != OK) return err->code;
    return start_workers(t, "reward", r->run.reward_workers, err);
}

static void close_all(train *t)
{
    supervisor_free(t->supervisor); /* first: no child may outlive this process */
    progress_end(t->progress);
    progress_free(t->progress);
    recipe_free(t->recipe);
    run_dir_end(&t->run);
    str_free(&t->line);
    free(t->children);
    for (int i = 0; i < 2; i++)
        if (t->report[i] > 0) close(t->report[i]);
    if (t->signals > 0) close(t->signals);
}

/* Before the run has a folder: what is refused leaves none behind. */
static int check(train *t, const recipe *r, error *err)
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

/* The step of the newest checkpoint that is whole, or 0 before the first. */
static int newest_step(train *t, error *err)
{
    char dir[1200];
    checkpoint_state state = { 0 };
    const int rc = checkpoint_latest(t->run.path, dir, sizeof dir, &state, damaged, NULL, err);
    t->from = rc == OK ? state.step : 0;
    return rc == ERR_NOT_FOUND ? OK : rc;
}

/* A run that has trained has episodes: without them what was begun is played again, and nothing can be looked up. */
static int check_episodes(const train *t, error *err)
{
    char path[1200];
    struct stat st;
    if (t->from == 0) return OK;
    if (stat(path_join(path, sizeof path, t->run.path, "rollouts.db"), &st) == 0 && st.st_size > 0) return OK;
    return error_set(err, ERR_STATE,
                     "%s is missing or empty though step %" PRId64
                     " is trained: put it back, or go on without its episodes by --without-episodes",
                     path, t->from);
}

typedef struct resuming {
    train *train;
    const train_options *options;
} resuming;

/* Fewer steps than are done can't be asked for: no step is taken back. */
static int check_steps(const train *t, const train_options *o, const recipe *r, error *err)
{
    bool asked = o->take_changes;
    for (int i = 0; i < o->arguments.n_overrides; i++) asked |= strncmp(o->arguments.overrides[i], "steps=", 6) == 0;
    if (!asked || r->run.steps >= t->from) return OK;
    return error_set(err, ERR_ARGUMENT,
                     "steps = %" PRId64 ", but %" PRId64 " steps of this run are done, and none is taken back (%s/"
                     "checkpoints has the models of earlier steps)",
                     r->run.steps, t->from, t->run.path);
}

/* Before anything of it is written down: what is refused changes nothing in the run. */
static int agree(void *ctx, const recipe *r, error *err)
{
    const resuming *with = ctx;
    train *t = with->train;
    if (newest_step(t, err) != OK || check_steps(t, with->options, r, err) != OK) return err->code;
    if (!with->options->without_episodes && check_episodes(t, err) != OK) return err->code;
    const bool changes = with->options->take_changes || with->options->arguments.n_overrides > 0;
    t->finished = report_finished(r, t->run.path, t->from);
    return t->finished && !changes ? OK : check(t, r, err);
}

static int resume_run(train *t, const train_options *o, error *err)
{
    resuming with = { t, o };
    const resume_options how = { .words = o->arguments.overrides,
                                 .n_words = o->arguments.n_overrides,
                                 .take_changes = o->take_changes,
                                 .tell = tell,
                                 .agree = agree,
                                 .ctx = &with };
    t->resumed = true;
    t->recipe = run_dir_resume(&t->run, o->resume, &how, err);
    return t->recipe ? OK : err->code;
}

static int begin_run(train *t, const train_options *o, error *err)
{
    char path[1024];
    const arguments *a = &o->arguments;
    umask(077); /* episodes and weights are their owner's: whoever can take the lock can stop the run */
    if (o->resume) return resume_run(t, o, err);
    t->recipe = recipe_open(a->positional[0], a->overrides, a->n_overrides, err);
    if (!t->recipe || (!o->dir && run_name_check(t->recipe->run.name, err) != OK) || check(t, t->recipe, err) != OK)
        return err->code;
    snprintf(path, sizeof path, "runs/%s", t->recipe->run.name);
    return run_dir_begin(&t->run, o->dir ? o->dir : path, t->recipe, a->overrides, a->n_overrides, o->fresh, err);
}

static int run_verb(call *c, error *err)
{
    train t = { .run = { .lock_fd = -1, .sockets.lock = -1, .n_before = -1 } };
    train_options o = { 0 };
    int64_t every = 10;
    bool keys = false, markdown = false;
    const flag flags[] = { { .name = "--resume", .text = &o.resume },
                           { .name = "--run-dir", .text = &o.dir },
                           { .name = "--take-changes", .present = &o.take_changes },
                           { .name = "--without-episodes", .present = &o.without_episodes },
                           { .name = "--every", .whole = &every, .min = 1, .max = 1e9 },
                           { .name = "--fresh", .present = &o.fresh },
                           { .name = "--keys", .present = &keys },
                           { .name = "--markdown", .present = &markdown },
                           { 0 } };
    const int64_t began_ms = clock_ms();
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    o.arguments = c->arguments;
    if (markdown && !keys) return call_misused(c);
    if (keys) {
        markdown ? recipe_print_page(stdout) : recipe_print_keys(stdout);
        c->prints_text = true;
        return OK;
    }
    if (o.arguments.n_positional != (o.resume ? 0 : 1) || (o.resume && (o.fresh || o.dir)) ||
        (!o.resume && (o.take_changes || o.without_episodes)))
        return call_misused(c);

    int rc = begin_run(&t, &o, err);
    if (rc == OK && !t.finished) rc = start_all(&t, (int)every, err);
    if (rc == OK && !t.finished) rc = watch(&t, err);
    if (rc == OK) {
        progress_end(t.progress);
        if (!t.progress) t.progress = progress_new(1, t.recipe->run.steps, 1);
        const double seconds = t.finished ? -1 : (double)(clock_ms() - began_ms) * 1e-3;
        rc = report_end(t.progress, t.recipe, t.run.path, t.from, seconds, err);
    }
    close_all(&t);
    weights_sweep(); /* a learner that was killed couldn't */
    return rc;
}

const verb VERB_TRAIN = { .name = "train",
                          .synopsis = "RECIPE.lua [key=value ...]",
                          .help = "train on this machine: learner, actors, reward workers",
                          .usage = USAGE,
                          .words = "RECIPE.lua",
                          .max_words = 1,
                          .keys = true,
                          .reports = true,
                          .run = run_verb };
