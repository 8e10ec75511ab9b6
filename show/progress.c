/* SPDX-License-Identifier: MIT */
#include "show/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

enum { MAX_SHOWN = 16 /* objectives */, USUAL_COLUMNS = 80 };

/* A log has a line every so many steps, and where steps take minutes, at least this often. */
enum { MAX_SILENCE_MS = 30000 };

struct progress {
    int fd, every;
    bool live; /* a terminal: redraw in place */
    bool drawn;
    int64_t steps, step, began_ms, first_step, shown_ms;
    str line;
};

/* A terminal that knows how to erase a line. */
static bool can_redraw(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

progress *progress_new(int fd, int64_t steps, int every)
{
    progress *p = xcalloc(1, sizeof *p);
    *p = (progress){ .fd = fd,
                     .every = every > 0 ? every : 1,
                     .live = can_redraw(fd),
                     .steps = steps,
                     .first_step = -1,
                     .shown_ms = clock_ms() };
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

static double number(const json_t *line, const char *key, double fallback)
{
    const json_t *v = json_object_get(line, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

/* ---- the line ----
 *
 * A live line that wraps can't be drawn over, so on a narrow terminal fields are left out, the least worth first. Which
 * step it is, the first reward and the time left stay the longest. */

enum { MAX_FIELDS = MAX_SHOWN + 6, FIELD = 96 };
enum { WORTH_STALENESS, WORTH_SPEED, WORTH_TOOLS, WORTH_REWARD, WORTH_SHOTS, WORTH_FIRST, WORTH_LEFT, WORTH_STEP };

typedef struct fields {
    struct {
        char text[FIELD];
        int worth;
    } items[MAX_FIELDS];
    int n;
} fields;

__attribute__((format(printf, 3, 4))) static void add_field(fields *f, int worth, const char *fmt, ...)
{
    va_list ap;
    if (f->n == MAX_FIELDS) return;
    va_start(ap, fmt);
    vsnprintf(f->items[f->n].text, FIELD, fmt, ap);
    va_end(ap);
    f->items[f->n++].worth = worth;
}

static void add_time_left(const progress *p, fields *f)
{
    const int64_t done = p->step - p->first_step, left = p->steps - p->step;
    if (done < 2 || left <= 0) return; /* the first step alone says little */

    const int64_t seconds = (clock_ms() - p->began_ms) * left / done / 1000, minutes = seconds / 60;
    if (minutes < 60)
        add_field(f, WORTH_LEFT, "%" PRId64 ":%02" PRId64 " left", minutes, seconds % 60);
    else
        add_field(f, WORTH_LEFT, "%" PRId64 ":%02" PRId64 ":%02" PRId64 " left", minutes / 60, minutes % 60,
                  seconds % 60);
}

/* PREFIX + NAME + "/mean" -> where NAME begins and its length; 0: another key. */
static int name_between(const char *key, const char *prefix, const char **name)
{
    static const char SUFFIX[] = "/mean";
    const size_t before = strlen(prefix), behind = sizeof SUFFIX - 1, len = strlen(key);
    if (len <= before + behind) return 0;
    if (strncmp(key, prefix, before) != 0 || strcmp(key + len - behind, SUFFIX) != 0) return 0;
    *name = key + before;
    return (int)(len - before - behind);
}

/* reward/NAME/mean -> "NAME 0.81", in the order in which the learner wrote them. */
static void add_objectives(const json_t *line, fields *f)
{
    const char *key, *name;
    json_t *value;
    int shown = 0;

    /* jansson walks only over what is not const */
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        const int len = name_between(key, "reward/", &name);
        if (len == 0) continue;
        if (++shown > MAX_SHOWN) return;
        add_field(f, shown == 1 ? WORTH_FIRST : WORTH_REWARD, "%.*s %.2f", len, name, json_number_value(value));
    }
}

/* A byte of UTF-8 that continues with a character takes no column. */
static bool begins_character(char byte) { return ((unsigned char)byte & 0xc0) != 0x80; }

/* Columns of a text: its characters. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += begins_character(*text);
    return n;
}

static size_t total_width(const fields *f)
{
    size_t n = 0;
    for (int i = 0; i < f->n; i++) n += width_of(f->items[i].text) + (i ? 2 : 0);
    return n;
}

/* The last of the least worth goes. */
static void drop_one(fields *f)
{
    int min = 0;
    for (int i = 1; i < f->n; i++)
        if (f->items[i].worth <= f->items[min].worth) min = i;
    memmove(&f->items[min], &f->items[min + 1], sizeof f->items[0] * (size_t)(f->n - min - 1));
    f->n--;
}

/* 0: it doesn't say. */
static size_t terminal_columns(int fd)
{
    struct winsize w;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

/* What COLUMNS asks for; 0: nothing that can be. */
static size_t asked_columns(void)
{
    const char *text = getenv("COLUMNS");
    if (!text) return 0;
    char *end;
    const long n = strtol(text, &end, 10);
    return n > 1 && n < 10000 && !*end ? (size_t)n : 0;
}

/* Columns there are: one is left free, since a full line wraps. COLUMNS can ask for fewer than the terminal has, and
 * speaks for one that doesn't say how many it has. Without a terminal there is no end. */
static size_t columns(const progress *p)
{
    if (!p->live) return SIZE_MAX;
    const size_t has = terminal_columns(p->fd), asked = asked_columns();
    size_t max = has > 0 ? has : USUAL_COLUMNS;
    if (asked > 0 && (has == 0 || asked < has)) max = asked;
    return max > 1 ? max - 1 : 1;
}

static void add_fields(const progress *p, const json_t *line, fields *f)
{
    const double shots = number(line, "prompt/shots/mean", -1), calls = number(line, "tools/calls", 0);
    const double speed = number(line, "perf/throughput", 0), stale = number(line, "training/staleness/mean", -1);
    const bool empty = number(line, "training/episodes", 1) == 0;

    add_field(f, WORTH_STEP, "step %" PRId64 "/%" PRId64, p->step, p->steps);
    if (shots >= 0) add_field(f, WORTH_SHOTS, "shots %.3g", shots);
    add_objectives(line, f);
    if (empty) add_field(f, WORTH_FIRST, "no episode");
    if (calls > 0) add_field(f, WORTH_TOOLS, "tools ok %.0f%%", 100 * number(line, "tools/success_rate", 0));
    if (speed > 0) add_field(f, WORTH_SPEED, "%.1fk tok/s", speed / 1000);
    if (stale >= 0) add_field(f, WORTH_STALENESS, "staleness %.2g", stale);
    add_time_left(p, f);
}

static void draw_step(progress *p, const json_t *line)
{
    fields f = { .n = 0 };
    add_fields(p, line, &f);
    while (f.n > 1 && total_width(&f) > columns(p)) drop_one(&f);

    str_clear(&p->line);
    for (int i = 0; i < f.n; i++) str_printf(&p->line, "%s%s", i ? "  " : "", f.items[i].text);
}

/* Bytes of the line that fit: the terminal may have become narrower since it was drawn, or be narrower than its first
 * field. */
static size_t visible(const progress *p)
{
    const size_t max = columns(p);
    size_t n = 0, shown = 0;
    for (; n < p->line.len; n++) {
        shown += begins_character(p->line.data[n]);
        if (shown > max) break;
    }
    return n;
}

static void show(progress *p, bool whole_line)
{
    str out = { 0 }; /* in one write: a sentence of another process can't come between erasing and drawing */
    if (p->live) str_puts(&out, "\r\033[K");
    str_add(&out, p->line.data, visible(p));
    if (!p->live || whole_line) str_putc(&out, '\n');
    put(p, &out);
    str_free(&out);
    p->drawn = p->live && !whole_line;
    p->shown_ms = clock_ms();
}

static void on_step(progress *p, const json_t *line)
{
    p->step = (int64_t)number(line, "step", 0);
    if (p->first_step < 0) {
        p->first_step = p->step; /* a resumed run's earlier steps took none of this time */
        p->began_ms = clock_ms();
    }
    draw_step(p, line);

    const bool is_due = p->step % p->every == 0 || p->step == p->steps || clock_ms() - p->shown_ms >= MAX_SILENCE_MS;
    if (p->live || is_due) show(p, false);
}

static void on_eval(progress *p, const json_t *line)
{
    const char *key, *name;
    json_t *value;
    int scored = 0;
    str out = { 0 };
    str_printf(&out, "eval at step %.0f (%.0f shots, %.0f questions):", number(line, "step", 0),
               number(line, "eval/shots", 0), number(line, "eval/episodes", 0));

    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        const int len = name_between(key, "eval/", &name);
        if (len == 0) continue;
        str_printf(&out, "  %.*s %.3f", len, name, json_number_value(value));
        scored++;
    }
    if (scored == 0) str_puts(&out, "  no question has a score");

    progress_say(p, "%s", out.data);
    str_free(&out);
}

void progress_event(progress *p, const json_t *line)
{
    const char *event = json_string_value(json_object_get(line, "event"));
    const char *text = json_string_value(json_object_get(line, "text"));
    if (!event) return;

    if (strcmp(event, "step") == 0)
        on_step(p, line);
    else if (strcmp(event, "eval") == 0)
        on_eval(p, line);
    else if (strcmp(event, "say") == 0 && text)
        progress_say(p, "%s", text);
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

void progress_forgive(progress *p, int64_t ms) { p->began_ms += ms; }

void progress_end(progress *p)
{
    if (!p) return;
    if (p->drawn) put(p, &(str){ .data = (char[]){ "\n" }, .len = 1 });
    p->drawn = false;
}
