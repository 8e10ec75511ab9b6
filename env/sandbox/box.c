#include "env/sandbox/box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/zygote_text.h"

enum { START_MS = 10000, GRACE_MS = 3000, MAX_CODE = 1 << 20, READ_BYTES = 16384 };

typedef struct running {
    uint64_t call;
    int pipe; /* -1: at its end */
    str output;
    int64_t began_us, deadline_ms, lost_ms;
    bool timed_out, overflowed, ended, cancelled;
    int status;
} running;

struct box {
    box_config config;
    process zygote;
    int sock; /* -1: no zygote */
    char layers[16];
    vec(running) calls;
};

/* ---- the zygote ---- */

static const char *python(void) { return access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3"; }

static int spawn(box *b, int theirs, int filter, error *err)
{
    static const char *const MODES[] = { "auto", "landlock", "none" };
    char sock_text[16], filter_text[16], tmp_text[16];
    snprintf(sock_text, sizeof sock_text, "%d", theirs);
    snprintf(filter_text, sizeof filter_text, "%d", filter);
    snprintf(tmp_text, sizeof tmp_text, "%d", b->config.tmp_mb);
    const char *const argv[] = {
        python(), "-I", "-S", "-c", ZYGOTE_TEXT, sock_text, filter_text, tmp_text, MODES[b->config.mode], NULL
    };
    static const char *const ENVIRONMENT[] = { "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
                                               NULL };
    const int fds[] = { theirs, filter };
    const process_options options = { .fd_in = -1,
                                      .fd_out = -1,
                                      .fd_err = -1,
                                      .pass_fds = fds,
                                      .n_pass_fds = 2,
                                      .env = ENVIRONMENT,
                                      .new_group = true,
                                      .die_with_parent = true };
    return process_spawn(&b->zygote, argv, &options, err);
}

/* "H": ready; "E" and a sentence: this machine lacks a layer. */
static int wait_ready(box *b, error *err)
{
    char text[300];
    struct pollfd fd = { .fd = b->sock, .events = POLLIN };
    const int ready = poll(&fd, 1, START_MS);
    const ssize_t n = ready > 0 ? recv(b->sock, text, sizeof text - 1, 0) : 0;
    if (n > 0) text[n] = 0;
    if (n > 1 && text[0] == 'H') return snprintf(b->layers, sizeof b->layers, "%.15s", text + 1), OK;
    if (n > 1 && text[0] == 'E') {
        return error_set(err, ERR_UNSUPPORTED,
                         "sandbox: %s (troupe doctor says more; sandbox = \"none\" runs code without isolation)",
                         text + 1);
    }
    return error_set(err, ready > 0 ? ERR_PEER : ERR_TIMEOUT, "sandbox: %s did not come up%s", python(),
                     ready > 0 ? "" : " in time");
}

static void stop_zygote(box *b)
{
    int status;
    if (b->sock < 0) return;
    close(b->sock);
    b->sock = -1;
    process_kill_group(&b->zygote, SIGKILL);
    process_wait(&b->zygote, GRACE_MS, &status);
}

static int start_zygote(box *b, error *err)
{
    int pair[2];
    const int filter = filter_open(err);
    if (filter < 0) return err ? err->code : ERR_UNSUPPORTED;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        close(filter);
        return error_sys(err, errno, "socketpair");
    }
    const int big = 2 * MAX_CODE;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
    int rc = spawn(b, pair[1], filter, err);
    close(pair[1]);
    close(filter);
    b->sock = pair[0];
    if (rc != OK) {
        close(b->sock);
        b->sock = -1;
        return rc;
    }
    rc = wait_ready(b, err);
    if (rc != OK) stop_zygote(b);
    return rc;
}

box *box_new(const box_config *config, error *err)
{
    box *b = xcalloc(1, sizeof *b);
    b->config = *config;
    b->sock = -1;
    if (b->config.timeout_ms <= 0) b->config.timeout_ms = 2000;
    if (b->config.memory_mb <= 0) b->config.memory_mb = 256;
    if (b->config.output_bytes <= 0) b->config.output_bytes = 16384;
    if (b->config.tmp_mb <= 0) b->config.tmp_mb = 32;
    if (start_zygote(b, err) == OK) return b;
    box_free(b);
    return NULL;
}

static void release(running *r)
{
    if (r->pipe >= 0) close(r->pipe);
    str_free(&r->output);
}

void box_free(box *b)
{
    if (!b) return;
    stop_zygote(b);
    for (size_t i = 0; i < b->calls.len; i++) release(&b->calls.data[i]);
    vec_free(&b->calls);
    free(b);
}

/* ---- calls ---- */

static int send_request(box *b, const char *data, size_t len, int fd)
{
    char control[CMSG_SPACE(sizeof fd)] = { 0 };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(b->sock, &m, MSG_NOSIGNAL) == (ssize_t)len ? OK : ERR_PEER;
}

static int ask(box *b, uint64_t call, const char *code, size_t len, int output)
{
    str m = { 0 };
    const uint32_t numbers[3] = { (uint32_t)b->config.timeout_ms, (uint32_t)b->config.memory_mb,
                                  (uint32_t)(b->config.timeout_ms / 1000 + 1) };
    str_putc(&m, 'R');
    str_add(&m, (const char *)&call, sizeof call);
    str_add(&m, (const char *)numbers, sizeof numbers);
    str_add(&m, code, len);
    const int rc = send_request(b, m.data, m.len, output);
    str_free(&m);
    return rc;
}

