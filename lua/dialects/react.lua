-- SPDX-License-Identifier: MIT
-- Thought, Action, Observation (Yao et al. 2022, ReAct), for models without a chat format:
--     Thought: ...
--     Action: tool[argument]          or   Action: tool{"name": value, ...}
--     Observation: ...                (ours)
--     Answer: ...                     (one line, this or the next that says something, or what is left when the policy stops; ends the episode)
-- An action is over at the end of a line, or where the policy stops.
-- Also read: an argument of several lines, up to the bracket that closes it; "Final Answer:"; and the two-line form
--     Action: tool
--     Action Input: argument          (to the next of our words, an empty line or a fence that closes)
-- The words before the colon may be in capitals or small letters, numbered ("Action 1:", as in the paper), and in Markdown's marks
-- ("**Answer:** 4"). Inside of an action that is open they are read as we write them only: "answer: int = 4" is code.

local chat = require "troupe.chat"
local foreign = require "troupe.foreign"
local json = require "troupe.json"
local turn = require "troupe.turn"

local dialect = { defaults = { answer = "Answer" } }

local function written_call(spec, name, arguments)
    local only = chat.only_parameter(chat.tool_named(spec.tools, name))
    local value = only and arguments[only]
    if type(value) == "string" and not value:find("[%]\n]") then return name .. "[" .. value .. "]" end
    return name .. spec.tojson(arguments)
end

