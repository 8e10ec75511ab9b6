-- SPDX-License-Identifier: MIT
-- troupe.chat_template: a prompt's pieces in the words of the model's own chat template (prompt.chat_template = "model").
--
-- The conversation is rendered once, with a mark in place of each message's text; what stands around the marks is the
-- template's:
--
--     <|im_start|>system\n MARK1 <|im_end|>\n<|im_start|>user\n MARK2 <|im_end|>\n<|im_start|>assistant\n
--
-- A mark is made of characters for private use, which no template looks for, trims or escapes. A template that prints one
-- twice, not at all or in another order is refused: what it does with a message can't be told from outside.
--
-- A message is { kind =, role =, parts = { {text} | {text, plain = true} | {text, written = true}, ... } } (by the policy) or, for the assistant's tool calls,
-- { kind =, role =, calls = JSON text, find = function(text, from) -> first, last of what the policy would write }. kind is the pieces' role: "instruction",
-- "shot" or "question". quoted = true: the template writes its text as a JSON string, and the parts hold the quotes.

local json = require "troupe.json"

local M = {}

local function mark(i) return "\u{F8FE}" .. i .. "\u{F8FF}" end

-- ---- tools, as templates read them ----

-- The functions' signatures, as JSON text; nil: there are none.
function M.signatures(spec)
    local lines = {}
    for i, tool in ipairs(spec.tools) do lines[i] = '{"type": "function", "function": ' .. spec.tojson(tool) .. "}" end
    return #lines > 0 and "[" .. table.concat(lines, ", ") .. "]" or nil
end

function M.call_json(spec, name, arguments)
    return '{"type": "function", "function": {"name": ' .. spec.tojson(name) .. ', "arguments": ' .. spec.tojson(arguments) .. "}}"
end

