-- SPDX-License-Identifier: MIT
-- troupe.jinja_parser: tokens to a tree, with Jinja's own precedence.
--
-- An expression is { t = KIND, line =, ... }: const, name, list, tuple, dict, get (.name), item ([x]), slice, call,
-- filter, test, unary, binary, concat, compare, both (and), either (or), no (not), choice (a if b else c).
-- A statement: text, print, if, for, set, set_block, macro, call_block, filter_block, with, generation, break, continue.
-- What Jinja has beyond the needs of chat templates (inheritance, imports, do, autoescape) is refused by name and line.

local value = require "troupe.jinja_value"

local Parser = {}
Parser.__index = Parser

function Parser:token() return self.tokens[self.at] end
function Parser:ahead() return self.tokens[self.at + 1] or self.tokens[self.at] end

function Parser:fail(format, ...) value.fail("syntax", "line %d: " .. format, self:token().line, ...) end
function Parser:lacks(what, line) value.fail("lacks", "line %d: %s is not supported", line or self:token().line, what) end

local function described(token)
    if token.type == "end" then return "the end of the template" end
    return "'" .. tostring(token.value or token.type) .. "'"
end

function Parser:next()
    local token = self:token()
    self.at = self.at + 1
    return token
end

function Parser:is(kind, text)
    local token = self:token()
    return token.type == kind and (text == nil or token.value == text)
end

function Parser:skip(kind, text)
    if not self:is(kind, text) then return false end
    self.at = self.at + 1
    return true
end

function Parser:expect(kind, text)
    if not self:is(kind, text) then self:fail("expected '%s', found %s", text or kind, described(self:token())) end
    return self:next()
end

function Parser:node(t, fields)
    fields.t, fields.line = t, fields.line or self:token().line
    return fields
end

-- ---- expressions, the loosest first ----

function Parser:expression()
    local line, chosen = self:token().line, self:either()
    while self:skip("name", "if") do
        local condition = self:either()
        local other = self:skip("name", "else") and self:expression() or nil
        chosen = self:node("choice", { line = line, condition = condition, yes = chosen, no = other })
    end
    return chosen
end

function Parser:either()
    local left = self:both()
    while self:skip("name", "or") do left = self:node("either", { left = left, right = self:both() }) end
    return left
end

function Parser:both()
    local left = self:negation()
    while self:skip("name", "and") do left = self:node("both", { left = left, right = self:negation() }) end
    return left
end

function Parser:negation()
    if self:skip("name", "not") then return self:node("no", { of = self:negation() }) end
    return self:comparison()
end

local COMPARES = { ["=="] = true, ["!="] = true, ["<"] = true, ["<="] = true, [">"] = true, [">="] = true }

