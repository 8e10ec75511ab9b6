/* SPDX-License-Identifier: MIT */
#include "run/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "run/child_words.h"
#include "run/supervisor.h"

#define CONTINUE_WITH "continue with: troupe train --resume "

enum { MAX_CHILDREN = 194, POLL_MS = 1000, LINE_BYTES = 1 << 16 };

struct fleet {
    fleet_config config;
    supervisor *supervisor;
    char self[1024], address[240];
    int report[2], signals; /* 0: not open */
    fleet_words words;
    child_words *children;
    int n_children;
    str line;             /* of the report, as far as it has come */
    bool stepped, failed; /* stepped: a step was done in this life */
};

/* ---- children ---- */

static int start_learner(fleet *f, int rank, error *err)
{
    child_words *c = &f->children[f->n_children++];
    child_words_learner(c, &f->words, rank);
    const child_options o = { .name = c->name,
                              .argv = c->argv,
                              .restart_argv = c->restart,
                              .log_path = c->log,
                              .report_fd = rank == 0 ? f->report[1] : -1,
                              .principal = rank == 0 };
    return supervisor_add(f->supervisor, &o, err);
}

static int start_workers(fleet *f, const char *role, int64_t n, error *err)
{
    int rc = OK;
    for (int64_t i = 1; rc == OK && i <= n; i++) {
        child_words *c = &f->children[f->n_children++];
        child_words_worker(c, &f->words, role, i);
        const child_options o = {
            .name = c->name, .argv = c->argv, .log_path = c->log, .report_fd = -1, .connects = true
        };
        rc = supervisor_add(f->supervisor, &o, err);
    }
    return rc;
}

int fleet_start(fleet *f, error *err)
{
    const run_options *run = &f->config.recipe->run;
    f->words = (fleet_words){ .self = f->self,
                              .address = f->address,
                              .report_fd = f->report[1],
                              .learners = run->learners,
                              .resumed = f->config.resumed,
                              .run = f->config.run };
    f->children = xcalloc((size_t)(run->learners + run->actors + run->reward_workers), sizeof *f->children);

    int rc = OK;
    for (int rank = 0; rc == OK && rank < run->learners; rank++) rc = start_learner(f, rank, err);
    if (rc == OK) rc = start_workers(f, "actor", run->actors, err);
    return rc == OK ? start_workers(f, "reward", run->reward_workers, err) : rc;
}

/* ---- the live report ---- */

/* What the supervisor makes of it: the learner lives, it moves on, these are with it. */
static void heed(fleet *f, const json_t *line)
{
    const char *event = "", *text = "";
    int64_t step = 0;
    json_opt_string(line, "event", "report", "", &event, NULL);
    json_opt_string(line, "text", "report", "", &text, NULL);
    json_opt_int(line, "step", "report", 0, &step, NULL);

    const bool lists_peers = strcmp(event, "peers") == 0;
    supervisor_heard(f->supervisor, lists_peers ? text : NULL); /* whatever the line says, the learner lives */
    if (strcmp(event, "step") == 0) {
        f->stepped = true;
        supervisor_step(f->supervisor, step);
    }
    if (strcmp(event, "farewell") == 0) supervisor_farewell(f->supervisor);
}

static void show_line(fleet *f, const char *line, size_t len)
{
    json_t *json = json_parse(line, len, "report", NULL);
    if (!json) return;
    heed(f, json);
    progress_event(f->config.progress, json);
    json_decref(json);
}

static void read_report(fleet *f)
{
    char bytes[4096];
    const ssize_t n = read(f->report[0], bytes, sizeof bytes);
    if (n <= 0) return;
    str_add(&f->line, bytes, (size_t)n);

    char *begin = f->line.data, *end;
    while ((end = memchr(begin, '\n', f->line.len - (size_t)(begin - f->line.data)))) {
        show_line(f, begin, (size_t)(end - begin));
        begin = end + 1;
    }

    const size_t rest = f->line.len - (size_t)(begin - f->line.data);
    memmove(f->line.data, begin, rest);
    f->line.len = rest < LINE_BYTES ? rest : 0; /* a line without an end is dropped: the pipe is a child's to fill */
}

/* ---- the watch ---- */

/* Waits for a report, a signal or a child's end. Returns the signal, or 0. */
static int wait_for_news(fleet *f)
{
    struct pollfd fds[2 + MAX_CHILDREN] = { { .fd = f->signals, .events = POLLIN },
                                            { .fd = f->report[0], .events = POLLIN } };
    int pids[MAX_CHILDREN];
    const int n = supervisor_fds(f->supervisor, pids, MAX_CHILDREN);
    for (int i = 0; i < n; i++) fds[2 + i] = (struct pollfd){ .fd = pids[i], .events = POLLIN };
    if (poll(fds, (nfds_t)(2 + n), POLL_MS) <= 0) return 0;
    if (fds[1].revents & POLLIN) read_report(f);

    struct signalfd_siginfo info;
    if ((fds[0].revents & POLLIN) && read(f->signals, &info, sizeof info) == sizeof info) return (int)info.ssi_signo;
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

static void drain_report(fleet *f)
{
    struct pollfd fd = { .fd = f->report[0], .events = POLLIN };
    while (poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN)) read_report(f);
}

/* What a handler needs: it takes no argument of ours. */
static struct {
    char words[1400];
    size_t n_words;
    int asked_with;
    int64_t asked_ms;
} stopping;

