/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

enum { MAX_DEPTH = 128, MAX_FILE_BYTES = 1 << 30 };

/* How deep brackets nest, strings skipped. The library's own limit (2048 levels of recursion) is for another stack than
 * the small one a thread may have. */
static int depth_of(const char *text, size_t len)
{
    int depth = 0, deepest = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++; /* what is escaped ends no string */
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '[' || text[i] == '{') {
            depth++;
            if (depth > deepest) deepest = depth;
        } else if (text[i] == ']' || text[i] == '}') {
            depth--;
        }
    }
    return deepest;
}

/* Bytes of a number that begins here; text may end without a NUL. */
static size_t number_length(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] && strchr("0123456789.eE+-", text[n])) n++;
    return n;
}

/* The first number of valid JSON that jansson has read as 0 because no double is as near to it, 1e-400: its first byte.
 * SIZE_MAX: none. Only those with an exponent are looked at. */
static size_t lost_number(const char *text, size_t len)
{
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"') quoted = !quoted;
        if (quoted && text[i] == '\\') i++;
        if (quoted || text[i] < '0' || text[i] > '9') continue;

        const size_t n = number_length(text + i, len - i);
        double value;
        if (memchr(text + i, '-', n) && str_number(text + i, n, &value) == ERR_LIMIT) return i;
        i += n - 1;
    }
    return SIZE_MAX;
}

/* "WHERE:LINE", as Lua and compilers name a place; of a text that is one line, which has its own place or none,
 * WHERE. */
typedef struct place {
    const char *where;
    bool lines;
} place;

static void print_place(const place *p, int line, str *out)
{
    str_puts(out, p->where);
    if (p->lines) str_printf(out, ":%d", line);
}

static void refuse_number(const place *p, const char *text, size_t len, size_t at, error *err)
{
    str where = { 0 };
    int line = 1;
    for (size_t i = 0; i < at; i++) line += text[i] == '\n';
    print_place(p, line, &where);
    error_set(err, ERR_PARSE, "%s: %.*s is too small for a double and would be read as 0", where.data,
              (int)number_length(text + at, len - at), text + at);
    str_free(&where);
}

static void refuse_text(const place *p, const char *text, size_t len, const json_error_t *why, error *err)
{
    str where = { 0 };
    size_t blank = 0;
    while (blank < len && strchr(" \t\r\n", text[blank])) blank++;
    print_place(p, why->line, &where);
    if (blank == len)
        error_set(err, ERR_PARSE, "%s: not JSON: it is empty", p->where);
    else
        error_set(err, ERR_PARSE, "%s: not JSON: %s (column %d)", where.data, why->text, why->column);
    str_free(&where);
}

static json_t *parse(const char *text, size_t len, const place *p, error *err)
{
    int depth = depth_of(text, len);
    if (depth > MAX_DEPTH) {
        error_set(err, ERR_PARSE, "%s: JSON nested %d deep, %d is allowed", p->where, depth, MAX_DEPTH);
        return NULL;
    }

    const char *nul = len > 0 ? memchr(text, 0, len) : NULL;
    if (nul) { /* jansson passes over one that follows a number */
        error_set(err, ERR_PARSE, "%s: not JSON: a NUL byte at offset %zu", p->where, (size_t)(nul - text));
        return NULL;
    }

    if (utf8_mark(text, len)) {
        error_set(err, ERR_PARSE, "%s: not JSON: a byte order mark (U+FEFF) inside of the file", p->where);
        return NULL;
    }

    json_error_t why;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    const size_t lost = value ? lost_number(text, len) : SIZE_MAX;
    if (!value) refuse_text(p, text, len, &why, err);
    if (lost == SIZE_MAX) return value;
    refuse_number(p, text, len, lost, err);
    json_decref(value);
    return NULL;
}

json_t *json_parse(const char *text, size_t len, const char *where, error *err)
{
    const char *newline = len > 0 ? memchr(text, '\n', len) : NULL;
    return parse(text, len, &(place){ where, newline && newline < text + len - 1 }, err);
}

