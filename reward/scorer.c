#include "reward/scorer.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/str.h"
#include "proto/codec.h"
#include "proto/messages.h"
#include "reward/script.h"

enum { GRACE_MS = 250, HOST_FD = 3, WRITE_MS = 5000, LONG_WAIT_MS = 3600000, TICK_MS = 200 };

struct scorer {
    scorer_config config;
    char *script;
    char self[1024];
    process host;
    int fd; /* -1: no host */
    str bytes;
    void (*tick)(void *ctx);
    void *tick_ctx;
};

/* ---- frames: four bytes of length, then a message ---- */

/* Moves `len` bytes before the deadline. 1: done; 0: the deadline passed; -1: the other end is gone. */
static int move(int fd, void *data, size_t len, bool writing, int64_t deadline_ms)
{
    for (char *p = data; len > 0;) {
        struct pollfd pf = { .fd = fd, .events = writing ? POLLOUT : POLLIN };
        const int64_t left = deadline_ms - clock_ms();
        const int ready = poll(&pf, 1, left <= 0 ? 0 : left < LONG_WAIT_MS ? (int)left : LONG_WAIT_MS);
        if (ready == 0 && left <= LONG_WAIT_MS) return 0;
        if (ready == 0) continue;
        const ssize_t n = ready < 0 ? -1
                          : writing ? send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT)
                                    : recv(fd, p, len, MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return -1;
        p += n;
        len -= (size_t)n;
    }
    return 1;
}

static int send_frame(int fd, const message *m, str *bytes, int64_t deadline_ms)
{
    str_clear(bytes);
    str_add(bytes, "\0\0\0\0", 4);
    message_encode(m, bytes);
    const uint32_t len = (uint32_t)(bytes->len - 4);
    memcpy(bytes->data, &len, sizeof len);
    return move(fd, bytes->data, bytes->len, true, deadline_ms);
}

static int receive_frame(int fd, message *m, int64_t deadline_ms)
{
    uint32_t len = 0;
    int rc = move(fd, &len, sizeof len, false, deadline_ms);
    if (rc != 1) return rc;
    if (len > MAX_MESSAGE_BYTES) return -1;
    char *data = xmalloc(len + 1);
    rc = move(fd, data, len, false, deadline_ms);
    if (rc == 1 && message_decode(m, data, len, NULL) != OK) rc = -1;
    free(data);
    return rc;
}

/* ---- the host ---- */

int scorer_check_script(const scorer_config *config, error *err)
{
    script *s = script_new(config, err);
    script_free(s);
    return s ? OK : err ? err->code : ERR_SCRIPT;
}

/* The VM's own cap is tighter; this one catches what is not Lua's. A sanitizer's shadow takes terabytes of
 * addresses. */
static void limit_memory(const scorer_config *config)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    (void)config;
#else
    const rlim_t cap = (rlim_t)(config->memory_mb + 512) << 20;
    setrlimit(RLIMIT_AS, &(struct rlimit){ cap, cap });
#endif
}

int reward_host_main(const scorer_config *config, int fd)
{
    error err = { 0 };
    str bytes = { 0 };
    limit_memory(config);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    script *s = script_new(config, &err);
    message m;
    while (receive_frame(fd, &m, INT64_MAX / 2) == 1) {
        score sc = { .status = SCORE_SCRIPT };
        if (m.type != MSG_SCORE_REQUEST) break;
        if (s)
            script_score(s, m.score_request.task, m.score_request.episode, &sc);
        else
            sc.task = m.score_request.episode->id, sc.error = xstrdup(err.text);
        const message reply = { .type = MSG_SCORE, .score = { &sc } };
        const int rc = send_frame(fd, &reply, &bytes, clock_ms() + WRITE_MS);
        score_reset(&sc);
        message_reset(&m);
        if (rc != 1) break;
    }
    str_free(&bytes);
    script_free(s);
    return 0;
}

static void stop_host(scorer *s)
{
    int status;
    if (s->fd < 0) return;
    close(s->fd);
    s->fd = -1;
    process_kill_group(&s->host, SIGKILL);
    process_wait(&s->host, 2000, &status);
}

