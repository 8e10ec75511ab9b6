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
#include "base/json.h"
#include "base/str.h"
#include "lua/bind.h"
#include "lua/source.h"

enum { MAX_SOURCE = 16 << 20, MAX_PATH = 256, MAX_PRESETS = 63, PLACE = 320, PLACE_SHOWN = 240 };

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
        if (fit > best) {
            best = fit;
            line = there;
            snprintf(out, size, "%s", module);
            found = out;
        }
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

int config_error(const config *c, const char *key, error *err, const char *fmt, ...)
{
    char text[400], place[PLACE + 1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);

    const char *argument = config_argument(c, key);
    if (argument) return error_set(err, ERR_ARGUMENT, "argument '%.120s': %s: %s", argument, key, text);
    place_in_files(c, key, place, sizeof place);
    return error_set(err, ERR_ARGUMENT, "%s: %s: %s", place, key, text);
}

int config_file(const config *c, const char *key, const char *path, error *err)
{
    if (!path[0] || file_exists(path) || dir_exists(path)) return OK;
    return config_error(c, key, err, "there is no %s%s", path,
                        config_argument(c, key) ? ", and none of this name here" : "");
}

const char *config_shown(lua_State *L, int at, char out[CONFIG_SHOWN])
{
    switch (lua_type(L, at)) {
    case LUA_TSTRING:
        snprintf(out, CONFIG_SHOWN, "'%.*s'", CONFIG_SHOWN - 3, lua_tostring(L, at));
        return out;
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
        snprintf(out, CONFIG_SHOWN, "a %s", luaL_typename(L, at));
        return out;
    }
}

/* ---- opening ---- */

int config_open(config *c, vm *v, const char *path, const char *const *overrides, int n, error *err)
{
    size_t len;
    *c = (config){ .vm = v, .path = path, .overrides = overrides, .n_overrides = n };
    c->source = file_read(path, MAX_SOURCE, &len, err);
    if (!c->source || vm_run_text(v, c->source, len, path, 1, err) != OK) return err ? err->code : ERR_SCRIPT;
    if (!lua_istable(vm_state(v), -1))
        return error_set(err, ERR_SCRIPT, "%s: it returns a %s, not a table", path, luaL_typename(vm_state(v), -1));
    lua_setfield(vm_state(v), LUA_REGISTRYINDEX, CONFIG_TABLE);

    for (int i = 0; i < n; i++)
        if (config_override(c, overrides[i], err) != OK) return error_within(err, "argument '%.120s'", overrides[i]);
    return OK;
}

void config_close(config *c)
{
    free(c->source);
    c->source = NULL;
}

void config_push(lua_State *L, const char *key)
{
    lua_getfield(L, LUA_REGISTRYINDEX, CONFIG_TABLE);
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
    error *err;
    const char *dir;             /* of the file */
    const option_preset *preset; /* that the file names, or the first one */
    const char *presets_key;
    int rc;
} reading;

static bool is_section(const config *c, const char *key)
{
    const size_t n = strlen(key);
    const option *o;
    for (int i = 0; (o = config_option(c, i)); i++)
        if (strncmp(o->key, key, n) == 0 && o->key[n] == '.') return true;
    return false;
}

/* The value is on top. Of a whole section its first key is named: that is closer to what was meant. */
static int unknown_key(reading *r, lua_State *L, const char *key)
{
    char inner[MAX_PATH], shown[CONFIG_SHOWN];

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

    const char *nearest = config_near(r->c, key), *value = config_shown(L, -1, shown);
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
    return lua_type(L, -1) != LUA_TNUMBER && !lua_isboolean(L, -1) && !is_section(r->c, key);
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

        if (config_option_of(r->c, key)) continue;
        if (r->c->others && is_others(r, L, key)) continue;
        if (!is_section(r->c, key)) return unknown_key(r, L, key);
        if (!lua_istable(L, -1))
            return config_error(r->c, key, r->err, "expected a table, found %s", config_shown(L, -1, shown));

        const int rc = check_keys(r, L, key);
        if (rc != OK) return rc;
    }
    return OK;
}

/* ---- a value of each kind, on top of the stack ---- */

static int expected(reading *r, lua_State *L, const option *o, const char *what)
{
    char shown[CONFIG_SHOWN];
    return config_error(r->c, o->key, r->err, "expected %s, found %s", what, config_shown(L, -1, shown));
}

