-- SPDX-License-Identifier: MIT
-- troupe.jinja_filters: Jinja's filters (x | name) and tests (x is name), as the version that Hugging Face renders with has
-- them. filter(v, args, named, run) -> value; test(v, args, named, run) -> boolean. `run` has get(v, key) and call(f, args).

local value = require "troupe.jinja_value"
local methods = require "troupe.jinja_methods"
local write_json = require "troupe.jinja_json"
local fail, NONE, bind = value.fail, value.NONE, methods.bind

local M = { filters = {}, tests = {} }
local F, T = M.filters, M.tests

local function given(v) return v ~= nil and v ~= NONE end
local function flag(v) return v ~= nil and value.truth(v) end
local function generator(items)
    items.kind = "generator"
    return items
end
local function copy(items) return value.list({ table.unpack(items, 1, items.n) }, items.n) end
local function as_text(v) return value.str(v) end

-- ---- what a filter looks at in an item ----

-- attribute: a name or a number, with dots: "function.name"
local function part_of(item, attribute, run)
    if not given(attribute) then return item end
    if type(attribute) ~= "string" then return run.get(item, attribute) end
    for name in attribute:gmatch("[^.]+") do item = run.get(item, math.tointeger(tonumber(name)) or name) end
    return item
end

-- Upper case counts as lower unless it is asked for.
local function folded(v, case_sensitive)
    return type(v) == "string" and not flag(case_sensitive) and methods.lower(v) or v
end

