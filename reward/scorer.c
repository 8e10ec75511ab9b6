/* SPDX-License-Identifier: MIT */
#include "reward/scorer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/process.h"
#include "base/str.h"
#include "proto/codec.h"
#include "proto/messages.h"
#include "reward/last_line.h"
#include "reward/script.h"

enum {
    GRACE_MS = 250,      /* of CPU time, for reading and writing around the script */
    START_MS = 1000,     /* of CPU time more for a process that has just been started */
    TICK_MS = 200,       /* between two calls of the caller's tick */
    SLICE_MS = 20,       /* between two looks at the host's clock */
    PATIENCE_MS = 12000, /* on the wall, and the call's own time: then the machine is to blame */
    STOPPED_MS = 1000,   /* a process that was stopped for so long is replaced */
    WRITE_MS = 5000,
    ROWS_PER_STATE = 10000, /* of a script that keeps state: then it begins anew */
    MORE_MEMORY_MB = 2048,  /* what the largest row takes outside of the VM, and in it, beyond its cap */
};

struct scorer {
    scorer_config config;
    char *script;
    char self[1024];
    process host;
    int fd;        /* -1: no host */
    int lines;     /* where it tells its last line; as fd */
    clockid_t cpu; /* of the host */
    bool fresh, keeps_state;
    int64_t rows; /* since the host was started */
    str bytes;
    void (*tick)(void *ctx);
    void *tick_ctx;
};

/* ---- what passes between the two ---- */

/* A result of the socket as 1 (done), 0 (the deadline has passed) or -1 (the host is gone, or its bytes make no
 * sense). */
static int passed(int rc)
{
    if (rc == OK) return 1;
    return rc == ERR_TIMEOUT ? 0 : -1;
}

static int send_message(int fd, const message *m, str *bytes, int64_t deadline_ms)
{
    str_clear(bytes);
    message_encode(m, bytes);
    return passed(frame_send(fd, bytes->data, bytes->len, deadline_ms));
}

static int receive_message(int fd, message *m, int64_t deadline_ms)
{
    char *data = NULL;
    size_t len = 0;
    int rc = frame_receive(fd, MAX_MESSAGE_BYTES, &data, &len, deadline_ms);
    if (rc == OK) rc = message_decode(m, data, len, NULL);
    free(data);
    return passed(rc);
}

/* ---- the host ---- */

int scorer_check_script(const scorer_config *config, error *err)
{
    script *s = script_new(config, err);
    script_free(s);
    if (s) return OK;
    return err ? err->code : ERR_SCRIPT;
}

static int look_at_script(scorer *s, error *err)
{
    script *sc = script_new(&s->config, err);
    if (!sc) return err ? err->code : ERR_SCRIPT;
    s->keeps_state = script_keeps_state(sc);
    script_free(sc);
    return OK;
}

/* The VM's own cap is tighter; this one catches what is not Lua's. A sanitizer's shadow takes terabytes of
 * addresses. */
static void limit_memory(const scorer_config *config)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    (void)config;
#else
    const rlim_t cap = (rlim_t)(config->memory_mb + MORE_MEMORY_MB) << 20;
    setrlimit(RLIMIT_AS, &(struct rlimit){ cap, cap });
#endif
}

int reward_host_main(const scorer_config *config, int fd, int lines)
{
    error err = { 0 };
    str bytes = { 0 };
    limit_memory(config);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    scorer_config trusted = *config;
    trusted.fixed_order = true; /* who started this process has seen to it */
    script *s = script_new(&trusted, &err);
    if (s) last_line_tell(script_vm(s), lines);

    message m;
    while (receive_message(fd, &m, INT64_MAX / 2) == 1) {
        score sc = { .status = SCORE_SCRIPT };
        if (m.type != MSG_SCORE_REQUEST) break;
        if (s) {
            script_score(s, m.score_request.task, m.score_request.episode, &sc);
        } else {
            sc.task = m.score_request.episode->id;
            sc.error = xstrdup(err.text);
        }

        const message reply = { .type = MSG_SCORE, .score = { &sc } };
        const int rc = send_message(fd, &reply, &bytes, clock_ms() + WRITE_MS);
        score_reset(&sc);
        message_reset(&m);
        if (rc != 1 || (s && script_keeps_state(s) && script_is_full(s))) break;
    }

    str_free(&bytes);
    script_free(s);
    return 0;
}

/* Signals that a process's own instructions bring about. */
static bool is_own_doing(int sig)
{
    return sig == SIGSEGV || sig == SIGBUS || sig == SIGABRT || sig == SIGFPE || sig == SIGILL;
}

/* How it ended, in `why`; a signal that kills from outside, or a process that had to be killed here, is not its own
 * doing. */
