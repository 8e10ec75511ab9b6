/* SPDX-License-Identifier: MIT */
/* The same row has the same score in any process, to the byte: Lua seeds its hashes and lays out its memory anew in
 * each, and picks pivots by the clock. What a script could tell processes apart by is spelled out here, process after
 * process, and must read the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "reward/scorer.h"
#include "tests/support/support.h"
#include "tests/unit/reward/host.h"

enum { PROCESSES = 6, ROWS = 3 };

/* Returns a list of texts as the score's second value; its first adds fractions in the order of the keys. */
static const char SCRIPT[] =
    "local json = require 'troupe.json'\n"
    "local function words() local t = {} for w in ('one two three four five six seven eight'):gmatch('%a+') do t[w] = "
    "#w end return t end\n"
    "local names, objects = {}, {}\n"
    "local made = 0\n"
    "local function add(v) made = made + 1 names[v] = made objects[v] = true end\n"
    "for i = 1, 6 do add({}) add(function() return i end) add(coroutine.create(function() end)) end\n"
    "add(true) add(false) add(0.5) add('x') add(7) add(print) add(json.null) add(string.rep)\n"
    "local function walk(t, step)\n"
    "    local out = {}\n"
    "    for k in step, t do out[#out + 1] = tostring(names[k] or k) end\n"
    "    return table.concat(out, ' ')\n"
    "end\n"
    "local function order(t)\n"
    "    local out = {}\n"
    "    for k in pairs(t) do out[#out + 1] = tostring(names[k] or k) end\n"
    "    return table.concat(out, ' ')\n"
    "end\n"
    "local function emptied(t)\n"
    "    local out = {}\n"
    "    while next(t) do out[#out + 1] = next(t) t[next(t)] = nil end\n"
    "    return table.concat(out, ' ')\n"
    "end\n"
    "local function behind(t, k) t[k] = nil return next(t, k) end\n"
    "local function nested(t)\n"
    "    local out = {}\n"
    "    for a in next, t do for b in next, t do out[#out + 1] = a .. b end end\n"
    "    return table.concat(out, ' ')\n"
    "end\n"
    "local function why(f, ...) return select(2, pcall(f, ...)) end\n"
    "local function ranks(key)\n"
    "    local list, sum = {}, 0\n"
    "    for i = 1, 20000 do list[i] = { key = key(i), i = i } end\n"
    "    table.sort(list, function(a, b) return a.key < b.key end)\n"
    "    for i = 1, #list do sum = (sum * 31 + list[i].i) % 1000003 end\n"
    "    return sum\n"
    "end\n"
    "return function(task, episode)\n"
    "    local t, f, co = {}, function() end, coroutine.create(print)\n"
    "    local texts = {\n"
    "        walk(words(), next), walk(objects, next), order(words()), order(objects), emptied(words()),\n"
    "        nested(words()), behind(words(), 'six'), behind(words(), 'zzz'), next(words()),\n"
    "        tostring(t), tostring(f), tostring(co), tostring(print), tostring(t), tostring({}), tostring(episode),\n"
    "        ('%s|%20s|%p|%-20p|%%|%5.1f|%p|%p'):format(t, f, co, t, 2.5, 'a text', 5), ('%p'):format({}),\n"
    "        why(function() string[t] = 1 end), why(function() return episode[t] end), why(error, {}) and 'x',\n"
    "        why(function() return task.answr end),\n"
    "        ranks(function(i) return i <= 10000 and i or 20000 - i end),\n"
    "        ranks(function(i) return math.abs(i - 10000) // 4 end),\n"
    "    }\n"
    "    local sum = 0\n"
    "    for k, n in next, words() do sum = sum * 0.7 + n / 10 end\n"
    "    if task.n == 3 then return { a = 'x', b = {}, c = 'y', d = print, e = '', f = {} } end\n"
    "    return { sum = sum, q = 0 / 0, z = 0 / 0, m = 0 / 0, k = 0 / 0 }, texts\n"
    "end\n";

/* What came of row n, all of it. */
static char *score_text(scorer *s, int n)
{
    char row[100];
    snprintf(row, sizeof row, "{\"prompt\":\"?\",\"answer\":\"1\",\"answers\":[],\"answ\":2,\"n\":%d}", n);
    const task t = { .id = 1, .group_size = 1, .max_tokens = 8, .row = row };
    episode *e = episode_new(&t);
    e->text = xstrdup("x");
    e->transcript = xstrdup("x");

    score sc;
    str text = { 0 };
    scorer_score(s, &t, e, &sc);
    str_printf(&text, "status %d, error %s, info %s", sc.status, sc.error ? sc.error : "none",
               sc.info ? sc.info : "none");
    for (int i = 0; i < sc.n_values; i++) str_printf(&text, ", %s %a", sc.values[i].name, sc.values[i].value);
    score_reset(&sc);
    episode_free(e);
    return str_take(&text);
}

static void a_score_is_the_same_in_any_process_and_behind_any_row(void **state)
{
    (void)state;
    char *dir = test_folder_new(), path[400], *first[ROWS + 1] = { 0 };
    test_file_write(dir, "reward.lua", SCRIPT);
    snprintf(path, sizeof path, "%s/reward.lua", dir);
    for (int process = 0; process < PROCESSES; process++) {
        error err = { 0 };
        const scorer_config config = { .script = path, .cpu_ms = 20000, .memory_mb = 64 };
        scorer *s = scorer_new(&config, &err);
        if (!s) fail_msg("%s", err.text);
        for (int i = 0; i < ROWS; i++) { /* in another order in each */
            const int n = 1 + (i + process) % ROWS;
            char *text = score_text(s, n);
            if (!first[n]) first[n] = xstrdup(text);
            assert_string_equal(text, first[n]);
            free(text);
        }
        scorer_free(s);
    }
    assert_non_null(strstr(first[1], "status 0, error objective 'k' is not a number"));
    assert_non_null(strstr(first[1], "eight five four one seven six three two"));
    assert_non_null(strstr(first[1], "table: 0x00000001"));
    assert_non_null(strstr(first[3], "objective 'a'"));
    for (int n = 1; n <= ROWS; n++) free(first[n]);
    test_folder_remove(dir);
}

int main(int argc, char **argv)
{
    int status;
    if (was_reward_host(argc, argv, &status)) return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_the_same_in_any_process_and_behind_any_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
