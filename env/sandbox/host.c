/* SPDX-License-Identifier: MIT */
#include "env/sandbox/host.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/verdict.h"

enum { MAX_REQUEST = 1 << 21, MIN_WAIT_MS = 5 };

/* The head of a request: see zygote.py. */
typedef struct __attribute__((packed)) request_head {
    char kind;
    uint64_t call;
    uint32_t wall_ms, memory_mb;
    uint64_t seed;
} request_head;

typedef struct under_way {
    pid_t pid;
    uint64_t call;
    uint32_t flags;
    int64_t limit_ms, due_ms;
} under_way;

typedef struct hosting {
    const box_host *host;
    int sock, children; /* children: a signalfd of SIGCHLD */
    vec(under_way) calls;
    char *buffer; /* [MAX_REQUEST] */
    size_t have;  /* bytes in it of a request that is not whole yet */
} hosting;

static _Noreturn void run_child(const hosting *h, pid_t parent, const request_head *head, size_t len, int out_fd)
{
    /* The host blocks SIGCHLD, for its signalfd. */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0); /* the host died before the line above */

    const rlim_t cpu_s = head->wall_ms / 1000 + 2; /* the host judges; this is for a host that can't */
    setrlimit(RLIMIT_CPU, &(struct rlimit){ cpu_s, cpu_s + 1 });
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    prctl(PR_SET_DUMPABLE, 0); /* else a crash starts this machine's program for core files, whatever the limit says */
    close(h->sock);            /* a call must not speak for its host */

    if (h->host->run(h->host->ctx, h->buffer + sizeof *head, len - sizeof *head, out_fd)) _exit(0);
    kill(getpid(), FILTER_RAISED);
    _exit(1);
}

/* "D", as zygote.py describes it. */
static void send_end(const hosting *h, const under_way *u, uint32_t status, uint64_t cpu_us)
{
    char m[25] = "D";
    memcpy(m + 1, &u->call, 8);
    memcpy(m + 9, &status, 4);
    memcpy(m + 13, &u->flags, 4);
    memcpy(m + 17, &cpu_us, 8);
    send(h->sock, m, sizeof m, MSG_NOSIGNAL);
}

static void start(hosting *h, size_t len, int out_fd)
{
    request_head head;
    memcpy(&head, h->buffer, sizeof head);
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) run_child(h, parent, &head, len, out_fd);

    const under_way u = { pid, head.call, BOX_BEGAN, head.wall_ms, clock_ms() + head.wall_ms };
    if (pid < 0)
        send_end(h, &(under_way){ .call = head.call }, 0, 0); /* it never began */
    else
        vec_push(&h->calls, u);
}

static void end_call(const hosting *h, uint64_t call)
{
    for (size_t i = 0; i < h->calls.len; i++)
        if (h->calls.data[i].call == call) kill(h->calls.data[i].pid, SIGKILL);
}

/* Of a request in parts (zygote.py): puts this one behind those before. True: it is whole, and *len its length. */
static bool join_part(hosting *h, size_t *len)
{
    const char kind = h->buffer[h->have];
    if (h->have == 0 && kind != 'M') return true; /* a message without parts */
    memmove(h->buffer + h->have, h->buffer + h->have + 1, *len - 1);
    h->have += *len - 1;
    if (kind == 'M') return false;
    *len = h->have;
    h->have = 0;
    return true;
}

/* Takes one message. False: the box is gone. */
static bool receive(hosting *h)
{
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = { .iov_base = h->buffer + h->have, .iov_len = MAX_REQUEST - h->have };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    const ssize_t got = recvmsg(h->sock, &m, MSG_CMSG_CLOEXEC);
    if (got <= 0) return got < 0 && errno == EINTR;
    size_t n = (size_t)got;
    if (!join_part(h, &n)) return true;

    int fd = -1;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(c), sizeof fd);

    if (h->buffer[0] == 'R' && fd >= 0 && n >= sizeof(request_head)) start(h, n, fd);
    if (h->buffer[0] == 'P') send(h->sock, "P", 1, MSG_NOSIGNAL);
    if (h->buffer[0] == 'K' && n == 9) {
        uint64_t call;
        memcpy(&call, h->buffer + 1, sizeof call);
        end_call(h, call);
    }

    if (fd >= 0) close(fd);
    return true;
}

static void reap(hosting *h)
{
    struct signalfd_siginfo infos[16];
    struct rusage usage;
    int status;

    /* Signals of one kind don't queue: one SIGCHLD may stand for many children. So all of them are asked. */
    if (read(h->children, infos, sizeof infos) < 0 && errno != EAGAIN) return;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG | WUNTRACED | WCONTINUED, &usage)) > 0;) {
        size_t i = 0;
        while (i < h->calls.len && h->calls.data[i].pid != pid) i++;
        if (i == h->calls.len) continue;

        if (WIFSTOPPED(status) || WIFCONTINUED(status)) {
            h->calls.data[i].flags |= BOX_STOPPED;
            kill(pid, SIGKILL);
            continue;
        }

        const struct timeval u = usage.ru_utime, s = usage.ru_stime;
        const int64_t cpu_us = (int64_t)(u.tv_sec + s.tv_sec) * 1000000 + (int64_t)(u.tv_usec + s.tv_usec);
        send_end(h, &h->calls.data[i], (uint32_t)status, (uint64_t)cpu_us);
        h->calls.data[i] = h->calls.data[--h->calls.len];
    }
}

/* What it computed: a function of ours has nothing to sleep for, so that the rest is waiting for a processor. */
static int64_t computed_ms(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Ends calls whose time is up, by the wall first and then by what they computed. How long to wait for the next one, in
 * ms; -1: for ever. */
static int64_t judge(hosting *h)
{
    const int64_t now_ms = clock_ms();
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < h->calls.len; i++) {
        under_way *u = &h->calls.data[i];
        const int64_t left_ms = u->due_ms > now_ms ? u->due_ms - now_ms : u->limit_ms - computed_ms(u->pid);
        if (left_ms <= 0 && !(u->flags & BOX_TOO_LONG)) {
            u->flags |= BOX_TOO_LONG;
            kill(u->pid, SIGKILL);
        }

        u->due_ms = now_ms + (left_ms < MIN_WAIT_MS ? MIN_WAIT_MS : left_ms);
        if (u->due_ms < first) first = u->due_ms;
    }
    return first == INT64_MAX ? -1 : first - now_ms;
}

int box_host_refuse(const char *sentence, int sock)
{
    str m = { 0 };
    str_printf(&m, "E%s", sentence);
    send(sock, m.data, m.len, MSG_NOSIGNAL);
    str_free(&m);
    return 1;
}

int box_host_main(const box_host *host, int sock)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);

    hosting h = { .host = host,
                  .sock = sock,
                  .children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK),
                  .buffer = xmalloc(MAX_REQUEST) };
    bool there = send(sock, "Hhost", 5, MSG_NOSIGNAL) == 5;

    while (there) {
        struct pollfd fds[] = { { .fd = sock, .events = POLLIN }, { .fd = h.children, .events = POLLIN } };
        poll(fds, 2, (int)judge(&h));
        if (fds[0].revents) there = receive(&h);
        reap(&h);
    }

    for (size_t i = 0; i < h.calls.len; i++) kill(h.calls.data[i].pid, SIGKILL);
    vec_free(&h.calls);
    close(h.children);
    free(h.buffer);
    return 0;
}
