-- SPDX-License-Identifier: MIT
-- troupe.chat: what dialects have in common: worked examples cut where play cuts, tool calls written as JSON, names of tools.

local json = require "troupe.json"

local chat = {}

local MAX_NAME = 64 -- bytes of a tool's name

-- ---- names ----

-- Raises where a tool can't be told from the dialect's own words. reserved: list of words.
function chat.check_names(tools, reserved)
    local taken = {}
    for _, tool in ipairs(tools) do
        local name = tool.name
        if taken[name] then error("two tools are named '" .. name .. "'; name one otherwise", 0) end
        taken[name] = true
        if not name:find("^[%a_][%w_%-%.]*$") or #name > MAX_NAME then
            error("a tool named '" .. name .. "': a name is a letter and then letters, digits, '_', '-', '.', at most " .. MAX_NAME .. " in all", 0)
        end
        for _, word in ipairs(reserved) do
            if name == word then error("a tool named '" .. name .. "': that is a word of the dialect itself; name it otherwise", 0) end
        end
    end
end

function chat.tool_named(tools, name)
    for _, tool in ipairs(tools) do if tool.name == name then return tool end end
end

-- "python, search"
function chat.names(tools)
    local names = {}
    for i, tool in ipairs(tools) do names[i] = tool.name end
    return #names > 0 and table.concat(names, ", ") or "none"
end

