-- SPDX-License-Identifier: MIT
-- troupe.jinja_value: Python's values, as a chat template meets them.
--
-- A template's text depends on what Lua has not: null beside undefined, keys in their order, tuples, "True". So:
--
--   str, int, float, bool    Lua's own strings (UTF-8), integers, floats, booleans
--   None                     value.NONE
--   undefined                { kind = "undefined", why = TEXT }: prints as nothing, is false, fails in everything else
--   list, tuple              { kind = "list" | "tuple", n = LENGTH, [1..n] }
--   view                     the same, of a dict's keys, values or items: no index, no JSON
--   range                    the same, with an index, printed as what it was made of
--   generator                the same, gone once it has been gone through: what map, select and the like give; always true
--   dict                     { kind = "dict", keys = { in their order }, map = { key -> value } }
--   safe text                { kind = "markup", text = }: what x | safe and x | escape give; text added to it is escaped
--   what is called           { kind = "function", name =, call = function(args, named) }
--
-- No function here returns nil for a value. Errors are raised by value.fail, as tables with `jinja`.

local M = {}

-- The metatable keeps it itself: a module's tables without one are replaced by read-only stand-ins (lua/libraries.c).
local NONE = setmetatable({ kind = "none" }, {})
M.NONE = NONE

-- Ends the rendering. kind: "refused" (the template's raise_exception), "lacks" (a construct of Jinja that is not here),
-- "syntax", "limit" (more than a template may make), or "fault" (what Python would raise).
function M.fail(kind, format, ...) error({ jinja = kind, message = format:format(...) }, 0) end
local fail = M.fail

-- ---- making values ----

function M.undefined(why) return { kind = "undefined", why = why } end

function M.list(items, n, kind)
    items = items or {}
    items.kind, items.n = kind or "list", n or #items
    return items
end

function M.tuple(items, n) return M.list(items, n, "tuple") end

function M.dict() return { kind = "dict", keys = {}, map = {} } end

function M.callable(name, call) return { kind = "function", name = name, call = call } end

function M.kind(v)
    local t = type(v)
    if t == "table" then return v.kind end
    if t == "number" then return math.type(v) == "integer" and "int" or "float" end
    if t == "boolean" then return "bool" end
    return "str"
end
local kind = M.kind

-- The text of safe text; any other value as it is.
function M.plain(v)
    if kind(v) == "markup" then return v.text end
    return v
end
local plain = M.plain

function M.markup(text) return { kind = "markup", text = text } end

local MARKS = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&#39;", ['"'] = "&#34;" }

-- v as safe text: what is safe already stays, anything else is escaped for HTML.
function M.escape(v)
    if kind(v) == "markup" then return v end
    return M.markup((M.str(v):gsub("[&<>'\"]", MARKS)))
end

-- Python's name of a type, for its error messages.
local TYPES = { none = "NoneType", undefined = "Undefined", view = "dict_items", markup = "Markup" }
function M.type_name(v) return TYPES[kind(v)] or kind(v) end

function M.is_number(v) return type(v) == "number" or type(v) == "boolean" end
function M.is_sequence(v) return kind(v) == "list" or kind(v) == "tuple" end

-- ---- dictionaries ----

local UNDEFINED_KEY = {}

-- True and 1 and 1.0 are one key, as in Python.
local function key_of(key)
    key = plain(key)
    if type(key) == "boolean" then return key and 1 or 0 end
    if math.type(key) == "float" and math.tointeger(key) then return math.tointeger(key) end
    if type(key) == "table" and key.kind == "undefined" then return UNDEFINED_KEY end -- all of them are equal
    if type(key) == "table" and key ~= NONE then fail("fault", "unhashable type: '%s'", M.type_name(key)) end
    return key
end

function M.dict_get(d, key) return d.map[key_of(key)] end

function M.dict_set(d, key, v)
    local k = key_of(key)
    if d.map[k] == nil then d.keys[#d.keys + 1] = key end
    d.map[k] = v
end

function M.dict_keys(d) return M.list({ table.unpack(d.keys) }, #d.keys, "view") end

function M.dict_values(d)
    local out = M.list({}, #d.keys, "view")
    for i, key in ipairs(d.keys) do out[i] = d.map[key_of(key)] end
    return out
end

function M.dict_items(d)
    local out = M.list({}, #d.keys, "view")
    for i, key in ipairs(d.keys) do out[i] = M.tuple({ key, d.map[key_of(key)] }, 2) end
    return out
end

-- ---- text: characters are code points ----

local MAX_TEXT, MAX_ITEMS = 64 << 20, 4000000

-- How much of `what` a template makes at once, against what it may make.
local function check_size(amount, limit, what)
    if amount > limit then fail("limit", "more than %d %s at once", limit, what) end
end

function M.check_items(n) check_size(n, MAX_ITEMS, "items") end

-- s * n; none for n < 0
function M.repeat_text(s, n)
    check_size(#s * (n + 0.0), MAX_TEXT, "bytes")
    return s:rep(n)
end

-- Where every byte is a character; text that is no UTF-8 is taken by bytes, too.
local function by_bytes(s) return not s:find("[\128-\255]") or not utf8.len(s) end

function M.text_length(s) return by_bytes(s) and #s or utf8.len(s) end

-- Characters first..last (from 1, both inside the text).
function M.text_part(s, first, last)
    if first > last then return "" end
    if by_bytes(s) then return s:sub(first, last) end
    return s:sub(utf8.offset(s, first), utf8.offset(s, last + 1) - 1)
end

function M.characters(s)
    local out = M.list()
    if by_bytes(s) then
        for i = 1, #s do out[i] = s:sub(i, i) end
    else
        for _, code in utf8.codes(s) do out[#out + 1] = utf8.char(code) end
    end
    out.n = #out
    return out
end

-- ---- truth, equality, order ----

function M.truth(v)
    v = plain(v)
    local k = kind(v)
    if k == "bool" then return v end
    if k == "str" then return v ~= "" end
    if k == "int" or k == "float" then return v ~= 0 end
    if k == "none" or k == "undefined" then return false end
    if k == "list" or k == "tuple" or k == "view" or k == "range" then return v.n > 0 end
    if k == "dict" then return #v.keys > 0 end
    return true
end

local function number_of(v)
    if type(v) == "boolean" then return v and 1 or 0 end
    return v
end
M.number_of = number_of

local equal
local function same_items(a, b)
    if a.n ~= b.n then return false end
    for i = 1, a.n do
        if not equal(a[i], b[i]) then return false end
    end
    return true
end

local function same_members(a, b)
    if #a.keys ~= #b.keys then return false end
    for _, key in ipairs(a.keys) do
        local other = M.dict_get(b, key)
        if other == nil or not equal(M.dict_get(a, key), other) then return false end
    end
    return true
end

function equal(a, b)
    a, b = plain(a), plain(b)
    if M.is_number(a) and M.is_number(b) then return number_of(a) == number_of(b) end
    local ka, kb = kind(a), kind(b)
    if ka ~= kb then return false end
    if ka == "list" or ka == "tuple" or ka == "range" then return same_items(a, b) end
    if ka == "dict" then return same_members(a, b) end
    return ka == "undefined" or a == b
end
M.equal = equal

-- -1, 0 or 1; Python's TypeError for what has no order.
function M.compare(a, b, sign)
    a, b = plain(a), plain(b)
    if M.is_number(a) and M.is_number(b) then
        local x, y = number_of(a), number_of(b)
        if x < y then return -1 end
        return x > y and 1 or 0
    end
    if type(a) == "string" and type(b) == "string" then
        -- UTF-8 keeps the order of code points; Lua's own comparison would follow the locale.
        for i = 1, math.min(#a, #b) do
            local x, y = a:byte(i), b:byte(i)
            if x ~= y then return x < y and -1 or 1 end
        end
        return M.compare(#a, #b)
    end
    if M.is_sequence(a) and kind(a) == kind(b) then
        for i = 1, math.min(a.n, b.n) do
            if not equal(a[i], b[i]) then return M.compare(a[i], b[i], sign) end
        end
        return M.compare(a.n, b.n)
    end
    M.defined(a)
    M.defined(b)
    fail("fault", "'%s' not supported between instances of '%s' and '%s'", sign or "<", M.type_name(a), M.type_name(b))
end

-- What is undefined fails where Python's default Undefined does.
function M.defined(v)
    if kind(v) == "undefined" then fail("fault", "%s", v.why) end
    return v
end

-- ---- numbers as text ----

-- The shortest digits that are read back as the same number, written as Python's repr does.
function M.float_text(x)
    if x ~= x then return "nan" end
    if x == math.huge or x == -math.huge then return x > 0 and "inf" or "-inf" end
    local digits
    for precision = 1, 17 do
        digits = ("%." .. precision - 1 .. "e"):format(x)
        if tonumber(digits) == x then break end
    end
    local sign, lead, rest, exponent = digits:match("^(%-?)(%d)%.?(%d*)e([+-]%d+)$")
    local all, e = lead .. rest, math.tointeger(tonumber(exponent))
    if e < -4 or e >= 16 then
        local tail = rest ~= "" and "." .. rest or ""
        return ("%s%s%se%s%02d"):format(sign, lead, tail, e < 0 and "-" or "+", math.abs(e))
    end
    if e < 0 then return sign .. "0." .. ("0"):rep(-e - 1) .. all end
    all = all .. ("0"):rep(e + 1 - #all)
    local whole, part = all:sub(1, e + 1), all:sub(e + 2)
    return sign .. whole .. "." .. (part ~= "" and part or "0")
end

-- ---- str() and repr() ----

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- In single quotes, or in double ones where the text has single ones and no double ones.
local function quoted(s)
    local quote = (s:find("'", 1, true) and not s:find('"', 1, true)) and '"' or "'"
    local text = s:gsub("[%c\\]", function(c) return ESCAPES[c] or ("\\x%02x"):format(c:byte()) end)
    if quote == "'" then text = text:gsub("'", "\\'") end
    return quote .. text .. quote
end

local repr
local function joined(v)
    local parts = {}
    for i = 1, v.n do parts[i] = repr(v[i]) end
    return table.concat(parts, ", ")
end

local REPR = {
    bool = function(v) return v and "True" or "False" end,
    int = function(v) return ("%d"):format(v) end,
    float = M.float_text,
    str = quoted,
    none = function() return "None" end,
    undefined = function() return "Undefined" end,
    list = function(v) return "[" .. joined(v) .. "]" end,
    range = function(v) return v.made_of end,
    tuple = function(v) return "(" .. joined(v) .. (v.n == 1 and ",)" or ")") end,
}

function REPR.dict(v)
    local parts = {}
    for i, key in ipairs(v.keys) do parts[i] = repr(key) .. ": " .. repr(M.dict_get(v, key)) end
    return "{" .. table.concat(parts, ", ") .. "}"
end

function repr(v)
    if kind(v) == "markup" then return "Markup(" .. quoted(v.text) .. ")" end
    local write = REPR[kind(v)]
    if not write then fail("fault", "a %s can't be written as text", v.name or kind(v)) end
    return write(v)
end
M.repr = repr

function M.str(v)
    local k = kind(v)
    if k == "str" then return v end
    if k == "markup" then return v.text end
    if k == "undefined" then return "" end
    return repr(v)
end

-- ---- iteration ----

-- What a for loop goes through, as a list; fails for what can't be iterated.
function M.items_of(v)
    v = plain(v)
    local k = kind(v)
    if k == "list" or k == "tuple" or k == "view" or k == "range" then return v end
    if k == "dict" then return M.dict_keys(v) end
    if k == "generator" then
        local items = M.list({ table.unpack(v, 1, v.n) }, v.n)
        v.n = 0
        return items
    end
    if k == "str" then return M.characters(v) end
    if k == "undefined" then return M.list() end
    fail("fault", "'%s' object is not iterable", M.type_name(v))
end

function M.length(v)
    v = plain(v)
    local k = kind(v)
    if k == "str" then return M.text_length(v) end
    if k == "undefined" then return 0 end
    if k == "list" or k == "tuple" or k == "view" or k == "range" or k == "dict" then return M.items_of(v).n end
    fail("fault", "object of type '%s' has no len()", M.type_name(v))
end

function M.contains(container, item)
    container, item = plain(container), plain(item)
    local k = kind(container)
    if k == "str" then
        if type(item) ~= "string" then
            M.defined(item)
            fail("fault", "'in <string>' requires string as left operand, not %s", M.type_name(item))
        end
        return container:find(item, 1, true) ~= nil
    end
    if k == "dict" then return M.dict_get(container, item) ~= nil end
    if k == "none" or M.is_number(container) then
        fail("fault", "argument of type '%s' is not iterable", M.type_name(container))
    end
    local items = M.items_of(container)
    for i = 1, items.n do
        if equal(items[i], item) then return true end
    end
    return false
end

return M
