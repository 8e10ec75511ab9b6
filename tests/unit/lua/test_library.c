/* SPDX-License-Identifier: MIT */
/* troupe.verify and its parts, tried in the language they are used in. */
#include <string.h>

#include "base/str.h"
#include "lua/vm.h"
#include "tests/support/support.h"

static const vm_limits LIMITS = { .memory_bytes = 64 << 20, .instructions = 200000000, .cpu_ms = 20000 };

/* Each line of `text` is a condition that must hold. */
static void holds(const char *text)
{
    static const char HEAD[] =
        "local verify = require 'troupe.verify'\nlocal json = require 'troupe.json'\nlocal "
        "regex = require 'troupe.regex'\nlocal shaping = require 'troupe.shaping'\n"
        "local function call1(a) return { { name = 'f', arguments = { a = a } } } end\n"
        "local function call2(a, b) return { { name = 'f', arguments = { a = a, b = b } } } end\n";
    error err = { 0 };
    vm *v = vm_new(VM_REWARD, &LIMITS, NULL, &err);
    if (!v) fail_msg("%s", err.text);
    str script = { 0 };
    str_puts(&script, HEAD);
    for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        str_printf(&script, "assert(%.*s, [==[%.*s]==])\n", (int)(end - line), line, (int)(end - line), line);
    }
    if (vm_run_text(v, script.data, script.len, "test.lua", 0, &err) != OK) fail_msg("%s", err.text);
    str_free(&script);
    vm_free(v);
}

static void numbers_are_compared_as_numbers(void **state)
{
    (void)state;
    holds("verify.math_equal('1/2', '0.5')\n"
          "verify.math_equal('35,862', '35862.0')\n"
          "verify.math_equal(' 12 ', 12)\n"
          "verify.math_equal('1e3', '1000')\n"
          "not verify.math_equal('0.3333', '1/3')\n"
          "not verify.math_equal('12', '13')\n"
          "not verify.math_equal(nil, '0')\n"
          "not verify.math_equal('', '0')\n"
          "not verify.math_equal('()', '()') and not verify.math_equal('[ ]', '[]') and not verify.math_equal('()()', "
          "'()()')\n"
          "verify.math_equal('1/xy', '1/xy') and verify.math_equal('60 mi/hr', '60 \\\\text{mi}/\\\\text{hr}')\n"
          "verify.math_equal('60 km/hr', '\\\\frac{60 km}{hr}') and verify.math_equal('10 dollars/hour', "
          "'\\\\frac{10 dollars}{hour}')\n"
          "verify.math_equal('n^13', 'n^13') and verify.math_equal('2^10', '2^{10}') and verify.math_equal('x^2', "
          "'x^{2}')\n"
          "verify.math_equal('5 * 10^12', '5e12')\n"
          "not verify.math_equal(false, 'false') and not verify.math_equal(false, false)\n"
          "not verify.math_equal(true, 'true') and not verify.math_equal({}, {})\n"
          "not verify.math_equal(0 / 0, 0 / 0) and not verify.math_equal(0 / 0, tostring(0 / 0))\n"
          "verify.math_equal(1e15, '1000000000000000') and verify.math_equal('-5', -5)\n"
          "not verify.math_equal('5', -5) and not verify.math_equal('-5', 5)\n"
          "verify.number('1,234.5') == 1234.5 and verify.number('1/4') == 0.25 and verify.number('50%') == 0.5\n"
          "verify.number('9e18') == 9e18 and verify.number('x') == nil and verify.number(false) == nil\n"
          "verify.number('-7') == -7 and math.type(verify.number('7.0')) == 'integer'\n"
          "not verify.math_equal('9007199254740993', '9007199254740992')\n"
          "verify.math_equal('yes', 'Yes.')\n"
          "verify.number('12') == 12\n"
          "verify.number('twelve') == nil");
}