local function sorted_properties(tool)
    local names, properties = {}, type(tool) == "table" and type(tool.parameters) == "table" and tool.parameters.properties or {}
    for name in pairs(type(properties) == "table" and properties or {}) do names[#names + 1] = name end
    table.sort(names)
    return names, properties
end

-- What a tool's arguments look like: {"code": string}
function chat.expected(tool)
    local names, properties = sorted_properties(tool)
    for i, name in ipairs(names) do
        local schema = properties[name]
        local kind = type(schema) == "table" and type(schema.type) == "string" and schema.type or "value"
        names[i] = json.encode(name) .. ": " .. kind
    end
    return "{" .. table.concat(names, ", ") .. "}"
end

-- The name of a tool's parameter where it has one only (of type `kind`, if given); such a tool can be called by bare text.
function chat.only_parameter(tool, kind)
    local names, properties = sorted_properties(tool)
    local schema = properties[names[1]]
    if #names ~= 1 or (kind and (type(schema) ~= "table" or schema.type ~= kind)) then return nil end
    return names[1]
end

-- ```python\n...\n``` around code is not code.
function chat.without_fence(text)
    local inner = text:match("^%s*```[%w_+%-]*[ \t]*\r?\n(.-)\r?\n?[ \t]*```%s*$")
    return inner or text:match("^%s*```([^`\n]+)```%s*$") or text
end

-- ---- thoughts ----

-- The first of `names` whose <name>, and no </name> after it, is in what the prompt begins a reply with: the policy thinks from its
-- first word on. A prefilled "<think>\n\n</think>" (a model told not to think) is over before it begins.
function chat.open_thought(begun, names)
    for _, name in ipairs(names) do
        local opens, closes = begun:match(".*()<" .. name .. ">") or 0, begun:match(".*()</" .. name .. ">") or 0
        if opens > closes then return name end
    end
end

-- ---- calls ----

-- "there is no tool named x (there are: ...)", or nil where there is one. The name is the policy's: it may be of any length.
function chat.no_tool(tools, name)
    if chat.tool_named(tools, name) then return nil end
    local short = #name > MAX_NAME and name:sub(1, MAX_NAME):gsub("[\192-\255][\128-\191]*$", "") .. "..." or name
    return "there is no tool named " .. short .. " (there are: " .. chat.names(tools) .. ")"
end

-- A call that can't be made: what the policy reads, and what of its words is kept. With `tools`, one by the name of none of them is
-- told so first: however the call is mended, that tool will not be there. why: nil where that is all.
function chat.bad(why, name, raw, tools)
    local missing = tools and name and chat.no_tool(tools, name)
    if missing then why = missing .. (why and "; " .. why or "") end
    return { bad = "error: " .. why, name = name, raw = raw }
end

-- The name in a call whose JSON can't be read, as Python and JavaScript write objects, too, and whether it is surely the tool's (a later
-- "name" may be inside of the arguments).
function chat.written_name(text)
    local first = text:match("^%s*{%s*[\"']?name[\"']?%s*:%s*[\"']([^\"'\\]*)[\"']") or text:match("^%s*<function=([%w_%-%.]+)")
    return first or text:match('"name"%s*:%s*"([^"\\]*)"'), first ~= nil
end

local KINDS = { ["["] = "an array", ['"'] = "a string", t = "true", f = "false", n = "null" }

-- The arguments of a call, JSON text, if they are an object.
function chat.object_call(tools, name, arguments, raw)
    local tool = chat.tool_named(tools, name)
    local members, why = json.members(arguments)
    if members then return { name = name, arguments = arguments } end
    if not tool then return chat.bad(nil, name, raw, tools) end

    local kind = KINDS[arguments:match("^%s*(.)") or ""]
    local found = json.decode(arguments) ~= nil and (kind or "a number") or why
    return chat.bad("the arguments of " .. name .. " should be a JSON object " .. chat.expected(tool) .. ": found " .. found, name, raw)
end

-- {"name": ..., KEY: {...}} as JSON text -> a call, good or bad.
function chat.json_call(tools, key, text)
    local form = '{"name": ..., "' .. key .. '": {...}}'
    local members, why = json.members(text)
    if not members then
        local name, sure = chat.written_name(text)
        return chat.bad("a tool call should be " .. form .. ": " .. why, name, text, sure and tools)
    end

    local name = members.name and json.decode(members.name)
    if type(name) ~= "string" then
        return chat.bad("a tool call should be " .. form .. ': it has no "name" (there are: ' .. chat.names(tools) .. ")", nil, text)
    end
    if name:find("%c") then return chat.bad("the name of a tool holds no control characters", (name:gsub("%c", "?")), text, tools) end
    local arguments = members[key]
    if arguments then return chat.object_call(tools, name, arguments, text) end

    local others = {}
    for other in pairs(members) do
        if other ~= "name" then others[#others + 1] = '"' .. other .. '"' end
    end
    table.sort(others)
    local tool = chat.tool_named(tools, name)
    if not tool then return chat.bad(nil, name, text, tools) end
    return chat.bad("the call of " .. name .. ' has no "' .. key .. '" ' .. chat.expected(tool)
        .. (#others > 0 and ": found " .. table.concat(others, ", ") or ""), name, text)
end

-- Where the JSON object or array ends that begins at byte `at`; nil: it is not closed.
function chat.json_end(text, at)
    local depth = 0
    while true do
        local p = text:find('[%[%]{}"]', at)
        if not p then return nil end
        local c = text:sub(p, p)
        if c == '"' then
            repeat -- to the quote that ends the string
                p = text:find('["\\]', p + 1)
                if not p then return nil end
                local escaped = text:sub(p, p) == "\\"
                if escaped then p = p + 1 end
            until not escaped
        elseif c == "{" or c == "[" then
            depth = depth + 1
        else
            depth = depth - 1
            if depth <= 0 then return p end
        end
        at = p + 1
    end
end

-- ---- examples ----

-- Pieces of a worked example with the borders that play makes: the policy's words end where a call closes, the observation's
-- frame and the tool's words follow. So an example has the ids that the same episode has when it is played.
-- written: what the policy wrote; frame: { before, after } the tool's words. A piece that the policy would have written says so:
-- fine-tuning (troupe sft) learns these and nothing else.
function chat.add_step(pieces, written, frame, payload)
    pieces[#pieces + 1] = { "shot", written, written = true }
    pieces[#pieces + 1] = { "shot", frame[1] }
    pieces[#pieces + 1] = { "shot", payload, plain = true }
    pieces[#pieces + 1] = { "shot", frame[2] }
end

-- words: message(role, text); call(name, arguments) -> what the policy writes; stop: how it ends a message; frame(n): what stands
-- around n tool results; payload(text); reply: what an assistant's message begins with; behind: what follows its end.
function chat.pieces(words, system, spec)
    local pieces = { { "instruction", words.message("system", system) } }
    local frame = words.frame(1)
    if frame[1]:sub(1, #words.stop) == words.stop then frame = { frame[1]:sub(#words.stop + 1), frame[2] } end

    for _, shot in ipairs(spec.shots) do
        pieces[#pieces + 1] = { "shot", words.message("user", shot.prompt) .. words.reply }
        for _, step in ipairs(shot.steps or {}) do
            chat.add_step(pieces, words.call(step.tool, step.arguments) .. words.stop, frame, words.payload(step.result))
        end
        pieces[#pieces + 1] = { "shot", shot.answer .. words.stop, written = true }
        pieces[#pieces + 1] = { "shot", words.behind }
    end

    local asked = {}
    local function say(text, written)
        if text ~= "" then pieces[#pieces + 1] = { "question", text, written = written } end
    end
    for _, m in ipairs(spec.row.messages or { { role = "user", content = spec.row.prompt } }) do
        if m.role == "assistant" then
            local before, behind = words.message("assistant", "\0"):match("^(.-)%z(.*)$")
            say(table.concat(asked) .. before)
            say(m.content .. words.stop, true)
            asked = { behind:sub(#words.stop + 1) }
        else
            asked[#asked + 1] = words.message(m.role, m.content)
        end
    end
    say(table.concat(asked) .. words.reply)
    return pieces
end

return chat
