-- SPDX-License-Identifier: MIT
-- How Qwen 2.5 and 3 speak (ChatML, with Hermes tool calls): a system message with the instruction and the tools' signatures,
-- <tool_call>{"name": ..., "arguments": {...}}</tool_call> from the assistant, one or several in a message, and their results in
-- <tool_response>...</tool_response> of one user turn. A reply without a tool call, closed by <|im_end|>, is the answer;
-- <think>...</think> before it is neither answer nor call. A call without its tags, or in another model's, can't be made.
--
-- Options: system; reply: how the assistant's message begins after its header, "<think>\n" for models that are always made to think.

local chat = require "troupe.chat"
local chat_template = require "troupe.chat_template"
local foreign = require "troupe.foreign"
local json = require "troupe.json"
local turn = require "troupe.turn"

local dialect = { templates = true, defaults = { system = "You are a helpful assistant.", reply = "" } }

local MAX_BEHIND = 64 -- bytes of white space and half a mark that are waited for after a call
local STOP, OPEN, CLOSE, THINK, THOUGHT = "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"

local function message(role, text) return "<|im_start|>" .. role .. "\n" .. text .. STOP .. "\n" end

-- { before, between..., after } n results.
local function frame(options, n)
    local parts = { STOP .. "\n<|im_start|>user\n<tool_response>\n" }
    for i = 2, n do parts[i] = "\n</tool_response>\n<tool_response>\n" end
    parts[n + 1] = "\n</tool_response>" .. STOP .. "\n<|im_start|>assistant\n" .. options.reply
    return parts
end

