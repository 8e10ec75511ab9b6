-- SPDX-License-Identifier: MIT
-- How Llama 3.1 and later speak: headers for roles, <|eot_id|> after each message, and a tool call as the whole reply,
-- {"name": ..., "parameters": {...}}; what the tool said comes back from ipython, as JSON. Calls are also read after
-- <|python_tag|>, in a code fence, after words that lead to them, as <function=name>{...}</function>, and several in a row. A reply
-- without a call is the answer; one that ends with <|eom_id|> waits for a tool and is none. <think>...</think> before either is neither.

local chat = require "troupe.chat"
local chat_template = require "troupe.chat_template"
local foreign = require "troupe.foreign"
local json = require "troupe.json"
local turn = require "troupe.turn"

local dialect = { templates = true, defaults = { system = "You are a helpful assistant.", date = "26 Jul 2024" } }

local STOP, MORE, PYTHON = "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"
local THINK, THOUGHT = "<think>", "</think>"

local function header(role) return "<|start_header_id|>" .. role .. "<|end_header_id|>\n\n" end
local function message(role, text) return header(role) .. text .. STOP end

local function frame(n)
    local parts = { header("ipython") }
    for i = 2, n do parts[i] = STOP .. header("ipython") end
    parts[n + 1] = STOP .. header("assistant")
    return parts
end

