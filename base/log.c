/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

struct logger {
    int fd;
    log_level min;
    bool json;
    char *role;
    void (*on_failure)(void *ctx, int errno_value); /* NULL: none, or it has been called */
    void *ctx;
    pthread_mutex_t lock; /* a line longer than a pipe's buffer may need a second write */
};

logger *logger_new(int fd, const char *role, log_level min, bool json)
{
    logger *lg = calloc(1, sizeof *lg);
    if (!lg) return NULL;
    lg->fd = fd;
    lg->min = min;
    lg->json = json;
    lg->role = xstrdup(role ? role : "");
    pthread_mutex_init(&lg->lock, NULL);
    return lg;
}

void logger_free(logger *lg)
{
    if (!lg) return;
    pthread_mutex_destroy(&lg->lock);
    free(lg->role);
    free(lg);
}

static const char *level_name(log_level level)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    return names[level];
}

void logger_on_failure(logger *lg, void (*fn)(void *ctx, int errno_value), void *ctx)
{
    if (!lg) return;
    lg->on_failure = fn;
    lg->ctx = ctx;
}

/* Under the lock. */
static void lost_line(logger *lg, int why)
{
    void (*const tell)(void *, int) = lg->on_failure;
    lg->on_failure = NULL;
    if (tell) tell(lg->ctx, why);
}

static void write_line(logger *lg, const char *data, size_t len)
{
    pthread_mutex_lock(&lg->lock);

    while (len > 0) {
        ssize_t n = write(lg->fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            lost_line(lg, n < 0 ? errno : ENOSPC);
            break;
        }
        data += n;
        len -= (size_t)n;
    }

    pthread_mutex_unlock(&lg->lock);
}

/* {"time":"...","level":"info","role":"learner","text":"..."} */
static void format_json(str *line, const logger *lg, log_level level, const str *text)
{
    char when[32];
    clock_iso8601(clock_unix_ms(), when, sizeof when);

    str_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"role\":", when, level_name(level));

    str role = { 0 };
    str_puts(&role, lg->role);
    str_json(line, role.data, role.len);
    str_free(&role);

    str_puts(line, ",\"text\":");
    str_json(line, text->data, text->len);
    str_putc(line, '}');
}

/* "info learner: sentence"; what would break the one line (a peer's newline, a terminal escape) becomes a blank. */
static void format_plain(str *line, const logger *lg, log_level level, const str *text)
{
    str_printf(line, "%-5s ", level_name(level));
    if (*lg->role) str_printf(line, "%s: ", lg->role);
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->data[i];
        str_putc(line, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
}

void log_at(logger *lg, log_level level, const char *fmt, ...)
{
    if (!lg || level < lg->min) return;
    str text = { 0 }, line = { 0 };

    va_list args;
    va_start(args, fmt);
    str_vprintf(&text, fmt, args);
    va_end(args);

    if (lg->json)
        format_json(&line, lg, level, &text);
    else
        format_plain(&line, lg, level, &text);
    str_putc(&line, '\n');

    write_line(lg, line.data, line.len);
    str_free(&text);
    str_free(&line);
}
