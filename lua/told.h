/* SPDX-License-Identifier: MIT */
/* told - JSON values in Lua that remember how they were told: the order of their keys, and their text as a chat
 * template's tojson (Python's json.dumps) writes it, with ", " and ": ". A Lua table keeps no order, and a model was
 * taught one. */
#pragma once

#include <jansson.h>
#include <lua.h>

#include "base/str.h"

/* Appends the shortest text that is this double again, with a point or an exponent: 0.1, 5.0, 1e+300, inf. */
void told_double(double x, str *out);
/* Appends `v` as json.dumps(v, ensure_ascii=False) writes it. */
void told_text(const json_t *v, str *out);
/* Like bind_push_json; besides, texts[table] = { text, text indented by 4, list of the keys in order } for the value
 * and each object and array in it. texts: the stack index of a table. */
void told_push(lua_State *L, const json_t *v, int texts);