static int read_number(reading *r, lua_State *L, const option *o, void *out)
{
    if (lua_type(L, -1) != LUA_TNUMBER) return expected(r, L, o, "a number");

    const double value = lua_tonumber(L, -1);
    if (o->kind == OPTION_WHOLE && value != floor(value))
        return config_error(r->c, o->key, r->err, "expected a whole number, found %g", value);
    if (!(value >= o->min && value <= o->max))
        return config_error(r->c, o->key, r->err, "expected %g to %g, found %g", o->min, o->max, value);

    option_set_number(o, out, value);
    return OK;
}

static int read_text(reading *r, lua_State *L, const option *o, void *out)
{
    char path[OPTION_PATH_BYTES + 200];
    if (lua_type(L, -1) != LUA_TSTRING) return expected(r, L, o, "text");

    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (strlen(text) < len)
        return config_error(r->c, o->key, r->err, "there is a NUL byte in it (after '%.80s')", text);
    if (o->kind == OPTION_PATH && !*text && !o->fallback)
        return config_error(r->c, o->key, r->err, "expected a path, found '' (%s)", o->help);
    if (o->kind == OPTION_STRING) return option_set_text(o, out, text, r->err);

    const bool is_path = *text && (o->kind == OPTION_PATH || (o->kind == OPTION_NAMED && strpbrk(text, "./")));
    if (is_path) text = path_join(path, sizeof path, r->dir, text);
    if (strlen(text) >= o->size)
        return config_error(r->c, o->key, r->err, "%zu characters are too many (%zu at most)", strlen(text),
                            o->size - 1);
    memcpy((char *)out + o->offset, text, strlen(text) + 1);
    return OK;
}

static int read_word(reading *r, lua_State *L, const option *o, void *out)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    const word_row *word = words_named(o->words, text);
    if (word) {
        option_set_word(o, out, word->value);
        return OK;
    }

    char shown[CONFIG_SHOWN];
    str known = { 0 }, hint = { 0 };
    words_list(o->words, &known);
    config_hint(r->c, o, text, &hint);
    const int rc = config_error(r->c, o->key, r->err, "expected one of %s, found %s%s", known.data,
                                config_shown(L, -1, shown), str_text(&hint));
    str_free(&hint);
    str_free(&known);
    return rc;
}

