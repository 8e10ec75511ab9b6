/* SPDX-License-Identifier: MIT */
#include "base/state.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/vec.h"

/* The first format was numbers without names. */
static const char MAGIC[] = "troupe state 2\n";
enum { MAGIC_BYTES = sizeof MAGIC - 1, FORMAT_AT = MAGIC_BYTES - 2 };

typedef struct field {
    char *name, *text; /* text: of state_same; empty of numbers */
    double *values;    /* [n] */
    uint64_t n;
    bool used;
} field;

typedef struct section {
    char *name;
    uint32_t version;
    vec(field) fields;
    bool used;
} section;

struct saved_state {
    vec(section) sections;
    size_t now; /* the section of the walk */
    bool loading;
    char *path;
    error failure;
};

/* ---- life ---- */

saved_state *state_new(void) { return xcalloc(1, sizeof(saved_state)); }

static void section_free(section *s)
{
    for (size_t i = 0; i < s->fields.len; i++) {
        free(s->fields.data[i].name);
        free(s->fields.data[i].text);
        free(s->fields.data[i].values);
    }
    vec_free(&s->fields);
    free(s->name);
}

void state_free(saved_state *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->sections.len; i++) section_free(&s->sections.data[i]);
    vec_free(&s->sections);
    free(s->path);
    free(s);
}

bool state_loading(const saved_state *s) { return s->loading; }

void state_rewind(saved_state *s)
{
    s->loading = true;
    s->failure = (error){ 0 };
    for (size_t i = 0; i < s->sections.len; i++) {
        section *of = &s->sections.data[i];
        of->used = false;
        for (size_t k = 0; k < of->fields.len; k++) of->fields.data[k].used = false;
    }
}

/* ---- the file ---- */

static void put(str *out, const void *data, size_t len) { str_add(out, data, len); }

static void put_name(str *out, const char *name)
{
    const uint32_t len = (uint32_t)strlen(name);
    put(out, &len, sizeof len);
    put(out, name, len);
}

static void put_count(str *out, size_t n)
{
    const uint32_t count = (uint32_t)n;
    put(out, &count, sizeof count);
}

char *state_bytes(const saved_state *s, size_t *len)
{
    str out = { 0 };
    put(&out, MAGIC, MAGIC_BYTES);
    put_count(&out, s->sections.len);

    for (size_t i = 0; i < s->sections.len; i++) {
        const section *of = &s->sections.data[i];
        put_name(&out, of->name);
        put(&out, &of->version, sizeof of->version);
        put_count(&out, of->fields.len);

        for (size_t k = 0; k < of->fields.len; k++) {
            const field *f = &of->fields.data[k];
            put_name(&out, f->name);
            put_name(&out, f->text);
            put(&out, &f->n, sizeof f->n);
            put(&out, f->values, sizeof *f->values * (size_t)f->n);
        }
    }

    *len = out.len;
    return str_take(&out);
}

/* What is left to read; `p` is NULL once it was not enough. */
typedef struct reader {
    const char *p, *end;
} reader;

static bool take(reader *r, void *to, size_t len)
{
    if (!r->p || (size_t)(r->end - r->p) < len) {
        r->p = NULL;
        return false;
    }
    if (len > 0) memcpy(to, r->p, len);
    r->p += len;
    return true;
}

/* A name with a NUL in it is none: it would be read as another. */
static char *take_name(reader *r)
{
    uint32_t len = 0;
    if (!take(r, &len, sizeof len) || (size_t)(r->end - r->p) < len || memchr(r->p, 0, len)) {
        r->p = NULL;
        return NULL;
    }
    char *name = xstrndup(r->p, len);
    r->p += len;
    return name;
}

