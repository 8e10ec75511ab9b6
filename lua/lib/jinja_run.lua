-- SPDX-License-Identifier: MIT
-- troupe.jinja_run: a tree made runnable. Each node becomes a Lua function: an expression's is called as f(run, scope) and
-- gives a value, a statement's writes to run.out and gives nil, "break" or "continue".
--
-- A scope is a Lua table whose metatable leads to the scope around it. As in Jinja, a loop, a macro and a `with` open one,
-- an `if` does not: what a loop sets is gone after it, unless it is an attribute of a namespace.

local value = require "troupe.jinja_value"
local methods = require "troupe.jinja_methods"
local tools = require "troupe.jinja_filters"
local fail, NONE = value.fail, value.NONE

local expressions, statements = {}, {}

local function compile(node)
    local make = expressions[node.t] or statements[node.t]
    return make(node)
end

local function inner_scope(scope) return setmetatable({}, { __index = scope }) end

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
local function item(v, key)
    v, key = value.plain(value.defined(v)), value.plain(key)
    local kind = value.kind(v)
    local found
    if kind == "dict" then
        found = value.dict_get(v, key)
    elseif (kind == "list" or kind == "tuple" or kind == "range" or kind == "str") and math.type(value.number_of(key)) == "integer" then
        found = at_index(v, key)
    elseif type(key) == "string" then
        found = type(v) == "table" and own_attribute(v, key) or nil
    end
    if found == nil and type(key) == "string" then found = methods.of(v, key) end
    if found ~= nil then return found end
    if type(key) == "string" then return missing(v, key) end
    return value.undefined(("%s has no element %s"):format(NAMES[kind] or value.type_name(v), value.repr(key)))
end

-- v.name: what Python calls an attribute is asked first (so message.items is the method), then v["name"].
local function attribute(v, name)
    value.defined(v)
    local found = methods.of(v, name)
    if found == nil and type(v) == "table" then found = own_attribute(v, name) end
    if found == nil and value.kind(v) == "dict" then found = value.dict_get(v, name) end
    if found ~= nil then return found end
    return missing(v, name)
end

-- Characters or items from `from` to before `to`, by Python's rules.
local function slice(v, from, to, step)
    v = value.plain(value.defined(v))
    local items = type(v) == "string" and value.characters(v) or v
    if type(v) ~= "string" and not value.is_sequence(v) and value.kind(v) ~= "range" then fail("fault", "'%s' object is not subscriptable", value.type_name(v)) end
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

local function binary(sign, a, b)
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

-- ---- calls ----

local function call(f, args, named)
    if value.kind(f) ~= "function" then
        value.defined(f)
        fail("fault", "'%s' object is not callable", value.type_name(f))
    end
    return f.call(args, named)
end

-- What filters need of this room.
local RUN = {
    get = item,
    attribute = attribute,
    call = call,
    add = function(a, b) return binary("+", a, b) end,
}