-- The messages of worked examples, after the conversation's first. find: as above, of one call; result(text) -> a tool's message.
function M.add_shots(messages, spec, find, result)
    local function add(role, text)
        messages[#messages + 1] = { kind = "shot", role = role, parts = { { text, written = role == "assistant" } } }
    end
    for _, shot in ipairs(spec.shots) do
        add("user", shot.prompt)
        for _, step in ipairs(shot.steps or {}) do
            messages[#messages + 1] = { kind = "shot", role = "assistant", find = find,
                calls = "[" .. M.call_json(spec, step.tool, step.arguments) .. "]" }
            messages[#messages + 1] = result(step.result)
        end
        add("assistant", shot.answer)
    end
    return messages
end

-- ---- messages ----

-- The conversation's first messages, and its last: the recipe's instruction, and the row's question or messages.
function M.begin(spec)
    return spec.instruction ~= "" and { { kind = "instruction", role = "system", parts = { { spec.instruction } } } } or {}
end

function M.ask(messages, spec)
    for _, m in ipairs(spec.row.messages or { { role = "user", content = spec.row.prompt } }) do
        if type(m.content) ~= "string" then error("this row has neither a prompt nor messages with text", 0) end
        messages[#messages + 1] = { kind = "question", role = m.role, parts = { { m.content, written = m.role == "assistant" } } }
    end
    return messages
end

-- The JSON text of a conversation whose messages hold marks.
local function conversation(messages, tools, more)
    local parts = {}
    for i, m in ipairs(messages) do
        local content = m.calls and '"", "tool_calls": ' .. m.calls or json.encode(mark(i))
        parts[i] = '{"role": ' .. json.encode(m.role) .. ', "content": ' .. content .. "}"
    end
    return '{"messages": [' .. table.concat(parts, ", ") .. "]" .. (tools and ', "tools": ' .. tools or "") .. (more or "") .. "}"
end

-- The system message's text in front of the first user's: for templates that refuse the role.
local function without_system(messages)
    local merged = {}
    local system = messages[1].role == "system" and messages[1]
    for i, m in ipairs(messages) do
        if system and i == 2 then
            local parts = { system.parts[1], { "\n\n" } }
            for _, part in ipairs(m.parts) do parts[#parts + 1] = part end
            m = { kind = m.kind, role = m.role, parts = parts }
        end
        if m ~= system then merged[#merged + 1] = m end
    end
    return system and merged
end

-- The text, and the messages that it was made of.
function M.render(render, messages, tools, more)
    local text, why = render(conversation(messages, tools, more))
    if text then return text, messages end

    local merged = without_system(messages)
    local again = merged and render(conversation(merged, tools, more))
    if again then return again, merged end
    error("the model's chat template refuses the conversation: " .. why, 0)
end

local function refuse(m)
    error("the model's chat template does not print the text of a message of role '" .. m.role
        .. "' once and in its turn; prompt.chat_template = \"dialect\" does without it", 0)
end

-- Where the text of message i stands, after byte `at`.
local function place(text, m, i, at)
    local first, last = text:find(mark(i), at, true)
    if not first then refuse(m) end
    if not m.quoted then return first, last end
    if text:sub(first - 1, first - 1) ~= '"' or text:sub(last + 1, last + 1) ~= '"' then
        error("the model's chat template writes a tool's result otherwise than as a JSON string; take prompt.dialect = \"xml\"", 0)
    end
    return first - 1, last + 1
end

-- Joins what one kind of piece has in a row, so that the tokenizer sees the text as one. A part that must stand alone - a shot's reply,
-- which the policy would write - is cut off on both sides.
local function adder(pieces)
    local open
    return function(kind, text, plain, alone, written)
        if text == "" and not written then return end -- a reply without a word has its end, all the same
        if open and not alone and not plain and pieces[#pieces][1] == kind then
            pieces[#pieces][2] = pieces[#pieces][2] .. text
        else
            pieces[#pieces + 1] = { kind, text, plain = plain, written = written }
        end
        open = not alone and not plain
    end
end

function M.pieces(render, messages, tools, more)
    local text, said = M.render(render, messages, tools, more)
    local pieces, at = {}, 1
    local add = adder(pieces)
    for i, m in ipairs(said) do
        if m.calls then
            local from, to = m.find(text, at)
            if not from then refuse(m) end
            add(m.kind, text:sub(at, from - 1), false, false)
            add(m.kind, text:sub(from, to), false, true, true)
            at = to + 1
        else
            local first, last = place(text, m, i, at)
            if text:find(mark(i), last + 1, true) then refuse(m) end
            add(m.kind, text:sub(at, first - 1), false, false)
            for _, part in ipairs(m.parts) do
                add(m.kind, part[1], part.plain, m.role ~= "user" and m.role ~= "system", part.written)
            end
            at = last + 1
        end
    end
    add(said[#said].kind, text:sub(at), false, false)
    return pieces
end

-- The texts around the results of calls: messages as above, the last ones those of a tool. stop: how a reply ends; the policy's own
-- end of its calls is said once. What a template shows of calls before the conversation begins is none of it: a message is looked for
-- after the one before.
function M.frame(render, messages, stop, tools, more)
    local text, said = M.render(render, messages, tools, more)
    local frame, from, called = {}, 1, false
    for i, m in ipairs(said) do
        if m.calls then
            local _, last = m.find(text, from)
            local ended = text:sub(last - #stop + 1, last) == stop
            from, called = last + 1 - (ended and #stop or 0), true
        else
            local first, last = place(text, m, i, from)
            if called then frame[#frame + 1] = text:sub(from, first - 1) end
            from = last + 1
        end
    end
    frame[#frame + 1] = text:sub(from)
    return frame
end

-- The texts around a user's words that follow a reply without a call. The reply's end is written before them: where the policy has
-- written it already, it is left out by who splices.
function M.said(render, tools, more)
    local messages = {}
    for i, role in ipairs{ "user", "assistant", "user" } do messages[i] = { kind = "shot", role = role, parts = { { "" } } } end
    local text, said = M.render(render, messages, tools, more)
    local frame, at = {}, 1
    for i, m in ipairs(said) do
        local first, last = place(text, m, i, at)
        if i == #said then frame[1] = text:sub(at, first - 1) end
        at = last + 1
    end
    frame[2] = text:sub(at)
    return frame
end

-- What the template writes after a question: the policy's message begins with it. "" where it refuses so short a conversation.
function M.reply(render)
    local text = render(conversation({ { role = "user" } }))
    local _, last = (text or ""):find(mark(1), 1, true)
    return last and text:sub(last + 1) or ""
end

return M
