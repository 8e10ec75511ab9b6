#include "cli/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

struct progress {
    int fd, every;
    bool live; /* a terminal: redraw in place */
    bool drawn;
    int64_t steps, step, began_ms, first_step;
    str line;
};

progress *progress_new(int fd, int64_t steps, int every)
{
    progress *p = xcalloc(1, sizeof *p);
    *p = (progress){ .fd = fd, .every = every > 0 ? every : 1, .live = isatty(fd), .steps = steps, .first_step = -1 };
    return p;
}

void progress_free(progress *p)
{
    if (!p) return;
    str_free(&p->line);
    free(p);
}

static void put(progress *p, const str *s)
{
    for (size_t done = 0; done < s->len;) {
        const ssize_t n = write(p->fd, s->data + done, s->len - done);
        if (n <= 0) return; /* the reader is gone; the run is not for the reader alone */
        done += (size_t)n;
    }
}

static double number(const json_t *line, const char *key, double otherwise)
{
    const json_t *v = json_object_get(line, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

static void add_time_left(progress *p, str *out)
{
    const int64_t done = p->step - p->first_step, left = p->steps - p->step;
    if (done < 2 || left <= 0) return;
    const int64_t seconds = (clock_ms() - p->began_ms) * left / done / 1000;
    str_printf(out, "  %" PRId64 ":%02" PRId64 " left", seconds / 60, seconds % 60);
}

/* reward/NAME/mean -> "  NAME 0.81", in the order in which the learner wrote them. */
static void add_objectives(const json_t *line, str *out)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        const size_t len = strlen(key);
        if (len <= 12 || strncmp(key, "reward/", 7) != 0 || strcmp(key + len - 5, "/mean") != 0) continue;
        str_printf(out, "  %.*s %.2f", (int)(len - 12), key + 7, json_number_value(value));
    }
}

static void draw_step(progress *p, const json_t *line)
{
    str *out = &p->line;
    str_clear(out);
    str_printf(out, "step %" PRId64 "/%" PRId64, p->step, p->steps);
    const double shots = number(line, "prompt/shots/mean", -1);
    if (shots >= 0) str_printf(out, "  shots %.3g", shots);
    add_objectives(line, out);
    const double calls = number(line, "tools/calls", 0);
    if (calls > 0) str_printf(out, "  tools ok %.0f%%", 100 * number(line, "tools/success_rate", 0));
    str_printf(out, "  %.1fk tok/s  staleness %.2g", number(line, "perf/throughput", 0) / 1000,
               number(line, "training/staleness/mean", 0));
    add_time_left(p, out);
}

/* What fits: a live line that wraps can't be drawn over. */
static size_t visible(const progress *p)
{
    struct winsize w;
    if (!p->live || ioctl(p->fd, TIOCGWINSZ, &w) != 0 || w.ws_col < 2 || p->line.len < w.ws_col) return p->line.len;
    return w.ws_col - 1U;
}

static void show(progress *p, bool whole_line)
{
    str out = { 0 };
    if (p->live) str_puts(&out, "\r\033[K");
    str_add(&out, p->line.data, visible(p));
    if (!p->live || whole_line) str_putc(&out, '\n');
    put(p, &out);
    str_free(&out);
    p->drawn = p->live && !whole_line;
}

static void on_step(progress *p, const json_t *line)
{
    p->step = (int64_t)number(line, "step", 0);
    if (p->first_step < 0) p->first_step = p->step, p->began_ms = clock_ms();
    draw_step(p, line);
    if (p->live || p->step % p->every == 0 || p->step == p->steps) show(p, false);
}

static void on_eval(progress *p, const json_t *line)
{
    str out = { 0 };
    str_printf(&out, "eval at step %.0f (%.0f shots, %.0f questions):", number(line, "step", 0),
               number(line, "eval/shots", 0), number(line, "eval/episodes", 0));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        const size_t len = strlen(key);
        if (len > 10 && strncmp(key, "eval/", 5) == 0 && strcmp(key + len - 5, "/mean") == 0)
            str_printf(&out, "  %.*s %.3f", (int)(len - 10), key + 5, json_number_value(value));
    }
    progress_say(p, "%s", out.data);
    str_free(&out);
}

void progress_event(progress *p, const json_t *line)
{
    const json_t *event = json_object_get(line, "event");
    const char *name = json_is_string(event) ? json_string_value(event) : "";
    if (strcmp(name, "step") == 0)
        on_step(p, line);
    else if (strcmp(name, "eval") == 0)
        on_eval(p, line);
    else if (strcmp(name, "say") == 0 && json_is_string(json_object_get(line, "text")))
        progress_say(p, "%s", json_string_value(json_object_get(line, "text")));
}

void progress_say(progress *p, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str out = { 0 };
    if (p->drawn) str_puts(&out, "\r\033[K");
    str_printf(&out, "%s\n", text);
    if (p->drawn) str_add(&out, p->line.data, visible(p));
    put(p, &out);
    str_free(&out);
}

void progress_end(progress *p)
{
    if (!p) return;
    if (p->drawn) put(p, &(str){ .data = (char[]){ "\n" }, .len = 1 });
    p->drawn = false;
}
