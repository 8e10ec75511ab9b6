/* SPDX-License-Identifier: MIT */
#include "env/sandbox/box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/memory_group.h"
#include "env/sandbox/zygote_text.h"

const word_row BOX_MODE_WORDS[] = { BOX_MODES(WORDS_ROW){ 0 } };

/* What the kernel keeps for a call (tables of pages, open files, pipes) counts in its group, but not as its
 * addresses. */
enum { KERNEL_MB = 16 };
enum {
    PATIENCE = 20,
    START_MS = 20000,
    GRACE_MS = 3000,
    MAX_CODE = 1 << 20,
    SEND_S = 10,
    READ_BYTES = 16384,
    MAX_REPORT = 2048
};

typedef struct running {
    uint64_t call;
    int pipe;         /* -1: at its end */
    memory_leaf leaf; /* of a group of its own; none where they are not permitted */
    str output;
    int64_t began_us;
    bool overflowed, ended, cancelled;
    box_end end; /* its text is in `why` */
    str why;
} running;

struct box {
    box_config config;
    process zygote;
    int sock;            /* -1: no zygote */
    char report[1024];   /* what the zygote said of itself: its mode, and a line a layer */
    int64_t overdue_ms;  /* when something should have been heard of it; INT64_MAX: nothing is waited for */
    bool asked;          /* whether it is there */
    memory_group *group; /* NULL: not permitted */
    bool grouped;        /* calls have leaves in it */
    bool wide, patient;  /* see box_loosen */
    size_t base_bytes;   /* address space of the zygote */
    str memory;          /* what box_memory says */
    vec(char *) host;    /* argv of a host, and a place for its socket's number; empty: python */
    vec(running) calls;
};

/* ---- the zygote ---- */

/* The system's own, where it is; a package that this one lacks may be in that of PATH (a virtual environment). A python
 * finds its libraries by the path that it is started as, so that is said in full. The caller frees. */
static char *find_python(bool systems)
{
    static const char SYSTEMS[] = "/usr/bin/python3";
    return systems && access(SYSTEMS, X_OK) == 0 ? xstrdup(SYSTEMS) : process_find("python3");
}

