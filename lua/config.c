#include "lua/config.h"

#include <ctype.h>
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "lua/bind.h"

enum { MAX_SOURCE = 16 << 20, MAX_PATH = 256, MAX_NESTING = 16, MAX_ROWS = 200 };
static const char TABLE[] = "troupe.config";

/* ---- where a key stands in the source ---- */

typedef struct reader {
    const char *p;
    int line;
} reader;

static void skip_long(reader *r, size_t level)
{
    char close[64];
    snprintf(close, sizeof close, "]%.*s]", (int)(level < 60 ? level : 60),
             "============================================================");
    const char *end = strstr(r->p, close);
    for (; *r->p && r->p != end; r->p++) r->line += *r->p == '\n';
}

/* At "[": the level of a long bracket, or -1. */
static int long_level(const char *p)
{
    int level = 0;
    for (p++; *p == '='; p++) level++;
    return *p == '[' ? level : -1;
}

static void skip_quoted(reader *r)
{
    const char quote = *r->p++;
    for (; *r->p && *r->p != quote && *r->p != '\n'; r->p++)
        if (*r->p == '\\' && r->p[1]) r->p++;
    if (*r->p == quote) r->p++;
}

/* Space, comments, strings: true when something was skipped. */
static bool skip_dull(reader *r)
{
    if (*r->p == '\n') return r->line++, r->p++, true;
    if (isspace((unsigned char)*r->p)) return r->p++, true;
    if (*r->p == '"' || *r->p == '\'') return skip_quoted(r), true;
    const bool comment = r->p[0] == '-' && r->p[1] == '-';
    const char *bracket = comment ? r->p + 2 : r->p;
    if (*bracket == '[' && long_level(bracket) >= 0) {
        r->p = bracket + 1;
        skip_long(r, (size_t)long_level(bracket));
        return true;
    }
    if (!comment) return false;
    while (*r->p && *r->p != '\n') r->p++;
    return true;
}

static size_t identifier(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_') n++;
    return n > 0 && !isdigit((unsigned char)p[0]) ? n : 0;
}

static void join(char *out, size_t size, char names[][64], int depth, const char *last)
{
    size_t n = 0;
    for (int i = 0; i < depth; i++)
        if (names[i][0]) n += (size_t)snprintf(out + n, n < size ? size - n : 0, "%s.", names[i]);
    snprintf(out + (n < size ? n : size - 1), n < size ? size - n : 1, "%s", last);
}

/* The line of `key =` inside the right braces; 0: not found. */
static int line_of(const char *source, const char *key)
{
    reader r = { source, 1 };
    char names[MAX_NESTING][64], pending[64] = "", path[MAX_PATH];
    int depth = 0;
    while (*r.p) {
        if (skip_dull(&r)) continue;
        const size_t n = identifier(r.p);
        if (n > 0) {
            const char *after = r.p + n;
            char word[64];
            snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), r.p);
            r.p = after;
            while (*after == ' ') after++;
            if (*after != '=' || after[1] == '=') continue;
            join(path, sizeof path, names, depth < MAX_NESTING ? depth : MAX_NESTING, word);
            if (strcmp(path, key) == 0) return r.line;
            snprintf(pending, sizeof pending, "%s", word);
            r.p = after + 1;
            continue;
        }
        if (*r.p == '{' && depth < MAX_NESTING) snprintf(names[depth], sizeof names[depth], "%s", pending);
        depth += *r.p == '{' ? 1 : *r.p == '}' && depth > 0 ? -1 : 0;
        pending[0] = 0;
        r.p++;
    }
    return 0;
}

int config_error(const config *c, const char *key, error *err, const char *fmt, ...)
{
    char text[300], place[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(place, sizeof place, "%s", c->path);
    const int line = line_of(c->source, key);
    if (line) snprintf(place, sizeof place, "%s:%d", c->path, line);
    for (int i = 0; i < c->n_overrides; i++)
        if (strncmp(c->overrides[i], key, strlen(key)) == 0 && c->overrides[i][strlen(key)] == '=')
            snprintf(place, sizeof place, "command line");
    return error_set(err, ERR_ARGUMENT, "%.150s: %s: %s", place, key, text);
}

/* ---- opening ---- */

typedef struct overriding {
    const char *text;
} overriding;

static void push_literal(lua_State *L, const char *value)
{
    const size_t len = strlen(value);
    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
        lua_pushboolean(L, value[0] == 't');
    else if (len > 0 && lua_stringtonumber(L, value) == len + 1)
        return;
    else if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0])
        lua_pushlstring(L, value + 1, len - 2);
    else
        lua_pushstring(L, value);
}