/* A field that is cut short has what could be read of it, and no reader any more. */
static field take_field(reader *r)
{
    field f = { .name = take_name(r) };
    f.text = take_name(r);
    if (!take(r, &f.n, sizeof f.n) || f.n > (size_t)(r->end - r->p) / sizeof *f.values) {
        r->p = NULL;
        return f;
    }
    f.values = xmalloc(sizeof *f.values * (size_t)f.n + 1);
    take(r, f.values, sizeof *f.values * (size_t)f.n);
    return f;
}

static section take_section(reader *r)
{
    uint32_t n = 0;
    section s = { .name = take_name(r) };
    take(r, &s.version, sizeof s.version);
    take(r, &n, sizeof n);
    for (uint32_t i = 0; r->p && i < n; i++) vec_push(&s.fields, take_field(r));
    return s;
}

static int check_magic(const char *bytes, size_t len, const char *path, error *err)
{
    const bool magic = len >= MAGIC_BYTES && memcmp(bytes, MAGIC, FORMAT_AT) == 0;
    if (magic && memcmp(bytes, MAGIC, MAGIC_BYTES) == 0) return OK;

    if (magic)

        return error_set(err, ERR_PARSE,
                         "%s is of format %c, this troupe reads format %c: it was written by a newer one", path,
                         bytes[FORMAT_AT], MAGIC[FORMAT_AT]);
    return error_set(
        err, ERR_PARSE,
        "%s has no names in it: it is not a state file, or of format 1, which troupe wrote before its numbers "
        "had names; resume with the build that wrote it",
        path);
}

static section *find(saved_state *s, const char *name)
{
    for (size_t i = 0; i < s->sections.len; i++)
        if (strcmp(s->sections.data[i].name, name) == 0) return &s->sections.data[i];
    return NULL;
}

saved_state *state_parse(const char *bytes, size_t len, const char *path, error *err)
{
    uint32_t n = 0;
    reader r = { bytes, bytes + len };
    if (check_magic(bytes, len, path, err) != OK) return NULL;
    saved_state *s = state_new();
    s->path = xstrdup(path);
    s->loading = true;

    r.p += MAGIC_BYTES;
    take(&r, &n, sizeof n);
    for (uint32_t i = 0; r.p && i < n; i++) {
        section of = take_section(&r);
        const bool twice = r.p && find(s, of.name);
        vec_push(&s->sections, of);
        if (!twice) continue;
        error_set(err, ERR_PARSE, "%s: section '%s' occurs twice", path, of.name);
        state_free(s);
        return NULL;
    }
    if (r.p == r.end) return s;

    if (r.p)
        error_set(err, ERR_PARSE, "%s: %zu bytes after the last section", path, (size_t)(r.end - r.p));
    else
        error_set(err, ERR_PARSE, "%s is truncated or damaged: it ends within a section", path);
    state_free(s);
    return NULL;
}

/* ---- the walk ---- */

#define FAIL(s, ...) (void)error_set(&(s)->failure, ERR_PARSE, __VA_ARGS__)

static const char *path_of(const saved_state *s) { return s->path ? s->path : "state"; }

static void list_sections(const saved_state *s, str *out)
{
    for (size_t i = 0; i < s->sections.len && out->len < 120; i++) str_item(out, ", ", s->sections.data[i].name);
    if (s->sections.len == 0) str_puts(out, "none");
}

static void load_section(saved_state *s, const char *name, uint32_t version)
{
    str known = { 0 };
    section *found = find(s, name);

    if (!found) {
        list_sections(s, &known);
        FAIL(s, "%s: there is no section '%s' (there are: %s): it was written with other settings", path_of(s), name,
             known.data);
    } else if (found->version != version) {
        FAIL(s, "%s: section '%s' is of version %" PRIu32 ", this troupe reads version %" PRIu32, path_of(s), name,
             found->version, version);
    } else {
        found->used = true;
        s->now = (size_t)(found - s->sections.data);
    }

    str_free(&known);
}

