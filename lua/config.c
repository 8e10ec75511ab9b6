/* SPDX-License-Identifier: MIT */
#include "lua/config.h"

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
#include "lua/source.h"

enum { MAX_SOURCE = 16 << 20, MAX_PATH = 256, MAX_ROWS = 200, PLACE = 320, PLACE_SHOWN = 240 };
static const char TABLE[] = "troupe.config";

/* ---- what is wrong, and where ---- */

/* The best line of the file's own text and of the modules beside it that it has required. */
static void place_in_files(const config *c, const char *key, char *out, size_t size)
{
    source_fit best;
    const char *found = c->path;
    char *module = NULL;
    int line = source_line_of(c->source, key, &best);
    for (int i = 0; best < SOURCE_KEY && (module = vm_required(c->vm, i)); i++) {
        size_t len;
        source_fit fit = SOURCE_NOWHERE;
        char *text = file_read(module, MAX_SOURCE, &len, NULL);
        const int there = text ? source_line_of(text, key, &fit) : 0;
        if (fit > best) best = fit, line = there, snprintf(out, size, "%s", module), found = out;
        free(text);
        free(module);
    }
    /* Of a long path its end is what one knows it by. */
    char place[PLACE];
    const size_t n = strlen(found);
    snprintf(place, sizeof place, "%s%.*s:%d", n > PLACE_SHOWN ? "..." : "", PLACE_SHOWN,
             n > PLACE_SHOWN ? found + n - PLACE_SHOWN : found, line);
    snprintf(out, size, "%s", place);
}

/* The argument that gave the key its value, or a part of it; NULL: the file did. */
static const char *argument_of(const config *c, const char *key)
{
    const size_t n = strlen(key);
    const char *found = NULL;
    for (int i = 0; i < c->n_overrides; i++) {
        const char *word = c->overrides[i];
        const size_t k = strcspn(word, "=");
        const bool is = k == n && strncmp(word, key, n) == 0,
                   above = k < n && strncmp(word, key, k) == 0 && key[k] == '.',
                   below = k > n && strncmp(word, key, n) == 0 && word[n] == '.';
        if (is || above || below) found = word;
    }
    return found;
}