static bool stop_host(scorer *s, char *why, size_t size)
{
    int status = 0;
    char byte;
    if (s->fd < 0) return false;
    close(s->lines);

    const bool closed = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0; /* then it ends, or has ended */
    close(s->fd);
    s->fd = -1;

    const bool ended = process_wait(&s->host, closed ? 1000 : 0, &status) == 1;
    if (!ended) {
        process_kill_group(&s->host, SIGKILL);
        process_wait(&s->host, 2000, &status);
    }
    if (why) process_status_text(status, why, size);
    if (!ended) return false;

    return WIFSIGNALED(status) ? is_own_doing(WTERMSIG(status)) : status != 0;
}

static int spawn_host(scorer *s, int socket, int lines, error *err)
{
    char words[6][24];
    const long long numbers[] = {
        socket, lines, s->config.cpu_ms, s->config.memory_mb, s->config.instructions, s->config.print_bytes
    };
    for (int i = 0; i < 6; i++) snprintf(words[i], sizeof words[i], "%lld", numbers[i]);
    const char *const argv[] = { s->self,  "reward-host", s->script, words[0], words[1],
                                 words[2], words[3],      words[4],  words[5], NULL };

    const int pass[2] = { socket, lines };
    const process_options options = { .fd_in = -1,
                                      .fd_out = -1,
                                      .fd_err = -1,
                                      .pass_fds = pass,
                                      .n_pass_fds = 2,
                                      .new_group = true,
                                      .die_with_parent = true };
    return process_spawn(&s->host, argv, &options, err);
}

static int start_host(scorer *s, error *err)
{
    int pair[2], lines[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return error_sys(err, errno, "socketpair");
    if (pipe2(lines, O_CLOEXEC) != 0) {
        const int why = errno;
        close(pair[0]);
        close(pair[1]);
        return error_sys(err, why, "pipe");
    }

    const int rc = spawn_host(s, pair[1], lines[1], err);
    close(pair[1]);
    close(lines[1]);
    if (rc != OK) {
        close(pair[0]);
        close(lines[0]);
    }
    s->fd = rc == OK ? pair[0] : -1;
    s->lines = lines[0];
    s->fresh = true;
    s->rows = 0;

    if (rc == OK && clock_getcpuclockid(s->host.pid, &s->cpu) != 0) s->cpu = CLOCK_MONOTONIC; /* gone already */
    return rc;
}

scorer *scorer_new(const scorer_config *config, error *err)
{
    scorer *s = xcalloc(1, sizeof *s);
    s->config = *config;
    s->fd = -1;
    if (s->config.cpu_ms <= 0) s->config.cpu_ms = 1000;
    if (s->config.memory_mb <= 0) s->config.memory_mb = 64;
    if (s->config.instructions <= 0) s->config.instructions = 100000000;
    s->script = xstrdup(config->script);
    s->config.script = s->script;

    if (look_at_script(s, err) == OK && process_self_path(s->self, sizeof s->self, err) == OK &&
        start_host(s, err) == OK)
        return s;
    scorer_free(s);
    return NULL;
}

void scorer_free(scorer *s)
{
    if (!s) return;
    stop_host(s, NULL, 0);
    str_free(&s->bytes);
    free(s->script);
    free(s);
}

int scorer_host_pid(const scorer *s) { return (int)s->host.pid; }

void scorer_set_tick(scorer *s, void (*tick)(void *ctx), void *ctx)
{
    s->tick = tick;
    s->tick_ctx = ctx;
}

static int64_t host_cpu_ms(const scorer *s)
{
    struct timespec t = { 0 };
    clock_gettime(s->cpu, &t); /* of a process that is gone: 0, and its socket says the rest */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* SIGSTOP, or a debugger: the third word of its stat, after the name in parentheses. */
static bool host_is_stopped(const scorer *s)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)s->host.pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;

    const char *name_end = strrchr(text, ')');
    return name_end && (strncmp(name_end, ") T", 3) == 0 || strncmp(name_end, ") t", 3) == 0);
}

/* Waits until the reply begins (1), or the script has used up its CPU time (0). -1: what the host does is not known,
 * and it is to be replaced. A host that is gone makes its socket readable, which counts as a reply. */
static int await_reply(const scorer *s, int64_t cpu_ms)
{
    const int64_t began_ms = clock_ms(), cpu_began_ms = host_cpu_ms(s);
    const int64_t max_ms = cpu_ms + GRACE_MS + (s->fresh ? s->config.cpu_ms + START_MS : 0);
    int64_t stopped_ms = 0, ticked_ms = began_ms;
    for (;;) {
        struct pollfd pf = { .fd = s->fd, .events = POLLIN };
        if (poll(&pf, 1, SLICE_MS) > 0) return 1;
        const int64_t now_ms = clock_ms();
        if (s->tick && now_ms - ticked_ms >= TICK_MS) {
            s->tick(s->tick_ctx);
            ticked_ms = now_ms;
        }

        if (host_cpu_ms(s) - cpu_began_ms > max_ms) return 0;
        if (now_ms - began_ms > PATIENCE_MS + cpu_ms) return -1;

        if (!host_is_stopped(s))
            stopped_ms = 0;
        else if (!stopped_ms)
            stopped_ms = now_ms;
        else if (now_ms - stopped_ms > STOPPED_MS)
            return -1;
    }
}