/* Who stops a program may tell it and its group, as timeout(1) does: one event, two signals, within a moment. A person
 * who presses Ctrl-C again has read something meanwhile. */
enum { SAME_EVENT_MS = 1000 };

static void end_at_once(int number)
{
    if (number == stopping.asked_with && clock_ms() - stopping.asked_ms < SAME_EVENT_MS) return;
    const ssize_t n = write(STDERR_FILENO, stopping.words, stopping.n_words);
    (void)n;
    signal(number, SIG_DFL);
    raise(number);
}

/* From here a signal that asks to stop ends this process, and the children die with it. The others tell of one event
 * more than once, and ask for no haste: of a closed terminal the shell tells and the kernel (SIGHUP), of a limit on CPU
 * time the kernel, each second (SIGXCPU). */
static void let_in_who_asks_again(const fleet *f, int number)
{
    static const int ASKS[] = { SIGINT, SIGQUIT, SIGTERM };
    struct sigaction action = { .sa_handler = end_at_once };
    snprintf(stopping.words, sizeof stopping.words, "troupe: train: stopped at once (" CONTINUE_WITH "%s)\n",
             f->config.run->path);
    stopping.n_words = strlen(stopping.words);
    stopping.asked_with = number;
    stopping.asked_ms = clock_ms();

    sigset_t mask;
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof ASKS / sizeof *ASKS; i++) {
        sigaddset(&mask, ASKS[i]);
        sigaction(ASKS[i], &action, NULL);
    }
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
}

/* Waits for the step under way as long as it takes: whoever has no time asks again. */
static int stop_in_order(fleet *f, int signal, error *err)
{
    progress_end(f->config.progress);
    progress_say(f->config.progress,
                 "stopping: the step under way ends and a checkpoint is written (Ctrl-C again stops at once)");
    let_in_who_asks_again(f, signal);

    supervisor_stop(f->supervisor, SUPERVISOR_WAITS);
    drain_report(f);
    return error_set(err, ERR_INTERRUPTED, "stopped by %s (" CONTINUE_WITH "%s)", strsignal(signal),
                     f->config.run->path);
}

/* Ctrl-Z: the children are in groups of their own, so the terminal stops this process alone. They stop with it and
 * continue with it. */
static void pause_all(fleet *f)
{
    progress_end(f->config.progress);
    progress_say(f->config.progress, "paused, with all its processes ('fg' continues)");
    const int64_t paused_ms = clock_ms();
    supervisor_pause(f->supervisor, true);
    raise(SIGSTOP);
    supervisor_pause(f->supervisor, false);
    progress_forgive(f->config.progress, clock_ms() - paused_ms);
}

int fleet_watch(fleet *f, error *err)
{
    for (;;) {
        const int signal = wait_for_news(f); /* never longer than a second: supervisor_poll looks after all processes */
        if (signal == SIGTSTP)
            pause_all(f);
        else if (signal) /* one of stop_signals */
            return stop_in_order(f, signal, err);

        switch (supervisor_poll(f->supervisor, err)) {
        case RUN_CONTINUES:
            continue;
        case RUN_FINISHED:
            supervisor_stop(f->supervisor, 0);
            drain_report(f); /* the last step's line may still be in the pipe */
            return OK;
        case RUN_STOPPED:
            supervisor_stop(f->supervisor, 0);
            drain_report(f);
            return error_set(err, ERR_INTERRUPTED, "%s (" CONTINUE_WITH "%s)", err->text, f->config.run->path);
        case RUN_FAILED:
            drain_report(f);
            f->failed = true;
            return err->code;
        }
    }
}

bool fleet_failed_at_once(const fleet *f) { return f->failed && !f->stepped; }

/* ---- begin and end ---- */

static int block_signals(fleet *f, error *err)
{
    sigset_t mask;
    signal(SIGPIPE, SIG_IGN); /* `troupe train | head`: the reader is gone, the run continues */
    stop_signals(&mask);
    sigaddset(&mask, SIGTSTP);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    f->signals = signalfd(-1, &mask, SFD_CLOEXEC);
    return f->signals >= 0 ? OK : error_sys(err, errno, "signalfd");
}

static int begin(fleet *f, error *err)
{
    snprintf(f->address, sizeof f->address, "ipc://%s/exchange", f->config.run->sockets.path);
    if (process_self_path(f->self, sizeof f->self, err) != OK) return err->code;
    if (pipe(f->report) != 0) return error_sys(err, errno, "pipe");
    return block_signals(f, err);
}

static void say(void *ctx, const char *sentence) { progress_say(((fleet *)ctx)->config.progress, "%s", sentence); }

fleet *fleet_new(const fleet_config *config, error *err)
{
    fleet *f = xcalloc(1, sizeof *f);
    f->config = *config;
    if (begin(f, err) != OK) {
        fleet_free(f);
        return NULL;
    }
    f->supervisor = supervisor_new(&(supervisor_config){ .say = say, .ctx = f });
    return f;
}

void fleet_free(fleet *f)
{
    if (!f) return;
    supervisor_free(f->supervisor); /* first: no child may outlive this process */
    str_free(&f->line);
    free(f->children);
    for (int i = 0; i < 2; i++)
        if (f->report[i] > 0) close(f->report[i]);
    if (f->signals > 0) close(f->signals);
    free(f);
}