static void short_texts_are_compared_as_people_do(void **state)
{
    (void)state;
    holds("verify.exact('The  Cat!', 'cat')\n"
          "verify.exact('an apple', 'apple')\n"
          "not verify.exact('theatre', 'atre')\n"
          "not verify.exact(nil, nil)\n"
          "not verify.exact(false, 'false') and not verify.exact('false', false) and not verify.exact(false, false)\n"
          "not verify.exact('', '') and not verify.exact('the', '') and not verify.exact('!', '.')\n"
          "verify.f1(false, 'false') == 0 and verify.f1('', '') == 0 and verify.f1(nil, 'nil') == 0\n"
          "verify.exact(5, '5') and not verify.exact(0 / 0, tostring(0 / 0))\n"
          "verify.exact('A', 'a.') and not verify.exact('A', 'the') and not verify.exact('vitamin A', 'vitamin')\n"
          "verify.exact('U.S.', 'us') and verify.exact('well-known', 'wellknown') and verify.exact('**Paris**', "
          "'Paris')\n"
          "verify.f1('a b c', 'a b c') == 1\n"
          "verify.f1('x y', 'p q') == 0\n"
          "verify.f1('', 'p') == 0\n"
          "math.abs(verify.f1('red cat', 'red dog') - 0.5) < 1e-9");
}

/* Each pair is two values that SQuAD's normalisation takes for one. */
static void a_sign_is_no_punctuation(void **state)
{
    (void)state;
    static const char *const PAIRS[][2] = {
        { "-5", "5" },     { "- 5", "5" },      { "3.5", "35" },    { ".5", "5" },      { "0.05", "0.5" },
        { "1e-5", "1e5" }, { "1/2", "12" },     { "5%", "5" },      { "5 %", "5" },     { "3:15", "315" },
        { "2^3", "23" },   { "2*3", "23" },     { "2 * 3", "2 3" }, { "<5", "5" },      { ">5", "<5" },
        { "5!", "5" },     { "5-3", "53" },     { "5+3", "53" },    { "1,2", "12" },    { "12,34", "1234" },
        { "x=5", "x5" },   { "101_2", "1012" }, { "(3)(4)", "34" }, { "|-5|", "-5" },   { "-$5", "$5" },
        { "x<y", "x>y" },  { "a + b", "a b" },  { "m/s", "ms" },    { "C++", "C" },     { "C#", "C" },
        { "O+", "O-" },    { "A-", "A" },       { "-x", "x" },      { "x = y", "x y" }, { "+-5", "5" },
        { "5-", "5" },     { "--5", "-5" },     { "1.2.3", "123" }, { "a -5", "a 5" },  { "5.0", "50" },
    };
    static const char *const SAME[][2] = {
        { "1,234", "1234" },  { "$1,234.50", "1234.50" },
        { "(1999)", "1999" }, { "'-5'", "-5" },
        { "35.", "35" },      { "35?", "35" },
        { "- 5", "-5" },      { "$-5", "-5" },
        { "+5", "5" },        { "**42**", "42" },
    };
    str lines = { 0 };
    for (size_t i = 0; i < sizeof PAIRS / sizeof *PAIRS; i++)
        str_printf(&lines, "not verify.exact(\"%s\", \"%s\") and verify.f1(\"%s\", \"%s\") < 1\n", PAIRS[i][0],
                   PAIRS[i][1], PAIRS[i][0], PAIRS[i][1]);
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++)
        str_printf(&lines, "verify.exact(\"%s\", \"%s\") and verify.f1(\"%s\", \"%s\") == 1\n", SAME[i][0], SAME[i][1],
                   SAME[i][0], SAME[i][1]);
    str_puts(&lines, "verify.f1('-5', '5') == 0\n"
                     "verify.exact(5.0, '5.0') and not verify.exact(5.0, '50') and not verify.exact(0.1 + 0.2, 0.3)\n"
                     "not verify.math_equal(0.1 + 0.2, '0.3') and verify.math_equal(1234567890123.456, "
                     "'1234567890123.456')\n"
                     "verify.normalise(('- '):rep(300000)) == '' and #verify.normalise(('the '):rep(300000)) == 3\n"
                     "#verify.normalise(('1,'):rep(300000) .. '1') == 600001");
    holds(lines.data);
    str_free(&lines);
}

