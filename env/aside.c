/* SPDX-License-Identifier: MIT */
#include "env/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { READ_BYTES = 1 << 14, READS_A_TURN = 8, MINUTE_MS = 60000, LAST_BYTES = 200 };

void aside_open(aside *a, int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK); /* our end's flag: theirs is another */
    a->fd = fd;
}

/* ---- passing on ---- */

/* Lost where ours can't be written: nothing here waits for a reader. */
static void pass_on(aside *a, const char *text, size_t len)
{
    const ssize_t n = write(STDERR_FILENO, text, len);
    if (n > 0) a->said += (size_t)n;
}

static void tell_of_more(aside *a, const char *name)
{
    char line[200];
    if (a->cut) return;
    a->cut = true;
    const int n = snprintf(line, sizeof line, "%.100s says more than %d kB in a minute: the rest is left out\n", name,
                           ASIDE_BYTES >> 10);
    pass_on(a, line, (size_t)n);
}

static void keep_last(aside *a)
{
    str shown = { 0 };
    if (strspn(a->line.data, " \t\r\n") == a->line.len) return;
    str_visible(&shown, a->line.data, a->line.len - (a->line.data[a->line.len - 1] == '\n'));
    str_cut(&shown, LAST_BYTES);
    free(a->last);
    a->last = str_take(&shown);
}

/* A line, or as much of one as is waited for. */
static void take_line(aside *a, const char *name)
{
    const int64_t now_ms = clock_ms();
    if (now_ms - a->minute_began_ms >= MINUTE_MS) {
        a->minute_began_ms = now_ms;
        a->said = 0;
        a->cut = false;
    }
    keep_last(a);
    if (a->said + a->line.len <= ASIDE_BYTES)
        pass_on(a, a->line.data, a->line.len);
    else
        tell_of_more(a, name);
    str_clear(&a->line);
}

/* ---- reading ---- */

static void hear(aside *a, const char *bytes, size_t len, const char *name)
{
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t n = end ? (size_t)(end - bytes) + 1 : len;
        if (n > ASIDE_LINE - a->line.len) n = ASIDE_LINE - a->line.len;
        str_add(&a->line, bytes, n);
        if (bytes[n - 1] == '\n' || a->line.len == ASIDE_LINE) take_line(a, name);
        bytes += n;
        len -= n;
    }
}

static void close_fd(aside *a)
{
    if (a->fd >= 0) close(a->fd);
    a->fd = -1;
}

void aside_turn(aside *a, const char *name)
{
    char bytes[READ_BYTES];
    for (int i = 0; i < READS_A_TURN && a->fd >= 0; i++) {
        const ssize_t n = read(a->fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0)
            close_fd(a); /* it closed its stderr: what may be waited for any longer is nothing */
        else
            hear(a, bytes, (size_t)n, name);
    }
}

void aside_close(aside *a, const char *name)
{
    aside_turn(a, name);
    close_fd(a);
    if (a->line.len == 0) return;
    str_putc(&a->line, '\n');
    take_line(a, name);
}

void aside_forget(aside *a)
{
    free(a->last);
    a->last = NULL;
}

void aside_free(aside *a)
{
    close_fd(a);
    aside_forget(a);
    str_free(&a->line);
}
