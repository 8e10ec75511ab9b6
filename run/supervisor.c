/* SPDX-License-Identifier: MIT */
#include "run/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/vec.h"
#include "run/deaths.h"
#include "run/last_words.h"
#include "run/vigil.h"

enum { FAREWELL_MS = 3000, LOOK_MS = 500, HELD_UP_MS = 5000, LISTED_MS = 5000, SAID = 800 };

typedef struct child {
    child_options options;
    process process;
    bool running, left; /* left: at the farewell, not to be started again */
    int64_t due_ms;     /* when to start it again; 0: it runs, or is done */
    char due_why[SAID]; /* said then; "": was said */
    last_words words;
    uint64_t kills; /* the kernel's, when it started */
    bool replaced;  /* killed by us: it was not well */
    vigil vigil;
    deaths deaths;
} child;

struct supervisor {
    supervisor_config config;
    vec(child) children;
    bool stopping, farewell, log_lost;
    int64_t step;                           /* the latest that is done */
    uint64_t steps;                         /* done for the first time while we look */
    int64_t heard_ms, listed_ms, looked_ms; /* the principal reported; reported its peers; all processes were checked */
    str peers;
};

supervisor *supervisor_new(const supervisor_config *config)
{
    supervisor *s = xcalloc(1, sizeof *s);
    if (config) s->config = *config;
    if (s->config.stopped_ms <= 0) s->config.stopped_ms = 15000;
    if (s->config.lost_ms <= 0) s->config.lost_ms = 60000;
    if (s->config.silent_ms <= 0) s->config.silent_ms = 60000;
    s->looked_ms = clock_ms();
    return s;
}

static void say(const supervisor *s, const char *sentence)
{
    if (s->config.say) s->config.say(s->config.ctx, sentence);
}

/* ---- start ---- */

/* Our environment with one variable more; the caller frees the array, and its first word. */
static const char **with_words_fd(int fd)
{
    size_t n = 0;
    while (environ[n]) n++;
    const char **env = xcalloc(n + 2, sizeof *env);
    str word = { 0 };
    str_printf(&word, "%s=%d", LAST_WORDS_FD, fd);
    env[0] = str_take(&word);
    memcpy(env + 1, environ, n * sizeof *env);
    return env;
}

static int spawn(child *c, const char *const *argv, int log, int words, error *err)
{
    const int pass[2] = { words, c->options.report_fd };
    const char **env = with_words_fd(words);
    const process_options options = { .fd_in = -1,
                                      .fd_out = log,
                                      .fd_err = log,
                                      .pass_fds = pass,
                                      .n_pass_fds = c->options.report_fd >= 0 ? 2 : 1,
                                      .env = env,
                                      .new_group = true, /* Ctrl-C reaches the supervisor alone, who stops in order */
                                      .die_with_parent = true };

    const int rc = process_spawn(&c->process, argv, &options, err);
    free((char *)(uintptr_t)env[0]);
    free(env);
    return rc == OK ? OK : error_within(err, "%s", c->options.name);
}

/* Once a run: the others' disk is the same. */
static void say_log_is_lost(supervisor *s, const char *why)
{
    char sentence[SAID];
    if (s->log_lost) return;
    s->log_lost = true;
    snprintf(sentence, sizeof sentence, "%.700s; the run continues without it", why);
    say(s, sentence);
}

/* A role needs no log. */
static int open_log(supervisor *s, const child *c, error *err)
{
    error why = { 0 };
    int log = file_open(c->options.log_path, O_WRONLY | O_CREAT | O_APPEND, 0644, &why);
    if (log >= 0) return log;
    say_log_is_lost(s, why.text);
    log = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (log < 0) error_sys(err, errno, "/dev/null");
    return log;
}

/* Nothing of its former life counts; what the kernel has killed already is not of this one. */
static void begin_life(child *c)
{
    c->kills = memory_kills("");
    c->vigil = (vigil){ 0 };
    c->replaced = false;
    c->left = false;
    c->due_ms = 0;
}