-- A stable sort (Lua's own is none): less(a, b), items by their numbers.
local function sorted(items, compare)
    local at = {}
    for i = 1, items.n do at[i] = i end
    local function less(i, j)
        local c = compare(items[i], items[j])
        if c == 0 then return i < j end
        return c < 0
    end
    table.sort(at, less)
    local out = value.list({}, items.n)
    for i = 1, items.n do out[i] = items[at[i]] end
    return out
end

-- ---- text ----

F.upper = function(v) return methods.upper(as_text(v)) end
F.lower = function(v) return methods.lower(as_text(v)) end
F.capitalize = function(v) return methods.capitalize(as_text(v)) end
F.string = function(v) return as_text(v) end
F.safe = function(v) return value.markup(as_text(v)) end

-- Words after blanks, dashes and opening brackets begin with a capital.
F.title = function(v)
    local out = as_text(v):gsub("[^%s%-%(%{%[%<]+", function(word) return methods.capitalize(word) end)
    return out
end

F.trim = function(v, args, named)
    local chars = bind("trim", { "chars" }, args, named)
    return methods.strip(as_text(v), chars, true, true)
end

F.replace = function(v, args, named)
    local old, new, count = bind("replace", { "old", "new", "count" }, args, named)
    return methods.replace(as_text(v), as_text(old), as_text(new), given(count) and count or -1)
end

F.escape = value.escape
F.e = F.escape

F.indent = function(v, args, named)
    local width, first, blank = bind("indent", { "width", "first", "blank" }, args, named)
    if width == nil then width = 4 end
    local shift = type(width) == "string" and width or value.repeat_text(" ", methods.integer("indent", width))
    local lines, text = {}, methods.text("indent", v) .. "\n"
    for line in text:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
    -- The last piece is empty where the text ends in a newline; Jinja keeps it.
    for i, line in ipairs(lines) do
        local shifts = i > 1 and (line ~= "" or flag(blank)) or i == 1 and flag(first)
        if shifts then lines[i] = shift .. line end
    end
    return table.concat(lines, "\n")
end

F.center = function(v, args, named)
    local width = bind("center", { "width" }, args, named)
    return methods.of(as_text(v), "center").call(value.list({ width or 80 }, 1), {})
end

F.wordcount = function(v)
    local n = 0
    for _ in as_text(v):gmatch("[%w_\128-\255]+") do n = n + 1 end
    return n
end

F.truncate = function(v, args, named)
    local length, kill, ending, leeway = bind("truncate", { "length", "killwords", "end", "leeway" }, args, named)
    length, ending, leeway = length or 255, ending or "...", leeway or 5
    if value.length(v) <= length + leeway then return v end
    local s = methods.text("truncate", v)
    local cut = value.text_part(s, 1, length - value.text_length(ending))
    if not flag(kill) then cut = cut:match("^(.*) ") or cut end
    return cut .. ending
end

F.urlencode = function(v)
    if type(v) == "table" and v.keys or value.is_sequence(v) then fail("lacks", "urlencode of a %s is not supported", value.type_name(v)) end
    return (as_text(v):gsub("[^%w%-%._~/]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- string.format, which knows less of widths and precisions than Python.
local function formatted(style, v)
    local ok, text = pcall(string.format, style, v)
    if not ok then fail("lacks", "the format '%s' is not supported", style) end
    return text
end

local CONVERSIONS = {
    s = function(style, v) return formatted("%" .. style .. "s", as_text(v)) end,
    r = function(style, v) return formatted("%" .. style .. "s", value.repr(v)) end,
    d = function(style, v) return formatted("%" .. style .. "d", methods.number("%d", v) // 1 | 0) end,
}
CONVERSIONS.i = CONVERSIONS.d
for letter in ("fFgGeExXo"):gmatch(".") do
    CONVERSIONS[letter] = function(style, v) return formatted("%" .. style .. letter, methods.number("%" .. letter, v)) end
end

-- One conversion of a format, after its "%": the text, and where it continues. take(name) gives what is to be written.
local function converted(s, at, take)
    if s:sub(at, at) == "%" then return "%", at + 1 end
    local name, after = s:match("^%(([^()]*)%)()", at)
    local style, letter, next = s:match("^([-+ #0]*%d*%.?%d*)(%a?)()", after or at)
    if letter == "" then fail("fault", "incomplete format") end
    if not CONVERSIONS[letter] then fail("lacks", "the format '%%%s' is not supported", letter) end
    return CONVERSIONS[letter](style, take(name)), next
end

-- Python's s % args. loose: args may be left over, as where Python was given something that it can index.
local function percent(s, args, named, loose)
    s = as_text(s)
    local out, at, used = {}, 1, 0
    local function take(name)
        if not name then used = used + 1 end
        local v
        if name then v = named[name] else v = args[used] end
        if v == nil then fail("fault", name and "format: there is no '%s'" or "not enough arguments for format string", name) end
        return v
    end
    while true do
        local from = s:find("%", at, true)
        if not from then break end
        out[#out + 1] = s:sub(at, from - 1)
        out[#out + 1], at = converted(s, from + 1, take)
    end
    if used < args.n and not loose then fail("fault", "not all arguments converted during string formatting") end
    return table.concat(out) .. s:sub(at)
end
M.percent = percent
F.format = function(v, args, named) return percent(v, args, named, next(named) ~= nil) end

-- ---- numbers ----

F.abs = function(v) return math.abs(methods.number("abs", v)) end

-- The number that a text begins and ends with, or the default.
local function number_from(v, default, whole)
    value.defined(v)
    local n = type(v) == "string" and tonumber((methods.strip(v, nil, true, true):gsub("_", "")))
        or value.is_number(v) and value.number_of(v) or nil
    if n == nil then return default end
    if not whole then return n + 0.0 end
    local t = n >= 0 and math.floor(n) or math.ceil(n)
    return math.tointeger(t) or default
end

F.int = function(v, args, named)
    local default, base = bind("int", { "default", "base" }, args, named)
    if type(v) == "string" and given(base) and base ~= 10 then return math.tointeger(tonumber(v, base)) or default or 0 end
    return number_from(v, default or 0, true)
end
F.float = function(v, args, named) return number_from(v, bind("float", { "default" }, args, named) or 0.0, false) end

-- Half to even, as Python rounds.
local function half_even(x)
    local down = math.floor(x)
    local over = x - down
    if over > 0.5 or (over == 0.5 and down % 2 == 1) then return down + 1.0 end
    return down + 0.0
end

F.round = function(v, args, named)
    local precision, method = bind("round", { "precision", "method" }, args, named)
    local number, scale = methods.number("round", v), 10.0 ^ (precision or 0)
    if math.type(number) == "integer" and (method == nil or method == "common") and (precision or 0) >= 0 then return number end
    local x = number * scale
    if method == "ceil" then return math.ceil(x) / scale end
    if method == "floor" then return math.floor(x) / scale end
    if (precision or 0) > 0 then return tonumber(formatted("%." .. precision .. "f", number)) + 0.0 end
    return half_even(x) / scale
end

-- ---- sequences ----

F.length = function(v) return value.length(v) end
F.count = F.length

F.first = function(v)
    local items = value.items_of(v)
    return items.n > 0 and items[1] or value.undefined("No first item, sequence was empty.")
end
F.last = function(v)
    if value.kind(v) == "generator" then fail("fault", "'generator' object is not reversible") end
    local items = value.items_of(v)
    return items.n > 0 and items[items.n] or value.undefined("No last item, sequence was empty.")
end

F.list = function(v) return copy(value.items_of(v)) end
F.items = function(v)
    if value.kind(v) == "undefined" then return generator(value.list()) end
    if value.kind(v) ~= "dict" then fail("fault", "Can only get item pairs from a mapping.") end
    return generator(value.dict_items(v))
end

F.reverse = function(v)
    local items, out = value.items_of(v), value.list()
    for i = items.n, 1, -1 do out[#out + 1] = items[i] end
    out.n = #out
    if type(v) == "string" then return table.concat(out) end
    return generator(out)
end

F.join = function(v, args, named, run)
    local between, attribute = bind("join", { "d", "attribute" }, args, named)
    local items, parts = value.items_of(v), {}
    for i = 1, items.n do parts[i] = as_text(part_of(items[i], attribute, run)) end
    return table.concat(parts, between and as_text(between) or "")
end

F.sort = function(v, args, named, run)
    local reverse, case, attribute = bind("sort", { "reverse", "case_sensitive", "attribute" }, args, named)
    local way, names = flag(reverse) and -1 or 1, { attribute }
    if type(attribute) == "string" then
        names = {}
        for name in attribute:gmatch("[^,]+") do names[#names + 1] = name end
    end
    -- A tuple, of several attributes or of the item itself: what is equal, undefined parts too, is not compared further.
    local function key(item)
        local parts = value.tuple({}, math.max(1, #names))
        for i = 1, parts.n do parts[i] = folded(part_of(item, names[i], run), case) end
        return parts
    end
    return sorted(value.items_of(v), function(a, b) return way * value.compare(key(a), key(b)) end)
end

F.dictsort = function(v, args, named)
    local case, by, reverse = bind("dictsort", { "case_sensitive", "by", "reverse" }, args, named)
    local at, way = by == "value" and 2 or 1, flag(reverse) and -1 or 1
    if value.kind(v) ~= "dict" then fail("fault", "dictsort is for a mapping, not for %s", value.type_name(v)) end
    return sorted(value.dict_items(v), function(a, b)
        return way * value.compare(folded(a[at], case), folded(b[at], case))
    end)
end

F.unique = function(v, args, named, run)
    local case, attribute = bind("unique", { "case_sensitive", "attribute" }, args, named)
    local items, seen, out = value.items_of(v), value.list(), value.list()
    for i = 1, items.n do
        local key = folded(part_of(items[i], attribute, run), case)
        if not value.contains(seen, key) then
            seen[seen.n + 1], seen.n = key, seen.n + 1
            out[out.n + 1], out.n = items[i], out.n + 1
        end
    end
    return generator(out)
end

F.groupby = function(v, args, named, run)
    local attribute, default, case = bind("groupby", { "attribute", "default", "case_sensitive" }, args, named)
    local function key(item)
        local part = part_of(item, attribute, run)
        return value.kind(part) == "undefined" and default or part
    end
    local items = sorted(value.items_of(v), function(a, b)
        return value.compare(folded(key(a), case), folded(key(b), case))
    end)
    local out = value.list()
    for i = 1, items.n do
        local group = out[out.n]
        if not group or not value.equal(folded(group[1], case), folded(key(items[i]), case)) then
            group = value.tuple({ key(items[i]), value.list() }, 2)
            group.names = { grouper = 1, list = 2 }
            out[out.n + 1], out.n = group, out.n + 1
        end
        local members = group[2]
        members[members.n + 1], members.n = items[i], members.n + 1
    end
    return out
end

F.batch = function(v, args, named)
    local size, fill = bind("batch", { "linecount", "fill_with" }, args, named)
    local items, out = value.items_of(v), value.list()
    for i = 1, items.n do
        if (i - 1) % size == 0 then out[out.n + 1], out.n = value.list(), out.n + 1 end
        local row = out[out.n]
        row[row.n + 1], row.n = items[i], row.n + 1
    end
    local row = out[out.n]
    while row and given(fill) and row.n < size do row[row.n + 1], row.n = fill, row.n + 1 end
    return generator(out)
end

F.slice = function(v, args, named)
    local slices, fill = bind("slice", { "slices", "fill_with" }, args, named)
    local items, out, at = value.items_of(v), value.list(), 1
    local each, more = items.n // slices, items.n % slices
    for i = 1, slices do
        local row, n = value.list(), each + (i <= more and 1 or 0)
        for k = 1, n do row[k] = items[at + k - 1] end
        at, row.n = at + n, n
        if given(fill) and i > more and more > 0 then row[row.n + 1], row.n = fill, row.n + 1 end
        out[i], out.n = row, i
    end
    return generator(out)
end

local function extreme(name, way)
    return function(v, args, named, run)
        local case, attribute = bind(name, { "case_sensitive", "attribute" }, args, named)
        local items = value.items_of(v)
        if items.n == 0 then return value.undefined("No aggregated item, sequence was empty.") end
        local best, best_key
        for i = 1, items.n do
            local key = folded(part_of(items[i], attribute, run), case)
            if i == 1 or way * value.compare(key, best_key) > 0 then best, best_key = items[i], key end
        end
        return best
    end
end
F.min, F.max = extreme("min", -1), extreme("max", 1)

F.sum = function(v, args, named, run)
    local attribute, start = bind("sum", { "attribute", "start" }, args, named)
    local items, total = value.items_of(v), start or 0
    for i = 1, items.n do total = run.add(total, part_of(items[i], attribute, run)) end
    return total
end

-- ---- filters that take filters and tests ----

local function rest_of(args, from)
    local out = value.list({ table.unpack(args, from, args.n) }, math.max(0, args.n - from + 1))
    return out
end

-- What is false is gone through as if it were empty, None too.
local function items_or_none(v) return value.truth(v) and value.items_of(v) or value.list() end

F.map = function(v, args, named, run)
    local items, out = items_or_none(v), value.list()
    out.n = items.n
    for i = 1, items.n do
        if named.attribute ~= nil then
            local part = part_of(items[i], named.attribute, run)
            if value.kind(part) == "undefined" and named.default ~= nil then part = named.default end
            out[i] = part
        else
            if args.n == 0 then fail("fault", "map requires a filter argument") end
            out[i] = M.filter(args[1])(items[i], rest_of(args, 2), named, run)
        end
    end
    return generator(out)
end

-- wanted: what the test must say; from: the argument that names the test.
local function selector(wanted, by_attribute)
    return function(v, args, named, run)
        local items, out, from = items_or_none(v), value.list(), by_attribute and 2 or 1
        for i = 1, items.n do
            local item = by_attribute and part_of(items[i], args[1], run) or items[i]
            local passes
            if args.n >= from then
                passes = M.test(args[from])(item, rest_of(args, from + 1), named, run)
            else
                passes = value.truth(item)
            end
            if passes == wanted then out[out.n + 1], out.n = items[i], out.n + 1 end
        end
        return generator(out)
    end
end
F.select, F.reject = selector(true, false), selector(false, false)
F.selectattr, F.rejectattr = selector(true, true), selector(false, true)

-- ---- the others ----

F.default = function(v, args, named)
    local default, boolean = bind("default", { "default_value", "boolean" }, args, named)
    if value.kind(v) == "undefined" or (flag(boolean) and not value.truth(v)) then return default == nil and "" or default end
    return v
end
F.d = F.default

F.attr = function(v, args, named, run)
    local name = bind("attr", { "name" }, args, named)
    return methods.of(v, name) or run.attribute(v, name)
end

F.tojson = function(v, args, named)
    -- Hugging Face's own: tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)
    local ascii, indent, separators, sort = bind("tojson", { "ensure_ascii", "indent", "separators", "sort_keys" }, args, named)
    if flag(ascii) then fail("lacks", "tojson with ensure_ascii = true is not supported") end
    return write_json(v, indent, separators, sort)
end

-- ---- tests ----

T.defined = function(v) return value.kind(v) ~= "undefined" end
T.undefined = function(v) return value.kind(v) == "undefined" end
T.none = function(v) return v == NONE end
T.boolean = function(v) return type(v) == "boolean" end
T["true"] = function(v) return v == true end
T["false"] = function(v) return v == false end
T.string = function(v) return type(value.plain(v)) == "string" end
T.number = function(v) return value.is_number(v) end
T.integer = function(v) return math.type(v) == "integer" end
T.float = function(v) return math.type(v) == "float" end
T.mapping = function(v) return value.kind(v) == "dict" or value.kind(v) == "namespace" end
T.sequence = function(v)
    local k = value.kind(v)
    return k == "str" or k == "list" or k == "tuple" or k == "range" or k == "dict" or k == "undefined"
end
T.iterable = function(v) return T.sequence(v) or value.kind(v) == "view" or value.kind(v) == "generator" end
T.callable = function(v) return value.kind(v) == "function" or value.kind(v) == "undefined" end
T.upper = function(v) return as_text(v):find("%u") ~= nil and not as_text(v):find("%l") end
T.lower = function(v) return as_text(v):find("%l") ~= nil and not as_text(v):find("%u") end
T.escaped = function(v) return value.kind(v) == "markup" end
T.odd = function(v) return methods.number("odd", v) % 2 == 1 end
T.even = function(v) return methods.number("even", v) % 2 == 0 end
T.divisibleby = function(v, args) return methods.number("divisibleby", v) % methods.number("divisibleby", args[1]) == 0 end
T["in"] = function(v, args) return value.contains(args[1], v) end
T.sameas = function(v, args) return rawequal(v, args[1]) or (type(v) ~= "table" and v == args[1]) end
T.filter = function(v) return F[v] ~= nil end
T.test = function(v) return T[v] ~= nil end

local function comparing(sign, holds)
    return function(v, args) return holds(value.compare(v, args[1], sign)) end
end
T.eq = function(v, args) return value.equal(v, args[1]) end
T.ne = function(v, args) return not value.equal(v, args[1]) end
T.lt = comparing("<", function(c) return c < 0 end)
T.le = comparing("<=", function(c) return c <= 0 end)
T.gt = comparing(">", function(c) return c > 0 end)
T.ge = comparing(">=", function(c) return c >= 0 end)
for name, same in pairs({ equalto = "eq", ["=="] = "eq", ["!="] = "ne", lessthan = "lt", ["<"] = "lt", ["<="] = "le",
                          greaterthan = "gt", [">"] = "gt", [">="] = "ge" }) do
    T[name] = T[same]
end

-- By name; what Jinja has and this has not is said as such.
local OTHERS = {}
for name in ("filesizeformat forceescape pprint random striptags urlize wordwrap xmlattr"):gmatch("%a+") do OTHERS[name] = true end

-- line: where a template names it, nil while it is rendered.
local function unknown(kind, line, format, name)
    fail(kind, "%s" .. format, line and ("line %d: "):format(line) or "", tostring(name))
end

function M.filter(name, line)
    if F[name] then return F[name] end
    if OTHERS[name] then unknown("lacks", line, "the filter '%s' is not supported", name) end
    unknown("syntax", line, "there is no filter '%s'", name)
end

function M.test(name, line)
    if not T[name] then unknown("syntax", line, "there is no test '%s'", name) end
    return T[name]
end

return M
