-- SPDX-License-Identifier: MIT
-- The dialect of plain tags. The policy calls a tool by writing <tool>...</tool>, reads <result>...</result>, and ends with
-- <answer>...</answer>:
--
--     {instruction}
--
--     Example: what is 12 plus 30?
--     A: <python>print(12+30)</python><result>42</result><answer>42</answer>
--
--     Q: what is 7 times 8?
--     A:
--
-- What stands in <think>...</think> is neither call nor answer. A pair of tags that are neither tool nor prose is a call of a tool that
-- there isn't, and the policy reads so. Code may stand in a ``` fence. The first </tool> ends a call, in a string of the code, too.
--
-- With prompt.chat_template = "model" questions and replies are the messages of the model's own chat template.
--
-- Options: tags (tool name -> tag, when they differ), result, answer, prose (names of tags that mean nothing), and the words between.

local chat = require "troupe.chat"
local chat_template = require "troupe.chat_template"
local turn = require "troupe.turn"

local dialect = {
    templates = true,
    defaults = {
        tags = {},
        result = "result",
        answer = "answer",
        prose = {},
        before_question = "Q: ",
        before_example = "Example: ",
        before_reply = "\nA: ",
        between = "\n\n",
    },
}

local MAX_TAG = 70 -- bytes; a name has 64 at most

local THINKING = { "think", "thinking", "thought", "reasoning" }
local THOUGHTS = {}
for _, name in ipairs(THINKING) do THOUGHTS[name] = true end

-- Tags that policies have read on web pages and in mathematics.
local PROSE = {}
for name in ([[a abbr b big blockquote body br caption center cite code dd del details div dl dt em font form h1 h2 h3 h4 h5 h6 head
    hr html i img input ins kbd label li link main mark math meta nav note ol option p plan pre q reflection s samp section select
    small span step steps strong sub summary sup svg table tbody td textarea tfoot th thead title tr tt u ul var]]):gmatch("%S+") do
    PROSE[name] = true
end

local function wrap(tag, text) return "<" .. tag .. ">" .. text .. "</" .. tag .. ">" end
local function tag_of(options, name) return options.tags[name] or name end

-- A tool with one text parameter takes the tag's content as it is; any other takes a JSON object.
local function written_call(options, spec, step)
    local tool = chat.tool_named(spec.tools, step.tool)
    local parameter = tool and chat.only_parameter(tool, "string")
    return wrap(tag_of(options, step.tool), parameter and step.arguments[parameter] or spec.tojson(step.arguments))
end

local function frame(options, n)
    local parts = { "<" .. options.result .. ">" }
    for i = 2, n do parts[i] = "</" .. options.result .. "><" .. options.result .. ">" end
    parts[n + 1] = "</" .. options.result .. ">"
    return parts
end

function dialect.check(options, tools)
    local tagged = {}
    for i, tool in ipairs(tools) do tagged[i] = { name = tag_of(options, tool.name) } end
    chat.check_names(tools, {})
    if options.result == options.answer then error("result and answer are the same tag '" .. options.answer .. "'; name one otherwise", 0) end
    chat.check_names(tagged, { options.result, options.answer, "think", "thinking", "thought", "reasoning" })
end