/* What a policy leaves out is no text, for every function: an error would make the score missing instead of low. */
static void what_is_absent_raises_nothing(void **state)
{
    (void)state;
    static const char *const CALLS[] = {
        "not verify.exact(%s, 'x')",
        "verify.f1(%s, 'x') == 0",
        "not verify.math_equal(%s, '5')",
        "verify.number(%s) == nil",
        "verify.normalise(%s) == ''",
        "verify.tag(%s, 'a') == nil",
        "not verify.tags_in_order(%s, { 'a' })",
        "regex.match(%s, 'x*') == nil",
        "#regex.find_all(%s, 'x*') == 0",
        "json.decode(%s) == nil and select(2, json.decode(%s)) ~= nil",
        "json.members(%s) == nil",
    };
    str lines = { 0 };
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        str_printf(&lines, CALLS[i], "nil", "nil");
        str_putc(&lines, '\n');
        str_printf(&lines, CALLS[i], "false", "false");
        str_putc(&lines, '\n');
    }
    holds(lines.data);
    str_free(&lines);
}

static void tags_are_found_and_their_order_checked(void **state)
{
    (void)state;
    holds("verify.tag('<a> 1 </a><a>2</a>', 'a') == '1'\n"
          "verify.tag('<think><a>1</a></think><a>2</a>', 'a') == '2'\n"
          "verify.tag('<a>1</a></think><a>2</a>', 'a') == '2'\n"
          "verify.tag('<think>x</think>y<think><a>1</a>', 'a') == nil\n"
          "verify.tag('<think><a>1</a></think>', 'think') == '<a>1</a>'\n"
          "verify.tag('<a><think>1</think></a>', 'a') == '<think>1</think>'\n"
          "verify.tag('<reasoning><a>1</a></reasoning><thought><a>2</a></thought><a>3</a>', 'a') == '3'\n"
          "verify.tag('<thinking><think><a>1</a></thinking><a>2</a>', 'a') == '2'\n"
          "verify.tag(('<think></think>'):rep(100000) .. '<a>2</a>', 'a') == '2'\n"
          "verify.tag('<a>41' .. (' '):rep(1000000) .. 'x</a', 'a') == nil\n"
          "verify.tag(('<a>'):rep(300000), 'a') == nil\n"
          "#verify.tag('<a>' .. (' '):rep(300000) .. 'x' .. (' '):rep(300000) .. '</a>', 'a') == 1\n"
          "verify.tag('<a></a>', 'a') == '' and verify.tag('<a> \\n </a>', 'a') == ''\n"
          "verify.tag(false, 'a') == nil and verify.tag(nil, 'a') == nil\n"
          "verify.tag('<a>1</a><a>2', 'a') == '1'\n"
          "verify.tag('none', 'a') == nil\n"
          "verify.tags_in_order('<x>1</x> <y>2</y>', {'x', 'y'})\n"
          "not verify.tags_in_order('<y>2</y><x>1</x>', {'x', 'y'})\n"
          "not verify.tags_in_order('<x>1</x><x>1</x>', {'x'})");
}

static void json_goes_both_ways(void **state)
{
    (void)state;
    holds("json.decode('{\"a\": [1, 2.5, \"x\", true]}').a[2] == 2.5\n"
          "json.encode({ b = 1, a = { 'x' } }) == '{\"a\":[\"x\"],\"b\":1}'\n"
          "select(2, json.decode('{')) ~= nil\n"
          "json.decode('{') == nil\n"
          "json.decode('{\"a\":null}').a == json.null and json.decode('null') == json.null and tostring(json.null) == "
          "'null'\n"
          "json.encode(json.decode('{\"a\":null,\"b\":[],\"c\":{},\"d\":[[],null]}')) == "
          "'{\"a\":null,\"b\":[],\"c\":{},\"d\":[[],null]}'\n"
          "(function() local t = json.decode('[]') t[1] = 5 return json.encode(t) end)() == '[5]'\n"
          "json.encode(json.array{}) == '[]' and json.encode({}) == '{}' and json.encode(json.array()) == '[]'\n"
          "json.kind(json.decode('[]')) == 'array' and json.kind({}) == 'object' and json.kind(json.null) == 'null'\n"
          "json.encode({ 1, 2, x = 3 }) == '{\"1\":1,\"2\":2,\"x\":3}'\n"
          "not pcall(json.encode, { 1, ['1'] = 2 }) and not pcall(json.encode, { [{}] = 1 })\n"
          "select(2, pcall(json.encode, { 'a\xff' })):find('UTF%-8') ~= nil\n"
          "not pcall(json.encode, { f = print })\n"
          "not pcall(json.encode, { 0 / 0 })");
}

