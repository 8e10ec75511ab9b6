/* SPDX-License-Identifier: MIT */
#include "env/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/aside.h"

enum { READ_BYTES = 1 << 16, READS_A_TURN = 16, GRACE_MS = 500 };

struct program {
    vec(char *) argv; /* with its NULL */
    char *name;
    process process;
    bool runs;
    int in, out;  /* its stdin, a socket: a write to a pipe without a reader would be a SIGPIPE; its stdout. -1: none */
    aside aside;  /* its stderr */
    str unsaid;   /* waits until it reads */
    str heard;    /* lines that it has said, and the beginning of one */
    size_t taken; /* of heard: bytes of lines that were handed on */
    bool whole;   /* there is a newline in what was heard and not taken */
};

program *program_new(const char *const *argv, const char *name)
{
    program *p = xcalloc(1, sizeof *p);
    p->name = xstrdup(name ? name : argv[0]);
    for (; *argv; argv++) vec_push(&p->argv, xstrdup(*argv));
    vec_push(&p->argv, NULL);
    p->in = p->out = p->aside.fd = -1;
    return p;
}

void program_free(program *p)
{
    if (!p) return;
    program_end(p);
    for (size_t i = 0; i < p->argv.len; i++) free(p->argv.data[i]);
    vec_free(&p->argv);
    free(p->name);
    aside_free(&p->aside);
    str_free(&p->unsaid);
    str_free(&p->heard);
    free(p);
}

const char *program_name(const program *p) { return p->name; }

/* ---- its life ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void forget(program *p)
{
    p->runs = false;
    str_clear(&p->unsaid);
    str_clear(&p->heard);
    p->taken = 0;
    p->whole = false;
}

/* Waits for those that run, all together for so long. */
static void wait_for_ends(program *const *all, int n, int64_t grace_ms)
{
    const int64_t until = clock_ms() + grace_ms;
    for (int i = 0; i < n; i++) {
        int status;
        const int64_t left = until - clock_ms();
        if (all[i]->runs && process_wait_group(&all[i]->process, left > 0 ? (int)left : 0, &status) != 0)
            forget(all[i]);
    }
}

static void signal_those_left(program *const *all, int n, int signal_number)
{
    for (int i = 0; i < n; i++)
        if (all[i]->runs) process_kill_group(&all[i]->process, signal_number);
}

/* A program whose stdin ends should end by itself; one that doesn't is told, and then ended with all it has started. */
void program_end_all(program *const *all, int n)
{
    for (int i = 0; i < n; i++) {
        close_fd(&all[i]->in);
        close_fd(&all[i]->out);
    }
    wait_for_ends(all, n, GRACE_MS);
    signal_those_left(all, n, SIGTERM);
    wait_for_ends(all, n, GRACE_MS);
    signal_those_left(all, n, SIGKILL);
    for (int i = 0; i < n; i++) {
        int status;
        if (all[i]->runs) process_wait_group(&all[i]->process, -1, &status);
        aside_close(&all[i]->aside, all[i]->name);
        forget(all[i]);
    }
}

void program_end(program *p) { program_end_all(&p, 1); }

void program_kill(program *p)
{
    if (p->runs) process_kill_group(&p->process, SIGKILL);
    program_end(p);
}

static int spawn(program *p, const int theirs[3], error *err)
{
    const process_options options = {
        .fd_in = theirs[0], .fd_out = theirs[1], .fd_err = theirs[2], .new_group = true, .die_with_parent = true
    };
    const int rc = process_spawn(&p->process, (const char *const *)p->argv.data, &options, err);
    p->runs = rc == OK;
    return rc;
}

/* Three pairs of ends, theirs in theirs[3], as 0, 1 and 2. */
static int connect_streams(program *p, int theirs[3], error *err)
{
    int in[2], out[2], said[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0) return error_sys(err, errno, "socketpair");
    p->in = in[0];
    theirs[0] = in[1];
    if (pipe2(out, O_CLOEXEC) != 0) return error_sys(err, errno, "pipe");
    p->out = out[0];
    theirs[1] = out[1];
    fcntl(p->out, F_SETFL, O_NONBLOCK); /* our end's flag: theirs is another */
    if (pipe2(said, O_CLOEXEC) != 0) return error_sys(err, errno, "pipe");
    aside_open(&p->aside, said[0]);
    theirs[2] = said[1];
    return OK;
}