int box_begin(box *b, uint64_t call, const char *code, size_t len, int64_t now_ms, error *err)
{
    int pipes[2];
    if (len > MAX_CODE) return error_set(err, ERR_LIMIT, "%zu bytes of code are more than %d", len, MAX_CODE);
    if (b->sock < 0 && start_zygote(b, err) != OK) return err ? err->code : ERR_PEER;
    if (pipe2(pipes, O_CLOEXEC) != 0) return error_sys(err, errno, "pipe");
    const int rc = ask(b, call, code, len, pipes[1]);
    close(pipes[1]);
    if (rc != OK) {
        close(pipes[0]);
        stop_zygote(b);
        return error_set(err, ERR_PEER, "sandbox: the zygote is gone");
    }
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    vec_push(&b->calls, (running){ .call = call,
                                   .pipe = pipes[0],
                                   .began_us = clock_us(),
                                   .deadline_ms = now_ms + b->config.timeout_ms,
                                   .lost_ms = now_ms + b->config.timeout_ms + GRACE_MS });
    return OK;
}

static void kill_call(box *b, uint64_t call)
{
    char m[9] = "K";
    memcpy(m + 1, &call, sizeof call);
    if (b->sock >= 0) send_request(b, m, sizeof m, -1);
}

void box_cancel(box *b, uint64_t call)
{
    for (size_t i = 0; i < b->calls.len; i++)
        if (b->calls.data[i].call == call) b->calls.data[i].cancelled = true;
    kill_call(b, call);
}

const char *box_layers(const box *b) { return b->layers; }
int box_running(const box *b) { return (int)b->calls.len; }
int box_zygote_pid(const box *b) { return (int)b->zygote.pid; }

int box_fds(const box *b, struct pollfd *out, int max)
{
    int n = 0;
    if (b->sock >= 0 && b->calls.len > 0 && n < max) out[n++] = (struct pollfd){ .fd = b->sock, .events = POLLIN };
    for (size_t i = 0; i < b->calls.len && n < max; i++)
        if (b->calls.data[i].pipe >= 0) out[n++] = (struct pollfd){ .fd = b->calls.data[i].pipe, .events = POLLIN };
    return n;
}

int64_t box_deadline_ms(const box *b)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < b->calls.len; i++) {
        const running *r = &b->calls.data[i];
        const int64_t due = r->timed_out || r->overflowed ? r->lost_ms : r->deadline_ms;
        if (due < first) first = due;
    }
    return first;
}

/* ---- what has happened ---- */

static void read_output(box *b, running *r)
{
    char bytes[READ_BYTES];
    while (r->pipe >= 0) {
        const ssize_t n = read(r->pipe, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            close(r->pipe);
            r->pipe = -1;
            return;
        }
        const size_t room = (size_t)b->config.output_bytes - r->output.len;
        str_add(&r->output, bytes, (size_t)n < room ? (size_t)n : room);
        if ((size_t)n > room && !r->overflowed) {
            r->overflowed = true;
            kill_call(b, r->call);
        }
        if (r->overflowed) return; /* what is left is read away a piece a turn, until the child is dead */
    }
}

static void read_status(box *b)
{
    char m[64];
    for (;;) {
        const ssize_t n = recv(b->sock, m, sizeof m, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            stop_zygote(b);
            return;
        }
        uint64_t call;
        uint32_t status;
        if (n != 13 || m[0] != 'D') continue;
        memcpy(&call, m + 1, sizeof call);
        memcpy(&status, m + 9, sizeof status);
        for (size_t i = 0; i < b->calls.len; i++)
            if (b->calls.data[i].call == call) b->calls.data[i].ended = true, b->calls.data[i].status = (int)status;
    }
}

static box_outcome outcome_of(const running *r)
{
    if (r->timed_out) return BOX_TIME;
    if (r->overflowed) return BOX_OUTPUT;
    if (WIFEXITED(r->status))
        return WEXITSTATUS(r->status) == 0 ? BOX_OK : WEXITSTATUS(r->status) == 1 ? BOX_RAISED : BOX_LOST;
    return WIFSIGNALED(r->status) && WTERMSIG(r->status) == SIGXCPU ? BOX_TIME : BOX_KILLED;
}

static void check_time(box *b, running *r, int64_t now_ms)
{
    if (r->timed_out || r->overflowed || r->ended || now_ms < r->deadline_ms) return;
    r->timed_out = true;
    kill_call(b, r->call);
}

int box_poll(box *b, int64_t now_ms, box_result *out, int max)
{
    int n = 0;
    if (b->sock >= 0 && b->calls.len > 0) read_status(b);
    for (size_t i = 0; i < b->calls.len && n < max;) {
        running *r = &b->calls.data[i];
        read_output(b, r);
        check_time(b, r, now_ms);
        const bool lost = !r->ended && (b->sock < 0 || now_ms >= r->lost_ms);
        if (!lost && !r->ended) {
            i++;
            continue;
        }
        read_output(b, r);
        if (!r->cancelled)
            out[n++] = (box_result){ .call = r->call,
                                     .outcome = lost ? BOX_LOST : outcome_of(r),
                                     .ms = (double)(clock_us() - r->began_us) * 1e-3,
                                     .output = str_take(&r->output) };
        if (lost && b->sock >= 0) stop_zygote(b); /* it does not answer: the next call gets a new one */
        release(r);
        b->calls.data[i] = b->calls.data[--b->calls.len];
    }
    return n;
}
