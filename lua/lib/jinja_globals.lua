-- SPDX-License-Identifier: MIT
-- troupe.jinja_globals: what every template may call: Jinja's own, and Hugging Face's raise_exception.

local value = require "troupe.jinja_value"
local methods = require "troupe.jinja_methods"
local fail, NONE = value.fail, value.NONE

local function namespace(args, named)
    local members = {}
    if args.n > 0 and value.kind(args[1]) == "dict" then
        for _, key in ipairs(args[1].keys) do members[key] = value.dict_get(args[1], key) end
    end
    for name, v in pairs(named) do members[name] = v end
    return { kind = "namespace", name = "namespace", members = members }
end

local MAX_RANGE = 100000 -- as in Jinja's sandbox

local function range(args)
    local from, to, step = args[1], args[2], args[3] or 1
    if to == nil then from, to = 0, from end
    for _, v in ipairs({ from, to, step }) do methods.integer("range()", v) end
    if step == 0 then fail("fault", "range() arg 3 must not be zero") end
    local out = value.list({}, 0, "range")
    out.made_of = step == 1 and ("range(%d, %d)"):format(from, to) or ("range(%d, %d, %d)"):format(from, to, step)
    for i = from, to - (step > 0 and 1 or -1), step do
        out[out.n + 1], out.n = i, out.n + 1
        if out.n > MAX_RANGE then fail("fault", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MAX_RANGE) end
    end
    return out
end

local function dict(args, named)
    local out = value.dict()
    if args.n > 0 then
        for _, key in ipairs(args[1].keys) do value.dict_set(out, key, value.dict_get(args[1], key)) end
    end
    local names = {}
    for name in pairs(named) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do value.dict_set(out, name, named[name]) end
    return out
end

local function joiner(args)
    local used, between = false, args[1] or ", "
    return value.callable("joiner", function()
        if used then return between end
        used = true
        return ""
    end)
end

local function cycler(args)
    local at, items = 1, args
    local c = { kind = "module", name = "cycler", members = {} }
    c.members.current = items[1]
    c.members.next = value.callable("next", function()
        local now = items[at]
        at = at % items.n + 1
        c.members.current = items[at]
        return now
    end)
    c.members.reset = value.callable("reset", function()
        at = 1
        c.members.current = items[1]
        return NONE
    end)
    return c
end

local function raise_exception(args) fail("refused", "%s", value.str(args[1] == nil and "" or args[1])) end

-- name -> function(args, named)
return {
    namespace = namespace, range = range, dict = dict, joiner = joiner, cycler = cycler, raise_exception = raise_exception,
}