static void regular_expressions_end_even_when_hostile(void **state)
{
    (void)state;
    holds("regex.match('abc 123', '[0-9]+') ~= nil\n"
          "#regex.find_all('a1 b22 c333', '[0-9]+') == 3\n"
          "regex.match('abc', 'x') == nil\n"
          "#regex.find_all('h\xc3\xa9\xc3\xa9', '') == 4\n"
          "regex.match('a\xff' .. 'b', 'a.b') == 'a\xef\xbf\xbd' .. 'b'\n"
          "#regex.find_all(('a '):rep(300000), '[a-z]') == 300000\n"
          "regex.match(('x'):rep(50000) .. 'y', '^(?:x|z)*y$') ~= nil\n"
          "regex.match(('a'):rep(5000) .. 'b', '(a+)+$') == nil\n"
          "regex.match(('a'):rep(1000000) .. 'b', '(a+)+$') == nil\n"
          "regex.match((' '):rep(1000000) .. 'b', '\\\\s+$') == nil\n"
          "regex.match(('x'):rep(1000000), '(x+x+)+y') == nil\n"
          "regex.match(('<a>'):rep(300000), '<a>(.*?)</a>') == nil\n"
          "#regex.find_all(('<a>'):rep(100000), '<a>[^<]*</a>|<b>') == 0\n"
          "regex.match('x' .. ('a'):rep(1000000) .. 'b', '(?s)^x(?:a|aa)+b$') ~= nil\n"
          "#regex.find_all(('a1 '):rep(300000), '[a-z][0-9]') == 300000\n"
          "regex.match(('a'):rep(50) .. 'b', '(a+)+(b)(?<!b)\\\\1') == nil\n"
          "regex.match(('a'):rep(100000) .. 'b', '^(?=a)(.*)*c') == nil\n"
          "regex.match((' '):rep(100000) .. 'b', '\\\\s+(?=c)') == nil\n"
          "#regex.find_all(('word '):rep(6000), '\\\\b[a-z ]{1,300}\\\\b') == 100\n"
          "regex.match('x <think>a</think> b', '<think>((?:(?!</think>).)*)</think>') == 'a'\n"
          "not pcall(regex.match, 'x', '(')\n"
          "regex.match('abc', 'c$') == 'c'");
}

static void calls_that_went_well_are_counted(void **state)
{
    (void)state;
    holds("verify.tool_calls({ tool_calls = { { name = 'python', ok = true }, { name = 'python', ok = false }, { name "
          "= 'x', ok = true } } }, 'python') == 1\n"
          "verify.tool_calls({ tool_calls = { { name = 'python', ok = true }, { name = 'x', ok = true } } }) == 2\n"
          "verify.tool_calls({ tool_calls = {} }, 'python') == 0");
}