static int start(supervisor *s, child *c, const char *const *argv, error *err)
{
    int words;
    const int log = open_log(s, c, err);
    if (log < 0) return err ? err->code : ERR_IO;
    if (last_words_begin(&c->words, log, &words, err) != OK) {
        close(log);
        return error_within(err, "%s", c->options.name);
    }

    begin_life(c);
    const int rc = spawn(c, argv, log, words, err);
    close(log);
    close(words);
    c->running = rc == OK;
    if (rc != OK) last_words_free(&c->words);
    return rc;
}

int supervisor_add(supervisor *s, const child_options *options, error *err)
{
    child c = { .options = *options, .words = { .fd = -1 } };
    const int rc = start(s, &c, options->argv, err);
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

/* ---- ends ---- */

/* Takes what has come by its pipe: that its log is lost is said, the rest is kept. */
static void poll_words(supervisor *s, child *c)
{
    char reason[SAID], why[2 * SAID];
    if (!last_words_poll(&c->words, reason, sizeof reason)) return;
    snprintf(why, sizeof why, "%s cannot be written: %s", c->options.log_path, reason);
    say_log_is_lost(s, why);
}

/* How it ended and what it said, as far as it says more. */
static void reason_of(supervisor *s, child *c, int status, death_kind kind, char *out, size_t size)
{
    char how[64], said[DEATH_REASON - 80];
    poll_words(s, c);
    last_words_end(&c->words, c->options.log_path, said, sizeof said);
    process_status_text(status, how, sizeof how);

    const bool in_order = kind == DEATH_FAILED || kind == DEATH_STOPPED; /* its sentence says all */
    const bool speaks = said[0] && (in_order || kind == DEATH_CRASHED || kind == DEATH_AGAIN);
    if (kind == DEATH_MEMORY)
        snprintf(out, size,
                 "%s, probably by the kernel's out-of-memory killer: lower learner.micro_tokens, actors or "
                 "actor_slots",
                 how);
    else if (speaks && in_order)
        snprintf(out, size, "%s", said);
    else if (speaks)
        snprintf(out, size, "%s: %s", how, said);
    else
        snprintf(out, size, "%s", how);
}

static supervisor_state give_up(const child *c, death_verdict verdict, const char *reason, error *err)
{
    if (verdict == DEATH_SAME_AGAIN)
        error_set(err, ERR_PEER, "%s: %s (ended twice for this reason without a step in between; log: logs/%s.log)",
                  c->options.name, reason, c->options.name);
    else
        error_set(err, ERR_PEER, "%s: %s (ended %d times without a step in between; log: logs/%s.log)", c->options.name,
                  reason, c->deaths.all, c->options.name);
    return RUN_FAILED;
}

static supervisor_state restart_later(supervisor *s, child *c, death_kind kind, const char *reason, error *err)
{
    char sentence[SAID];
    int64_t delay_ms;
    const death_verdict verdict = deaths_add(&c->deaths, kind, reason, s->steps, &delay_ms);
    if (verdict != DEATH_RESTART) return give_up(c, verdict, reason, err);

    snprintf(sentence, sizeof sentence, "%s ended (%s); starting it again", c->options.name, reason);
    c->due_ms = clock_ms() + delay_ms;
    c->due_why[0] = '\0';
    if (kind == DEATH_LEFT)
        snprintf(c->due_why, sizeof c->due_why, "%s", sentence); /* the run may be about to end as well */
    else
        say(s, sentence);
    return RUN_CONTINUES;
}

/* Who said goodbye to this principal will be needed by the next one. */
static void call_back(supervisor *s)
{
    s->heard_ms = s->listed_ms = 0;
    s->farewell = false;
    for (size_t i = 0; i < s->children.len; i++) {
        child *c = &s->children.data[i];
        if (!c->left) continue;
        c->left = false;
        c->due_ms = clock_ms();
    }
}

/* Its status doesn't say that the kernel killed it for want of memory, nor that we did. */
static death_kind kind_of(const child *c, int status)
{
    const uint64_t kills = memory_kills("");
    if (c->replaced) return DEATH_KILLED;
    return death_of_status(status, kills > c->kills ? kills - c->kills : 0);
}

static supervisor_state ended(supervisor *s, child *c, int status, error *err)
{
    char reason[DEATH_REASON];
    const death_kind kind = kind_of(c, status);
    c->running = false;
    reason_of(s, c, status, kind, reason, sizeof reason);
    if (s->stopping) return RUN_CONTINUES;

    if (kind == DEATH_LEFT && c->options.principal) return RUN_FINISHED;
    if (kind == DEATH_LEFT && s->farewell) {
        c->left = true;
        return RUN_CONTINUES;
    }
    if (kind == DEATH_STOPPED && c->options.principal) { /* whoever asked it meant the run */
        error_set(err, ERR_INTERRUPTED, "stopped by a signal to the %s: %s", c->options.name, reason);
        return RUN_STOPPED;
    }
    if (kind == DEATH_FAILED && c->options.principal) { /* it said why: starting again would say it again */
        error_set(err, ERR_PEER, "%s: %s (log: logs/%s.log)", c->options.name, reason, c->options.name);
        return RUN_FAILED;
    }

    if (c->options.principal) call_back(s);
    return restart_later(s, c, kind, reason, err);
}

/* ---- the watch ---- */

static bool is_connected(const supervisor *s, const child *c)
{
    char name[64];
    snprintf(name, sizeof name, "%s ", c->options.name);
    for (const char *at = s->peers.data; at && (at = strstr(at, name)); at++)
        if (at == s->peers.data || at[-1] == ' ') return true;
    return false;
}

static void look_at(supervisor *s, child *c, int64_t now_ms)
{
    char sentence[SAID];
    const vigil_limits limits = { s->config.stopped_ms, s->config.lost_ms, s->config.silent_ms };
    const vigil_sight sight = { .name = c->options.name,
                                .process = process_look(&c->process),
                                .connects = c->options.connects,
                                .listed = s->listed_ms && now_ms - s->listed_ms < LISTED_MS,
                                .connected = is_connected(s, c),
                                .reports = c->options.principal && s->heard_ms,
                                .heard_ms = s->heard_ms };

    const vigil_verdict verdict = vigil_look(&c->vigil, &limits, &sight, now_ms, sentence, sizeof sentence);
    if (verdict != VIGIL_WELL) say(s, sentence);
    if (verdict != VIGIL_REPLACE) return;
    c->replaced = true;
    process_kill_group(&c->process, SIGKILL);
}

static void look_around(supervisor *s)
{
    const int64_t now_ms = clock_ms(), late = now_ms - s->looked_ms;
    if (late < LOOK_MS) return;
    s->looked_ms = now_ms;
    if (late > HELD_UP_MS && s->heard_ms) s->heard_ms += late; /* we were stopped; so were our ears */

    for (size_t i = 0; i < s->children.len; i++) {
        child *c = &s->children.data[i];
        if (late > HELD_UP_MS) vigil_forgive(&c->vigil, late);
        if (c->running) poll_words(s, c);
        if (c->running && !c->replaced) look_at(s, c, now_ms);
    }
}

static int start_due(supervisor *s, error *err)
{
    for (size_t i = 0; i < s->children.len; i++) {
        child *c = &s->children.data[i];
        if (c->running || !c->due_ms || clock_ms() < c->due_ms) continue;
        if (s->farewell && c->due_why[0]) { /* it left, and the run was about to end indeed */
            c->left = true;
            c->due_ms = 0;
            continue;
        }

        if (c->due_why[0]) say(s, c->due_why);
        if (start(s, c, c->options.restart_argv ? c->options.restart_argv : c->options.argv, err) != OK)
            return err ? err->code : ERR_IO;
    }
    return OK;
}

supervisor_state supervisor_poll(supervisor *s, error *err)
{
    supervisor_state state = RUN_CONTINUES;
    for (size_t i = 0; i < s->children.len && state != RUN_FAILED && state != RUN_STOPPED; i++) {
        child *c = &s->children.data[i];
        int status;
        if (!c->running || !process_wait(&c->process, 0, &status)) continue;
        const supervisor_state now = ended(s, c, status, err);
        if (now != RUN_CONTINUES) state = now;
    }

    if (state != RUN_CONTINUES || s->stopping) return state;
    look_around(s);
    return start_due(s, err) == OK ? RUN_CONTINUES : RUN_FAILED;
}

void supervisor_heard(supervisor *s, const char *peers)
{
    s->heard_ms = clock_ms();
    if (!peers) return;
    s->listed_ms = s->heard_ms;
    str_clear(&s->peers);
    str_puts(&s->peers, peers);
}

void supervisor_step(supervisor *s, int64_t step)
{
    if (step <= s->step) return; /* done again, after a life that ended before its checkpoint */
    s->step = step;
    s->steps++;
}

void supervisor_farewell(supervisor *s) { s->farewell = true; }

/* ---- the end ---- */

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
        if (!c->running || !(c->options.principal || !principals_only)) continue;
        process_signal(&c->process, SIGTERM);
        process_signal(&c->process, SIGCONT); /* who is stopped hears it too */
    }
}