/* The zygote's program as a file at its start: through stdin it fills no process list. */
static int program_open(error *err)
{
    const int fd = memfd_create("troupe-zygote", MFD_CLOEXEC);
    const size_t len = strlen(ZYGOTE_TEXT);
    if (fd >= 0 && write(fd, ZYGOTE_TEXT, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0) return fd;
    error_sys(err, errno, "sandbox: cannot hand over the zygote's program");
    if (fd >= 0) close(fd);
    return -1;
}

/* The hash seed is fixed, so that sets have the same order everywhere; libraries that would compute with threads of
 * their own are told not to. */
static const char *const ENVIRONMENT[] = { "PATH=/usr/bin:/bin",
                                           "LANG=C.UTF-8",
                                           "PYTHONDONTWRITEBYTECODE=1",
                                           "PYTHONHASHSEED=0",
                                           "OPENBLAS_NUM_THREADS=1",
                                           "OMP_NUM_THREADS=1",
                                           "MKL_NUM_THREADS=1",
                                           "TZ=UTC",
                                           NULL };

static int spawn_python(box *b, const char *python, int theirs, int filter, int program, int leaf, error *err)
{
    char sock_text[16], filter_text[16], tmp_text[16], self_text[16], raised_text[16], entrance_text[16], leaf_text[16];
    const int entrance = leaf >= 0 ? memory_group_entrance(b->group) : -1;
    snprintf(sock_text, sizeof sock_text, "%d", theirs);
    snprintf(filter_text, sizeof filter_text, "%d", filter);
    snprintf(tmp_text, sizeof tmp_text, "%d", b->config.tmp_mb);
    snprintf(self_text, sizeof self_text, "%d", FILTER_SELF);
    snprintf(raised_text, sizeof raised_text, "%d", FILTER_RAISED);
    snprintf(entrance_text, sizeof entrance_text, "%d", entrance);
    snprintf(leaf_text, sizeof leaf_text, "%d", leaf);

    /* -S and -s: python itself reads no site-packages, whose .pth files run code; code.py looks packages up in them. */
    const char *const argv[] = { python,
                                 "-S",
                                 "-s",
                                 "-",
                                 sock_text,
                                 filter_text,
                                 tmp_text,
                                 words_of(BOX_MODE_WORDS, (int)b->config.mode),
                                 self_text,
                                 raised_text,
                                 b->config.packages ? b->config.packages : "",
                                 entrance_text,
                                 leaf_text,
                                 NULL };

    const int fds[] = { theirs, filter, entrance, leaf };
    const process_options options = { .fd_in = program,
                                      .fd_out = -1,
                                      .fd_err = -1,
                                      .pass_fds = fds,
                                      .n_pass_fds = leaf >= 0 ? 4 : 2,
                                      .env = ENVIRONMENT,
                                      .new_group = true,
                                      .die_with_parent = true,
                                      .same_addresses = true };
    return process_spawn(&b->zygote, argv, &options, err);
}

static int spawn(box *b, const char *python, int theirs, int leaf, error *err)
{
    const int filter = filter_open(err), program = filter >= 0 ? program_open(err) : -1;
    const int rc = program >= 0 ? spawn_python(b, python, theirs, filter, program, leaf, err) : ERR_UNSUPPORTED;
    if (filter >= 0) close(filter);
    if (program >= 0) close(program);
    return rc;
}

/* A host of ours: its argv and the socket's number, for which the list of words has a place at its end. */
static int spawn_host(box *b, int theirs, error *err)
{
    char sock_text[16];
    snprintf(sock_text, sizeof sock_text, "%d", theirs);
    b->host.data[b->host.len - 1] = sock_text;
    vec_push(&b->host, NULL);

    const process_options options = { .fd_in = -1,
                                      .fd_out = -1,
                                      .fd_err = -1,
                                      .pass_fds = &theirs,
                                      .n_pass_fds = 1,
                                      .new_group = true,
                                      .die_with_parent = true };

    const int rc = process_spawn(&b->zygote, (const char *const *)b->host.data, &options, err);

    /* The text of the number is this function's, and the next host has another socket. */
    b->host.data[--b->host.len - 1] = NULL;
    return rc;
}

/* "H": ready; "E" and a sentence: this machine lacks a layer or a package. */
static int wait_ready(box *b, error *err)
{
    char text[sizeof b->report + 1];
    struct pollfd fd = { .fd = b->sock, .events = POLLIN };
    int ready;
    do ready = poll(&fd, 1, START_MS);
    while (ready < 0 && errno == EINTR);
    const ssize_t n = ready > 0 ? recv(b->sock, text, sizeof text - 1, 0) : 0;
    if (n > 0) text[n] = 0;

    if (n > 1 && text[0] == 'H') {
        snprintf(b->report, sizeof b->report, "%s", text + 1);
        return OK;
    }

    const bool python = b->host.len == 0;
    if (n > 1 && text[0] == 'E') return error_set(err, ERR_UNSUPPORTED, "%s%s", python ? "sandbox: " : "", text + 1);

    /* Python that has no room for its addresses ends without a word: the limit is named, as the likeliest cause. */
    char limit[64] = "";
    struct rlimit addresses;
    if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY)
        snprintf(limit, sizeof limit, " within %llu MB (raise ulimit -v)",
                 (unsigned long long)addresses.rlim_cur >> 20);
    return error_set(err, ready > 0 ? ERR_PEER : ERR_TIMEOUT, "%s did not come up%s%s",
                     python ? "sandbox: python3" : b->host.data[1], ready > 0 ? "" : " in time", limit);
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

/* Starts a zygote on the other end of a new socket, by `spawn`, and waits for its word. It tries `leaf`, unless -1. */
static int start_on_socket(box *b, const char *python, int leaf, error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return error_sys(err, errno, "socketpair");

    /* A zygote that reads nothing is stopped or lost: it must not hold up whoever writes to it. */
    const struct timeval patience = { .tv_sec = SEND_S };
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);

    int rc = python ? spawn(b, python, pair[1], leaf, err) : spawn_host(b, pair[1], err);
    close(pair[1]);
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

/* From here on addresses alone are limited: that holds, but it doesn't see files in /tmp nor what the kernel keeps. */
static void give_up_group(box *b, const char *why)
{
    b->grouped = false;
    str_clear(&b->memory);
    str_printf(&b->memory, "address space (cgroup v2 not permitted: %s)", why);
}

/* Value of a line "KEY value" of the zygote's report, to the end of the line. */
static const char *reported(const box *b, const char *key)
{
    const char *line = strstr(b->report, key);
    return line ? line + strlen(key) : "";
}

static void hear_of_memory(box *b)
{
    char why[160];
    const char *group = reported(b, "\ngroup ");
    b->base_bytes = (size_t)strtoull(reported(b, "\nbase "), NULL, 10);
    snprintf(why, sizeof why, "%.*s", (int)strcspn(group, "\n"), group);
    if (b->grouped && why[0]) give_up_group(b, why);
}

static int start_with(box *b, bool systems, error *err)
{
    char *python = find_python(systems);
    if (!python) return error_set(err, ERR_UNSUPPORTED, "sandbox: there is no python3 in PATH");

    /* A leaf of no call's, without a limit: the zygote tries whether a child can be born in one. */
    memory_leaf leaf = { .folder = -1 };
    if (b->grouped && memory_leaf_open(b->group, 0, &leaf, err) != OK) give_up_group(b, err->text);

    const int rc = start_on_socket(b, python, leaf.folder, err);
    if (b->group) memory_leaf_close(b->group, &leaf);
    if (rc == OK) hear_of_memory(b);
    free(python);
    return rc;
}

static int start_zygote(box *b, error *err)
{
    error second = { 0 };
    b->overdue_ms = INT64_MAX;
    b->asked = false;
    if (b->host.len > 0) return start_on_socket(b, NULL, -1, err);

    /* Without a package in the system's python, the one in PATH may have it. */
    const int rc = start_with(b, true, err);
    if (rc != ERR_UNSUPPORTED || !b->config.packages || !b->config.packages[0]) return rc;
    if (start_with(b, false, &second) == OK) return OK;
    return error_within(err, "%s, and", second.text);
}

static void open_group(box *b)
{
    error why = { 0 };
    b->group = memory_group_open(&why);
    b->grouped = b->group != NULL;
    if (b->grouped)
        str_printf(&b->memory, "cgroup v2 (%s) and address space", memory_group_folder(b->group));
    else
        give_up_group(b, why.text);
}

box *box_new(const box_config *config, error *err)
{
    box *b = xcalloc(1, sizeof *b);
    b->config = *config;
    b->config.packages = xstrdup(config->packages);
    for (const char *const *word = config->host; word && *word; word++) vec_push(&b->host, xstrdup(*word));
    if (config->host) vec_push(&b->host, NULL);

    b->sock = -1;
    if (b->config.timeout_ms <= 0) b->config.timeout_ms = 2000;
    if (b->config.memory_mb <= 0) b->config.memory_mb = 256;
    if (b->config.output_bytes <= 0) b->config.output_bytes = 16384;
    if (b->config.tmp_mb <= 0) b->config.tmp_mb = 32;

    if (b->host.len == 0) open_group(b);
    if (start_zygote(b, err) == OK) return b;
    box_free(b);
    return NULL;
}

static void release(box *b, running *r)
{
    if (b->group) memory_leaf_close(b->group, &r->leaf);
    if (r->pipe >= 0) close(r->pipe);
    str_free(&r->output);
    str_free(&r->why);
}

void box_free(box *b)
{
    if (!b) return;
    stop_zygote(b);
    for (size_t i = 0; i < b->calls.len; i++) release(b, &b->calls.data[i]);
    vec_free(&b->calls);
    memory_group_close(b->group);
    str_free(&b->memory);
    free((char *)(uintptr_t)b->config.packages);
    for (size_t i = 0; i < b->host.len; i++) free(b->host.data[i]);
    vec_free(&b->host);
    free(b);
}

/* ---- calls ---- */

/* With up to MAX_FDS descriptors. */
/* A message of SOCK_SEQPACKET is sent whole or not at all, and the kernel's default buffer holds 200 kB of it at most:
 * a longer request goes in parts, which env/sandbox/zygote.py and host.c join. */
enum { PART_BYTES = 1 << 16 };

static int send_message(box *b, const char *data, size_t len, const int *fds, int n_fds)
{
    enum { MAX_FDS = 2 };
    const size_t bytes = (size_t)n_fds * sizeof *fds;
    char control[CMSG_SPACE(MAX_FDS * sizeof *fds)] = { 0 };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (n_fds > 0) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), fds, bytes);
    }
    return sendmsg(b->sock, &m, MSG_NOSIGNAL) == (ssize_t)len ? OK : ERR_PEER;
}

