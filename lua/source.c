/* SPDX-License-Identifier: MIT */
#include "lua/source.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 64, MAX_NESTING = 16, MAX_PATH = 256 };

typedef struct reader {
    const char *p;
    int line;
} reader;

/* ---- words ---- */

/* At "[" of a long bracket: its level, or -1. */
static int long_level(const char *p)
{
    int level = 0;
    for (p++; *p == '='; p++) level++;
    return *p == '[' ? level : -1;
}

static void skip_long(reader *r, int level)
{
    char close[64];
    snprintf(close, sizeof close, "]%.*s]", level < 60 ? level : 60,
             "============================================================");
    const char *end = strstr(r->p, close);
    for (; *r->p && r->p != end; r->p++) r->line += *r->p == '\n';
}

/* Space and comments. True when something was passed over. */
static bool skip_dull(reader *r)
{
    if (*r->p == '\n') {
        r->line++;
        r->p++;
        return true;
    }
    if (isspace((unsigned char)*r->p)) {
        r->p++;
        return true;
    }
    if (r->p[0] != '-' || r->p[1] != '-') return false;

    r->p += 2;
    if (*r->p == '[' && long_level(r->p) >= 0) {
        skip_long(r, long_level(r->p));
        return true;
    }
    while (*r->p && *r->p != '\n') r->p++;
    return true;
}

/* A quoted or long string; its bytes (escapes as they stand) into `out`. */
static bool take_string(reader *r, char out[MAX_NAME])
{
    if (*r->p == '[' && long_level(r->p) >= 0) {
        skip_long(r, long_level(r->p));
        out[0] = 0;
        return true;
    }
    if (*r->p != '"' && *r->p != '\'') return false;

    const char quote = *r->p++, *begin = r->p;
    for (; *r->p && *r->p != quote && *r->p != '\n'; r->p++)
        if (*r->p == '\\' && r->p[1]) r->line += *++r->p == '\n';
    snprintf(out, MAX_NAME, "%.*s", (int)(r->p - begin), begin);
    if (*r->p == quote) r->p++;
    return true;
}

static bool take_name(reader *r, char out[MAX_NAME])
{
    size_t n = 0;
    while (isalnum((unsigned char)r->p[n]) || r->p[n] == '_') n++;
    if (n == 0 || isdigit((unsigned char)*r->p)) return false;
    snprintf(out, MAX_NAME, "%.*s", (int)n, r->p);
    r->p += n;
    return true;
}

static bool skip_number(reader *r)
{
    if (!isdigit((unsigned char)*r->p)) return false;
    while (isalnum((unsigned char)*r->p) || *r->p == '.') r->p++;
    return true;
}

/* ---- paths ---- */

typedef struct place {
    char tables[MAX_NESTING][MAX_NAME]; /* the name of each open brace's table; "" for a list's, or a returned one */
    int depth;
    char path[MAX_PATH];     /* names read last, joined by "." */
    char assigned[MAX_PATH]; /* what stands before the last "=", until its value ends */
    bool open;               /* `path` continues with the next name */
} place;

static void add(char path[MAX_PATH], const char *name)
{
    const size_t n = strlen(path);
    snprintf(path + n, MAX_PATH - n, "%s%s", n ? "." : "", name);
}

static const char *whole_path(const place *at, char out[MAX_PATH])
{
    out[0] = 0;
    for (int i = 0; i < at->depth && i < MAX_NESTING; i++)
        if (at->tables[i][0]) add(out, at->tables[i]);
    add(out, at->path);
    return out;
}

/* Outside of `return { ... }` the first name is a variable's: `r.rollout.group = 8` is rollout.group. */
static bool begins_with_variable(const place *at) { return at->depth == 0 || at->tables[0][0]; }

static source_fit fit_of(const char *path, const char *key)
{
    const size_t n = strlen(path), k = strlen(key);
    if (strcmp(path, key) == 0) return SOURCE_KEY;
    if (n < k && strncmp(key, path, n) == 0 && key[n] == '.') return SOURCE_ABOVE;
    if (n < k && key[k - n - 1] == '.' && strcmp(key + k - n, path) == 0) return SOURCE_TAIL;
    return SOURCE_NOWHERE;
}

/* ---- reading ---- */

typedef struct search {
    const char *key;
    source_fit fit;
    size_t closeness; /* of SOURCE_ABOVE: how much of the key it has */
    int line;
} search;

static void consider(search *s, const char *path, int line)
{
    const source_fit fit = fit_of(path, s->key);
    const size_t closeness = fit == SOURCE_ABOVE ? strlen(path) : 0;
    if (fit == SOURCE_NOWHERE || fit < s->fit || (fit == s->fit && closeness < s->closeness)) return;
    s->fit = fit;
    s->closeness = closeness;
    s->line = line;
}

static void assign(place *at, search *s, int line)
{
    char path[MAX_PATH];
    whole_path(at, path);
    consider(s, path, line);
    if (begins_with_variable(at) && strchr(path, '.')) consider(s, strchr(path, '.') + 1, line);
    snprintf(at->assigned, sizeof at->assigned, "%s", at->path);
}

static void next_name(place *at, const char *name)
{
    if (!at->open) at->path[0] = 0;
    add(at->path, name);
    at->open = false;
}

/* ["name"] is a part of a path when it is nothing but a string in brackets. */
static bool take_bracket(reader *r, place *at)
{
    reader ahead = { r->p + 1, r->line };
    char name[MAX_NAME];
    if (*r->p != '[') return false;
    while (skip_dull(&ahead)) {
    }
    if (!take_string(&ahead, name)) return false;
    while (skip_dull(&ahead)) {
    }
    if (*ahead.p != ']') return false;

    at->open = at->path[0] != 0;
    next_name(at, name);
    *r = (reader){ ahead.p + 1, ahead.line };
    return true;
}

/* A table is called by what it is assigned to, whatever stands between: shots = T.shots{ ... } */
static void open_table(place *at)
{
    if (at->depth < MAX_NESTING) snprintf(at->tables[at->depth], MAX_NAME, "%.63s", at->assigned);
    at->depth++;
    at->assigned[0] = 0;
}

static void take_sign(reader *r, place *at, search *s)
{
    const char c = *r->p++;
    const bool equals = c == '=' && *r->p != '=';
    at->open = c == '.';
    if (at->open) return;

    if (equals && at->path[0]) assign(at, s, r->line);
    if (c == '=' && !equals) r->p++;
    if (c == '{') open_table(at);
    if (c == '}' && at->depth > 0) at->depth--;
    if (strchr(",;}", c)) at->assigned[0] = 0;
    at->path[0] = 0;
}

int source_line_of(const char *source, const char *key, source_fit *fit)
{
    search s = { .key = key };
    reader r = { source, 1 };
    place at = { .depth = 0 };
    char word[MAX_NAME];
    int returned = 1; /* the line of `return`: of a key that stands nowhere */

    while (*r.p) {
        if (skip_dull(&r) || take_bracket(&r, &at) || take_string(&r, word) || skip_number(&r)) continue;
        if (!take_name(&r, word)) {
            take_sign(&r, &at, &s);
            continue;
        }
        if (strcmp(word, "return") == 0 && at.depth == 0) {
            returned = r.line;
            at.assigned[0] = 0;
        }
        next_name(&at, word);
    }

    if (fit) *fit = s.fit;
    return s.fit == SOURCE_NOWHERE ? returned : s.line;
}