/* Progress in tiers: increasing, convex, every right answer above every wrong one, and deaf to small noise. */
static void progress_is_rewarded_in_tiers(void **state)
{
    (void)state;
    holds("shaping.proximity(0, 2) == 1 and math.abs(shaping.proximity(2, 2) - math.exp(-0.5)) < 1e-12\n"
          "shaping.tier(0, 4) == 0 and shaping.tier(0.25, 4) == 1 and shaping.tier(0.26, 4) == 2 and shaping.tier(1, "
          "4) == 4\n"
          "shaping.tier(-1, 4) == 0 and shaping.tier(7, 4) == 4\n"
          "shaping.tiered(1, true) == 1 and shaping.tiered(0, false) == 0 and shaping.tiered(1, false) == 0.5 * 0.75 ^ "
          "2\n"
          "(function() local last = -1 for i = 0, 100 do local r = shaping.tiered(i / 100, false) if r < last or r >= "
          "shaping.tiered(0, true) then return false end last = r end return true end)()\n"
          "(function() local seed, flips = 7, 0 for i = 1, 1000 do seed = (seed * 1103515245 + 12345) % 2147483648 "
          "local q "
          "= (i % 4 + 0.5) / 4 if shaping.tier(q + (seed / 2147483648 - 0.5) * 0.17, 4) ~= shaping.tier(q, 4) then "
          "flips = "
          "flips + 1 end end return flips < 200 end)()\n"
          "shaping.weighted_tiers({ basic = 1, edge = 0 }, { basic = 0.25, medium = 0.5, edge = 0.25 }) == 0.5\n"
          "shaping.weighted_tiers({}, { basic = 1 }) == 0");
}

/* The fixtures of ToolRL's fine-grained reward, which is three times ours. */
static void calls_are_compared_with_those_that_were_wanted(void **state)
{
    (void)state;
    holds("3 * shaping.calls(call2(1, 2), { { name = 'f', arguments = '{\"a\": 1, \"b\": 2}' } }) == 3\n"
          "3 * shaping.calls(call2(1, 2), call2(1, 3)) == 1.5\n"
          "3 * shaping.calls(call2(1, { 'x', 'y' }), call2(1, { 'x', 'y' })) == 3\n"
          "3 * shaping.calls(call2(1, { 'x', 'y' }), call2(1, { 'x' })) == 1.5\n"
          "3 * shaping.calls(call2(1, 2), { { name = 'g', arguments = { a = 1, b = 2 } } }) == -3\n"
          "3 * shaping.calls(call2(1, 2), call1(1)) == 0.75\n"
          "3 * shaping.calls(call2(1, 2), { { name = 'f', arguments = 'a = 1' } }) == -3\n"
          "3 * shaping.calls(call2(1, 2), {}) == -3\n"
          "3 * shaping.calls(call1(1), { call1(1)[1], { name = 'g', arguments = {} } }) == 2\n"
          "3 * shaping.calls({ call1(1)[1], call1(2)[1] }, call1(1)) == 0\n"
          "3 * shaping.calls({ call1(1)[1], call1(2)[1] }, { call1(2)[1], call1(1)[1] }) == 3\n"
          "shaping.calls(call1(json.null), { { name = 'f', arguments = '{\"a\":null}' } }) == 1\n"
          "shaping.calls(call1(json.decode('[]')), call1({})) < 1\n"
          "shaping.calls({}, call1(1)) == 0");
}

/* Where Lua's own would tell processes apart (tests/unit/reward/test_repeat.c), what takes its place does what Lua's
 * does. */
