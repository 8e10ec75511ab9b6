#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/vec.h"
#include "learner/comm.h"

enum { RESTART_WINDOW_MS = 60000, FAREWELL_MS = 3000 };

typedef struct child {
    child_options options;
    process process;
    bool running, done;
    int64_t window_began_ms;
    int restarts; /* in this window */
} child;

struct supervisor {
    logger *log;
    vec(child) children;
    bool stopping;
};

supervisor *supervisor_new(logger *lg)
{
    supervisor *s = xcalloc(1, sizeof *s);
    s->log = lg;
    return s;
}

static int start(child *c, const char *const *argv, error *err)
{
    const int log = open(c->options.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) return error_sys(err, errno, "%s", c->options.log_path);
    const process_options options = { .fd_in = -1,
                                      .fd_out = log,
                                      .fd_err = log,
                                      .pass_fds = &c->options.report_fd,
                                      .n_pass_fds = c->options.report_fd >= 0 ? 1 : 0,
                                      .new_group = true, /* Ctrl-C reaches the supervisor alone, who stops in order */
                                      .die_with_parent = true };
    const int rc = process_spawn(&c->process, argv, &options, err);
    close(log);
    c->running = rc == OK;
    return rc == OK ? OK : error_within(err, "%s", c->options.name);
}

int supervisor_add(supervisor *s, const child_options *options, error *err)
{
    child c = { .options = *options, .window_began_ms = clock_ms() };
    const int rc = start(&c, options->argv, err);
    if (rc == OK) vec_push(&s->children, c);
    return rc;
}

int supervisor_fds(const supervisor *s, int *fds, int max)
{
    int n = 0;
    for (size_t i = 0; i < s->children.len && n < max; i++)
        if (s->children.data[i].running) fds[n++] = s->children.data[i].process.pidfd;
    return n;
}

static int restart(supervisor *s, child *c, const char *how, error *err)
{
    const int64_t now_ms = clock_ms();
    if (now_ms - c->window_began_ms > RESTART_WINDOW_MS) c->window_began_ms = now_ms, c->restarts = 0;
    if (c->restarts++ >= c->options.max_restarts)
        return error_set(err, ERR_PEER, "%s ended %d times within a minute, last: %s; its log is %s", c->options.name,
                         c->restarts, how, c->options.log_path);
    log_warn(s->log, "%s ended (%s); starting it again", c->options.name, how);
    return start(c, c->options.restart_argv ? c->options.restart_argv : c->options.argv, err);
}

static supervisor_state ended(supervisor *s, child *c, int status, error *err)
{
    char how[64];
    c->running = false;
    process_status_text(status, how, sizeof how);
    const bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (s->stopping) return RUN_GOES_ON;
    if (clean && c->options.principal) return RUN_FINISHED;
    /* Told goodbye by the exchange: the principal is about to end as well. */
    if (clean) return c->done = true, RUN_GOES_ON;
    if (c->options.principal && WIFEXITED(status) &&
        WEXITSTATUS(status) != RANK_AGAIN) { /* it said why in its log: starting again would say it again */
        error_set(err, ERR_PEER, "%s stopped with %s; its log is %s", c->options.name, how, c->options.log_path);
        return RUN_FAILED;
    }
    return restart(s, c, how, err) == OK ? RUN_GOES_ON : RUN_FAILED;
}

supervisor_state supervisor_poll(supervisor *s, error *err)
{
    supervisor_state state = RUN_GOES_ON;
    for (size_t i = 0; i < s->children.len && state != RUN_FAILED; i++) {
        child *c = &s->children.data[i];
        int status;
        if (!c->running || !process_wait(&c->process, 0, &status)) continue;
        const supervisor_state now = ended(s, c, status, err);
        if (now != RUN_GOES_ON) state = now;
    }
    return state;
}

/* True when all of them are gone. */
static bool wait_for(supervisor *s, bool principals_only, int64_t deadline_ms)
{
    bool all = true;
    for (size_t i = 0; i < s->children.len; i++) {
        child *c = &s->children.data[i];
        int status;
        const int64_t left = deadline_ms - clock_ms();
        if (principals_only && !c->options.principal) continue;
        if (c->running && process_wait(&c->process, left > 0 ? (int)left : 0, &status)) c->running = false;
        all = all && !c->running;
    }
    return all;
}

static void signal_all(supervisor *s, bool principals_only)
{
    for (size_t i = 0; i < s->children.len; i++) {
        const child *c = &s->children.data[i];
        if (c->running && (c->options.principal || !principals_only)) process_signal(&c->process, SIGTERM);
    }
}

static bool has_principal(const supervisor *s)
{
    for (size_t i = 0; i < s->children.len; i++)
        if (s->children.data[i].options.principal) return true;
    return false;
}

void supervisor_stop(supervisor *s, int patience_ms)
{
    s->stopping = true;
    signal_all(s, true);
    wait_for(s, true, clock_ms() + patience_ms);
    if (wait_for(s, false, clock_ms() + (has_principal(s) ? FAREWELL_MS : 0))) return; /* it told them goodbye */
    signal_all(s, false);
    if (wait_for(s, false, clock_ms() + FAREWELL_MS)) return;
    for (size_t i = 0; i < s->children.len; i++)
        if (s->children.data[i].running) {
            log_warn(s->log, "%s did not stop when asked; killing it", s->children.data[i].options.name);
            process_kill_group(&s->children.data[i].process, SIGKILL);
        }
    wait_for(s, false, clock_ms() + FAREWELL_MS);
}

void supervisor_free(supervisor *s)
{
    if (!s) return;
    supervisor_stop(s, 0);
    vec_free(&s->children);
    free(s);
}