int config_error(const config *c, const char *key, error *err, const char *fmt, ...)
{
    char text[400], place[PLACE + 1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *argument = argument_of(c, key);
    if (argument) return error_set(err, ERR_ARGUMENT, "argument '%.120s': %s: %s", argument, key, text);
    place_in_files(c, key, place, sizeof place);
    return error_set(err, ERR_ARGUMENT, "%s: %s: %s", place, key, text);
}

const char *config_shown(lua_State *L, int at, char out[CONFIG_SHOWN])
{
    switch (lua_type(L, at)) {
    case LUA_TSTRING:
        return snprintf(out, CONFIG_SHOWN, "'%.*s'", CONFIG_SHOWN - 3, lua_tostring(L, at)), out;
    case LUA_TBOOLEAN:
        return lua_toboolean(L, at) ? "true" : "false";
    case LUA_TNUMBER:
        lua_pushvalue(L, at); /* lua_tostring would change the value in its place */
        snprintf(out, CONFIG_SHOWN, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
        return out;
    case LUA_TNIL:
        return "nothing";
    default:
        return snprintf(out, CONFIG_SHOWN, "a %s", luaL_typename(L, at)), out;
    }
}

static const char *last_name(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

static const char *called_elsewhere(const config *c, const char *key)
{
    const size_t section = strcspn(key, ".");
    for (const config_alias *a = c->aliases; a && a->name; a++)
        if (strcmp(a->name, key) == 0 || strcmp(a->name, last_name(key)) == 0 ||
            (strlen(a->name) == section && strncmp(a->name, key, section) == 0))
            return a->key;
    return NULL;
}

/* The row that has the key's name in another section: rollout.lr -> optim.lr. */
static const char *in_other_section(const config_row *rows, const char *key)
{
    for (; rows->key; rows++)
        if (strcmp(last_name(rows->key), last_name(key)) == 0) return rows->key;
    return NULL;
}

/* The key of the same section that is written alike, and how far it is off; NULL: none is. */
static const char *nearest_in_section(const config_row *rows, const char *key, size_t *off)
{
    const char *lasts[MAX_ROWS + 1] = { NULL }, *whole[MAX_ROWS + 1] = { NULL };
    const size_t section = (size_t)(last_name(key) - key);
    int n = 0;
    for (; rows->key && n < MAX_ROWS; rows++) {
        if (strncmp(rows->key, key, section) != 0 || strchr(rows->key + section, '.')) continue;
        lasts[n] = rows->key + section, whole[n++] = rows->key;
    }
    const char *last = str_nearest(last_name(key), lasts);
    for (int i = 0; last && i < n; i++)
        if (lasts[i] == last) return *off = str_distance(last, last_name(key)), whole[i];
    return NULL;
}

/* Of all keys; the name itself has to be near, too: that two are of one section is no likeness. */
static const char *nearest_of_all(const config_row *rows, const char *key)
{
    const char *names[MAX_ROWS + 1] = { NULL };
    int n = 0;
    for (; rows->key && n < MAX_ROWS; rows++)
        if (str_nearest(last_name(key), (const char *const[]){ last_name(rows->key), NULL })) names[n++] = rows->key;
    return str_nearest(key, names);
}

/* The right key that was most likely meant; NULL when none is near. */
static const char *nearest_key(const config *c, const config_row *rows, const char *key)
{
    size_t off = 0;
    const char *called = called_elsewhere(c, key), *beside = nearest_in_section(rows, key, &off);
    const char *elsewhere = in_other_section(rows, key);
    if (called) return called;
    if (beside && (off == 1 || !elsewhere)) return beside;
    return elsewhere ? elsewhere : nearest_of_all(rows, key);
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
    char shown[CONFIG_SHOWN];
    const char *nearest = nearest_key(r->c, r->rows, key), *value = config_shown(L, -1, shown);
    if (nearest && strchr(nearest, ' ')) /* no key of ours, but what there is instead */
        return config_error(r->c, key, r->err, "there is no such key (value %s; %s)", value, nearest);
    if (nearest)
        return config_error(r->c, key, r->err, "there is no such key (value %s; did you mean '%s'?)", value, nearest);
    return config_error(r->c, key, r->err, "there is no such key (value %s; %s lists them)", value,
                        r->c->keys_in ? r->c->keys_in : "troupe train --keys");
}

/* The value is on top. A number or a switch would be one of ours, mistyped; another program's are larger things. */
static bool is_others(const reading *r, lua_State *L, const char *key)
{
    return lua_type(L, -1) != LUA_TNUMBER && !lua_isboolean(L, -1) && !is_section(r->rows, key);
}

/* Every key of the table on top must be a row, or a section with rows below it. */
static int check_keys(reading *r, lua_State *L, const char *prefix)
{
    luaL_checkstack(L, 8, "recipe nested too deep");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char key[MAX_PATH], shown[CONFIG_SHOWN];
        if (lua_type(L, -2) != LUA_TSTRING)
            return config_error(r->c, *prefix ? prefix : "recipe", r->err, "a list is not expected here (entry %s)",
                                config_shown(L, -2, shown));
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", lua_tostring(L, -2));
        if (row_of(r->rows, key)) continue;
        if (r->c->others && is_others(r, L, key)) continue;
        if (!is_section(r->rows, key)) return unknown_key(r, L, key);
        if (!lua_istable(L, -1))
            return config_error(r->c, key, r->err, "expected a table, found %s", config_shown(L, -1, shown));
        const int rc = check_keys(r, L, key);
        if (rc != OK) return rc;
    }
    return OK;
}

static int read_number(reading *r, lua_State *L, const config_row *row, double *out)
{
    char shown[CONFIG_SHOWN];
    if (lua_type(L, -1) != LUA_TNUMBER)
        return config_error(r->c, row->key, r->err, "expected a number, found %s", config_shown(L, -1, shown));
    *out = lua_tonumber(L, -1);
    if (row->kind == CONFIG_INT && *out != floor(*out))
        return config_error(r->c, row->key, r->err, "expected a whole number, found %g", *out);
    if (!(*out >= row->least && *out <= row->most))
        return config_error(r->c, row->key, r->err, "expected %g to %g, found %g", row->least, row->most, *out);
    return OK;
}

static int read_text(reading *r, lua_State *L, const config_row *row, char *out)
{
    char dir[1024], path[1200], shown[CONFIG_SHOWN];
    if (lua_type(L, -1) != LUA_TSTRING)
        return config_error(r->c, row->key, r->err, "expected text, found %s", config_shown(L, -1, shown));
    const char *text = lua_tostring(L, -1);
    if (row->kind == CONFIG_PATH && !*text && !row->otherwise)
        return config_error(r->c, row->key, r->err, "expected a path, found '' (%s)", row->help);
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
    char *at = r->out + row->offset, shown[CONFIG_SHOWN];
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
            rc = config_error(r->c, row->key, r->err, "expected true or false, found %s", config_shown(L, -1, shown));
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