function Parser:comparison()
    local first, rest = self:sum(), {}
    while true do
        local token = self:token()
        if COMPARES[token.type] then
            self:next()
            rest[#rest + 1] = { sign = token.type, of = self:sum() }
        elseif self:skip("name", "in") then
            rest[#rest + 1] = { sign = "in", of = self:sum() }
        elseif self:is("name", "not") and self:ahead().type == "name" and self:ahead().value == "in" then
            self.at = self.at + 2
            rest[#rest + 1] = { sign = "not in", of = self:sum() }
        else
            break
        end
    end
    if #rest == 0 then return first end
    return self:node("compare", { first = first, rest = rest })
end

-- left SIGN right SIGN right ..., from the left; `tighter` reads an operand.
function Parser:chain(signs, tighter)
    local left = self[tighter](self)
    while signs[self:token().type] do
        local line, sign = self:token().line, self:next().type
        left = self:node("binary", { line = line, sign = sign, left = left, right = self[tighter](self) })
    end
    return left
end

function Parser:sum() return self:chain({ ["+"] = true, ["-"] = true }, "concat") end

function Parser:concat()
    local parts = { self:product() }
    while self:skip("~") do parts[#parts + 1] = self:product() end
    if #parts == 1 then return parts[1] end
    return self:node("concat", { parts = parts })
end

function Parser:product() return self:chain({ ["*"] = true, ["/"] = true, ["//"] = true, ["%"] = true }, "power") end
function Parser:power() return self:chain({ ["**"] = true }, "unary") end

function Parser:unary(plain)
    local token, of = self:token(), nil
    if token.type == "-" or token.type == "+" then
        self:next()
        of = self:node("unary", { line = token.line, sign = token.type, of = self:unary(true) })
    else
        of = self:primary()
    end
    of = self:postfix(of)
    return plain and of or self:filters_and_tests(of)
end

-- ---- operands ----

local CONSTANTS = { ["true"] = true, True = true, ["false"] = false, False = false, none = value.NONE, None = value.NONE }

-- Strings that stand side by side are one.
function Parser:strings()
    local parts, line = {}, self:token().line
    while self:is("string") do parts[#parts + 1] = self:next().value end
    return self:node("const", { line = line, value = table.concat(parts) })
end

function Parser:primary()
    local token = self:token()
    if token.type == "string" then return self:strings() end
    if token.type == "integer" or token.type == "float" then
        return self:node("const", { line = token.line, value = self:next().value })
    end
    if token.type == "name" then
        self:next()
        if CONSTANTS[token.value] ~= nil then
            return self:node("const", { line = token.line, value = CONSTANTS[token.value] })
        end
        return self:node("name", { line = token.line, name = token.value })
    end
    if token.type == "(" then
        self:next()
        local inner = self:tuple({ [")"] = true }, true)
        self:expect(")")
        return inner
    end
    if token.type == "[" then return self:list() end
    if token.type == "{" then return self:dict() end
    self:fail("unexpected %s", described(token))
end

function Parser:list()
    local items, line = {}, self:expect("[").line
    while not self:is("]") do
        if #items > 0 then self:expect(",") end
        if self:is("]") then break end
        items[#items + 1] = self:expression()
    end
    self:expect("]")
    return self:node("list", { line = line, items = items })
end

function Parser:dict()
    local items, line = {}, self:expect("{").line
    while not self:is("}") do
        if #items > 0 then self:expect(",") end
        if self:is("}") then break end
        local key = self:expression()
        self:expect(":")
        items[#items + 1] = { key = key, value = self:expression() }
    end
    self:expect("}")
    return self:node("dict", { line = line, items = items })
end

-- One expression, or a tuple of several; ends before a token of `ends`, or before block_end and print_end. An empty one only
-- where `empty` allows it: ().
function Parser:tuple(ends, empty)
    local items, line, comma = {}, self:token().line, false
    local function ended()
        local token = self:token()
        return ends[token.type] or token.type == "block_end" or token.type == "print_end"
            or (token.type == "name" and ends[token.value])
    end
    while not ended() do
        items[#items + 1] = ends.no_condition and self:either() or self:expression()
        if not self:is(",") then break end
        comma = true
        self:next()
    end
    if #items == 0 and not empty then self:fail("expected an expression, found %s", described(self:token())) end
    if #items == 1 and not comma then return items[1] end
    return self:node("tuple", { line = line, items = items })
end

function Parser:postfix(of)
    while true do
        local token = self:token()
        if token.type == "." then
            of = self:attribute(of)
        elseif token.type == "[" then
            of = self:subscript(of)
        elseif token.type == "(" then
            of = self:call(of)
        else
            return of
        end
    end
end

function Parser:attribute(of)
    local line = self:expect(".").line
    local token = self:next()
    if token.type == "name" then return self:node("get", { line = line, of = of, name = token.value }) end
    if token.type ~= "integer" then self:fail("expected a name or a number after '.'") end
    return self:node("item", { line = line, of = of, key = self:node("const", { value = token.value }) })
end

function Parser:subscript(of)
    local line, parts, slices = self:expect("[").line, {}, false
    for i = 1, 3 do
        if not self:is(":") and not self:is("]") then parts[i] = self:expression() end
        if not self:skip(":") then break end
        slices = true
    end
    if self:is(",") then self:lacks("a subscript of several parts", line) end
    self:expect("]")
    if slices then return self:node("slice", { line = line, of = of, from = parts[1], to = parts[2], step = parts[3] }) end
    if not parts[1] then self:fail("expected an expression in '[]'") end
    return self:node("item", { line = line, of = of, key = parts[1] })
end

-- (a, b, *list, name = c, **dict): { positional, named, star, stars }
function Parser:arguments()
    local a = { positional = {}, named = {} }
    self:expect("(")
    local first = true
    while not self:is(")") do
        if not first then self:expect(",") end
        first = false
        if self:is(")") then break end
        if self:skip("**") then
            a.stars = self:expression()
        elseif self:skip("*") then
            a.star = self:expression()
        elseif self:is("name") and self:ahead().type == "=" then
            local name = self:next().value
            self:next()
            a.named[#a.named + 1] = { name = name, value = self:expression() }
        else
            if #a.named > 0 or a.stars then self:fail("a positional argument after a named one") end
            a.positional[#a.positional + 1] = self:expression()
        end
    end
    self:expect(")")
    return a
end

function Parser:call(of)
    local line = self:token().line
    return self:node("call", { line = line, of = of, arguments = self:arguments() })
end

function Parser:filter(of)
    local token = self:expect("name")
    local arguments = self:is("(") and self:arguments() or nil
    return self:node("filter", { line = token.line, of = of, name = token.value, arguments = arguments })
end

local TEST_ARGUMENTS = { name = true, string = true, integer = true, float = true, ["("] = true, ["["] = true, ["{"] = true }
local NO_ARGUMENT = { ["else"] = true, ["or"] = true, ["and"] = true }

-- x is [not] NAME, with arguments in brackets or one operand without: x is divisibleby 3
function Parser:test(of)
    local negated = self:skip("name", "not")
    local token, arguments = self:expect("name"), nil
    local next = self:token()
    if next.type == "(" then
        arguments = self:arguments()
    elseif TEST_ARGUMENTS[next.type] and not (next.type == "name" and NO_ARGUMENT[next.value]) then
        if self:is("name", "is") then self:fail("tests can't be chained with 'is'") end
        arguments = { positional = { self:postfix(self:primary()) }, named = {} }
    end
    local test = self:node("test", { line = token.line, of = of, name = token.value, arguments = arguments })
    return negated and self:node("no", { line = token.line, of = test }) or test
end

function Parser:filters_and_tests(of)
    while true do
        if self:skip("|") then
            of = self:filter(of)
        elseif self:skip("name", "is") then
            of = self:test(of)
        elseif self:is("(") then
            of = self:call(of)
        else
            return of
        end
    end
end

-- ---- statements ----

local LACKING = {
    include = "'include'", import = "'import'", from = "'from ... import'", extends = "'extends'", block = "'block'",
    ["do"] = "'do'", autoescape = "'autoescape'", trans = "'trans'", debug = "'debug'",
}

-- What a name is given to: name, ns.name, or a list of them.
function Parser:target(single)
    local names, line = {}, self:token().line
    repeat
        if #names > 0 and not self:is("name") and not self:is("(") then break end
        if self:skip("(") then
            names[#names + 1] = self:target()
            self:expect(")")
        else
            names[#names + 1] = self:node("name", { name = self:expect("name").value })
        end
        if self:skip(".") then
            names[#names] = self:node("attribute", { line = line, of = names[#names].name, name = self:expect("name").value })
        end
    until single or not self:skip(",")
    if #names == 1 and not (self.tokens[self.at - 1].type == ",") then return names[1] end
    return self:node("names", { line = line, names = names })
end

-- Statements up to a block of one of `ends`, whose name is returned with them; the block itself is left open.
function Parser:body(ends)
    local out = {}
    while true do
        local token = self:token()
        if token.type == "data" then
            out[#out + 1] = self:node("text", { line = token.line, text = self:next().value })
        elseif token.type == "print_begin" then
            self:next()
            out[#out + 1] = self:node("print", { line = token.line, of = self:tuple({}) })
            self:expect("print_end")
        elseif token.type == "block_begin" then
            self:next()
            local name = self:token().value
            if self:is("name") and ends and ends[name] then
                self:next()
                return out, name
            end
            out[#out + 1] = self:statement()
        elseif token.type == "end" then
            if ends then self:fail("the template ends where 'end...' of line %d was expected", ends.line) end
            return out
        else
            self:fail("unexpected %s", described(token))
        end
    end
end

-- Nested statements are held to a depth that the stack allows.
local MAX_DEPTH = 100

function Parser:statement()
    local token = self:expect("name")
    if LACKING[token.value] then self:lacks(LACKING[token.value], token.line) end
    local read = self["read_" .. token.value]
    if not read then self:fail("there is no tag '%s'", token.value) end
    self.depth = self.depth + 1
    if self.depth > MAX_DEPTH then self:fail("tags are nested deeper than %d", MAX_DEPTH) end
    local node = read(self, token.line)
    self.depth = self.depth - 1
    self:expect("block_end")
    return node
end

-- {% NAME ... %} body {% endNAME %}
function Parser:block_body(ending, line)
    self:expect("block_end")
    return (self:body({ [ending] = true, line = line }))
end

function Parser:read_if(line)
    local branches, other = {}, nil
    local ends = { ["elif"] = true, ["else"] = true, endif = true, line = line }
    repeat
        local condition = self:tuple({})
        self:expect("block_end")
        local body, ended = self:body(ends)
        branches[#branches + 1] = { condition = condition, body = body }
        if ended == "else" then other = self:block_body("endif", line) end
    until ended ~= "elif"
    return self:node("if", { line = line, branches = branches, other = other })
end

function Parser:read_for(line)
    local target = self:target()
    self:expect("name", "in")
    local of = self:tuple({ ["if"] = true, recursive = true, no_condition = true })
    local condition = self:skip("name", "if") and self:expression() or nil
    local recursive = self:skip("name", "recursive")
    self:expect("block_end")
    local body, ended = self:body({ ["else"] = true, endfor = true, line = line })
    local other = ended == "else" and self:block_body("endfor", line) or nil
    return self:node("for", { line = line, target = target, of = of, condition = condition, recursive = recursive,
                              body = body, other = other })
end

function Parser:read_set(line)
    local target = self:target()
    if self:skip("=") then return self:node("set", { line = line, target = target, of = self:tuple({}) }) end
    local filters = self:block_filters()
    return self:node("set_block", { line = line, target = target, filters = filters, body = self:block_body("endset", line) })
end

-- | name(...) | ...: filters without what they are for, which is the block's text.
function Parser:block_filters()
    local filters = {}
    while self:skip("|") do filters[#filters + 1] = self:filter() end
    return filters
end

-- (a, b = default)
function Parser:parameters()
    local out = {}
    self:expect("(")
    while not self:is(")") do
        if #out > 0 then self:expect(",") end
        local name = self:expect("name").value
        out[#out + 1] = { name = name, default = self:skip("=") and self:expression() or nil }
    end
    self:expect(")")
    return out
end

function Parser:read_macro(line)
    local name = self:expect("name").value
    local parameters = self:parameters()
    return self:node("macro", { line = line, name = name, parameters = parameters, body = self:block_body("endmacro", line) })
end

function Parser:read_call(line)
    local parameters = self:is("(") and self:parameters() or {}
    local call = self:expression()
    if call.t ~= "call" then self:fail("expected a call") end
    return self:node("call_block", { line = line, parameters = parameters, call = call, body = self:block_body("endcall", line) })
end

function Parser:read_filter(line)
    local filters = { self:filter() }
    for _, filter in ipairs(self:block_filters()) do filters[#filters + 1] = filter end
    return self:node("filter_block", { line = line, filters = filters, body = self:block_body("endfilter", line) })
end

function Parser:read_with(line)
    local sets = {}
    while not self:is("block_end") do
        if #sets > 0 then self:expect(",") end
        local target = self:target(true)
        self:expect("=")
        sets[#sets + 1] = { target = target, of = self:expression() }
    end
    return self:node("with", { line = line, sets = sets, body = self:block_body("endwith", line) })
end

-- Hugging Face's own tag: what the assistant said.
function Parser:read_generation(line)
    return self:node("generation", { line = line, body = self:block_body("endgeneration", line) })
end

Parser.read_break = function(self, line) return self:node("break", { line = line }) end
Parser.read_continue = function(self, line) return self:node("continue", { line = line }) end

return function(tokens)
    return setmetatable({ tokens = tokens, at = 1, depth = 0 }, Parser):body(nil)
end