local function tools_text(spec)
    local lines = {}
    for _, tool in ipairs(spec.tools) do
        local only = chat.only_parameter(tool)
        lines[#lines + 1] = "- " .. tool.name .. (only and "[" .. only .. "]" or spec.tojson(tool.parameters or {}))
            .. (tool.description and ": " .. tool.description or "")
    end
    return #lines > 0 and "Tools:\n" .. table.concat(lines, "\n") .. "\n\n" or ""
end

local OBSERVATION = "Observation:"
local MAX_OBSERVATION = 20 -- bytes of one that the policy makes up: "**Observation 12:**"

local function frame(n)
    local parts = { OBSERVATION .. " " }
    for i = 2, n do parts[i] = "\n" .. OBSERVATION .. " " end
    parts[n + 1] = "\n"
    return parts
end

-- Words that the format uses for something else: an answer by one of them could not be told from it.
local TAKEN = { Thought = true, Action = true, ["Action Input"] = true, Observation = true, Question = true }

function dialect.check(options, tools)
    if TAKEN[options.answer] then error("answer is '" .. options.answer .. "', a word of react's own; name it otherwise", 0) end
    chat.check_names(tools, { "Thought", "Action", "Observation", "Answer", "Final" })
end

function dialect.payload(_, text) return (text:gsub("\n+$", "")) end

function dialect.prompt(options, spec)
    local instruction = spec.instruction ~= "" and spec.instruction .. "\n\n" or ""
    local pieces = { { "instruction", instruction .. tools_text(spec) } }

    for _, shot in ipairs(spec.shots) do
        pieces[#pieces + 1] = { "shot", "Question: " .. shot.prompt .. "\n" }
        for _, step in ipairs(shot.steps or {}) do
            local thought = step.thought and "Thought: " .. step.thought .. "\n" or ""
            chat.add_step(pieces, thought .. "Action: " .. written_call(spec, step.tool, step.arguments) .. "\n", frame(1),
                dialect.payload(options, step.result))
        end
        pieces[#pieces + 1] = { "shot", options.answer .. ": " .. shot.answer .. "\n", written = true }
        pieces[#pieces + 1] = { "shot", "\n" }
    end

    pieces[#pieces + 1] = { "question", "Question: " .. spec.row.prompt .. "\n" }
    return pieces
end

-- A policy that stops after its action leaves out the line's end.
function dialect.observation(_, calls, written)
    local parts = frame(#calls)
    if written:sub(-1) ~= "\n" then parts[1] = "\n" .. parts[1] end
    return parts
end

local MAX_LINES = 256 -- of an action; one that is not closed by then is not an action

local FORM = "an action is written as tool[argument] or tool{\"name\": value}"

-- A bare argument for a tool of one parameter, or a JSON object.
local function call_with(tools, name, argument, raw)
    if argument:find("^%s*{") and json.members(argument) then return chat.object_call(tools, name, argument, raw) end
    local only = chat.only_parameter(chat.tool_named(tools, name))
    if only then return { name = name, arguments = { [only] = chat.without_fence(argument) } } end
    if argument:find("^%s*{") or not chat.tool_named(tools, name) then return chat.object_call(tools, name, argument, raw) end
    return chat.bad(FORM .. ": " .. name .. " takes " .. chat.expected(chat.tool_named(tools, name)), name, raw)
end

-- How many brackets are open, with those in quotes and without.
local function balance(text)
    local bare = text:gsub("\\.", ""):gsub('"[^"\n]*"', ""):gsub("'[^'\n]*'", "")
    local function count(t) return select(2, t:gsub("%[", "")) - select(2, t:gsub("%]", "")) end
    return math.min(count(text), count(bare))
end

-- Is what stands after "Action:" whole? It is closed by a bracket at a line's end.
local function is_whole(action)
    local behind = action:match("^%s*[%w_%-%.]+()")
    local rest = turn.trim(behind and action:sub(behind) or action)
    if not behind and rest == "" then return false end -- it stands on a line of its own
    local first, last = rest:sub(1, 1), rest:sub(-1)
    if first == "[" then return last == "]" and balance(rest) <= 0 end
    if first == "{" then return chat.json_end(rest, 1) ~= nil end
    return true
end

local function parse_action(options, tools, action)
    local name, behind = action:match("^%s*([%w_%-%.]+)()")
    local rest = name and turn.trim(action:sub(behind))
    if name and name:lower() == "finish" and not chat.tool_named(tools, name) then -- the paper's way to answer
        return chat.bad('the answer is written as "' .. options.answer .. ': ..."', name, action, tools)
    end
    if name and rest:sub(1, 1) == "[" and rest:sub(-1) == "]" then return call_with(tools, name, rest:sub(2, -2), action) end
    if name and rest:sub(1, 1) == "{" then return call_with(tools, name, rest, action) end
    return chat.bad(FORM, name, action, tools)
end

local MAX_HEADING = 80 -- bytes before a heading's colon

-- The kinds of line by their words: as we write them, and in small letters.
local function words_of(options)
    local ours = { Thought = "thought", Action = "action", ["Action Input"] = "input", Observation = "observation",
        ["Final Answer"] = "answer", [options.answer] = "answer" }
    local any = {}
    for word, kind in pairs(ours) do any[word:lower()] = kind end
    return { ours = ours, any = any }
end

-- A value whose line begins with an emphasis, which ends in front of it or behind it: "**Answer:** 4", "**Answer: 4**".
local function without_emphasis(value, mark)
    if value:sub(1, #mark) == mark then return turn.trim(value:sub(#mark + 1)) end
    if value:sub(-#mark) == mark then return turn.trim(value:sub(1, -#mark - 1)) end
    return value
end

-- Where the first colon of a line's head stands, and what follows it; some write one of East Asian width.
local function colon_of(line)
    local head = line:sub(1, MAX_HEADING)
    local first, last = head:find(":", 1, true)
    local wide, behind = head:find("：", 1, true)
    if wide and not (first and first < wide) then return wide, behind + 1 end
    return first, last and last + 1
end

-- "Answer: 4" -> "answer", "4", true; nil: the line begins with none of our words. Last: is it written as we write it, but for a number
-- and an emphasis?
local function heading(words, line)
    local colon, behind = colon_of(line)
    if not colon then return nil end

    local before, mark, word, closes = line:sub(1, colon - 1):match("^(%s*#*>?%s*)([%*_]*)(.-)([%*_]*)%s*$")
    local unnumbered = word:match("^(.-)%s*%d+$")
    local kind = words.any[turn.trim(unnumbered or word):lower()]
    if not kind or word:find("^%s") or (unnumbered and kind == "answer") then return nil end

    local value = turn.trim(line:sub(behind))
    if mark ~= "" and closes == "" then value = without_emphasis(value, mark) end
    return kind, value, before == "" and words.ours[turn.trim(unnumbered or word)] ~= nil
end

-- A call that is no action: no line of its own, or no "Action:". As prose it would be passed over without a word.
local function stray_call(tools, line)
    local name = line:match("%f[%a]Action:%s*([%w_%-%.]+)%s*[%[{]") or line:match("^%s*([%w_%-%.]+)%s*[%[{].*[%]}]%s*$")
    if name and chat.tool_named(tools, name) then
        return chat.bad('an action is a line that begins with "Action:", then tool[argument] or tool{"name": value}', name, line)
    end
    local raw
    if line:find("^%s*{") then name, raw = foreign.find(tools, line) end
    return raw and chat.bad(FORM, name, raw) or nil
end

-- Line by line. An open action collects lines until it is whole, or until a line says that it never will be.
function dialect.parser(options, tools)
    local words = words_of(options)
    local parts, n = {}, 0 -- the line that grows, in pieces
    local name, lines -- the open action: lines since "Action:"; or the tool of the two-line form, and its input's lines
    local answering -- after an "Answer:" with nothing else on its line

    local function input_is_whole()
        local text = table.concat(lines, "\n")
        if text:find("^%s*```") then return text:find("^%s*```.-\n[ \t]*```%s*$") ~= nil end
        if text:find("^%s*{") then return chat.json_end(text, (text:find("{", 1, true))) ~= nil end
        return #lines > 1 and lines[#lines]:find("^%s*$") ~= nil
    end

    local function finish()
        if not lines then -- its input never came
            local tool = name
            name = nil
            return chat.bad(FORM, tool, tool)
        end

        local text = table.concat(lines, "\n")
        local call = name and call_with(tools, name, turn.trim(text), text) or parse_action(options, tools, text)
        name, lines = nil, nil
        return call
    end

    -- A line of an open action.
    local function on_open(line)
        local kind, _, ours = heading(words, line)
        if ours and kind ~= "input" then return "call", finish(), true end
        lines[#lines + 1] = line
        local whole = name and input_is_whole() or not name and is_whole(table.concat(lines, "\n"))
        if whole or #lines > MAX_LINES then return "call", finish() end
    end

    local function on_input(input)
        lines = { input }
        if input_is_whole() then return "call", finish() end
    end

    local function on_action(action)
        if action:find("^[%w_%-%.]+$") and chat.tool_named(tools, action) then
            name = action
            return nil
        end
        lines = { action }
        if is_whole(action) then return "call", finish() end
    end

    -- A whole line: nil, "call" and the call, or "answer" and the answer. before: that was over before this line.
    local function on_line(line)
        if lines then return on_open(line) end
        local kind, value = heading(words, line)
        if answering then
            if kind then return "answer", "", true end
            value = turn.trim(line)
            if value ~= "" then return "answer", value end
            return nil
        end

        if name and kind == "input" then return on_input(value) end
        if name and kind then return "call", finish(), true end
        if kind == "action" then return on_action(value) end
        if kind == "answer" then
            answering = value == ""
            if not answering then return "answer", value end
            return nil
        end
        local stray = not name and stray_call(tools, line)
        if stray then return "call", stray end
    end

    local function read(line, rest)
        local event, what, before = on_line(line)
        if before then rest = rest + #line + 1 end
        if event == "call" then return { calls = { what }, rest = rest } end
        if event == "answer" then return { answer = what, rest = rest } end
    end

    -- A policy that continues with the observation itself: what it asked for is over.
    local function hallucinated()
        if not (lines or name) or n > MAX_OBSERVATION then return nil end
        local line = table.concat(parts, "", 1, n)
        local kind, _, ours = heading(words, line)
        if kind == "observation" and ours then return { calls = { finish() }, rest = #line } end
    end

    local function feed(chunk)
        local at = 1
        while true do
            local stop = chunk:find("\n", at, true)
            local piece = chunk:sub(at, stop and stop - 1)
            if piece ~= "" then
                n = n + 1
                parts[n] = piece
            end
            if not stop then return hallucinated() end

            local line = table.concat(parts, "", 1, n)
            parts, n, at = {}, 0, stop + 1
            local found = read(line, #chunk - stop)
            if found then return found end
        end
    end

    -- The policy has stopped: a last line without its end is a line, and an action that is still open is over.
    local function finished(stop_bytes)
        local whole = table.concat(parts, "", 1, n)
        local line = whole:sub(1, math.max(0, #whole - stop_bytes))

        local event, what, before = on_line(line)
        if event == "answer" or answering then return { answer = what or "", rest = before and #whole or 0 } end
        if not event and not lines and not name then return nil end
        return { calls = { what or finish() }, rest = before and #whole or #whole - #line }
    end

    return feed, finished
end

return dialect
