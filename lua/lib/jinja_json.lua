-- SPDX-License-Identifier: MIT
-- troupe.jinja_json: the filter tojson as chat templates have it: Python's json.dumps with ensure_ascii = False, keys in
-- their order, and `indent`, `separators` and `sort_keys` as it takes them.

local value = require "troupe.jinja_value"

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(s)
    return '"' .. s:gsub('[\0-\31"\\]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local NUMBERS = { nan = "NaN", inf = "Infinity", ["-inf"] = "-Infinity" }
local function float(x)
    local text = value.float_text(x)
    return NUMBERS[text] or text
end

local SCALARS = {
    str = quoted,
    int = value.repr,
    float = float,
    bool = function(v) return v and "true" or "false" end,
    none = function() return "null" end,
}

-- A member's name: JSON has only texts.
local function name_of(key)
    if type(key) == "string" then return quoted(key) end
    local write = SCALARS[value.kind(key)]
    if not write then value.fail("fault", "keys must be str, int, float, bool or None, not %s", value.type_name(key)) end
    return '"' .. write(key) .. '"'
end

local write

-- Parts between brackets, on lines of their own where there is an indent.
local function bracketed(open, close, parts, style, depth)
    if #parts == 0 then return open .. close end
    if not style.indent then return open .. table.concat(parts, style.comma) .. close end
    local line = "\n" .. style.indent:rep(depth + 1)
    return open .. line .. table.concat(parts, style.comma .. line) .. "\n" .. style.indent:rep(depth) .. close
end

local function array(v, style, depth)
    local parts = {}
    for i = 1, v.n do parts[i] = write(v[i], style, depth + 1) end
    return bracketed("[", "]", parts, style, depth)
end

local function object(v, style, depth)
    local keys, parts = { table.unpack(v.keys) }, {}
    if style.sort_keys then table.sort(keys, function(a, b) return value.compare(a, b) < 0 end) end
    for i, key in ipairs(keys) do
        parts[i] = name_of(key) .. style.colon .. write(value.dict_get(v, key), style, depth + 1)
    end
    return bracketed("{", "}", parts, style, depth)
end

function write(v, style, depth)
    v = value.plain(v)
    local kind = value.kind(v)
    if kind == "dict" then return object(v, style, depth) end
    if kind == "list" or kind == "tuple" then return array(v, style, depth) end
    if not SCALARS[kind] then
        value.fail("fault", "Object of type %s is not JSON serializable", value.type_name(v))
    end
    return SCALARS[kind](v)
end

-- indent: a number of blanks, a text, or None; separators: a pair, or None.
return function(v, indent, separators, sort_keys)
    local style = { comma = ", ", colon = ": ", sort_keys = sort_keys ~= nil and value.truth(sort_keys) }
    if indent ~= nil and indent ~= value.NONE then
        style.indent = type(indent) == "string" and indent or value.repeat_text(" ", value.number_of(indent))
        style.comma = ","
    end
    if separators ~= nil and separators ~= value.NONE then style.comma, style.colon = separators[1], separators[2] end
    return write(v, style, 0)
end