static void walks_and_sorts_do_what_luas_do(void **state)
{
    (void)state;
    holds(
        "next({}) == nil and select('#', next({})) == 1 and select('#', next({ 1 })) == 2\n"
        "next({ 1, 2, 3 }, 2) == 3 and next({ 1, 2, 3 }, 3) == nil and next({ b = 1, a = 2 }) == 'a'\n"
        "not pcall(next) and not pcall(next, 1) and not pcall(next, nil, 1)\n"
        "(function() local t, n = { 1, x = 2, y = 3 }, 0 for k in next, t do t[k] = nil n = n + 1 end return n == 3 "
        "and next(t) == nil end)()\n"
        "(function() local t, n = { a = 1, b = 1 }, 0 for k in next, t do t.c = 1 break end for k in next, t do n = n "
        "+ 1 end return n == 3 end)()\n"
        "(function() local t = { 3, 1, 2 } table.sort(t) return table.concat(t) == '123' end)()\n"
        "(function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return table.concat(t) == "
        "'321' end)()\n"
        "(function() local t = { 'b1', 'a1', 'b2', 'a2', 'b3' } table.sort(t, function(a, b) return a:sub(1, 1) < "
        "b:sub(1, 1) end) return table.concat(t) == 'a1a2b1b2b3' end)()\n"
        "(function() local t = { 3, 1, {} } return not pcall(table.sort, t) and t[1] == 3 and t[2] == 1 end)()\n"
        "not pcall(table.sort, { 1, 2 }, 5) and not pcall(table.sort) and pcall(table.sort, {})\n"
        "(function() for n = 0, 70 do local t = {} for i = 1, n do t[i] = i * 37 % 71 end table.sort(t) for i = 2, n "
        "do if t[i - 1] > t[i] then return false end end end return true end)()\n"
        "tostring(nil) == 'nil' and tostring(1.0) == '1.0' and tostring(true) == 'true' and tostring('x') == 'x'\n"
        "tostring(setmetatable({}, { __tostring = function() return 'me' end })) == 'me'\n"
        "tostring(setmetatable({}, { __name = 'kind' })):find('^kind: 0x%x+$') ~= nil and tostring({}) ~= "
        "tostring({})\n"
        "not pcall(tostring) and not pcall(tostring, setmetatable({}, { __tostring = function() return {} end }))\n"
        "('%d%%|%5s|%-5s|%q'):format(3, 'a', 'b', 'c') == '3%|    a|b    |\"c\"'\n"
        "('%%s%s'):format({}):find('^%%stable: 0x%x+$') ~= nil and ('%p'):format(1) == '(null)'\n"
        "select(2, pcall(string.format, '%d', 'x')):find(\"bad argument #2 to 'format'\", 1, true) ~= nil\n"
        "not pcall(string.format) and not pcall(string.format, '%s') and not pcall(string.format, '%', {})\n"
        "not pcall(string.format, '%p') and not pcall(string.format, '%y', {})\n"
        "not pcall(setmetatable, {}, { __mode = 'k' }) and not pcall(setmetatable, {}, { __gc = print })");
}

/* splitmix64's published numbers of the seed 1234567. */
static void chance_follows_from_the_seed(void **state)
{
    (void)state;
    holds(
        "(function() local r = require('troupe').random(1234567) return r() == (6457827717110365317 >> 11) * 2.0 ^ -53 "
        "and r(10) == 1 + (3203168211198807973 >> 1) % 10 and r(-2, 2) == -2 + (0x883ebce5a3f27c77 >> 1) % 5 end)()\n"
        "(function() local r, seen = require('troupe').random(3), {} for i = 1, 400 do seen[r(6)] = true end "
        "return #seen == 6 and not seen[0] and not seen[7] end)()\n"
        "(function() local r = require('troupe').random(3) for i = 1, 400 do local x = r() if x < 0 or x >= 1 then "
        "return false end end return true end)()\n"
        "not pcall(require('troupe').random, 'x') and not pcall(require('troupe').random, 1.5)\n"
        "not pcall(require('troupe').random(1), 0) and not pcall(require('troupe').random(1), 3, 2)\n"
        "not pcall(require('troupe').random(1), 1.5) and require('troupe').random(1)(4, 4) == 4\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chance_follows_from_the_seed),
        cmocka_unit_test(walks_and_sorts_do_what_luas_do),
        cmocka_unit_test(numbers_are_compared_as_numbers),
        cmocka_unit_test(short_texts_are_compared_as_people_do),
        cmocka_unit_test(a_sign_is_no_punctuation),
        cmocka_unit_test(what_is_absent_raises_nothing),
        cmocka_unit_test(tags_are_found_and_their_order_checked),
        cmocka_unit_test(json_goes_both_ways),
        cmocka_unit_test(regular_expressions_end_even_when_hostile),
        cmocka_unit_test(calls_that_went_well_are_counted),
        cmocka_unit_test(calls_are_compared_with_those_that_were_wanted),
        cmocka_unit_test(progress_is_rewarded_in_tiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
