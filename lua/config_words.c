/* SPDX-License-Identifier: MIT */
/* The key=value words of a command line, which win over the file. Nothing tells a text from a number or a table there
 * but the key: name=5 is a name, steps=5 a number, algorithm.clip={0.2,0.28} a table. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "lua/config.h"

enum { MAX_KEY = 256 };

const char *config_argument(const config *c, const char *key)
{
    const size_t n = strlen(key);
    const char *found = NULL;

    for (int i = 0; i < c->n_overrides; i++) {
        const char *word = c->overrides[i];
        const size_t k = strcspn(word, "=");

        const bool is = k == n && strncmp(word, key, n) == 0;
        const bool above = k < n && strncmp(word, key, k) == 0 && key[k] == '.';
        const bool below = k > n && strncmp(word, key, n) == 0 && word[n] == '.';
        if (is || above || below) found = word;
    }
    return found;
}

/* ---- values ---- */

static bool is_quoted(const char *value, size_t len)
{
    return len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0];
}

static void push_text(lua_State *L, const char *value)
{
    const size_t len = strlen(value);
    if (is_quoted(value, len))
        lua_pushlstring(L, value + 1, len - 2);
    else
        lua_pushstring(L, value);
}

static void push_literal(lua_State *L, const char *value)
{
    const size_t len = strlen(value);
    double number;

    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
        lua_pushboolean(L, value[0] == 't');
    else if (!(str_number(value, len, &number) == OK && lua_stringtonumber(L, value) == len + 1))
        push_text(L, value); /* lua_stringtonumber has pushed nothing */
}

/* "{ 0.2, 0.28 }" as Lua reads it, without any name in reach: a table is on top, or why there is none. */
static int push_table(lua_State *L, const char *value, error *err)
{
    str code = { 0 };
    str_printf(&code, "return %s", value);
    int rc = luaL_loadbufferx(L, code.data, code.len, "=value", "t");
    str_free(&code);

    if (rc == LUA_OK) {
        lua_newtable(L);
        lua_setupvalue(L, -2, 1); /* its globals */
        rc = lua_pcall(L, 0, 1, 0);
    }
    if (rc == LUA_OK && lua_istable(L, -1)) return OK;
    return error_set(err, ERR_ARGUMENT, "not a table as Lua writes it: %s", rc == LUA_OK ? value : lua_tostring(L, -1));
}

/* ---- into the table ---- */

/* Takes the value from the stack: it becomes the one of the word's key. */
static void set_value(lua_State *L, const char *word)
{
    lua_getfield(L, LUA_REGISTRYINDEX, CONFIG_TABLE);
    for (const char *p = word;;) {
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
    lua_pushvalue(L, -3); /* below the table and the name */
    lua_settable(L, -3);
    lua_pop(L, 2);
}

typedef struct overriding {
    const char *word;
} overriding;

static int override(lua_State *L)
{
    const overriding *o = lua_touserdata(L, 1);
    push_literal(L, strchr(o->word, '=') + 1);
    set_value(L, o->word);
    return 0;
}

int config_override(config *c, const char *word, error *err)
{
    overriding o = { word };
    return vm_protect(c->vm, override, &o, err);
}

/* ---- by the key's row ---- */

/* The row of the word's key, or the one that it is a part of: prompt.shots.schedule is of prompt.shots. */
static const option *row_of(const config *c, const char *word, bool *whole)
{
    char key[MAX_KEY];
    const option *o = NULL;
    snprintf(key, sizeof key, "%.*s", (int)strcspn(word, "="), word);
    *whole = true;
    while (!(o = config_option_of(c, key))) {
        char *dot = strrchr(key, '.');
        if (!dot) return NULL;
        *dot = 0;
        *whole = false;
    }
    return o;
}

static bool is_text(const option *o)
{
    return o->kind == OPTION_TEXT || o->kind == OPTION_STRING || o->kind == OPTION_PATH || o->kind == OPTION_NAMED;
}

int config_retype(const config *c, lua_State *L, error *err)
{
    for (int i = 0; i < c->n_overrides; i++) {
        const char *word = c->overrides[i], *value = strchr(word, '=') + 1;
        bool whole;
        const option *o = row_of(c, word, &whole);
        error why = { 0 };
        if (!o) continue;

        const bool table = (o->kind == OPTION_PAIR || o->kind == OPTION_VALUE) && value[0] == '{';
        if (table && push_table(L, value, &why) != OK) return config_error(c, o->key, err, "%s", why.text);
        if (!table && !(whole && is_text(o))) continue;
        if (!table) push_text(L, value);
        set_value(L, word);
    }
    return OK;
}
