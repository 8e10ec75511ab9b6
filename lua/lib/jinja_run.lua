-- SPDX-License-Identifier: MIT
-- troupe.jinja_run: a tree made runnable. Each node becomes a Lua function: an expression's is called as f(run, scope) and
-- gives a value, a statement's writes to run.out and gives nil, "break" or "continue".
--
-- A scope is a Lua table whose metatable leads to the scope around it. As in Jinja, a loop, a macro and a `with` open one,
-- an `if` does not: what a loop sets is gone after it, unless it is an attribute of a namespace.

local value = require "troupe.jinja_value"
local tools = require "troupe.jinja_filters"
local operators = require "troupe.jinja_operators"
local globals = require "troupe.jinja_globals"
local fail, NONE = value.fail, value.NONE

local expressions, statements = {}, {}

local function compile(node)
    local make = expressions[node.t] or statements[node.t]
    return make(node)
end

local function inner_scope(scope) return setmetatable({}, { __index = scope }) end

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
    get = operators.item,
    attribute = operators.attribute,
    call = call,
    add = function(a, b) return operators.binary("+", a, b) end,
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
    return at_line(node, function(run, scope) return operators.attribute(of(run, scope), name) end)
end

function expressions.item(node)
    local of, key = compile(node.of), compile(node.key)
    return at_line(node, function(run, scope) return operators.item(of(run, scope), key(run, scope)) end)
end

function expressions.slice(node)
    local function none() return NONE end
    local of = compile(node.of)
    local from = node.from and compile(node.from) or none
    local to = node.to and compile(node.to) or none
    local step = node.step and compile(node.step) or none
    return at_line(node, function(run, scope)
        return operators.slice(of(run, scope), from(run, scope), to(run, scope), step(run, scope))
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
    return at_line(node, function(run, scope) return operators.binary(sign, left(run, scope), right(run, scope)) end)
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

-- ---- the entrance ----

local M = {}

-- tree -> template
function M.compile(tree) return compile_body(tree) end

-- The text of a template with the caller's variables (name -> value). `run` is an empty table; its `line` says where the
-- rendering was, also when it was ended from outside.
function M.render(template, variables, run)
    run.out, run.line, run.calls = {}, 1, 0
    local scope = {}
    for name, f in pairs(globals) do scope[name] = value.callable(name, f) end
    for name, v in pairs(variables) do scope[name] = v end

    template(run, inner_scope(scope))
    return table.concat(run.out)
end

return M