local function system_text(options, spec)
    local text = { #spec.tools > 0 and "Environment: ipython\n" or "", "Cutting Knowledge Date: December 2023\nToday Date: ",
        options.date, "\n\n" }
    if #spec.tools > 0 then
        text[#text + 1] = "You have access to the following functions. To call a function, please respond with JSON for a function "
            .. 'call.Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
            .. "Do not use variables.\n\n"
        for _, tool in ipairs(spec.tools) do
            text[#text + 1] = '{"type": "function", "function": ' .. spec.tojson(tool) .. "}\n\n"
        end
    end
    text[#text + 1] = spec.instruction ~= "" and spec.instruction or options.system
    return table.concat(text)
end

-- ---- through the model's own chat template ----

-- The call of a message that begins at `from`, and the message's end with it.
local function find_call(text, from)
    local first = text:find('{%s*"name"', from)
    local last = first and chat.json_end(text, first)
    local members = last and json.members(text:sub(first, last))
    if not members or not (members.parameters or members.arguments) then
        error('the model\'s chat template writes no {"name": ..., "parameters": {...}} calls; take prompt.dialect = "xml"', 0)
    end
    if text:sub(last + 1, last + #STOP) == STOP then last = last + #STOP end
    return first, last
end

local function result(text)
    return { kind = "shot", role = "tool", parts = { { json.quote(text), plain = true } }, quoted = true }
end

-- The template's date is the recipe's: "today" would make another prompt of each day.
local function dated(options) return ', "date_string": ' .. json.encode(options.date) end

local function chat_prompt(options, spec)
    local messages = chat_template.add_shots(chat_template.begin(spec), spec, find_call, result)
    return chat_template.pieces(spec.render, chat_template.ask(messages, spec), chat_template.signatures(spec), dated(options))
end

-- Llama's own template refuses several calls in a message, but writes any number of results; a turn is over after STOP.
local function chat_frame(options, spec, n)
    local messages = {
        { kind = "shot", role = "user", parts = { { "?" } } },
        { kind = "shot", role = "assistant", calls = "[" .. chat_template.call_json(spec, "tool", {}) .. "]", find = find_call },
    }
    for i = 1, n do messages[i + 2] = result("") end
    local parts = chat_template.frame(spec.render, messages, STOP, chat_template.signatures(spec), dated(options))
    if parts[1]:sub(1, #STOP) == STOP then parts[1] = parts[1]:sub(#STOP + 1) end
    return parts
end

function dialect.check(_, tools) chat.check_names(tools, {}) end

function dialect.payload(_, text) return json.quote(text) end

function dialect.prompt(options, spec)
    if spec.render then return chat_prompt(options, spec) end
    local words = { message = message, stop = STOP, behind = "", reply = header("assistant"), frame = frame }
    function words.call(name, arguments)
        return '{"name": ' .. spec.tojson(name) .. ', "parameters": ' .. spec.tojson(arguments) .. "}"
    end
    function words.payload(text) return dialect.payload(options, text) end
    return chat.pieces(words, system_text(options, spec), spec)
end

function dialect.observation(options, calls, _, spec)
    return spec.render and chat_frame(options, spec, #calls) or frame(#calls)
end

function dialect.reply(options, _, spec)
    if spec.render then return chat_template.said(spec.render, chat_template.signatures(spec), dated(options)) end
    return { STOP .. header("user"), STOP .. header("assistant") }
end

local FORM = 'a tool call should be {"name": ..., "parameters": {...}}'

-- Is this object a call? {"name": "Ann"} is an answer like any other. One that is not JSON is told by how it begins.
local function is_call(tools, object)
    local members = json.members(object)
    if not members then
        local name, sure = chat.written_name(object)
        return sure and (chat.tool_named(tools, name) ~= nil or object:find('"parameters"%s*:') ~= nil)
    end
    if not members.name then return foreign.named(tools, members) ~= nil end
    local name = json.decode(members.name)
    return members.parameters ~= nil or members.arguments ~= nil or (type(name) == "string" and chat.tool_named(tools, name) ~= nil)
end

local function object_call(tools, object)
    local members = json.members(object)
    if members and not members.name then return chat.bad(FORM, foreign.named(tools, members), object) end
    return chat.json_call(tools, members and members.arguments and not members.parameters and "arguments" or "parameters", object)
end

-- {"name": ...} objects in a row, wherever the first of them begins.
local function objects(tools, reply)
    local calls = {}
    for first, last in foreign.objects(reply) do
        local object = reply:sub(first, last or #reply)
        if last and is_call(tools, object) then
            calls[#calls + 1] = object_call(tools, object)
        elseif not last and object:find('^{%s*"name"') then
            calls[#calls + 1] = object_call(tools, object)
            return calls
        end
    end
    return calls
end

-- ---- tool.call(name="value", ...): how Llama 3.1 calls its built-in tools ----

local WORDS = { True = "true", False = "false", None = "null", ["true"] = "true", ["false"] = "false", null = "null" }
-- What a backslash makes of a letter in a Python string, and of digits after it; "N" (a character by its name) isn't read.
local ESCAPES = { ["\n"] = "", ["\\"] = "\\", ["'"] = "'", ['"'] = '"', a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
    v = "\v", N = false }
local DIGITS = { x = "^%x%x", u = "^%x%x%x%x", U = "^%x%x%x%x%x%x%x%x" }

-- The character whose number stands at byte `at`, and what follows it; nil: there is no such character.
local function numbered(text, at, pattern, base)
    local digits = text:match(pattern, at)
    local code = digits and tonumber(digits, base)
    if not code or code > 0x10ffff or (code >= 0xd800 and code < 0xe000) then return nil end
    return utf8.char(code), at + #digits
end

-- What Python makes of the inside of a string, or nil. To Python, the backslash of an escape that it does not know is one.
local function unescaped(text)
    local out, at = {}, 1
    while true do
        local slash = text:find("\\", at, true)
        if not slash then break end
        out[#out + 1] = text:sub(at, slash - 1)

        local letter = text:sub(slash + 1, slash + 1)
        local what, behind = ESCAPES[letter], slash + 2
        if DIGITS[letter] then
            what, behind = numbered(text, behind, DIGITS[letter], 16)
        elseif letter:find("[0-7]") then
            what, behind = numbered(text, slash + 1, "^[0-7][0-7]?[0-7]?", 8)
        elseif what == nil then
            what = "\\" .. letter
        end
        if not what then return nil end
        out[#out + 1], at = what, behind
    end
    return table.concat(out) .. text:sub(at)
end

-- Where JSON reads an escape otherwise than Python: \/ and characters in two halves.
local function is_read_otherwise(value)
    for letter, digits in value:gmatch("\\(.)(%x?%x?)") do
        if letter == "/" or (letter == "u" and digits:find("^[dD][89a-fA-F]")) then return true end
    end
    return false
end

-- Where the string ends whose quote stands at byte `at`; nil: it is not closed.
local function string_end(text, at)
    local quote = text:sub(at, at)
    local p = at
    repeat
        p = text:find("[\\" .. quote .. "]", p + 1)
        local escapes = p and text:sub(p, p) == "\\"
        if escapes then p = p + 1 end
    until not escapes
    return p
end

-- The JSON text of the Python string whose quote stands at byte `at`, and where it ends; nil: it is none that can be read.
local function string_at(text, at, raw)
    local finish = string_end(text, at)
    local body = finish and text:sub(at + 1, finish - 1)
    if body and not raw then body = unescaped(body) end
    if body and utf8.len(body) then return json.quote(body), finish end
end

-- The value that begins at byte `at`, as JSON text, and what follows it; nil: there is none.
local function value_at(text, at)
    local first = text:sub(at, at)
    local prefix = text:match("^([rRuU]?)[\"']", at)
    local finish, value
    if prefix then
        value, finish = string_at(text, at + #prefix, prefix:lower() == "r")
    elseif first == "[" or first == "{" then
        finish = chat.json_end(text, at)
        value = finish and text:sub(at, finish)
        if value and is_read_otherwise(value) then value = nil end
    else
        local word = text:match("^[%w_%+%-%.]+", at) or ""
        finish, value = at + #word - 1, WORDS[word] or word
    end
    if value and json.members('{"value": ' .. value .. "}") then return value, finish + 1 end
end

-- name=value, ... from byte `at` to the bracket that closes the call and the text: a JSON object's text; nil: something else.
local function named_values(text, at)
    local members = {}
    local function closes() return at == #text and text:sub(at) == ")" end
    at = text:match("^%s*()", at)
    while not closes() do
        local name, from = text:match("^([%a_][%w_]*)%s*=%s*()", at)
        local value, behind = nil, nil
        if name then value, behind = value_at(text, from) end
        if not value then return nil end

        members[#members + 1] = json.encode(name) .. ": " .. value
        local comma
        comma, at = text:match("^%s*(,?)%s*()", behind)
        if comma == "" and not closes() then return nil end
    end
    return "{" .. table.concat(members, ", ") .. "}"
end

local BUILT_IN = "^([%w_%-%.]+)%.call%(()"

local function built_in(tools, code)
    local name, at = code:match(BUILT_IN)
    local tool = name and chat.tool_named(tools, name)
    if not tool then return nil end
    local values = named_values(code, at)
    if values then return chat.object_call(tools, name, values, code) end
    return chat.bad("a call of " .. name .. " is written as " .. name .. ".call(name=value, ...) with " .. chat.expected(tool), name, code)
end

-- After <|python_tag|>: a call, or code for the tool that runs code.
local function tagged(tools, code)
    local calls = code:sub(1, 1) == "{" and objects(tools, code) or { built_in(tools, code) }
    if #calls > 0 then return calls end

    local tool = chat.tool_named(tools, "python") or chat.tool_named(tools, "code_interpreter")
    local parameter = tool and chat.only_parameter(tool, "string")
    local named = code:match(BUILT_IN)
    if not parameter and named then return { chat.bad(nil, named, code, tools) } end
    if not parameter then return { chat.bad("there is no tool that runs code (there are: " .. chat.names(tools) .. ")", nil, code) } end
    return { { name = tool.name, arguments = { [parameter] = chat.without_fence(code) } } }
end

local MAX_UNCLOSED = 16 -- brackets that open and never close, each looked at to the end of the reply

-- <function=name>{...}</function>, several in a row; a mark inside of the object's strings is theirs.
local function functions(tools, reply)
    local calls, at, unclosed = {}, 1, 0
    while true do
        local _, begin, name = reply:find("<function=([%w_%-%.]+)>", at)
        if not begin then return calls end

        local brace = unclosed < MAX_UNCLOSED and reply:match("^%s*(){", begin + 1)
        local finish = brace and chat.json_end(reply, brace)
        if brace and not finish then unclosed = unclosed + 1 end
        local close, last = reply:find("</function>", (finish or begin) + 1, true)
        if not close then
            calls[#calls + 1] = chat.bad("the call is not closed by </function>", name, reply:sub(begin + 1), tools)
            return calls
        end
        local arguments = reply:sub(begin + 1, close - 1)
        calls[#calls + 1], at = chat.object_call(tools, name, arguments, arguments), last + 1
    end
end

local function calls_of(tools, reply)
    local tag = reply:find(PYTHON, 1, true)
    if tag then return tagged(tools, turn.trim(reply:sub(tag + #PYTHON))) end
    if #tools == 0 then return {} end -- a recipe may ask for a call as its answer
    local built = built_in(tools, reply) -- a policy that left the tag out; what it calls with may look like a call itself
    local calls = built and { built } or functions(tools, reply)
    if #calls == 0 and not foreign.in_python(tools, reply) then calls = objects(tools, reply) end
    if #calls > 0 then return calls end

    local name, raw = foreign.find(tools, reply)
    return name and { chat.bad(FORM, name, raw) } or {}
end

-- What is said after thoughts in front of any call; nil: the policy was still thinking, and where that thought begins.
local function behind_thoughts(reply)
    local text, at, spoken, which = turn.new(), 1, 1, nil
    text:add(reply)
    while true do
        local begin, finish, _
        begin, finish, which = text:first({ THINK, THOUGHT, PYTHON, "<function=", "{" }, at)
        if which == THINK then _, finish = text:find(THOUGHT, finish + 1) end
        if which == THINK and not finish then return nil, begin end
        if which ~= THINK and which ~= THOUGHT then return turn.trim(reply:sub(spoken)) end
        at, spoken = finish + 1, finish + 1
    end
end

-- A reply is over at <|eot_id|> or <|eom_id|>; only then is it known whether it is a call.
function dialect.parser(_, tools, begun)
    local text, at, marks = turn.new(), 1, { STOP, MORE }
    local from, thinking = 1, false -- where the last thought that held a mark begins; is it still open?
    if chat.open_thought(begun or "", { "think" }) then text:add(THINK) end

    -- The next mark, and what it ends. One in a thought is the thought's. nil: not in what has come.
    local function ended()
        while true do
            local list = thinking and { THOUGHT } or marks
            local stop, finish, which = text:first(list, at)
            at = stop and finish + 1 or text:unseen(list, at)
            if not stop then return nil end

            if thinking then
                thinking = false
            else
                local reply, opened = behind_thoughts(text:sub(from, stop - 1))
                if reply then return reply, finish, which end
                from, thinking = from + opened - 1, true
            end
        end
    end

    local function feed(chunk)
        text:add(chunk)
        local reply, finish, which = ended()
        if not reply then return nil end

        local calls, rest = calls_of(tools, reply), text.length - finish
        if #calls == 0 and which == MORE then
            calls = { chat.bad(FORM, nil, reply) }
        end
        if #calls > 0 then return { calls = calls, rest = rest } end
        return { answer = reply, rest = rest }
    end

    -- The policy has stopped by another token than these: what it said is the answer, unless it is a call.
    local function finished(stop_bytes)
        local said = behind_thoughts(text:sub(from, text.length - stop_bytes))
        return said and said ~= "" and #calls_of(tools, said) == 0 and { answer = said, rest = 0 } or nil
    end

    return feed, finished
end

return dialect