json_t *json_parse_file(const char *path, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_FILE_BYTES, &len, err);
    if (!text) return NULL;
    const size_t mark = utf8_mark(text, len);
    json_t *value = parse(text + mark, len - mark, &(place){ path, true }, err);
    free(text);
    return value;
}

/* "WHERE: KEY: expected a string, found 12". What was found is cut to fit a sentence. */
static int unexpected(const json_t *found, const char *key, const char *where, const char *expected, error *err)
{
    if (!found) return error_set(err, ERR_PARSE, "%s: %s: expected %s, found nothing", where, key, expected);

    char *text = json_text(found, true);
    int code = error_set(err, ERR_PARSE, "%s: %s: expected %s, found %.80s%s", where, key, expected, text,
                         strlen(text) > 80 ? "..." : "");
    free(text);
    return code;
}

/* The member, or NULL; ERR_PARSE when `object` isn't one. */
static int member(const json_t *object, const char *key, const char *where, const json_t **out, error *err)
{
    if (!json_is_object(object)) {
        char *text = object ? json_text(object, true) : xstrdup("nothing");
        int code = error_set(err, ERR_PARSE, "%s: expected an object (for its %s), found %.80s", where, key, text);
        free(text);
        return code;
    }
    *out = json_object_get(object, key);
    return OK;
}

int json_need_string(const json_t *object, const char *key, const char *where, const char **out, error *err)
{
    const json_t *found = NULL;
    int code = member(object, key, where, &found, err);
    if (code != OK) return code;
    if (!json_is_string(found)) return unexpected(found, key, where, "a string", err);
    *out = json_string_value(found);
    return OK;
}

/* A real with a whole value is an integer too: Lua and JavaScript write 3.0 and 1e6 where they mean integers. */
static bool as_int(const json_t *found, int64_t *out)
{
    if (json_is_integer(found)) {
        *out = json_integer_value(found);
        return true;
    }
    if (!json_is_real(found)) return false;
    double value = json_real_value(found);
    if (!(value >= -0x1p53 && value <= 0x1p53) || value != (double)(int64_t)value) return false;
    *out = (int64_t)value;
    return true;
}

int json_need_int(const json_t *object, const char *key, const char *where, int64_t *out, error *err)
{
    const json_t *found = NULL;
    int code = member(object, key, where, &found, err);
    if (code != OK) return code;
    return as_int(found, out) ? OK : unexpected(found, key, where, "an integer", err);
}

int json_need_number(const json_t *object, const char *key, const char *where, double *out, error *err)
{
    const json_t *found = NULL;
    int code = member(object, key, where, &found, err);
    if (code != OK) return code;
    if (!json_is_number(found)) return unexpected(found, key, where, "a number", err);
    *out = json_number_value(found);
    return OK;
}

/* OK and *present; null counts as absent, as in every tokenizer_config.json. */
static int optional(const json_t *object, const char *key, const char *where, bool *present, error *err)
{
    const json_t *found = NULL;
    int code = member(object, key, where, &found, err);
    *present = code == OK && found && !json_is_null(found);
    return code;
}

int json_opt_string(const json_t *object, const char *key, const char *where, const char *fallback, const char **out,
                    error *err)
{
    bool present;
    int code = optional(object, key, where, &present, err);
    if (code != OK) return code;
    if (present) return json_need_string(object, key, where, out, err);
    *out = fallback;
    return OK;
}

int json_opt_int(const json_t *object, const char *key, const char *where, int64_t fallback, int64_t *out, error *err)
{
    bool present;
    int code = optional(object, key, where, &present, err);
    if (code != OK) return code;
    if (present) return json_need_int(object, key, where, out, err);
    *out = fallback;
    return OK;
}

int json_opt_number(const json_t *object, const char *key, const char *where, double fallback, double *out, error *err)
{
    bool present;
    int code = optional(object, key, where, &present, err);
    if (code != OK) return code;
    if (present) return json_need_number(object, key, where, out, err);
    *out = fallback;
    return OK;
}

