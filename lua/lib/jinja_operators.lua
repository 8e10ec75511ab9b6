-- SPDX-License-Identifier: MIT
-- troupe.jinja_operators: what Python's v[key], v.name, v[from:to:step] and arithmetic make of values
-- (troupe.jinja_value). Each gives a value, or raises what Python would.

local value = require "troupe.jinja_value"
local methods = require "troupe.jinja_methods"
local tools = require "troupe.jinja_filters"
local fail, NONE = value.fail, value.NONE

local M = {}

-- ---- attributes and items ----

local NAMES = { dict = "dict object", str = "str object", list = "list object", tuple = "tuple object", none = "None" }

local function missing(v, what)
    local kind = value.kind(v)
    return value.undefined(("'%s' has no attribute '%s'"):format(NAMES[kind] or value.type_name(v) .. " object", what))
end

-- v.name, a method left aside: nil where there is none.
local function own_attribute(v, name)
    local kind = value.kind(v)
    if kind == "namespace" or kind == "loop" or kind == "module" then return v.members[name] end
    if v.names and v.names[name] then return v[v.names[name]] end
    return nil
end

local function at_index(v, key)
    local i, n = value.number_of(key), value.length(v)
    if i < 0 then i = i + n end
    if i < 0 or i >= n then return nil end
    if type(v) == "string" then return value.text_part(v, i + 1, i + 1) end
    return v[i + 1]
end

-- v[key]
function M.item(v, key)
    v, key = value.plain(value.defined(v)), value.plain(key)
    local kind = value.kind(v)
    local found
    if kind == "dict" then
        found = value.dict_get(v, key)
    elseif (kind == "list" or kind == "tuple" or kind == "range" or kind == "str") and math.type(value.number_of(key)) == "integer" then
        found = at_index(v, key)
    elseif type(key) == "string" then
        if type(v) == "table" then found = own_attribute(v, key) end -- which may be false
    end
    if found == nil and type(key) == "string" then found = methods.of(v, key) end
    if found ~= nil then return found end
    if type(key) == "string" then return missing(v, key) end
    return value.undefined(("%s has no element %s"):format(NAMES[kind] or value.type_name(v), value.repr(key)))
end

-- v.name: what Python calls an attribute is asked first (so message.items is the method), then v["name"].
function M.attribute(v, name)
    value.defined(v)
    local found = methods.of(v, name)
    if found == nil and type(v) == "table" then found = own_attribute(v, name) end
    if found == nil and value.kind(v) == "dict" then found = value.dict_get(v, name) end
    if found ~= nil then return found end
    return missing(v, name)
end

-- Characters or items from `from` to before `to`, by Python's rules.
function M.slice(v, from, to, step)
    v = value.plain(value.defined(v))
    local items = type(v) == "string" and value.characters(v) or v
    if type(v) ~= "string" and not value.is_sequence(v) and value.kind(v) ~= "range" then
        fail("fault", "'%s' object is not subscriptable", value.type_name(v))
    end
    local n = items.n
    step = step == NONE and 1 or step
    if step == 0 then fail("fault", "slice step cannot be zero") end
    local low, high = step > 0 and 0 or -1, step > 0 and n or n - 1
    local function bound(i, default)
        if i == NONE then return default end
        if math.type(value.number_of(i)) ~= "integer" then fail("fault", "slice indices must be integers or None") end
        if i < 0 then i = i + n end
        return math.max(low, math.min(high, i))
    end
    local out = value.list()
    local i, stop = bound(from, step > 0 and 0 or n - 1), bound(to, step > 0 and n or -1)
    while (step > 0 and i < stop) or (step < 0 and i > stop) do
        out[out.n + 1], out.n = items[i + 1], out.n + 1
        i = i + step
    end
    if type(v) == "string" then return table.concat(out) end
    out.kind = v.kind == "range" and "list" or v.kind
    return out
end

-- ---- arithmetic ----

-- Whole numbers beyond 64 bits would wrap silently; Python's don't.
local function checked(n, approximate)
    if math.type(n) == "integer" and math.abs(n - approximate) > 1e6 and math.abs(approximate) > 9e18 then
        fail("lacks", "whole numbers beyond 64 bits are not supported")
    end
    return n
end

local function repeated(v, times)
    times = math.max(0, times)
    if type(v) == "string" then return value.repeat_text(v, times) end
    value.check_items(v.n * (times + 0.0))
    local out = value.list({}, v.n * times)
    out.kind = v.kind
    for i = 0, v.n * times - 1 do out[i + 1] = v[i % v.n + 1] end
    return out
end

local function joined(a, b)
    local out = value.list({}, a.n + b.n)
    out.kind = a.kind
    table.move(a, 1, a.n, 1, out)
    table.move(b, 1, b.n, a.n + 1, out)
    return out
end

local function is_whole(v) return type(v) == "boolean" or math.type(v) == "integer" end
local function is_text(v) return type(value.plain(v)) == "string" end
local function is_repeatable(v) return type(v) == "string" or value.is_sequence(v) end

local NUMERIC = {
    ["+"] = function(a, b) return checked(a + b, (a + 0.0) + b) end,
    ["-"] = function(a, b) return checked(a - b, (a + 0.0) - b) end,
    ["*"] = function(a, b) return checked(a * b, (a + 0.0) * b) end,
}
NUMERIC["/"] = function(a, b)
    if b == 0 then fail("fault", "division by zero") end
    return a / b
end
NUMERIC["//"] = function(a, b)
    if b == 0 then fail("fault", "integer division or modulo by zero") end
    return a // b
end
NUMERIC["%"] = function(a, b)
    if b == 0 then fail("fault", "integer modulo by zero") end
    return a % b
end
NUMERIC["**"] = function(a, b)
    if is_whole(a) and is_whole(b) and b >= 0 then
        local out = 1
        for _ = 1, math.min(b, 64) do out = NUMERIC["*"](out, a) end
        if b > 64 and math.abs(a) > 1 then fail("lacks", "whole numbers beyond 64 bits are not supported") end
        return out
    end
    if a == 0 and b < 0 then fail("fault", "0.0 cannot be raised to a negative power") end
    return (a + 0.0) ^ b
end

-- "..." % v: a tuple's items, a mapping's members by name, or v itself.
local function percent(s, v)
    local kind = value.kind(v)
    if kind == "tuple" then return tools.percent(s, v, {}, false) end
    return tools.percent(s, value.tuple({ v }, 1), kind == "dict" and v.map or {}, kind == "dict" or kind == "list" or kind == "undefined")
end

function M.binary(sign, a, b)
    value.defined(a)
    if sign == "%" and type(value.plain(a)) == "string" then return percent(value.plain(a), b) end
    value.defined(b)
    if sign == "+" and is_text(a) and is_text(b) and (value.kind(a) == "markup" or value.kind(b) == "markup") then
        return value.markup(value.escape(a).text .. value.escape(b).text)
    end
    a, b = value.plain(a), value.plain(b)
    if value.is_number(a) and value.is_number(b) then return NUMERIC[sign](value.number_of(a), value.number_of(b)) end
    if sign == "+" and type(a) == "string" and type(b) == "string" then return a .. b end
    if sign == "+" and value.is_sequence(a) and value.kind(a) == value.kind(b) then return joined(a, b) end
    if sign == "*" and is_repeatable(a) and is_whole(b) then return repeated(a, value.number_of(b)) end
    if sign == "*" and is_whole(a) and is_repeatable(b) then return repeated(b, value.number_of(a)) end
    fail("fault", "unsupported operand type(s) for %s: '%s' and '%s'", sign, value.type_name(a), value.type_name(b))
end

return M