static bool has_principal(const supervisor *s)
{
    for (size_t i = 0; i < s->children.len; i++)
        if (s->children.data[i].options.principal) return true;
    return false;
}

void supervisor_pause(supervisor *s, bool pause)
{
    for (size_t i = 0; i < s->children.len; i++)
        if (s->children.data[i].running) process_kill_group(&s->children.data[i].process, pause ? SIGSTOP : SIGCONT);
    look_around(s); /* that we were stopped is seen, and forgiven */
}

/* The step under way may be a long one: whoever gets CPU time is at work on it. */
static void wait_for_principals(supervisor *s)
{
    int64_t moved_ms = clock_ms(), cpu_ms = -1;
    while (!wait_for(s, true, clock_ms() + LOOK_MS) && clock_ms() - moved_ms < s->config.silent_ms) {
        int64_t now_cpu_ms = 0;
        for (size_t i = 0; i < s->children.len; i++) {
            const child *c = &s->children.data[i];
            if (c->running && c->options.principal) now_cpu_ms += process_look(&c->process).cpu_ms;
        }
        if (now_cpu_ms <= cpu_ms) continue;
        moved_ms = clock_ms();
        cpu_ms = now_cpu_ms;
    }
}

static void kill_all(supervisor *s)
{
    for (size_t i = 0; i < s->children.len; i++) {
        child *c = &s->children.data[i];
        char sentence[SAID];
        if (!c->running) continue;
        snprintf(sentence, sizeof sentence, "%s did not stop when asked; killing it", c->options.name);
        say(s, sentence);
        process_kill_group(&c->process, SIGKILL);
    }
}

void supervisor_stop(supervisor *s, int patience_ms)
{
    /* The principal first: it saves its work, and says goodbye to the others. */
    s->stopping = true;
    signal_all(s, true);
    if (patience_ms == SUPERVISOR_WAITS)
        wait_for_principals(s);
    else
        wait_for(s, true, clock_ms() + patience_ms);
    if (wait_for(s, false, clock_ms() + (has_principal(s) ? FAREWELL_MS : 0))) return;

    signal_all(s, false);
    if (wait_for(s, false, clock_ms() + FAREWELL_MS)) return;

    kill_all(s);
    wait_for(s, false, clock_ms() + FAREWELL_MS);
}

void supervisor_free(supervisor *s)
{
    if (!s) return;
    supervisor_stop(s, 0);
    for (size_t i = 0; i < s->children.len; i++) last_words_free(&s->children.data[i].words);
    vec_free(&s->children);
    str_free(&s->peers);
    free(s);
}