int program_start(program *p, error *err)
{
    int theirs[3] = { -1, -1, -1 };
    program_end(p);
    aside_forget(&p->aside);
    int rc = connect_streams(p, theirs, err);
    if (rc == OK) rc = spawn(p, theirs, err);
    for (int i = 0; i < 3; i++) close_fd(&theirs[i]);
    if (rc != OK) program_end(p);
    return rc;
}

/* ---- lines ---- */

/* As much as it takes. That it reads no more is seen by the end of its output. */
static void write_some(program *p)
{
    while (p->in >= 0 && p->unsaid.len > 0) {
        const ssize_t n = send(p->in, p->unsaid.data, p->unsaid.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) close_fd(&p->in);
        if (n <= 0) return;
        memmove(p->unsaid.data, p->unsaid.data + n, p->unsaid.len - (size_t)n);
        str_cut(&p->unsaid, p->unsaid.len - (size_t)n);
    }
}

int program_say(program *p, const char *line, error *err)
{
    if (!p->runs) return OK;
    if (p->unsaid.len > PROGRAM_MAX_LINE)
        return error_set(err, ERR_LIMIT, "%s does not read what it is told", program_name(p));
    str_puts(&p->unsaid, line);
    str_putc(&p->unsaid, '\n');
    write_some(p);
    return OK;
}

static int ended(program *p, error *err)
{
    char text[80];
    int status;
    const bool is_gone = process_wait_group(&p->process, GRACE_MS, &status) == 1;
    if (is_gone) p->runs = false;
    program_end(p); /* and what it said last has come */
    const char *last = p->aside.last, *colon = last ? ": " : "";
    if (!is_gone) return error_set(err, ERR_PEER, "%s has closed its output%s%s", p->name, colon, last ? last : "");
    return error_set(err, ERR_PEER, "%s has ended (%s)%s%s", p->name, process_status_text(status, text, sizeof text),
                     colon, last ? last : "");
}

static void forget_taken(program *p)
{
    if (p->taken == 0) return;
    memmove(p->heard.data, p->heard.data + p->taken, p->heard.len - p->taken);
    str_cut(&p->heard, p->heard.len - p->taken);
    p->taken = 0;
}

static bool is_gone(const program *p)
{
    struct pollfd fd = { .fd = p->process.pidfd, .events = POLLIN };
    return poll(&fd, 1, 0) == 1;
}

/* Lines that it said before its end are handed on first. Its output does not end with it where a process that it has
 * started holds it. */
int program_turn(program *p, error *err)
{
    char bytes[READ_BYTES];
    if (!p->runs) return OK;
    const bool gone = is_gone(p); /* then what it said is all there to be read */
    write_some(p);
    forget_taken(p);
    aside_turn(&p->aside, p->name);

    for (int i = 0; i < READS_A_TURN; i++) {
        const ssize_t n = read(p->out, bytes, sizeof bytes);
        if (n < 0 && (errno == EINTR || (errno == EAGAIN && !gone))) break;
        if (n <= 0 && p->whole) break; /* first what it has said */
        if (n <= 0) return ended(p, err);
        str_add(&p->heard, bytes, (size_t)n);
        p->whole |= memchr(bytes, '\n', (size_t)n) != NULL;
    }
    if (p->whole || p->heard.len <= PROGRAM_MAX_LINE) return OK;
    error_set(err, ERR_PEER, "%s says a line of more than %d MB", program_name(p), PROGRAM_MAX_LINE >> 20);
    program_kill(p);
    return ERR_PEER;
}

const char *program_line(program *p, size_t *len)
{
    char *line = p->whole ? p->heard.data + p->taken : NULL;
    char *end = p->whole ? memchr(line, '\n', p->heard.len - p->taken) : NULL;
    p->whole = end != NULL;
    if (!end) return NULL;
    *end = 0;
    *len = (size_t)(end - line);
    p->taken += *len + 1;
    return line;
}

int program_fds(const program *p, struct pollfd *out, int max)
{
    int n = 0;
    if (p->out >= 0 && n < max) out[n++] = (struct pollfd){ .fd = p->out, .events = POLLIN };
    if (p->aside.fd >= 0 && n < max) out[n++] = (struct pollfd){ .fd = p->aside.fd, .events = POLLIN };
    if (p->in >= 0 && p->unsaid.len > 0 && n < max) out[n++] = (struct pollfd){ .fd = p->in, .events = POLLOUT };
    return n;
}