/* Asks the host once. 1: *out is its score; 0: the script took too long; -1: the host is gone, or doesn't answer. */
static int ask(scorer *s, const task *t, const episode *e, score *out)
{
    message m = { .type = MSG_SCORE_REQUEST, .score_request = { (task *)(uintptr_t)t, (episode *)(uintptr_t)e } };
    message reply = { 0 };
    if (send_message(s->fd, &m, &s->bytes, clock_ms() + WRITE_MS) != 1) return -1;

    int rc = await_reply(s, script_cpu_ms(s->config.cpu_ms, t, e));
    if (rc == 1 && receive_message(s->fd, &reply, clock_ms() + WRITE_MS) != 1) rc = -1;
    if (rc != 1) return rc;

    s->fresh = false;
    s->rows++;
    if (reply.type != MSG_SCORE || reply.score.score->task != e->id) rc = -1;
    if (rc == 1) {
        *out = *reply.score.score;
        *reply.score.score = (score){ 0 };
    }
    message_reset(&reply);
    return rc;
}

/* Where the script was: its line, as far as one of the hosts could tell it, else its file. One that still runs is
 * asked. */
static void last_place(const scorer *s, char *out, size_t size)
{
    char line[240];
    process_signal(&s->host, LAST_LINE_SIGNAL);
    last_line_read(s->lines, LAST_LINE_MS, line, sizeof line);
    if (line[0] || !out[0]) snprintf(out, size, "%s", line[0] ? line : s->script);
}

static void missing(score *out, uint64_t id, score_status status, const char *why)
{
    *out = (score){ .task = id, .status = status, .error = xstrdup(why) };
}

/* What is too large to be sent, by name. */
static bool too_large(const task *t, const episode *e, score *out)
{
    const struct {
        const char *name, *text;
    } TEXTS[] = {
        { "response", e->text }, { "row", t->row }, { "transcript", e->transcript }, { "answer", e->answer }
    };
    size_t all = 0;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        const size_t len = TEXTS[i].text ? strlen(TEXTS[i].text) : 0;
        all += len;
        if (len <= MAX_ROW_BYTES && all <= MAX_MESSAGE_BYTES - MAX_ROW_BYTES / 2) continue;

        char why[200];
        if (len <= MAX_ROW_BYTES)
            snprintf(why, sizeof why, "row, response and transcript of %.1f MB together are above the limit of %d MB",
                     (double)all / (1 << 20), (MAX_MESSAGE_BYTES - MAX_ROW_BYTES / 2) >> 20);
        else
            snprintf(why, sizeof why, "a %s of %.1f MB is above the limit of %d MB", TEXTS[i].name,
                     (double)len / (1 << 20), MAX_ROW_BYTES >> 20);
        missing(out, e->id, SCORE_SCRIPT, why);
        return true;
    }
    return false;
}

/* A script that keeps state begins anew after so many rows, and when its process has ended for its memory. */
static void renew(scorer *s)
{
    char byte;
    const bool gone = s->fd >= 0 && recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    if (gone || s->rows >= ROWS_PER_STATE) stop_host(s, NULL, 0);
}

void scorer_score(scorer *s, const task *t, const episode *e, score *out)
{
    error err = { 0 };
    char why[400], how[80] = "", place[240] = "";
    int own_doing = 0;
    if (too_large(t, e, out)) return;
    if (s->keeps_state) renew(s);

    /* A second try: a host that was killed from outside says nothing of the script. */
    for (int tries = 0; tries < 2; tries++) {
        if (s->fd < 0 && start_host(s, &err) != OK) {
            missing(out, e->id, SCORE_MACHINE, err.text);
            return;
        }
        const int rc = ask(s, t, e, out);
        if (rc == 1) return;

        last_place(s, place, sizeof place);
        own_doing += stop_host(s, how, sizeof how);
        if (rc < 0) continue;

        snprintf(why, sizeof why, "%s: took more than %lld ms of CPU time (killed)", place,
                 (long long)script_cpu_ms(s->config.cpu_ms, t, e));
        missing(out, e->id, SCORE_SCRIPT, why);
        return;
    }

    snprintf(why, sizeof why, "%s: the process that runs the reward script ended twice on this episode (%s)", place,
             how);
    missing(out, e->id, own_doing == 2 ? SCORE_SCRIPT : SCORE_MACHINE, why);
}