static int start_host(scorer *s, error *err)
{
    int pair[2];
    char fd_text[16], wall[24], memory[24], instructions[24];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return error_sys(err, errno, "socketpair");
    snprintf(fd_text, sizeof fd_text, "%d", pair[1]);
    snprintf(wall, sizeof wall, "%lld", (long long)s->config.wall_ms);
    snprintf(memory, sizeof memory, "%lld", (long long)s->config.memory_mb);
    snprintf(instructions, sizeof instructions, "%lld", (long long)s->config.instructions);
    const char *const argv[] = { s->self, "reward-host", s->script, fd_text, wall, memory, instructions, NULL };
    const process_options options = { .fd_in = -1,
                                      .fd_out = -1,
                                      .fd_err = -1,
                                      .pass_fds = &pair[1],
                                      .n_pass_fds = 1,
                                      .new_group = true,
                                      .die_with_parent = true };
    const int rc = process_spawn(&s->host, argv, &options, err);
    close(pair[1]);
    s->fd = rc == OK ? pair[0] : -1;
    if (rc != OK) close(pair[0]);
    return rc;
}

scorer *scorer_new(const scorer_config *config, error *err)
{
    scorer *s = xcalloc(1, sizeof *s);
    s->config = *config;
    s->fd = -1;
    if (s->config.wall_ms <= 0) s->config.wall_ms = 1000;
    if (s->config.memory_mb <= 0) s->config.memory_mb = 64;
    if (s->config.instructions <= 0) s->config.instructions = 100000000;
    s->script = xstrdup(config->script);
    s->config.script = s->script;
    if (scorer_check_script(&s->config, err) == OK && process_self_path(s->self, sizeof s->self, err) == OK &&
        start_host(s, err) == OK)
        return s;
    scorer_free(s);
    return NULL;
}

void scorer_free(scorer *s)
{
    if (!s) return;
    stop_host(s);
    str_free(&s->bytes);
    free(s->script);
    free(s);
}

int scorer_host_pid(const scorer *s) { return (int)s->host.pid; }
void scorer_set_tick(scorer *s, void (*tick)(void *ctx), void *ctx) { s->tick = tick, s->tick_ctx = ctx; }

/* Until there is something to read, or the deadline. */
static void wait_awake(const scorer *s, int64_t deadline_ms)
{
    struct pollfd pf = { .fd = s->fd, .events = POLLIN };
    for (int64_t left; s->tick && (left = deadline_ms - clock_ms()) > 0;) {
        if (poll(&pf, 1, left < TICK_MS ? (int)left : TICK_MS) != 0) return;
        s->tick(s->tick_ctx);
    }
}

/* One try. 1: *out is the host's; 0: it took too long; -1: the host is gone. */
static int ask(scorer *s, const task *t, const episode *e, score *out)
{
    message m = { .type = MSG_SCORE_REQUEST, .score_request = { (task *)(uintptr_t)t, (episode *)(uintptr_t)e } };
    int rc = send_frame(s->fd, &m, &s->bytes, clock_ms() + WRITE_MS);
    message reply = { 0 };
    const int64_t deadline_ms = clock_ms() + s->config.wall_ms + GRACE_MS;
    if (rc == 1) wait_awake(s, deadline_ms);
    if (rc == 1) rc = receive_frame(s->fd, &reply, deadline_ms);
    if (rc != 1) return rc;
    if (reply.type != MSG_SCORE || reply.score.score->task != e->id) rc = -1;
    if (rc == 1) {
        *out = *reply.score.score;
        *reply.score.score = (score){ 0 };
    }
    message_reset(&reply);
    return rc;
}

static void missing(score *out, uint64_t id, score_status status, const char *why)
{
    *out = (score){ .task = id, .status = status, .error = xstrdup(why) };
}

void scorer_score(scorer *s, const task *t, const episode *e, score *out)
{
    error err = { 0 };
    char why[300];
    for (int tries = 0; tries < 2; tries++) {
        if (s->fd < 0 && start_host(s, &err) != OK) {
            missing(out, e->id, SCORE_MACHINE, err.text);
            return;
        }
        const int rc = ask(s, t, e, out);
        if (rc == 1) return;
        stop_host(s);
        if (rc < 0) continue;
        snprintf(why, sizeof why, "%.200s: took longer than %lld ms (killed)", s->script, (long long)s->config.wall_ms);
        missing(out, e->id, SCORE_SCRIPT, why);
        return;
    }
    missing(out, e->id, SCORE_MACHINE, "the process that runs the reward script died twice");
}