static int send_request(box *b, const char *data, size_t len, const int *fds, int n_fds)
{
    if (len <= PART_BYTES) return send_message(b, data, len, fds, n_fds);

    char *part = xmalloc(PART_BYTES + 1);
    int rc = OK;
    for (size_t done = 0; rc == OK && done < len;) {
        const size_t n = len - done < PART_BYTES ? len - done : PART_BYTES;
        const bool last = done + n == len;
        part[0] = last ? 'L' : 'M';
        memcpy(part + 1, data + done, n);
        rc = send_message(b, part, n + 1, fds, last ? n_fds : 0);
        done += n;
    }
    free(part);
    return rc;
}

/* The zygote judges how long a call may take. It itself is judged by whether it answers: calls that should have ended
 * long ago make it be asked, and when it does not say a word it is stopped or dead. */
static void wait_for_word(box *b, int64_t now_ms)
{
    b->overdue_ms = now_ms + b->config.timeout_ms + GRACE_MS;
    b->asked = false;
}

static int timeout_of(const box *b) { return b->config.timeout_ms * (b->patient ? PATIENCE : 1); }

static int ask(box *b, uint64_t call, uint64_t seed, const char *code, size_t len, int output, int leaf)
{
    str m = { 0 };
    const int fds[] = { output, leaf };
    const bool by_group_alone = b->wide && leaf >= 0;
    const uint32_t numbers[2] = { (uint32_t)timeout_of(b), by_group_alone ? 0 : (uint32_t)b->config.memory_mb };
    str_putc(&m, b->config.cells ? 'S' : 'R');
    str_add(&m, (const char *)&call, sizeof call);
    str_add(&m, (const char *)numbers, sizeof numbers);
    str_add(&m, (const char *)&seed, sizeof seed);
    str_add(&m, code, len);
    const int rc = send_request(b, m.data, m.len, fds, leaf >= 0 ? 2 : 1);
    str_free(&m);
    return rc;
}

