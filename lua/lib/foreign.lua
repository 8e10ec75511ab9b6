-- SPDX-License-Identifier: MIT
-- troupe.foreign: calls of tools that there are, written otherwise than in the dialect's own form: as other models write them, or half
-- of the way. Such a reply is no answer, which would end the episode, and no call either: what it means is a guess. The policy is told
-- how a call is written.

local chat = require "troupe.chat"
local json = require "troupe.json"
local turn = require "troupe.turn"

local foreign = {}

local MAX_UNCLOSED = 16 -- brackets that open and never close, each looked at to the end of the reply
local MAX_DEPTH = 3     -- of {"tool_calls": [{"function": {"name": ...}}]}

-- Keys that name a tool by themselves, and keys that do beside arguments: {"action": "search"} may be an answer.
local NAMES = { "name", "function", "function_name", "function_call", "tool_name", "tool_call", "tool_calls" }
local MAYBE_NAMES = { "tool", "action", "recipient_name" }
local ARGUMENTS = { "arguments", "args", "parameters", "params", "input", "inputs", "kwargs", "action_input", "tool_input" }

local NAMING = {}
for _, key in ipairs(NAMES) do NAMING[key] = true end

-- The tool's name in a name that may have OpenAI's namespace before it: functions.python. nil: there is no such tool.
local function known(tools, name)
    local bare = name:match("^functions%.(.+)$") or name:match("^tools%.(.+)$")
    return (chat.tool_named(tools, name) and name) or (bare and chat.tool_named(tools, bare) and bare) or nil
end

local function has_one_of(members, keys)
    for _, key in ipairs(keys) do
        if members[key] ~= nil then return true end
    end
    return false
end

-- The tool that such a key's value is about: "python", {"name": "python"}, [{"function": {"name": "python"}}].
local function named_by(value, depth)
    if type(value) == "string" then return value end
    if type(value) ~= "table" or depth > MAX_DEPTH then return nil end
    for _, key in ipairs(NAMES) do
        if value[key] ~= nil then return named_by(value[key], depth + 1) end
    end
    return named_by(value[1], depth + 1)
end

-- {"python": {"code": ...}}: the tool's name as the only key, its arguments as the value.
local function named_by_key(tools, members)
    local key, value = next(members)
    local tool = key and next(members, key) == nil and chat.tool_named(tools, key)
    local arguments = tool and json.decode(value)
    if type(arguments) ~= "table" or next(arguments) == nil then return nil end

    local properties = type(tool.parameters) == "table" and tool.parameters.properties
    for name in pairs(arguments) do
        if type(properties) ~= "table" or properties[name] == nil then return nil end
    end
    return key
end

-- The tool that a JSON object calls, or nil. members: name -> JSON text, of an object without a "name" or with one.
function foreign.named(tools, members)
    local keys = { NAMES, has_one_of(members, ARGUMENTS) and MAYBE_NAMES or {} }
    for _, list in ipairs(keys) do
        for _, key in ipairs(list) do
            local name = members[key] and named_by(json.decode(members[key]), 1)
            name = name and known(tools, name)
            if name then return name end
        end
    end
    return named_by_key(tools, members)
end

-- Where the JSON objects of a text begin and end; of one that does not end, its end is nil.
function foreign.objects(text)
    local at, unclosed = 1, 0
    return function()
        local first = unclosed < MAX_UNCLOSED and text:find('{%s*"', at)
        if not first then return nil end
        local last = chat.json_end(text, first)
        if not last then unclosed = unclosed + 1 end
        at = (last or first) + 1
        return first, last
    end
end

local function in_json(tools, reply)
    for first, last in foreign.objects(reply) do
        local object = last and reply:sub(first, last)
        local members = object and json.members(object)
        local name = members and foreign.named(tools, members)
        if name then return name, object end
    end
end

-- What begins as an object of Python, of JavaScript or of broken JSON: {'name': 'python', ...
local function in_half_json(tools, reply)
    for key, name in reply:gmatch("{%s*[\"']?([%a_]+)[\"']?%s*:%s*[\"']([%w_%-%.]+)[\"']") do
        local tool = NAMING[key] and known(tools, name)
        if tool then return tool end
    end
end

-- The tool of a reply that is tool(name=value, ...) or [tool(...), ...], as Llama 4 calls. What stands in its brackets tells it from
-- prose: python (the language).
function foreign.in_python(tools, reply)
    local inner = turn.trim(reply:match("^%[(.*)%]$") or reply)
    local name, first = inner:match("^([%a_][%w_%-%.]*)%(%s*(.*)%)$")
    name = name and known(tools, name)
    if not name then return nil end
    if first == "" or first:find("^[\"']") or first:find("^[%a_][%w_]*%s*=[^=]") then return name end
end

-- Marks of other models before a tool's name: Qwen3-Coder and Llama, Qwen 2, ReAct.
local MARKS = {
    "<function=([%w_%-%.]+)", "✿FUNCTION✿:%s*([%w_%-%.]+)", "\nAction:[ \t]*([%w_%-%.]+)[ \t]*%[",
    "\nAction:[ \t]*([%w_%-%.]+)[ \t]*\nAction Input:",
}

local function behind_a_mark(tools, reply)
    for _, mark in ipairs(MARKS) do
        for name in ("\n" .. reply):gmatch(mark) do
            local tool = known(tools, name)
            if tool then return tool end
        end
    end
end

-- The tool that `reply` calls in a way that is not the dialect's, and the words that do; nil: it calls none.
function foreign.find(tools, reply)
    if #tools == 0 then return nil end
    local name = foreign.in_python(tools, reply) -- first: an argument may hold an object that looks like a call
    if name then return name, reply end
    local raw
    name, raw = in_json(tools, reply)
    if name then return name, raw end
    name = in_half_json(tools, reply) or behind_a_mark(tools, reply)
    if name then return name, reply end
end

return foreign