int json_opt_bool(const json_t *object, const char *key, const char *where, bool fallback, bool *out, error *err)
{
    bool present;
    int code = optional(object, key, where, &present, err);
    if (code != OK) return code;
    const json_t *found = json_object_get(object, key);
    if (present && !json_is_boolean(found)) return unexpected(found, key, where, "true or false", err);
    *out = present ? json_is_true(found) : fallback;
    return OK;
}

char *json_text(const json_t *value, bool sorted)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | (sorted ? JSON_SORT_KEYS : 0));
    return text ? text : xstrdup("null");
}

bool json_has_nul(const json_t *value)
{
    const char *name;
    json_t *item;
    size_t i;
    if (json_is_string(value)) return strlen(json_string_value(value)) < json_string_length(value);

    json_array_foreach((json_t *)(uintptr_t)value, i, item)
    {
        if (json_has_nul(item)) return true;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        if (json_has_nul(item)) return true;
    }
    return false;
}

json_t *json_bytes(const char *text)
{
    if (!text) return json_null();
    const size_t len = strlen(text);
    char *clean = xmalloc(3 * len + 1), *to = clean;

    for (size_t i = 0, n; i < len; i += n ? n : 1) {
        n = utf8_length(text + i, text + len);
        memcpy(to, n ? text + i : "\xef\xbf\xbd", n ? n : 3);
        to += n ? n : 3;
    }
    json_t *value = json_stringn(clean, (size_t)(to - clean));
    free(clean);
    return value;
}

static void hash_of_rest(const json_t *object, char hex[17])
{
    json_t *rest = json_copy((json_t *)(uintptr_t)object);
    json_object_del(rest, "hash");
    char *text = json_text(rest, true);
    hash_hex(hash_bytes(text, strlen(text), 0), hex);
    free(text);
    json_decref(rest);
}

void json_seal(json_t *object)
{
    char hex[17];
    hash_of_rest(object, hex);
    json_object_set_new(object, "hash", json_string(hex));
}

int json_check_seal(const json_t *object, const char *where, error *err)
{
    char hex[17];
    const char *hash = json_string_value(json_object_get(object, "hash"));
    hash_of_rest(object, hex);
    if (hash && strcmp(hash, hex) == 0) return OK;
    return error_set(err, ERR_PARSE, "%s is not as it was written: expected hash %.16s, found %s", where,
                     hash ? hash : "(none)", hex);
}

/* ---- lines ---- */

typedef struct line_reader {
    int (*answer)(void *ctx, uint64_t number, const json_t *line, error *err);
    void *ctx;
    uint64_t number;
} line_reader;

static int answer_line(const line_reader *r, const char *text, size_t len, error *err)
{
    char where[32];
    snprintf(where, sizeof where, "line %" PRIu64, r->number);
    json_t *line = json_parse(text, len, where, err);
    if (!line) return err->code;
    const int rc = r->answer(r->ctx, r->number, line, err);
    json_decref(line);
    return rc == OK ? OK : error_within(err, "%s", where);
}

static bool is_blank(const char *line) { return line[strspn(line, " \t\r\n")] == '\0'; }

int json_each_line(FILE *in, int (*answer)(void *ctx, uint64_t number, const json_t *line, error *err), void *ctx,
                   error *err)
{
    line_reader r = { .answer = answer, .ctx = ctx };
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    bool any = false;
    int rc = OK;
    while (rc == OK && (len = getline(&line, &capacity, in)) >= 0) {
        r.number++;
        if (is_blank(line)) continue;
        any = true;
        const size_t mark = r.number == 1 ? utf8_mark(line, (size_t)len) : 0;
        rc = answer_line(&r, line + mark, (size_t)len - mark, err);
    }
    free(line);
    return any ? rc : error_set(err, ERR_NOT_FOUND, "there is no line");
}