void state_section(saved_state *s, const char *name, uint32_t version)
{
    if (s->failure.code) return;
    if (s->loading) {
        load_section(s, name, version);
        return;
    }
    s->now = s->sections.len;
    vec_push(&s->sections, (section){ .name = xstrdup(name), .version = version });
}

static field *save_field(saved_state *s, const char *name, const char *text, int64_t n)
{
    section *of = &s->sections.data[s->now];
    vec_push(&of->fields, (field){ .name = xstrdup(name), .text = xstrdup(text), .n = (uint64_t)n });
    field *f = &of->fields.data[of->fields.len - 1];
    f->values = xmalloc(sizeof *f->values * (size_t)n + 1);
    return f;
}

static const field *load_field(saved_state *s, const char *name)
{
    section *of = &s->sections.data[s->now];
    for (size_t i = 0; i < of->fields.len; i++) {
        field *f = &of->fields.data[i];
        if (f->used || strcmp(f->name, name) != 0) continue;
        f->used = true;
        return f;
    }
    FAIL(s, "%s: section '%s' has no '%s': it was written with other settings", path_of(s), of->name, name);
    return NULL;
}

static bool in_range(saved_state *s, const field *f, double min, double max)
{
    const bool any = isinf(min) && isinf(max); /* a mean of nothing is NaN */
    for (uint64_t i = 0; i < f->n && !any; i++) {
        if (f->values[i] >= min && f->values[i] <= max) continue;
        FAIL(s, "%s: section '%s': '%s' is %g (allowed: %g to %g)", path_of(s), s->sections.data[s->now].name, f->name,
             f->values[i], min, max);
        return false;
    }
    return true;
}

static double *at(double *first, int64_t i, size_t stride) { return (double *)((char *)first + (size_t)i * stride); }

void state_column(saved_state *s, const char *name, double *first, int64_t n, size_t stride, double min, double max)
{
    if (s->failure.code) return;
    if (!s->loading) {
        field *saved = save_field(s, name, "", n);
        for (int64_t i = 0; i < n; i++) saved->values[i] = *at(first, i, stride);
        return;
    }

    const field *f = load_field(s, name);
    if (!f) return;
    if (f->n != (uint64_t)n) {
        FAIL(s,
             "%s: section '%s': '%s' has %" PRIu64 " numbers, expected %" PRId64 ": it was written with other settings",
             path_of(s), s->sections.data[s->now].name, name, f->n, n);
        return;
    }
    if (!in_range(s, f, min, max)) return;
    for (int64_t i = 0; i < n; i++) *at(first, i, stride) = f->values[i];
}

void state_numbers(saved_state *s, const char *name, double *values, int64_t n, double min, double max)
{
    state_column(s, name, values, n, sizeof *values, min, max);
}

void state_same(saved_state *s, const char *name, const char *text)
{
    if (s->failure.code) return;
    if (!s->loading) {
        save_field(s, name, text, 0);
        return;
    }
    const field *f = load_field(s, name);
    if (f && strcmp(f->text, text) != 0)
        FAIL(s, "%s: section '%s': its %s are '%s', here they are '%s'", path_of(s), s->sections.data[s->now].name,
             name, f->text, text);
}

/* What no module has asked for is of another run, or of another troupe. */
static void check_left_over(saved_state *s)
{
    for (size_t i = 0; i < s->sections.len && !s->failure.code; i++) {
        const section *of = &s->sections.data[i];
        if (!of->used)
            FAIL(s, "%s: section '%s' is not of this run: it was written with other settings", path_of(s), of->name);
        for (size_t k = 0; k < of->fields.len && !s->failure.code; k++)
            if (!of->fields.data[k].used)
                FAIL(s, "%s: section '%s': nothing here is called '%s': it was written with other settings", path_of(s),
                     of->name, of->fields.data[k].name);
    }
}

int state_end(saved_state *s, error *err)
{
    if (s->loading) check_left_over(s);
    return s->failure.code ? error_set(err, s->failure.code, "%s", s->failure.text) : OK;
}
