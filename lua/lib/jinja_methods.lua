-- SPDX-License-Identifier: MIT
-- troupe.jinja_methods: what a template may ask of a value with a dot: Python's methods of str, dict and list.
--
-- A method is called as method(v, args, named): args = { n =, [1..n] }, named = { name -> value }. What would change a
-- value fails, as in the sandbox that Hugging Face renders in.

local value = require "troupe.jinja_value"
local fail, NONE = value.fail, value.NONE

local M = {}

-- The parameters of a call in order, by position or by name; nil for those that are not given. `names` = { "a", ... }.
function M.bind(what, names, args, named)
    local out = {}
    if args.n > #names then fail("fault", "%s takes at most %d arguments, %d given", what, #names, args.n) end
    for i = 1, args.n do out[i] = args[i] end
    for name, v in pairs(named) do
        local found = false
        for i, known in ipairs(names) do
            if known == name then
                if out[i] ~= nil then fail("fault", "%s got multiple values for argument '%s'", what, name) end
                out[i], found = v, true
            end
        end
        if not found then fail("fault", "%s got an unexpected keyword argument '%s'", what, name) end
    end
    return table.unpack(out, 1, #names)
end
local bind = M.bind

-- A text argument; `default` where it may be left out (or be None).
function M.text(what, v, default)
    if v == nil or (v == NONE and default ~= nil) then
        if default == nil then fail("fault", "%s: an argument is missing", what) end
        return default
    end
    v = value.plain(v)
    if type(v) ~= "string" then fail("fault", "%s: expected str, found %s", what, value.type_name(value.defined(v))) end
    return v
end
local text = M.text

function M.number(what, v)
    if not value.is_number(v) then fail("fault", "%s: expected a number, found %s", what, value.type_name(value.defined(v))) end
    return value.number_of(v)
end

function M.integer(what, v, default)
    if v == nil then return default end
    local n = value.number_of(v)
    if math.type(n) ~= "integer" then fail("fault", "%s: expected int, found %s", what, value.type_name(value.defined(v))) end
    return n
end
local integer = M.integer

-- ---- str ----

-- Python's white space among the ASCII characters.
local BLANK = "[ \t\n\r\f\v\28-\31]"

local function is_blank(c) return c:find(BLANK) ~= nil or c == "\u{a0}" or c == "\u{3000}" or c == "\u{2028}" or c == "\u{2029}" end

-- The characters of `s` without those at its ends that `drop` takes.
local function stripped(s, drop, left, right)
    local characters = value.characters(s)
    local from, to = 1, characters.n
    while left and from <= to and drop(characters[from]) do from = from + 1 end
    while right and to >= from and drop(characters[to]) do to = to - 1 end
    return table.concat(characters, "", from, to)
end

-- chars: a text of the characters to take off, nil: white space
function M.strip(s, chars, left, right)
    if chars == nil or chars == NONE then
        if not s:find("[\128-\255]") then
            local from = left and s:match("^" .. BLANK .. "*()") or 1
            if from > #s then return "" end
            local to = #s
            while right and s:sub(to, to):find(BLANK) do to = to - 1 end
            return s:sub(from, to)
        end
        return stripped(s, is_blank, left, right)
    end
    local set = {}
    for _, c in ipairs(value.characters(text("strip()", chars))) do set[c] = true end
    return stripped(s, function(c) return set[c] end, left, right)
end

-- Letters beyond ASCII whose cases lie a fixed way apart: Latin-1, Greek, Cyrillic.
local function other_case(s, up)
    local ascii = up and s:upper() or s:lower()
    if not s:find("[\128-\255]") or not utf8.len(s) then return ascii end
    local function between(c, low, high) return c >= low and c <= high end
    return (ascii:gsub("[\194-\244][\128-\191]*", function(c)
        local code = utf8.codepoint(c)
        if up then
            if code == 0xDF then return "SS" end
            if between(code, 0xE0, 0xFE) and code ~= 0xF7 or between(code, 0x3B1, 0x3C9) and code ~= 0x3C2
                or between(code, 0x430, 0x44F) then return utf8.char(code - 32) end
            if code == 0x3C2 then return utf8.char(0x3A3) end
            if between(code, 0x450, 0x45F) then return utf8.char(code - 80) end
            if between(code, 0x100, 0x137) and code % 2 == 1 then return utf8.char(code - 1) end
        else
            if between(code, 0xC0, 0xDE) and code ~= 0xD7 or between(code, 0x391, 0x3A9)
                or between(code, 0x410, 0x42F) then return utf8.char(code + 32) end
            if between(code, 0x400, 0x40F) then return utf8.char(code + 80) end
            if between(code, 0x100, 0x137) and code % 2 == 0 and code ~= 0x130 then return utf8.char(code + 1) end
        end
        return c
    end))
end

function M.upper(s) return other_case(s, true) end
function M.lower(s) return other_case(s, false) end

local function first_upper(s)
    local n = value.text_length(s)
    if n == 0 then return "" end
    return M.upper(value.text_part(s, 1, 1)) .. M.lower(value.text_part(s, 2, n))
end
M.capitalize = first_upper

-- Plain replacement of `old` by `new`, `count` times at most; an empty `old` stands between all characters.
function M.replace(s, old, new, count)
    if old == "" then
        local out = {}
        for _, c in ipairs(value.characters(s)) do
            if count == 0 then break end
            out[#out + 1] = new
            out[#out + 1] = c
            count = count - 1
        end
        return table.concat(out) .. (count ~= 0 and new or "")
    end
    local out, at = {}, 1
    while count ~= 0 do
        local from, to = s:find(old, at, true)
        if not from then break end
        out[#out + 1] = s:sub(at, from - 1)
        out[#out + 1] = new
        at, count = to + 1, count - 1
    end
    out[#out + 1] = s:sub(at)
    return table.concat(out)
end

-- The pieces of `s` between white space, the last one whole where `max` splits are made.
local function split_blank(s, max)
    local out, at = value.list(), 1
    while true do
        at = s:match("^" .. BLANK .. "*()", at)
        if at > #s then break end
        if max == 0 then
            out[#out + 1] = M.strip(s:sub(at), nil, false, true)
            break
        end
        local word, after = s:match("^([^ \t\n\r\f\v\28-\31]+)()", at)
        out[#out + 1], at, max = word, after, max - 1
    end
    out.n = #out
    return out
end

local function split_at(s, separator, max)
    local out, at = value.list(), 1
    while max ~= 0 do
        local from, to = s:find(separator, at, true)
        if not from then break end
        out[#out + 1], at, max = s:sub(at, from - 1), to + 1, max - 1
    end
    out[#out + 1] = s:sub(at)
    out.n = #out
    return out
end

-- Where `part` stands last in s[1..to], or nil.
local function find_last(s, part, to)
    for at = to - #part + 1, 1, -1 do
        if s:sub(at, at + #part - 1) == part then return at end
    end
end

local function rsplit_at(s, separator, max)
    local pieces, to = {}, #s
    while max ~= 0 do
        local at = find_last(s, separator, to)
        if not at then break end
        table.insert(pieces, 1, s:sub(at + #separator, to))
        to, max = at - 1, max - 1
    end
    table.insert(pieces, 1, s:sub(1, to))
    return value.list(pieces)
end

local function rsplit_blank(s, max)
    local pieces = {}
    s = M.strip(s, nil, false, true)
    while s ~= "" do
        local from = max ~= 0 and s:match("^.*" .. BLANK .. "()") or nil
        if not from then
            table.insert(pieces, 1, max == 0 and s or M.strip(s, nil, true, false))
            break
        end
        table.insert(pieces, 1, s:sub(from))
        s, max = M.strip(s:sub(1, from - 1), nil, false, true), max - 1
    end
    return value.list(pieces)
end

local function splitter(by_separator, by_blank, name)
    return function(s, args, named)
        local separator, max = bind(name, { "sep", "maxsplit" }, args, named)
        max = integer(name, max, -1)
        if separator == nil or separator == NONE then return by_blank(s, max) end
        if text(name, separator) == "" then fail("fault", "empty separator") end
        return by_separator(s, separator, max)
    end
end

-- Does `s` begin (or end) with a text, or with one of a tuple?
local function edges(s, wanted, name, matches)
    local all = value.kind(wanted) == "tuple" and wanted or value.tuple({ wanted }, 1)
    for i = 1, all.n do
        if matches(s, text(name, all[i])) then return true end
    end
    return false
end

local function starts(s, part) return s:sub(1, #part) == part end
local function ends(s, part) return part == "" or s:sub(-#part) == part end

-- The place of a part, counted in characters from 0; nil: it is not there.
local function place(s, part, last)
    local at
    if last then at = find_last(s, part, #s) else at = s:find(part, 1, true) end
    return at and value.text_length(s:sub(1, at - 1))
end

local function finder(name, last, fails)
    return function(s, args, named)
        local part = bind(name, { "sub" }, args, named)
        local at = place(s, text(name, part), last)
        if not at and fails then fail("fault", "substring not found") end
        return at or -1
    end
end

local function parts_of(s, separator, last)
    if separator == "" then fail("fault", "empty separator") end
    local from
    if last then from = find_last(s, separator, #s) else from = s:find(separator, 1, true) end
    if not from then return last and value.tuple({ "", "", s }, 3) or value.tuple({ s, "", "" }, 3) end
    return value.tuple({ s:sub(1, from - 1), separator, s:sub(from + #separator) }, 3)
end

local function padded(name, left, right)
    return function(s, args, named)
        local width, fill = bind(name, { "width", "fillchar" }, args, named)
        local missing = integer(name, width, 0) - value.text_length(s)
        if missing <= 0 then return s end
        fill = text(name, fill, " ")
        if left and right then
            local before = missing // 2 + (missing & integer(name, width, 0) & 1)
            return value.repeat_text(fill, before) .. s .. value.repeat_text(fill, missing - before)
        end
        fill = value.repeat_text(fill, missing)
        return left and fill .. s or s .. fill
    end
end

local function stripper(name, left, right)
    return function(s, args, named)
        local chars = bind(name, { "chars" }, args, named)
        return M.strip(s, chars, left, right)
    end
end

local function asks(pattern)
    return function(s) return s ~= "" and not s:find("[^" .. pattern .. "]") end
end

local function splitlines(s, args, named)
    local keep = bind("splitlines()", { "keepends" }, args, named)
    local out, at = value.list(), 1
    while at <= #s do
        local from, to = s:find("\r?\n", at)
        local carriage = s:find("\r", at, true)
        if carriage and (not from or carriage < from) then from, to = carriage, carriage end
        if not from then from, to = #s + 1, #s end
        out[#out + 1] = s:sub(at, (keep ~= nil and value.truth(keep)) and to or from - 1)
        at = to + 1
    end
    out.n = #out
    return out
end

local function titled(s)
    local out = s:gsub("[%a\128-\255]+", first_upper)
    return out
end
M.titled = titled

local function zfill(s, args, named)
    local width = bind("zfill()", { "width" }, args, named)
    local sign, rest = s:match("^([+-]?)(.*)$")
    return sign .. value.repeat_text("0", integer("zfill()", width, 0) - value.text_length(s)) .. rest
end

local function join(s, args, named)
    local of = bind("join()", { "iterable" }, args, named)
    local items, parts = value.items_of(of), {}
    for i = 1, items.n do
        if type(items[i]) ~= "string" then
            fail("fault", "sequence item %d: expected str instance, %s found", i - 1, value.type_name(items[i]))
        end
        parts[i] = items[i]
    end
    return table.concat(parts, s)
end

-- "{} {0} {name}": fields without a format of their own.
local function format(s, args, named)
    local next = 0
    local out = s:gsub("{{", "\1"):gsub("}}", "\2"):gsub("{([^{}]*)}", function(field)
        if field:find("[^%w_]") then fail("lacks", "format() with '{%s}' is not supported", field) end
        local v
        if field == "" then
            next = next + 1
            v = args[next]
        elseif tonumber(field) then
            v = args[tonumber(field) + 1]
        else
            v = named[field]
        end
        if v == nil then fail("fault", "format(): nothing is given for '{%s}'", field) end
        return value.str(v)
    end):gsub("\1", "{"):gsub("\2", "}")
    return out
end

local function plain(f) return function(s) return f(s) end end

local STRING = {
    capitalize = plain(first_upper), lower = plain(M.lower), upper = plain(M.upper), title = plain(titled), casefold = plain(M.lower),
    strip = stripper("strip()", true, true), lstrip = stripper("lstrip()", true, false), rstrip = stripper("rstrip()", false, true),
    split = splitter(split_at, split_blank, "split()"), rsplit = splitter(rsplit_at, rsplit_blank, "rsplit()"),
    splitlines = splitlines, join = join, format = format, zfill = zfill,
    find = finder("find()", false, false), rfind = finder("rfind()", true, false),
    index = finder("index()", false, true), rindex = finder("rindex()", true, true),
    ljust = padded("ljust()", false, true), rjust = padded("rjust()", true, false), center = padded("center()", true, true),
    isalnum = asks("%w\128-\255"), isalpha = asks("%a\128-\255"), isdigit = asks("%d"), isnumeric = asks("%d"), isdecimal = asks("%d"),
    isspace = asks(" \t\n\r\f\v\28-\31"),
    isupper = function(s) return s:find("%u") ~= nil and not s:find("%l") end,
    islower = function(s) return s:find("%l") ~= nil and not s:find("%u") end,
    istitle = function(s) return s:find("%a") ~= nil and titled(s) == s end,
    swapcase = function(s)
        return (s:gsub("[%a\194-\244][\128-\191]*", function(c) return c == M.upper(c) and M.lower(c) or M.upper(c) end))
    end,
}

function STRING.startswith(s, args, named)
    return edges(s, bind("startswith()", { "prefix" }, args, named), "startswith()", starts)
end
function STRING.endswith(s, args, named)
    return edges(s, bind("endswith()", { "suffix" }, args, named), "endswith()", ends)
end
function STRING.removeprefix(s, args, named)
    local part = text("removeprefix()", (bind("removeprefix()", { "prefix" }, args, named)))
    return starts(s, part) and s:sub(#part + 1) or s
end
function STRING.removesuffix(s, args, named)
    local part = text("removesuffix()", (bind("removesuffix()", { "suffix" }, args, named)))
    return part ~= "" and ends(s, part) and s:sub(1, #s - #part) or s
end
function STRING.replace(s, args, named)
    local old, new, count = bind("replace()", { "old", "new", "count" }, args, named)
    return M.replace(s, text("replace()", old), text("replace()", new), integer("replace()", count, -1))
end
function STRING.count(s, args, named)
    local part = text("count()", (bind("count()", { "sub" }, args, named)))
    if part == "" then return value.text_length(s) + 1 end
    return split_at(s, part, -1).n - 1
end
function STRING.partition(s, args, named)
    return parts_of(s, text("partition()", (bind("partition()", { "sep" }, args, named))), false)
end
function STRING.rpartition(s, args, named)
    return parts_of(s, text("rpartition()", (bind("rpartition()", { "sep" }, args, named))), true)
end

-- ---- dict and list ----

local DICT = {
    keys = function(d) return value.dict_keys(d) end,
    values = function(d) return value.dict_values(d) end,
    items = function(d) return value.dict_items(d) end,
}
function DICT.get(d, args, named)
    local key, default = bind("get()", { "key", "default" }, args, named)
    if key == nil then fail("fault", "get(): an argument is missing") end
    local v = value.dict_get(d, key)
    if v ~= nil then return v end
    return default == nil and NONE or default
end
function DICT.copy(d)
    local out = value.dict()
    for _, key in ipairs(d.keys) do value.dict_set(out, key, value.dict_get(d, key)) end
    return out
end

local LIST = { copy = function(l) return value.list({ table.unpack(l, 1, l.n) }, l.n) end }
function LIST.index(l, args, named)
    local wanted = bind("index()", { "value" }, args, named)
    for i = 1, l.n do
        if value.equal(l[i], wanted) then return i - 1 end
    end
    fail("fault", "%s is not in list", value.repr(wanted))
end
function LIST.count(l, args, named)
    local wanted, n = bind("count()", { "value" }, args, named), 0
    for i = 1, l.n do n = n + (value.equal(l[i], wanted) and 1 or 0) end
    return n
end

local TUPLE = { index = LIST.index, count = LIST.count }
local METHODS = { str = STRING, dict = DICT, list = LIST, tuple = TUPLE }

local function set_of(names)
    local set = {}
    for name in names:gmatch("%a+") do set[name] = true end
    return set
end
local CHANGES = {
    dict = set_of "clear pop popitem setdefault update",
    list = set_of "append clear extend insert pop remove reverse sort",
}

-- The method of v by that name as a value, or nil.
function M.of(v, name)
    v = value.plain(v)
    local kind = value.kind(v)
    if CHANGES[kind] and CHANGES[kind][name] then
        return value.callable(name, function()
            fail("fault", "'%s' of a %s object is unsafe: it would change what the template was given", name, kind)
        end)
    end
    local method = METHODS[kind] and METHODS[kind][name]
    if not method then return nil end
    return value.callable(name, function(args, named) return method(v, args, named) end)
end

return M