/* All that addresses may hold, and what they don't show: no call that stays within the limit on addresses, and with its
 * files in that of /tmp, ends otherwise than where there are no groups. */
static void open_leaf(box *b, memory_leaf *leaf)
{
    error why = { 0 };
    const size_t mb = (size_t)b->config.memory_mb + (size_t)b->config.tmp_mb + KERNEL_MB;
    *leaf = (memory_leaf){ .folder = -1 };
    if (!b->grouped || memory_leaf_open(b->group, b->base_bytes + (mb << 20), leaf, &why) == OK) return;

    /* For this call alone: what was short may be there for the next. */
    str_clear(&b->memory);
    str_printf(&b->memory, "cgroup v2 (%s) and address space; a call had address space alone: %s",
               memory_group_folder(b->group), why.text);
}

/* A zygote that has died while nothing was asked of it costs no call: the next one takes it. */
static int hand_over(box *b, uint64_t call, uint64_t seed, const char *code, size_t len, int output, int leaf,
                     error *err)
{
    if (ask(b, call, seed, code, len, output, leaf) == OK) return OK;
    const bool idle = b->calls.len == 0;
    stop_zygote(b);
    if (idle && start_zygote(b, err) != OK) return err ? err->code : ERR_PEER;
    if (idle && ask(b, call, seed, code, len, output, leaf) == OK) return OK;
    stop_zygote(b);
    return error_set(err, ERR_PEER, "sandbox: its zygote (the process that forks a child for each call) has ended");
}

int box_begin(box *b, uint64_t call, uint64_t seed, const char *code, size_t len, int64_t now_ms, error *err)
{
    int pipes[2];
    if (len > MAX_CODE)
        return error_set(err, ERR_LIMIT, "%zu bytes of code%s are more than %d", len,
                         b->config.cells ? ", with that of the calls before," : "", MAX_CODE);
    if (b->sock < 0 && start_zygote(b, err) != OK) return err ? err->code : ERR_PEER;

    if (pipe2(pipes, O_CLOEXEC) != 0) return error_sys(err, errno, "pipe");

    memory_leaf leaf;
    open_leaf(b, &leaf);
    const int rc = hand_over(b, call, seed, code, len, pipes[1], leaf.folder, err);
    close(pipes[1]); /* the child has its own: were this open, the end of the output would never be seen */
    if (rc != OK) {
        if (b->group) memory_leaf_close(b->group, &leaf);
        close(pipes[0]);
        return rc;
    }

    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    if (b->calls.len == 0) wait_for_word(b, now_ms);
    vec_push(&b->calls, (running){ .call = call, .pipe = pipes[0], .leaf = leaf, .began_us = clock_us() });
    return OK;
}