static int read_pair(reading *r, lua_State *L, const option *o, void *out)
{
    double pair[2] = { 0, 0 };
    bool fine = lua_istable(L, -1) && luaL_len(L, -1) == 2;

    for (int i = 0; i < 2 && fine; i++) {
        fine = lua_rawgeti(L, -1, i + 1) == LUA_TNUMBER;
        pair[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
        fine = fine && pair[i] >= o->min && pair[i] < o->max;
    }
    if (!fine)
        return config_error(r->c, o->key, r->err, "expected two numbers { a, b } from %g to below %g", o->min, o->max);

    option_set_pair(o, out, pair);
    return OK;
}

/* ---- what rooms say of their own ---- */

static bool is_given(void *ctx, const char *key)
{
    const reading *r = ctx;
    lua_State *L = vm_state(r->c->vm);
    config_push(L, key);
    const bool given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return given;
}

static option_reading room_reading(reading *r)
{
    return (option_reading){ .dir = r->dir, .given = is_given, .ctx = r };
}

/* The room's sentence, with the value that the key has where that tells something. */
static int room_error(reading *r, lua_State *L, const option_reading *room)
{
    char shown[CONFIG_SHOWN];
    config_push(L, room->key);
    const bool tells = room->found && !lua_istable(L, -1) && !lua_isnil(L, -1);
    const char *value = tells ? config_shown(L, -1, shown) : "";
    return config_error(r->c, room->key, r->err, "%s%s%s", room->text, tells ? ", found " : "", value);
}

static int read_value(reading *r, lua_State *L, const option *o, void *out)
{
    const char *why = NULL;
    option_reading room = room_reading(r);
    if (!o->read) return OK;

    json_t *value = bind_try_json(L, -1, &why);
    if (value && json_has_nul(value)) why = "a NUL byte";
    if (why) json_decref(value);
    if (why) return config_error(r->c, o->key, r->err, "there is %s in it", why);
    const int rc = o->read(out, value, &room);
    json_decref(value);
    return rc == OK ? OK : room_error(r, L, &room);
}

/* ---- rows ---- */

/* What is no value of any such key is that before anything else. */
static bool has_type(lua_State *L, const option *o)
{
    if (o->kind == OPTION_BOOL) return lua_isboolean(L, -1);
    if (o->kind == OPTION_WHOLE || o->kind == OPTION_NUMBER) return lua_type(L, -1) == LUA_TNUMBER;
    return true;
}

static int says_nothing(reading *r, lua_State *L, const option *o)
{
    char shown[CONFIG_SHOWN];
    return config_error(r->c, o->key, r->err, "expected %s beside it, without which this key says nothing (value %s)",
                        o->needs, config_shown(L, -1, shown));
}

static int read_given(reading *r, lua_State *L, const option *o, void *out)
{
    if (o->needs && has_type(L, o) && !is_given(r, o->needs)) return says_nothing(r, L, o);

    switch (o->kind) {
    case OPTION_TEXT:
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_NAMED:
        return read_text(r, L, o, out);
    case OPTION_WHOLE:
    case OPTION_NUMBER:
        return read_number(r, L, o, out);
    case OPTION_BOOL:
        if (!lua_isboolean(L, -1)) return expected(r, L, o, "true or false");
        option_set_bool(o, out, lua_toboolean(L, -1));
        return OK;
    case OPTION_WORD:
        return read_word(r, L, o, out);
    case OPTION_PAIR:
        return read_pair(r, L, o, out);
    case OPTION_VALUE:
        return read_value(r, L, o, out);
    case OPTION_PRESETS: /* read before all others */
        return OK;
    }
    return OK;
}

/* What the key means where the file is silent: as the preset has it, or else the row. */
static int read_default(reading *r, const option *o, void *out)
{
    char section[MAX_PATH] = "";
    if (!o->fallback && o->unless && is_given(r, o->unless)) return OK;
    if (!o->fallback) return config_error(r->c, o->key, r->err, "this key is required (%s)", o->help);
    if (r->preset)
        snprintf(section, sizeof section, "%.*s", (int)(strrchr(r->presets_key, '.') + 1 - r->presets_key),
                 r->presets_key);

    char *text = r->preset ? option_preset_text(r->preset, section, o->key) : NULL;
    const int rc = option_set_text(o, out, text ? text : o->fallback, r->err);
    free(text);
    return rc;
}

static int read_rows(reading *r, lua_State *L, const config_part *p)
{
    for (const option *o = p->table->rows; o->key && r->rc == OK; o++) {
        config_push(L, o->key);
        r->rc = lua_isnil(L, -1) ? read_default(r, o, p->out) : read_given(r, L, o, p->out);
        lua_settop(L, 1);
    }
    return r->rc;
}

static int read_preset(reading *r, lua_State *L, const option *o)
{
    word_row words[MAX_PRESETS + 1] = { 0 };
    option as_word = *o;
    int which = 0;

    for (int i = 0; o->presets[i].name && i < MAX_PRESETS; i++) words[i] = (word_row){ o->presets[i].name, i, "" };
    as_word.words = words;
    as_word.offset = 0;

    config_push(L, o->key);
    if (!lua_isnil(L, -1) && read_word(r, L, &as_word, &which) != OK) return ERR_ARGUMENT;
    lua_settop(L, 1);

    r->preset = &o->presets[which];
    r->presets_key = o->key;
    return OK;
}

static int read_all(lua_State *L)
{
    reading *r = lua_touserdata(L, 1);
    const option *o;

    r->rc = config_retype(r->c, L, r->err);
    lua_getfield(L, LUA_REGISTRYINDEX, CONFIG_TABLE);
    if (r->rc == OK) r->rc = check_keys(r, L, "");
    lua_settop(L, 1);

    for (int i = 0; r->rc == OK && (o = config_option(r->c, i)); i++)
        if (o->kind == OPTION_PRESETS) r->rc = read_preset(r, L, o);
    for (const config_part *p = r->c->parts; p->table && r->rc == OK; p++) read_rows(r, L, p);

    for (const config_part *p = r->c->parts; p->table && r->rc == OK; p++) {
        option_reading room = room_reading(r);
        if (p->table->check && p->table->check(p->out, &room) != OK) r->rc = room_error(r, L, &room);
    }
    return 0;
}

int config_read(config *c, const config_part *parts, error *err)
{
    char dir[OPTION_PATH_BYTES];
    reading r = { .c = c, .err = err, .dir = path_dirname(dir, sizeof dir, c->path) };

    c->parts = parts;
    const int rc = vm_protect(c->vm, read_all, &r, err);
    return rc == OK ? r.rc : rc;
}
