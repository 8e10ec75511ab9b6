/* SPDX-License-Identifier: MIT */
/* Our string.find and its kin are Lua's: the same matches on random texts and patterns, in time linear in the text. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "lua/bind.h"
#include "lua/vm.h"
#include "tests/support/support.h"

/* A state where string is Lua's own and ours is ours; neither has a cap. Ours tells a VM what it has looked at: one
 * without caps, whose scripts are never run. */
static lua_State *new_state(void)
{
    error err = { 0 };
    lua_State *L = luaL_newstate();
    vm *v = vm_new(VM_RECIPE, NULL, NULL, &err);
    if (!v) fail_msg("%s", err.text);
    *(vm **)lua_getextraspace(L) = v;
    luaL_openlibs(L);
    lua_newtable(L);
    bind_string_replace(L);
    lua_pushnil(L);
    lua_setfield(L, -2, "rep"); /* asks the VM, which is not there */
    lua_setglobal(L, "ours");
    return L;
}

static void close_state(lua_State *L)
{
    vm *v = *(vm **)lua_getextraspace(L);
    lua_close(L);
    vm_free(v);
}

static void run(lua_State *L, const char *text)
{
    if (luaL_dostring(L, text)) fail_msg("%s", lua_tostring(L, -1));
}

/* The same results, or both an error. */
static const char COMPARE[] =
    "local function same(a, b)\n"
    "    if a.n ~= b.n then return false end\n"
    "    for i = 1, a.n do if a[i] ~= b[i] or math.type(a[i]) ~= math.type(b[i]) then return false end end\n"
    "    return true\n"
    "end\n"
    "local function all(gmatch, ...)\n"
    "    local out = {}\n"
    "    for a, b in gmatch(...) do out[#out + 1] = tostring(a) .. '|' .. tostring(b) end\n"
    "    return table.concat(out, ';')\n"
    "end\n"
    "local function malformed(why)\n" /* which ours says at once, Lua when it gets there, if it does */
    "    return why:find('pattern') or why:find('capture')\n"
    "end\n"
    "function compare(text, pattern)\n"
    "    local replacements = { '<%0>', '%1%%', function(x) return x == 'a' and 'Q' or nil end, { a = 1, b = false } "
    "}\n"
    "    local tries = {\n"
    "        { 'find', text, pattern }, { 'find', text, pattern, 3 }, { 'find', text, pattern, -2 }, { 'match', text, "
    "pattern },\n"
    "        { 'find', text, pattern, 1, true }, { 'gsub', text, pattern, 'z', 2 },\n"
    "    }\n"
    "    for _, r in ipairs(replacements) do tries[#tries + 1] = { 'gsub', text, pattern, r } end\n"
    "    for _, t in ipairs(tries) do\n"
    "        local a = table.pack(pcall(string[t[1]], table.unpack(t, 2)))\n"
    "        local b = table.pack(pcall(ours[t[1]], table.unpack(t, 2)))\n"
    "        if b[1] or not malformed(b[2]) then\n"
    "        if not a[1] then a = table.pack(false) end\n"
    "        if not b[1] then b = table.pack(false) end\n"
    "        assert(same(a, b), t[1] .. ' of ' .. text .. ' and ' .. pattern .. ': ' .. tostring(a[2]) .. ' ' .. "
    "tostring(b[2]))\n"
    "        end\n"
    "    end\n"
    "    local fine, a = pcall(all, string.gmatch, text, pattern)\n"
    "    local fine2, b = pcall(all, ours.gmatch, text, pattern)\n"
    "    assert(not fine2 and malformed(b) or fine == fine2 and a == b, 'gmatch of ' .. text .. ' and ' .. pattern)\n"
    "end\n";

/* Each class and its opposite, character by character. */
static void every_class_has_lua_s_characters(void **state)
{
    (void)state;
    lua_State *L = new_state();
    run(L,
        "for class in ('acdglpsuwxACDGLPSUWX'):gmatch('.') do for c = 0, 255 do local x = string.char(c)\n"
        "assert(string.find(x, '%' .. class) == ours.find(x, '%' .. class), class .. c)\n"
        "assert(string.find(x, '[^%' .. class .. 'z]') == ours.find(x, '[^%' .. class .. 'z]'), class .. c) end end\n"
        "for c = 1, 255 do local x = string.char(c) local a, b = pcall(string.find, x, '%' .. x)\n"
        "local d, e = pcall(ours.find, x, '%' .. x) assert(a == d and (not a or b == e), c) end");
    close_state(L);
}