local function system_text(options, spec)
    local text = spec.instruction ~= "" and spec.instruction or options.system
    if #spec.tools == 0 then return text end

    local lines = {}
    for _, tool in ipairs(spec.tools) do lines[#lines + 1] = '{"type": "function", "function": ' .. spec.tojson(tool) .. "}" end
    return text .. "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        .. "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n" .. table.concat(lines, "\n")
        .. "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
        .. "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>"
end

-- ---- through the model's own chat template ----

-- The calls of a message that begins at `from`: from the first mark to after the last of n, and the message's end with it. They are
-- to be what the parser reads: a template may write calls of another kind between the same marks.
local function find_calls(n)
    return function(text, from)
        local first, last = text:find(OPEN, from, true), from - 1
        for _ = 1, n do
            local _, open = text:find(OPEN, last + 1, true)
            local begin, close = text:find(CLOSE, last + 1, true)
            if not (open and close) then error("the model's chat template writes no " .. OPEN .. " calls; take prompt.dialect = \"xml\"", 0) end
            if not json.members(text:sub(open + 1, begin - 1)) then
                error("the model's chat template writes other calls than " .. OPEN .. '{"name": ..., "arguments": {...}}' .. CLOSE
                    .. "; take prompt.dialect = \"xml\"", 0)
            end
            last = close
        end
        if text:sub(last + 1, last + #STOP) == STOP then last = last + #STOP end
        return first, last
    end
end

local function result(text) return { kind = "shot", role = "tool", parts = { { text, plain = true } } } end

local function chat_prompt(spec)
    local messages = chat_template.add_shots(chat_template.begin(spec), spec, find_calls(1), result)
    return chat_template.pieces(spec.render, chat_template.ask(messages, spec), chat_template.signatures(spec))
end

-- What the template writes from the end of n calls to the next reply, around their results.
local function chat_frame(spec, n)
    local calls = {}
    for i = 1, n do calls[i] = chat_template.call_json(spec, "tool", {}) end
    local messages = {
        { kind = "shot", role = "user", parts = { { "?" } } },
        { kind = "shot", role = "assistant", calls = "[" .. table.concat(calls, ", ") .. "]", find = find_calls(n) },
    }
    for i = 1, n do messages[i + 2] = result("") end
    return chat_template.frame(spec.render, messages, STOP, chat_template.signatures(spec))
end

function dialect.check(_, tools) chat.check_names(tools, { "think", "tool_call", "tool_response", "tools" }) end

function dialect.prompt(options, spec)
    if spec.render then return chat_prompt(spec) end
    local words = { message = message, stop = STOP, behind = "\n", reply = "<|im_start|>assistant\n" .. options.reply }
    function words.call(name, arguments)
        return OPEN .. '\n{"name": ' .. spec.tojson(name) .. ', "arguments": ' .. spec.tojson(arguments) .. "}\n" .. CLOSE
    end
    function words.frame(n) return frame(options, n) end
    function words.payload(text) return text end
    return chat.pieces(words, system_text(options, spec), spec)
end

function dialect.observation(options, calls, _, spec)
    return spec.render and chat_frame(spec, #calls) or frame(options, #calls)
end

function dialect.reply(options, _, spec)
    if spec.render then return chat_template.said(spec.render, chat_template.signatures(spec)) end
    return { STOP .. "\n<|im_start|>user\n", STOP .. "\n<|im_start|>assistant\n" .. options.reply }
end

-- A </tool_call> inside a JSON string is the string's. One reader for one call: it has read up to `at`.
local function string_reader(text, at)
    local inside = false
    return function(to) -- is byte `to` inside a string?
        while at < to do
            local p = text:find(inside and '["\\]' or '"', at, true)
            if not p or p >= to then
                at = to
                break
            end
            if text.window:sub(p - text.from + 1, p - text.from + 1) == "\\" then
                at = p + 2
            else
                inside, at = not inside, p + 1
            end
        end
        return inside
    end
end

local FORM = "a tool call should be " .. OPEN .. '{"name": ..., "arguments": {...}}' .. CLOSE

-- {"name": ..., "arguments": ...} as all that is said, by any name.
local function is_bare_call(said)
    local members = json.members(chat.without_fence(said))
    local arguments = members and members.name and (members.arguments or members.parameters)
    return arguments and type(json.decode(members.name)) == "string" and type(json.decode(arguments)) == "table"
end

-- A reply that is a call, but not in the tags: as an answer it would end the episode. nil: it is an answer.
local function untagged(tools, said)
    if #tools == 0 then return nil end
    local name, raw = foreign.find(tools, said)
    if not name and is_bare_call(said) then name, raw = chat.written_name(said), said end
    if raw then return chat.bad(FORM, name, raw, tools) end
end

function dialect.parser(options, tools, begun)
    local text, calls = turn.new(), {}
    local at, spoken = 1, 1 -- what is looked at next; where the answer begins
    local border -- after the last call
    local inside, in_string -- where the open call's content begins, and its reader

    local thinking = chat.open_thought(begun or options.reply, { "think" }) ~= nil

    local function ended() return { calls = calls, rest = text.length - border } end

    local function close_call(finish, behind)
        calls[#calls + 1] = chat.json_call(tools, "arguments", turn.trim(text:sub(inside, finish - 1)))
        border, at, inside = behind, behind + 1, nil
    end

    local function in_call()
        local close = text:find(CLOSE, at)
        local stop = text:find(STOP, at)
        if close and (not stop or close < stop) then
            if in_string(close) then
                at = close + 1
            else
                close_call(close, close + #CLOSE - 1)
            end
            return true
        end
        if not stop then -- neither mark yet: on to where one may begin
            local seen = text:unseen({ CLOSE, STOP }, at)
            in_string(seen)
            at = seen
            return false
        end

        local raw = text:sub(inside, stop - 1)
        local name, sure = chat.written_name(raw)
        calls[#calls + 1] = chat.bad("the call is not closed by " .. CLOSE, name, raw, sure and tools)
        border, inside = stop - 1, nil
        return ended()
    end

    local function thought()
        local begin, finish = text:find(THOUGHT, at)
        at = begin and finish + 1 or text:unseen({ THOUGHT }, at)
        if begin then thinking, spoken = false, finish + 1 end
        return begin ~= nil
    end

    -- After a call only another one may follow; anything else is beyond the policy's turn.
    local function behind_call()
        local begin = border + 1 + #text:sub(border + 1, border + MAX_BEHIND):match("^%s*")
        local rest = text:sub(begin, begin + #OPEN - 1)
        if rest == OPEN then
            inside = begin + #OPEN
            at, in_string = inside, string_reader(text, inside)
            return true
        end

        if begin > border + MAX_BEHIND then return ended() end
        if rest == OPEN:sub(1, #rest) or rest == STOP:sub(1, math.min(#rest, #STOP - 1)) then return false end
        return ended()
    end

    local function on_stop(begin, finish)
        local said = turn.trim(text:sub(spoken, begin - 1))
        calls[1] = untagged(tools, said)
        if not calls[1] then return { answer = said, rest = text.length - finish } end
        border = begin - 1
        return ended()
    end

    -- A tag that closes no call: its call was written without the one that opens.
    local function unopened(begin, finish)
        local raw = turn.trim(text:sub(spoken, begin - 1))
        local name, sure = chat.written_name(raw)
        calls[1] = chat.bad("the call is not opened by " .. OPEN .. ": " .. FORM, name, raw, sure and tools)
        border = finish
        return true
    end

    local function outside()
        if #calls > 0 then return behind_call() end
        local marks = { OPEN, THINK, THOUGHT, STOP, #tools > 0 and CLOSE or nil }
        local begin, finish, which = text:first(marks, at)
        at = begin and finish + 1 or text:unseen(marks, at)

        if which == STOP then return on_stop(begin, finish) end
        if which == CLOSE then return unopened(begin, finish) end
        if which == OPEN then inside, in_string = at, string_reader(text, at) end
        if which == THINK then thinking = true end
        if which == THOUGHT then spoken = at end
        return begin ~= nil
    end

    local function feed(chunk)
        text:add(chunk)
        while true do
            local found
            if inside then
                found = in_call()
            elseif thinking then
                found = thought()
            else
                found = outside()
            end
            if type(found) == "table" then return found end
            if not found then return nil end
        end
    end

    -- The policy has stopped by another token than <|im_end|>: what it said is the answer, unless it was thinking or calling.
    local function finished(stop_bytes)
        if thinking or inside or #calls > 0 then return nil end
        local said = turn.trim(text:sub(spoken, text.length - stop_bytes))
        return said ~= "" and not untagged(tools, said) and { answer = said, rest = 0 } or nil
    end

    -- The policy was cut off: calls that were closed before are calls.
    local function cut()
        return #calls > 0 and ended() or nil
    end

    return feed, finished, cut
end

return dialect