/* "a.b.c=value" into the table; tables on the way are made. */
static int apply_override(lua_State *L)
{
    const overriding *o = lua_touserdata(L, 1);
    const char *p = o->text, *value = strchr(p, '=') + 1;
    lua_getfield(L, LUA_REGISTRYINDEX, TABLE);
    for (;;) {
        const size_t n = strcspn(p, ".=");
        lua_pushlstring(L, p, n);
        if (p[n] == '=') break;
        lua_pushvalue(L, -1);
        if (lua_gettable(L, -3) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_settable(L, -5);
        }
        lua_remove(L, -2);
        lua_remove(L, -2);
        p += n + 1;
    }
    push_literal(L, value);
    lua_settable(L, -3);
    return 0;
}

int config_open(config *c, vm *v, const char *path, const char *const *overrides, int n, error *err)
{
    size_t len;
    *c = (config){ .vm = v, .path = path, .overrides = overrides, .n_overrides = n };
    c->source = file_read(path, MAX_SOURCE, &len, err);
    if (!c->source || vm_run_text(v, c->source, len, path, 1, err) != OK) return err ? err->code : ERR_SCRIPT;
    if (!lua_istable(vm_state(v), -1))
        return error_set(err, ERR_SCRIPT, "%s: it returns a %s, not a table", path, luaL_typename(vm_state(v), -1));
    lua_setfield(vm_state(v), LUA_REGISTRYINDEX, TABLE);
    for (int i = 0; i < n; i++) {
        overriding o = { overrides[i] };
        if (vm_protect(v, apply_override, &o, err) != OK) return error_within(err, "%s", overrides[i]);
    }
    return OK;
}

void config_close(config *c)
{
    free(c->source);
    c->source = NULL;
}

void config_push(lua_State *L, const char *key)
{
    lua_getfield(L, LUA_REGISTRYINDEX, TABLE);
    for (const char *p = key; *p;) {
        const size_t n = strcspn(p, ".");
        if (lua_istable(L, -1)) {
            lua_pushlstring(L, p, n);
            lua_rawget(L, -2);
        } else {
            lua_pushnil(L);
        }
        lua_remove(L, -2);
        p += n + (p[n] == '.');
    }
}

/* ---- reading ---- */

typedef struct reading {
    const config *c;
    const config_row *rows;
    char *out;
    error *err;
    int rc;
} reading;

static const config_row *row_of(const config_row *rows, const char *key)
{
    for (; rows->key; rows++)
        if (strcmp(rows->key, key) == 0) return rows;
    return NULL;
}

static bool is_section(const config_row *rows, const char *key)
{
    const size_t n = strlen(key);
    for (; rows->key; rows++)
        if (strncmp(rows->key, key, n) == 0 && rows->key[n] == '.') return true;
    return false;
}

/* The value is on top. Of a whole section its first key is named: that is closer to what was meant. */
static int unknown_key(reading *r, lua_State *L, const char *key)
{
    char inner[MAX_PATH];
    luaL_checkstack(L, 8, "recipe");
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        if (lua_next(L, -2)) {
            if (lua_type(L, -2) == LUA_TSTRING && strlen(key) + lua_rawlen(L, -2) + 2 < sizeof inner) {
                snprintf(inner, sizeof inner, "%s.%s", key, lua_tostring(L, -2));
                return unknown_key(r, L, inner);
            }
            lua_pop(L, 2);
        }
    }
    const char *names[MAX_ROWS + 1] = { NULL };
    int n = 0;
    for (const config_row *row = r->rows; row->key && n < MAX_ROWS; row++) names[n++] = row->key;
    const char *nearest = str_nearest(key, names);
    const char *value = lua_istable(L, -1) ? "a table" : luaL_tolstring(L, -1, NULL);
    if (nearest)
        return config_error(r->c, key, r->err, "there is no such key (value %.40s; did you mean '%s'?)", value,
                            nearest);
    return config_error(r->c, key, r->err, "there is no such key (value %.40s; troupe train --keys lists them)", value);
}