static void every_match_is_the_one_that_lua_finds(void **state)
{
    (void)state;
    static const char *const PIECES[] = { "a",    "b",     ".",     "%a",   "%s",     "[ab]", "[^a]",  "[a-c]", "%d",
                                          "(",    ")",     "()",    "a*",   "a-",     "b+",   "c?",    ".*",    ".-",
                                          "%s*",  "[bc]*", "%1",    "%b()", "%f[%w]", "$",    "^",     "x",     "%w+",
                                          "(a*)", "(.-)",  "(%a+)", "%%",   "-",      "[]]",  "[%]a]", "[^%s]" };
    static const char ALPHABET[] = "aabbc  ()x1";
    lua_State *L = new_state();
    run(L, COMPARE);
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        test_random rnd = test_random_seed(seed);
        char text[24];
        const size_t len = test_random_below(&rnd, sizeof text);
        for (size_t i = 0; i < len; i++) text[i] = ALPHABET[test_random_below(&rnd, sizeof ALPHABET - 1)];
        str pattern = { 0 };
        for (uint64_t i = 0, n = 1 + test_random_below(&rnd, 6); i < n; i++)
            str_puts(&pattern, PIECES[test_random_below(&rnd, sizeof PIECES / sizeof *PIECES)]);
        lua_getglobal(L, "compare");
        lua_pushlstring(L, text, len);
        lua_pushlstring(L, pattern.data, pattern.len);
        if (lua_pcall(L, 2, 0, 0) != LUA_OK) fail_msg("seed %ju: %s", (uintmax_t)seed, lua_tostring(L, -1));
        str_free(&pattern);
    }
    close_state(L);
}

/* Ten times the text takes some ten times the time, not a hundred: a million bytes in well under what a quadratic
 * takes. */
static void hostile_texts_take_linear_time(void **state)
{
    (void)state;
    lua_State *L = new_state();
    const int64_t began_us = clock_cpu_us();
    run(L, "local n = 1000000\n"
           "local spaces, opens, as = (' '):rep(n), ('('):rep(n), ('a'):rep(n)\n"
           "assert(not ours.find(spaces, '%s*x'))\n"
           "assert(not ours.match('<answer>41' .. spaces .. 'x</answer', '<answer>%s*(.-)%s*</answer>'))\n"
           "assert(not ours.find(as, 'a-a-a-a-b'))\n"
           "assert(not ours.find(as, 'a*a*a*[^a]'))\n"
           "assert(not ours.find(opens, '%b()'))\n"
           "assert(not ours.find(as, 'a?a?a?a?a?a?a?a?b'))\n"
           "assert(select(2, ours.gsub(as, 'a-b?', '')) > 0)\n"
           "assert(select(2, ours.gsub(spaces, '%s-x', '')) == 0)\n"
           "assert(select(2, ours.gsub(('<a>'):rep(n // 3), '<a>(.-)</a>', '')) == 0)\n"
           "local k = 0 for w in ours.gmatch(('a '):rep(n // 2), '(a*)%s*') do k = k + 1 end assert(k >= n // 2)\n"
           "assert(ours.match(spaces .. 'x', '^%s*(.-)%s*$') == 'x')\n"
           "assert(not ours.find(as, ('a'):rep(1000) .. 'b', 1, true))\n"
           "assert(ours.find(as, '(a*)(a*)%1%2b') == nil and #ours.gsub(as, '(a*)(a*)%1%2b', '') == #as)\n");
    const int64_t took_ms = (clock_cpu_us() - began_us) / 1000;
    if (took_ms > 20000) fail_msg("took %d ms", (int)took_ms);
    close_state(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_has_lua_s_characters),
        cmocka_unit_test(every_match_is_the_one_that_lua_finds),
        cmocka_unit_test(hostile_texts_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