-- What the policy would have written in an example, with the tools' results.
local function add_reply(pieces, options, spec, shot)
    for _, step in ipairs(shot.steps or {}) do
        chat.add_step(pieces, written_call(options, spec, step), frame(options, 1), step.result)
    end
    pieces[#pieces + 1] = { "shot", wrap(options.answer, shot.answer) }
end

local function add_example(pieces, options, spec, shot)
    pieces[#pieces + 1] = { "shot", options.before_example .. shot.prompt .. options.before_reply }
    add_reply(pieces, options, spec, shot)
    pieces[#pieces + 1] = { "shot", options.between }
end

-- Through the model's own chat template: tags in the assistant's text, which any template prints.
local function chat_prompt(options, spec)
    local messages = chat_template.begin(spec)
    for _, shot in ipairs(spec.shots) do
        local pieces, parts = {}, {}
        add_reply(pieces, options, spec, shot)
        for i, piece in ipairs(pieces) do parts[i] = { piece[2], plain = piece.plain } end
        messages[#messages + 1] = { kind = "shot", role = "user", parts = { { shot.prompt } } }
        messages[#messages + 1] = { kind = "shot", role = "assistant", parts = parts }
    end
    return chat_template.pieces(spec.render, chat_template.ask(messages, spec))
end

function dialect.prompt(options, spec)
    if spec.render then return chat_prompt(options, spec) end

    local pieces = {}
    if spec.instruction ~= "" then pieces[1] = { "instruction", spec.instruction .. options.between } end
    for _, shot in ipairs(spec.shots) do add_example(pieces, options, spec, shot) end

    local question = spec.row.prompt
    if not question then
        for _, message in ipairs(spec.row.messages or {}) do
            if message.role == "user" then question = message.content end
        end
    end

    if not question then error("this row has neither a prompt nor a user message") end
    pieces[#pieces + 1] = { "question", options.before_question .. question .. options.before_reply }
    return pieces
end

function dialect.observation(options, calls) return frame(options, #calls) end

-- Reads tag after tag. Outside, a tag opens a call, the answer or a thought, or is remembered as unknown until it closes; inside, only
-- the tag that closes counts.
function dialect.parser(options, tools, begun)
    local text, at = turn.new(), 1
    local inside, begin -- the open tag's name, and where its content begins
    local unknown = {}  -- open tags that are no tool's: name -> where the content begins
    local by_tag, prose = {}, { [options.result] = true }
    local tagged = {} -- the tools by the names that the policy writes
    for i, tool in ipairs(tools) do
        local tag = tag_of(options, tool.name)
        by_tag[tag], tagged[i] = tool, { name = tag }
    end
    for _, name in ipairs(options.prose) do prose[name] = true end

    -- A reply that the prompt has begun with a thought.
    local prefilled = chat.open_thought(begun or options.before_reply, THINKING)
    if prefilled then inside, begin = prefilled, 1 end

    local function call(tool, content)
        local parameter = chat.only_parameter(tool, "string")
        if parameter then return { name = tool.name, arguments = { [parameter] = chat.without_fence(content) } } end
        return chat.object_call(tools, tool.name, content, content)
    end

    -- An opening or closing tag that is no tool's: once closed, a call of a tool that does not exist.
    local function on_unknown(closes, name, before, behind)
        if #tools == 0 or prose[name] or PROSE[name:lower()] then return nil end
        if not closes then
            unknown[name] = behind + 1
        elseif unknown[name] then
            local raw = text:sub(unknown[name], before - 1)
            return { calls = { chat.bad(chat.no_tool(tagged, name), name, raw) }, rest = text.length - behind }
        end
    end

    local function outside()
        local first, last = text:find("</?[%a_][%w_%-%.]*>", at, true)
        if not first then
            at = math.max(at, text.length - MAX_TAG + 1)
            return false
        end

        local slash, name = text:sub(first, last):match("^<(/?)(.*)>$")
        at = last + 1
        if last - first >= MAX_TAG then return true end -- whole or token by token: too long for a tag

        if slash == "" and (by_tag[name] or name == options.answer or THOUGHTS[name]) then
            inside, begin = name, at
            return true
        end
        return on_unknown(slash ~= "", name, first, last) or true
    end

    local function within()
        local close = "</" .. inside .. ">"
        local first, last = text:find(close, at)
        if not first then
            at = text:unseen({ close }, at)
            return false
        end

        local name, content, rest = inside, text:sub(begin, first - 1), text.length - last
        at, inside = last + 1, nil
        if by_tag[name] then return { calls = { call(by_tag[name], content) }, rest = rest } end
        if name == options.answer then return { answer = content, rest = rest } end
        return true
    end

    return function(chunk)
        text:add(chunk)
        while true do
            local found
            if inside then found = within() else found = outside() end
            if type(found) == "table" then return found end
            if not found then return nil end
        end
    end
end

return dialect