-- f(run, scope) -> args, named
local function compile_arguments(a)
    local positional, names, values = {}, {}, {}
    for i, node in ipairs(a and a.positional or {}) do positional[i] = compile(node) end
    for i, pair in ipairs(a and a.named or {}) do names[i], values[i] = pair.name, compile(pair.value) end
    local star, stars = a and a.star and compile(a.star), a and a.stars and compile(a.stars)
    return function(run, scope)
        local args, named = value.list({}, #positional), {}
        for i, f in ipairs(positional) do args[i] = f(run, scope) end
        for i, f in ipairs(values) do named[names[i]] = f(run, scope) end
        if star then
            local more = value.items_of(star(run, scope))
            for i = 1, more.n do args[args.n + 1], args.n = more[i], args.n + 1 end
        end
        if stars then
            local more = stars(run, scope)
            for _, key in ipairs(more.keys) do named[key] = value.dict_get(more, key) end
        end
        return args, named
    end
end

-- ---- expressions ----

function expressions.const(node)
    local v = node.value
    return function() return v end
end

function expressions.name(node)
    local name = node.name
    return function(_, scope)
        local v = scope[name]
        if v == nil then return value.undefined(("'%s' is undefined"):format(name)) end
        return v
    end
end

local function sequence_of(kind)
    return function(node)
        local parts, n = {}, #node.items
        for i, part in ipairs(node.items) do parts[i] = compile(part) end
        return function(run, scope)
            local out = value.list({}, n, kind)
            for i = 1, n do out[i] = parts[i](run, scope) end
            return out
        end
    end
end
expressions.list, expressions.tuple = sequence_of("list"), sequence_of("tuple")

function expressions.dict(node)
    local keys, values = {}, {}
    for i, pair in ipairs(node.items) do keys[i], values[i] = compile(pair.key), compile(pair.value) end
    return function(run, scope)
        local out = value.dict()
        for i, key in ipairs(keys) do value.dict_set(out, key(run, scope), values[i](run, scope)) end
        return out
    end
end

-- The line of what is being done, for messages.
local function at_line(node, f)
    local line = node.line
    return function(run, scope)
        run.line = line
        return f(run, scope)
    end
end

function expressions.get(node)
    local of, name = compile(node.of), node.name
    return at_line(node, function(run, scope) return attribute(of(run, scope), name) end)
end

function expressions.item(node)
    local of, key = compile(node.of), compile(node.key)
    return at_line(node, function(run, scope) return item(of(run, scope), key(run, scope)) end)
end

function expressions.slice(node)
    local function none() return NONE end
    local of = compile(node.of)
    local from = node.from and compile(node.from) or none
    local to = node.to and compile(node.to) or none
    local step = node.step and compile(node.step) or none
    return at_line(node, function(run, scope)
        return slice(of(run, scope), from(run, scope), to(run, scope), step(run, scope))
    end)
end

function expressions.call(node)
    local of, arguments = compile(node.of), compile_arguments(node.arguments)
    return at_line(node, function(run, scope)
        local f = of(run, scope)
        local args, named = arguments(run, scope)
        run.line = node.line
        return call(f, args, named)
    end)
end

local function compile_filter(node)
    local filter, arguments = tools.filter(node.name, node.line), compile_arguments(node.arguments)
    return function(run, scope, v)
        local args, named = arguments(run, scope)
        run.line = node.line
        return filter(v, args, named, RUN)
    end
end

function expressions.filter(node)
    local of, filter = compile(node.of), compile_filter(node)
    return function(run, scope) return filter(run, scope, of(run, scope)) end
end

function expressions.test(node)
    local of, test, arguments = compile(node.of), tools.test(node.name, node.line), compile_arguments(node.arguments)
    return at_line(node, function(run, scope)
        local v = of(run, scope)
        local args, named = arguments(run, scope)
        return test(v, args, named, RUN)
    end)
end

function expressions.unary(node)
    local of = compile(node.of)
    return at_line(node, function(run, scope)
        local v = value.defined(of(run, scope))
        if not value.is_number(v) then
            fail("fault", "bad operand type for unary %s: '%s'", node.sign, value.type_name(v))
        end
        return node.sign == "-" and -value.number_of(v) or value.number_of(v)
    end)
end

function expressions.binary(node)
    local left, right, sign = compile(node.left), compile(node.right), node.sign
    return at_line(node, function(run, scope) return binary(sign, left(run, scope), right(run, scope)) end)
end

function expressions.concat(node)
    local parts = {}
    for i, part in ipairs(node.parts) do parts[i] = compile(part) end
    return function(run, scope)
        local out = {}
        for i, part in ipairs(parts) do out[i] = value.str(part(run, scope)) end
        return table.concat(out)
    end
end

local COMPARES = {
    ["=="] = value.equal,
    ["!="] = function(a, b) return not value.equal(a, b) end,
    ["<"] = function(a, b) return value.compare(a, b, "<") < 0 end,
    ["<="] = function(a, b) return value.compare(a, b, "<=") <= 0 end,
    [">"] = function(a, b) return value.compare(a, b, ">") > 0 end,
    [">="] = function(a, b) return value.compare(a, b, ">=") >= 0 end,
    ["in"] = function(a, b) return value.contains(b, a) end,
    ["not in"] = function(a, b) return not value.contains(b, a) end,
}

-- a < b < c asks for both, as in Python.
function expressions.compare(node)
    local first, rest, signs = compile(node.first), {}, {}
    for i, part in ipairs(node.rest) do rest[i], signs[i] = compile(part.of), COMPARES[part.sign] end
    return at_line(node, function(run, scope)
        local left = first(run, scope)
        for i, f in ipairs(rest) do
            local right = f(run, scope)
            if not signs[i](left, right) then return false end
            left = right
        end
        return true
    end)
end

function expressions.both(node)
    local left, right = compile(node.left), compile(node.right)
    return function(run, scope)
        local v = left(run, scope)
        if not value.truth(v) then return v end
        return right(run, scope)
    end
end

function expressions.either(node)
    local left, right = compile(node.left), compile(node.right)
    return function(run, scope)
        local v = left(run, scope)
        if value.truth(v) then return v end
        return right(run, scope)
    end
end

function expressions.no(node)
    local of = compile(node.of)
    return function(run, scope) return not value.truth(of(run, scope)) end
end

function expressions.choice(node)
    local condition, yes = compile(node.condition), compile(node.yes)
    local no = node.no and compile(node.no)
    return function(run, scope)
        if value.truth(condition(run, scope)) then return yes(run, scope) end
        if no then return no(run, scope) end
        return value.undefined("the inline if-expression evaluated to false and no else section was defined.")
    end
end

-- ---- statements ----

local function compile_body(nodes)
    local body, n = {}, #nodes
    for i, node in ipairs(nodes) do body[i] = compile(node) end
    return function(run, scope)
        for i = 1, n do
            local signal = body[i](run, scope)
            if signal then return signal end
        end
    end
end

-- What `body` writes, as a text.
local function captured(run, scope, body)
    local out = run.out
    run.out = {}
    local signal = body(run, scope)
    local text = table.concat(run.out)
    run.out = out
    return text, signal
end

local MAX_CALLS = 150 -- as deep as the stack allows

local function nested(run, body)
    run.calls = run.calls + 1
    if run.calls > MAX_CALLS then fail("fault", "macros or loops call each other deeper than %d", MAX_CALLS) end
    local text = body()
    run.calls = run.calls - 1
    return text
end

local function write(run, text) run.out[#run.out + 1] = text end

function statements.text(node)
    local text = node.text
    return function(run) write(run, text) end
end

function statements.print(node)
    local of = compile(node.of)
    return at_line(node, function(run, scope) write(run, value.str(of(run, scope))) end)
end

statements["if"] = function(node)
    local conditions, bodies = {}, {}
    for i, branch in ipairs(node.branches) do
        conditions[i], bodies[i] = compile(branch.condition), compile_body(branch.body)
    end
    local other = node.other and compile_body(node.other)
    return at_line(node, function(run, scope)
        for i, condition in ipairs(conditions) do
            if value.truth(condition(run, scope)) then return bodies[i](run, scope) end
        end
        if other then return other(run, scope) end
    end)
end

-- set(scope, value) for a name, an attribute of a namespace, or several names.
local function compile_target(target)
    if target.t == "name" then
        return function(scope, v) scope[target.name] = v end
    end
    if target.t == "attribute" then
        return function(scope, v)
            local space = scope[target.of]
            if space == nil or value.kind(space) ~= "namespace" then
                fail("fault", "cannot assign attribute on non-namespace object")
            end
            space.members[target.name] = v
        end
    end
    local parts = {}
    for i, part in ipairs(target.names) do parts[i] = compile_target(part) end
    return function(scope, v)
        local items = value.items_of(v)
        if items.n ~= #parts then
            fail("fault", "%s values to unpack (expected %d)", items.n > #parts and "too many" or "not enough", #parts)
        end
        for i, part in ipairs(parts) do part(scope, items[i]) end
    end
end

-- ---- for ----

local NO_ITEM = value.undefined("there is no such item")

local function loop_members(loop, items, i, depth)
    loop.index, loop.index0 = i, i - 1
    loop.revindex, loop.revindex0 = items.n - i + 1, items.n - i
    loop.first, loop.last = i == 1, i == items.n
    loop.previtem, loop.nextitem = items[i - 1] or NO_ITEM, items[i + 1] or NO_ITEM
    if items[i - 1] == false then loop.previtem = false end
    if items[i + 1] == false then loop.nextitem = false end
    loop.length, loop.depth, loop.depth0 = items.n, depth, depth - 1
end

local function loop_functions(loop, state)
    loop.cycle = value.callable("cycle", function(args)
        if args.n == 0 then fail("fault", "no items for cycling given") end
        return args[loop.index0 % args.n + 1]
    end)
    loop.changed = value.callable("changed", function(args)
        local same = state.last ~= nil and value.equal(state.last, args)
        state.last = args
        return not same
    end)
end

-- The items that the loop's own condition lets through.
local function chosen(run, scope, items, set, condition)
    if not condition then return items end
    local out = value.list()
    for i = 1, items.n do
        local inner = inner_scope(scope)
        set(inner, items[i])
        if value.truth(condition(run, inner)) then out[out.n + 1], out.n = items[i], out.n + 1 end
    end
    return out
end

statements["for"] = function(node)
    local of, set = compile(node.of), compile_target(node.target)
    local condition = node.condition and compile(node.condition)
    local body, other = compile_body(node.body), node.other and compile_body(node.other)

    local function go(run, scope, v, depth)
        local items = chosen(run, scope, value.items_of(v), set, condition)
        if items.n == 0 then
            if other then return other(run, inner_scope(scope)) end
            return
        end
        local members = {}
        local loop = { kind = "loop", name = "loop", members = members }
        loop_functions(members, {})
        if node.recursive then
            loop.kind = "function"
            loop.call = function(args)
                return nested(run, function() return (captured(run, scope, function() go(run, scope, args[1], depth + 1) end)) end)
            end
            loop.names = setmetatable({}, { __index = function(_, name) return members[name] ~= nil and name or nil end })
            setmetatable(loop, { __index = members })
        end
        for i = 1, items.n do
            local inner = inner_scope(scope)
            loop_members(members, items, i, depth)
            inner.loop = loop
            set(inner, items[i])
            if body(run, inner) == "break" then break end
        end
    end
    return at_line(node, function(run, scope) go(run, scope, of(run, scope), 1) end)
end

statements["break"] = function() return function() return "break" end end
statements["continue"] = function() return function() return "continue" end end

-- ---- set, with, filter, generation ----

function statements.set(node)
    local of, set = compile(node.of), compile_target(node.target)
    return at_line(node, function(run, scope) set(scope, of(run, scope)) end)
end

local function filtered(run, scope, text, filters)
    for _, filter in ipairs(filters) do text = filter(run, scope, text) end
    return text
end

local function compile_filters(nodes)
    local filters = {}
    for i, filter in ipairs(nodes) do filters[i] = compile_filter(filter) end
    return filters
end

function statements.set_block(node)
    local body, set, filters = compile_body(node.body), compile_target(node.target), compile_filters(node.filters)
    return at_line(node, function(run, scope)
        local text = captured(run, inner_scope(scope), body)
        set(scope, filtered(run, scope, text, filters))
    end)
end

function statements.filter_block(node)
    local body, filters = compile_body(node.body), compile_filters(node.filters)
    return at_line(node, function(run, scope)
        local text, signal = captured(run, inner_scope(scope), body)
        write(run, value.str(filtered(run, scope, text, filters)))
        return signal
    end)
end

statements["with"] = function(node)
    local sets, values, body = {}, {}, compile_body(node.body)
    for i, set in ipairs(node.sets) do sets[i], values[i] = compile_target(set.target), compile(set.of) end
    return at_line(node, function(run, scope)
        local inner = inner_scope(scope)
        for i, set in ipairs(sets) do set(inner, values[i](run, scope)) end
        return body(run, inner)
    end)
end

function statements.generation(node)
    local body = compile_body(node.body)
    return function(run, scope) return body(run, inner_scope(scope)) end
end

-- ---- macros ----

-- The values of a macro's parameters in `inner`; what is left over are its varargs and kwargs.
local function take_parameters(macro, run, inner, args, named)
    local known = {}
    for i, parameter in ipairs(macro.parameters) do
        local v = args[i]
        known[parameter.name] = true
        if v == nil then v = named[parameter.name] end
        if v == nil and parameter.default then v = parameter.default(run, inner) end
        if v == nil then v = value.undefined(("parameter '%s' was not provided"):format(parameter.name)) end
        inner[parameter.name] = v
    end
    local n, more = #macro.parameters, value.dict()
    for name, v in pairs(named) do
        if not known[name] and name ~= "caller" then value.dict_set(more, name, v) end
    end
    inner.varargs = value.tuple({ table.unpack(args, n + 1, args.n) }, math.max(0, args.n - n))
    inner.kwargs = more
    inner.caller = named.caller
    return args.n - n, more
end

-- Does the body speak of a name? What a macro does not ask for, it may not be given.
local function mentions(node, name)
    if type(node) ~= "table" then return false end
    if node.t == "name" and node.name == name then return true end
    for _, part in pairs(node) do
        if mentions(part, name) then return true end
    end
    return false
end

local function compile_macro(node, name)
    local macro = { name = name, parameters = {}, body = compile_body(node.body) }
    for i, parameter in ipairs(node.parameters) do
        macro.parameters[i] = { name = parameter.name, default = parameter.default and compile(parameter.default) }
    end
    macro.takes_more = mentions(node.body, "varargs")
    macro.takes_names = mentions(node.body, "kwargs")
    return macro
end

local function macro_value(macro, run, scope)
    return value.callable(macro.name, function(args, named)
        local inner = inner_scope(scope)
        local left, more = take_parameters(macro, run, inner, args, named)
        if left > 0 and not macro.takes_more then
            fail("fault", "macro '%s' takes not more than %d argument(s)", macro.name, #macro.parameters)
        end
        if #more.keys > 0 and not macro.takes_names then
            fail("fault", "macro '%s' takes no keyword argument '%s'", macro.name, more.keys[1])
        end
        return nested(run, function() return (captured(run, inner, macro.body)) end)
    end)
end

function statements.macro(node)
    local macro = compile_macro(node, node.name)
    return at_line(node, function(run, scope) scope[node.name] = macro_value(macro, run, scope) end)
end

function statements.call_block(node)
    local caller, of = compile_macro(node, "caller"), compile(node.call.of)
    local arguments = compile_arguments(node.call.arguments)
    return at_line(node, function(run, scope)
        local args, named = arguments(run, scope)
        named.caller = macro_value(caller, run, scope)
        write(run, value.str(call(of(run, scope), args, named)))
    end)
end

-- ---- what every template may call ----

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

local GLOBALS = { namespace = namespace, range = range, dict = dict, joiner = joiner, cycler = cycler }

local function raise_exception(args) fail("refused", "%s", value.str(args[1] == nil and "" or args[1])) end

-- ---- the entrance ----

local M = {}

-- tree -> template
function M.compile(tree) return compile_body(tree) end

-- The text of a template with the caller's variables (name -> value). `run` is an empty table; its `line` says where the
-- rendering was, also when it was ended from outside.
function M.render(template, variables, run)
    run.out, run.line, run.calls = {}, 1, 0
    local scope = {}
    for name, f in pairs(GLOBALS) do scope[name] = value.callable(name, f) end
    scope.raise_exception = value.callable("raise_exception", raise_exception)
    for name, v in pairs(variables) do scope[name] = v end

    template(run, inner_scope(scope))
    return table.concat(run.out)
end

return M