/* Every key of the table on top must be a row, or a section with rows below it. */
static int check_keys(reading *r, lua_State *L, const char *prefix)
{
    luaL_checkstack(L, 8, "recipe nested too deep");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char key[MAX_PATH];
        if (lua_type(L, -2) != LUA_TSTRING)
            return config_error(r->c, *prefix ? prefix : "recipe", r->err, "a list is not expected here");
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", lua_tostring(L, -2));
        if (row_of(r->rows, key)) continue;
        if (!is_section(r->rows, key)) return unknown_key(r, L, key);
        if (!lua_istable(L, -1))
            return config_error(r->c, key, r->err, "expected a table, found %s", luaL_tolstring(L, -1, NULL));
        const int rc = check_keys(r, L, key);
        if (rc != OK) return rc;
    }
    return OK;
}

static int read_number(reading *r, lua_State *L, const config_row *row, double *out)
{
    if (lua_type(L, -1) != LUA_TNUMBER)
        return config_error(r->c, row->key, r->err, "expected a number, found %s", luaL_tolstring(L, -1, NULL));
    *out = lua_tonumber(L, -1);
    if (row->kind == CONFIG_INT && *out != floor(*out))
        return config_error(r->c, row->key, r->err, "expected a whole number, found %g", *out);
    if (!(*out >= row->least && *out <= row->most))
        return config_error(r->c, row->key, r->err, "expected %g to %g, found %g", row->least, row->most, *out);
    return OK;
}

static int read_text(reading *r, lua_State *L, const config_row *row, char *out)
{
    char dir[1024], path[1200];
    if (lua_type(L, -1) != LUA_TSTRING)
        return config_error(r->c, row->key, r->err, "expected text, found %s", luaL_tolstring(L, -1, NULL));
    const char *text = lua_tostring(L, -1);
    if (row->kind == CONFIG_PATH && *text) {
        path_join(path, sizeof path, path_dirname(dir, sizeof dir, r->c->path), text);
        if (!file_exists(path) && !dir_exists(path))
            return config_error(r->c, row->key, r->err, "there is no %s", path);
        text = path;
    }
    if (strlen(text) >= row->size)
        return config_error(r->c, row->key, r->err, "%zu characters are too many (%zu at most)", strlen(text),
                            row->size - 1);
    memcpy(out, text, strlen(text) + 1);
    return OK;
}

static int read_row(reading *r, lua_State *L, const config_row *row)
{
    char *at = r->out + row->offset;
    double number = 0;
    int rc = OK;
    if (row->kind == CONFIG_VALUE) return OK;
    config_push(L, row->key);
    if (lua_isnil(L, -1)) {
        if (!row->otherwise) return config_error(r->c, row->key, r->err, "this key is needed (%s)", row->help);
        lua_pop(L, 1);
        if (row->kind == CONFIG_TEXT || row->kind == CONFIG_PATH)
            lua_pushstring(L, row->otherwise);
        else
            push_literal(L, row->otherwise);
    }
    switch (row->kind) {
    case CONFIG_TEXT:
    case CONFIG_PATH:
        rc = read_text(r, L, row, at);
        break;
    case CONFIG_INT:
        rc = read_number(r, L, row, &number);
        if (rc == OK) *(int64_t *)(void *)at = (int64_t)number;
        break;
    case CONFIG_NUMBER:
        rc = read_number(r, L, row, (double *)(void *)at);
        break;
    case CONFIG_BOOL:
        if (!lua_isboolean(L, -1))
            rc = config_error(r->c, row->key, r->err, "expected true or false, found %s", luaL_tolstring(L, -1, NULL));
        *(bool *)at = lua_toboolean(L, -1);
        break;
    case CONFIG_VALUE:
        break;
    }
    lua_pop(L, 1);
    return rc;
}

static int read_all(lua_State *L)
{
    reading *r = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, TABLE);
    r->rc = check_keys(r, L, "");
    lua_settop(L, 1);
    for (const config_row *row = r->rows; row->key && r->rc == OK; row++) {
        r->rc = read_row(r, L, row);
        lua_settop(L, 1);
    }
    return 0;
}

int config_read(config *c, const config_row *rows, void *out, error *err)
{
    reading r = { .c = c, .rows = rows, .out = out, .err = err };
    const int rc = vm_protect(c->vm, read_all, &r, err);
    return rc == OK ? r.rc : rc;
}