static void kill_call(box *b, uint64_t call)
{
    char m[9] = "K";
    memcpy(m + 1, &call, sizeof call);
    if (b->sock >= 0) send_request(b, m, sizeof m, NULL, 0);
}

/* It keeps its place until the zygote has told of its end: until then it takes memory and a processor. */
void box_cancel(box *b, uint64_t call)
{
    for (size_t i = 0; i < b->calls.len; i++)
        if (b->calls.data[i].call == call) b->calls.data[i].cancelled = true;
    kill_call(b, call);
}

const char *box_report(const box *b) { return b->report; }
const char *box_memory(const box *b) { return str_text(&b->memory); }
bool box_grouped(const box *b) { return b->grouped; }

void box_loosen(box *b, bool wide, bool patient)
{
    b->wide = wide;
    b->patient = patient;
}

const char *box_layers(const box *b)
{
    static const char *const MODES[] = { "namespaces", "landlock" };
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (strncmp(b->report, MODES[i], strlen(MODES[i])) == 0) return MODES[i];
    return "none";
}

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
    if (b->calls.len == 0) return INT64_MAX;
    return b->sock < 0 ? 0 : b->overdue_ms;
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

static bool killed(const box_end *end)
{
    const int status = (int)end->status;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void on_end(box *b, const box_end *end)
{
    for (size_t i = 0; i < b->calls.len; i++) {
        running *r = &b->calls.data[i];
        if (r->call != end->call || r->ended) continue;
        r->ended = true;
        r->end = *end;
        r->end.text = NULL;
        if (killed(end) && memory_leaf_exceeded(&r->leaf)) r->end.flags |= BOX_EXCEEDED_MEMORY;
        str_add(&r->why, end->text, end->text_len);
    }
}

static void read_status(box *b, int64_t now_ms)
{
    char m[MAX_REPORT];
    box_end end;
    for (;;) {
        const ssize_t n = recv(b->sock, m, sizeof m, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            stop_zygote(b);
            return;
        }

        wait_for_word(b, now_ms);
        if (box_end_parse(m, (size_t)n, &end, NULL) == OK) on_end(b, &end); /* else "P": it is there */
    }
}

static void check_zygote(box *b, int64_t now_ms)
{
    if (b->sock < 0 || now_ms < b->overdue_ms) return;
    if (b->asked || send_request(b, "P", 1, NULL, 0) != OK) {
        stop_zygote(b); /* it does not answer: the next call gets a new one */
        return;
    }
    b->asked = true;
    b->overdue_ms = now_ms + GRACE_MS;
}

static void say_why(running *r, int number)
{
    if (r->why.len > 0) return; /* the zygote said it: it never began */
    if (!r->ended)
        str_puts(&r->why, "the sandbox died or did not answer");
    else if (r->end.flags & BOX_STOPPED)
        str_puts(&r->why, "stopped from outside");
    else
        str_printf(&r->why, "killed from outside (signal %d)", number);
}

static box_result result_of(const box *b, running *r)
{
    int number = 0;
    box_outcome outcome = BOX_LOST;
    if (r->ended) outcome = box_verdict(&r->end, r->overflowed, timeout_of(b), &number);

    /* What was printed, or for a call that was lost why it was. */
    const bool lost = outcome == BOX_LOST;
    if (lost) say_why(r, number);
    const size_t len = lost ? r->why.len : r->output.len;
    return (box_result){ .call = r->call,
                         .outcome = outcome,
                         .number = number,
                         .ms = (double)(clock_us() - r->began_us) * 1e-3,
                         .output_len = len,
                         .output = str_take(lost ? &r->why : &r->output) };
}

int box_poll(box *b, int64_t now_ms, box_result *out, int max)
{
    int n = 0;

    /* Ends before output: a child whose end is known has written all that it ever will. */
    if (b->sock >= 0 && b->calls.len > 0) read_status(b, now_ms);
    if (b->calls.len > 0) check_zygote(b, now_ms);

    for (size_t i = 0; i < b->calls.len && n < max;) {
        running *r = &b->calls.data[i];
        read_output(b, r);
        if (b->sock >= 0 && !r->ended) {
            i++;
            continue;
        }

        if (r->cancelled)
            str_clear(&r->output);
        else
            out[n++] = result_of(b, r);
        release(b, r);
        b->calls.data[i] = b->calls.data[--b->calls.len];
    }
    return n;
}
