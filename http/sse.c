/* SPDX-License-Identifier: MIT */
#include "http/sse.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RETRY_DIGITS = 9 };

typedef struct listener {
    void (*on)(void *ctx, const sse_event *e);
    void *ctx;
} listener;

/* An empty line. The type is of this event alone, the id also of those that follow. */
static void end_event(sse *s, const listener *l)
{
    if (s->data.len > 0) {
        str_cut(&s->data, s->data.len - 1); /* the LF after its last line */
        const sse_event e = { .type = s->type.len > 0 ? s->type.data : "message",
                              .data = s->data.data,
                              .len = s->data.len };
        l->on(l->ctx, &e);
    }
    str_clear(&s->data);
    str_clear(&s->type);
}

static void set_retry(sse *s, str_view value)
{
    int64_t ms = 0;
    if (value.len == 0 || value.len > MAX_RETRY_DIGITS) return;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') return;
        ms = 10 * ms + (value.data[i] - '0');
    }
    s->retry_ms = ms;
}

static void set_text(str *out, str_view value)
{
    str_clear(out);
    str_add(out, value.data, value.len);
}

static bool is(str_view name, const char *word)
{
    return name.len == strlen(word) && memcmp(name.data, word, name.len) == 0;
}

static void take_field(sse *s, str_view name, str_view value)
{
    if (is(name, "data")) {
        str_add(&s->data, value.data, value.len);
        str_putc(&s->data, '\n');
    } else if (is(name, "event")) {
        set_text(&s->type, value);
    } else if (is(name, "id") && !memchr(value.data, 0, value.len)) {
        set_text(&s->last_id, value);
    } else if (is(name, "retry")) {
        set_retry(s, value);
    }
}

static void end_line(sse *s, const listener *l)
{
    const char *line = str_text(&s->line);
    size_t len = s->line.len;
    const size_t mark = s->begun ? 0 : utf8_mark(line, len);
    s->begun = true;
    line += mark;
    len -= mark;
    if (len == 0) {
        end_event(s, l);
    } else if (*line != ':') {
        const char *colon = memchr(line, ':', len);
        const size_t name = colon ? (size_t)(colon - line) : len;
        size_t from = colon ? name + 1 : len;
        from += from < len && line[from] == ' ';
        take_field(s, (str_view){ line, name }, (str_view){ line + from, len - from });
    }
    str_clear(&s->line);
}

/* Bytes up to the end of a line. */
static size_t run_of(const char *bytes, size_t len)
{
    size_t n = 0;
    while (n < len && bytes[n] != '\n' && bytes[n] != '\r') n++;
    return n;
}

int sse_feed(sse *s, const char *bytes, size_t len, size_t max_bytes, void (*on)(void *ctx, const sse_event *e),
             void *ctx, error *err)
{
    const listener l = { on, ctx };
    while (len > 0) {
        const size_t n = run_of(bytes, len);
        str_add(&s->line, bytes, n);
        if (s->line.len + s->data.len > max_bytes)
            return error_set(err, ERR_LIMIT, "an event of more than %zu bytes", max_bytes);
        if (n > 0) s->cr = false;
        if (n == len) return OK;

        if (bytes[n] == '\r' || !s->cr) end_line(s, &l); /* the LF of a CRLF ends no second line */
        s->cr = bytes[n] == '\r';
        bytes += n + 1;
        len -= n + 1;
    }
    return OK;
}

void sse_reset(sse *s)
{
    str_free(&s->line);
    str_free(&s->data);
    str_free(&s->type);
    str_free(&s->last_id);
    *s = (sse){ 0 };
}
