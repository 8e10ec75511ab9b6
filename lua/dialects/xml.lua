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
-- there isn't, and the policy reads so, as it does of a tool's tag with attributes (<python lang="py">, <python/>). Code may stand in a
-- ``` fence. The first </tool> ends a call, in a string of the code, too; white space may stand before its ">".
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

local MAX_TAG = 70   -- bytes; a name has 64 at most
local MAX_SPACE = 32 -- bytes between a closing tag's name and its ">": together with that, no more than a turn's searches look back

local THINKING = { "think", "thinking", "thought", "reasoning" }
local THOUGHTS = {}
for _, name in ipairs(THINKING) do THOUGHTS[name] = true end

local function is_thought(name) return THOUGHTS[name:lower()] end

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
    pieces[#pieces + 1] = { "shot", wrap(options.answer, shot.answer), written = true }
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
        for i, piece in ipairs(pieces) do parts[i] = { piece[2], plain = piece.plain, written = piece.written } end
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

-- An environment's words are a message of the user's where there are messages, else a result.
function dialect.reply(options, _, spec) return spec.render and chat_template.said(spec.render) or frame(options, 1) end

-- Does </name> stand at byte `at`, with white space before its ">" or without? The byte behind it; false: no; nil: more has to come.
local function closed_at(text, at, name)
    local mark = "</" .. name
    local found = text:sub(at, at + #mark + MAX_SPACE)
    if found:sub(1, #mark) ~= mark:sub(1, #found) then return false end
    if #found <= #mark then return nil end

    local space, ends = found:match("^(%s*)(.?)", #mark + 1)
    if ends == ">" then return at + #mark + #space + 1 end
    if ends ~= "" or #space > MAX_SPACE then return false end
    return nil
end

-- Where </name> begins, at byte `at` or after it, and the byte behind it; else nil and from where the next search has to look.
local function find_close(text, at, name)
    local mark = "</" .. name
    while true do
        local first, last = text:find(mark, at)
        if not first then return nil, text:unseen({ mark }, at) end
        local behind = closed_at(text, first, name)
        if behind then return first, behind end
        if behind == nil then return nil, first end
        at = last + 1
    end
end

-- The rest of a tag that does not end behind its name. It has attributes, or it is none: "x <y and z". One reader for one tag, from byte `at`;
-- each call reads on in what has come. Returns nil while the tag is open, else how it ended and the byte after it: "plain" <x >,
-- "attributes" <x y="z">, "words" <x y>, "empty" <x/>, "closed" by </x> inside of it (a quote or ">" is missing; then where that begins,
-- too), "none". name: x; nil: any "<" says that it is no tag. Its second function: has an attribute begun?
local function tag_reader(text, at, name)
    local begin, assigns, quote = at, false, nil

    local function ended(p)
        if text:sub(p - 1, p - 1) == "/" then return "empty", p + 1 end
        if assigns then return "attributes", p + 1 end
        return text:sub(begin, p - 1):find("%S") and "words" or "plain", p + 1
    end

    local function interesting()
        if quote then return "[<" .. quote .. "]" end
        return assigns and "[<>\"']" or "[^%w_:%-%.%s/]"
    end

    local function read()
        while true do
            local p = text:find(interesting(), at, true)
            if not assigns and (p or text.length) - begin > MAX_TAG then return "none", p or text.length + 1 end
            at = p and p + 1 or text.length + 1
            if not p then return nil end

            local c = text:sub(p, p)
            if c == "<" then
                if not (name and assigns) then return "none", p end
                local behind = closed_at(text, p, name)
                if behind then return "closed", behind, p end
                if behind == nil then
                    at = p -- it may close, once the rest of it has come
                    return nil
                end
            elseif c == ">" then
                return ended(p)
            elseif not assigns then
                if c ~= "=" then return "none", p end
                assigns = true
            else
                quote = not quote and c or nil
            end
        end
    end

    return read, function() return assigns end
end

-- Reads tag after tag. Outside, a tag opens a call, the answer or a thought, or is remembered as unknown until it closes; inside, only
-- the tag that closes counts.
function dialect.parser(options, tools, begun)
    local text, at = turn.new(), 1
    local inside, begin -- the open tag's name, and where its content begins
    local malformed     -- the open tag is a tool's, with attributes
    local tag           -- a tag that does not end behind its name: { name, from, read, assigns }
    local unknown = {}  -- open tags that are no tool's: name -> where the content begins
    local by_tag, prose = {}, { [options.result] = true }
    local tagged = {} -- the tools by the names that the policy writes
    for i, tool in ipairs(tools) do
        local tag_name = tag_of(options, tool.name)
        by_tag[tag_name], tagged[i] = tool, { name = tag_name }
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

    -- A tag that can't be read as a call or an answer: what the policy is told of it. how: what was missing in it.
    local function bad(name, raw, behind, how)
        local tool, why = by_tag[name], nil
        raw = turn.trim(raw)
        if tool then
            why = "a call of " .. name .. " is written as " .. wrap(name, chat.only_parameter(tool, "string") or chat.expected(tool))
                .. ", " .. (how or "without attributes")
        elseif name:lower() == options.answer:lower() then
            why = "the answer is written as " .. wrap(options.answer, "...") .. ", without attributes"
        else
            why = chat.no_tool(tagged, name)
        end
        return { calls = { chat.bad(why, tool and tool.name or name, raw) }, rest = text.length - behind }
    end

    local function is_known(name) return by_tag[name] or name == options.answer or is_thought(name) end
    local function is_prose(name) return #tools == 0 or not is_known(name) and (prose[name] or PROSE[name:lower()]) end

    -- A tag that opens and closes at once says nothing in between: a call with nothing to call with.
    local function on_empty(name, from, last)
        if is_thought(name) or is_prose(name) then return true end
        return bad(name, text:sub(from, last):match("^(.*)/>$") or "", last)
    end

    -- name's tag ends at byte `last`; its attributes, if any, begin at `from`.
    local function on_open(name, how, from, last)
        if how == "empty" then return on_empty(name, from, last) end
        if how == "words" or not is_known(name) then
            if not is_prose(name) then unknown[name] = from end
        else
            inside, begin, malformed = name, last + 1, nil
            if how ~= "plain" and by_tag[name] then begin, malformed = from, true end
        end
        return true
    end

    -- Once closed, an unknown tag is a call of a tool that does not exist.
    local function on_close(name, first, last)
        if not unknown[name] or is_thought(name) then return true end
        return bad(name, text:sub(unknown[name], first - 1):gsub("^>", ""), last)
    end

    -- A closing tag's name has been read, and the byte behind it.
    local function on_closing(name, first, last, ends)
        if ends == ">" then return on_close(name, first, last) end
        local behind = unknown[name] and closed_at(text, first, name)
        if behind == nil and unknown[name] then
            at = first
            return false
        end
        if not behind then return true end
        at = behind
        return on_close(name, first, behind - 1)
    end

    local function on_tag()
        local how, behind, closes = tag.read()
        if not how then return false end

        local name, from = tag.name, tag.from
        tag, at = nil, behind
        if how == "none" then return true end
        if how ~= "closed" then return on_open(name, how, from, behind - 1) end
        if is_thought(name) or #tools == 0 then return true end
        return bad(name, text:sub(from, closes - 1), behind - 1)
    end

    local function outside()
        local first, last = text:find("</?[%a_][%w_%-%.]*[%s/=>]", at, true)
        if not first then
            at = math.max(at, text.length - MAX_TAG + 1)
            return false
        end

        local slash, name, ends = text:sub(first, last):match("^<(/?)(.*)(.)$")
        at = last + 1
        if last - first >= MAX_TAG then return true end -- whole or token by token: too long for a tag

        if slash ~= "" then return on_closing(name, first, last, ends) end
        if ends == ">" then return on_open(name, "plain", last, last) end
        if is_known(name) or not is_prose(name) then
            tag = { name = name, from = last }
            tag.read, tag.assigns = tag_reader(text, last, is_known(name) and name or nil)
        end
        return true
    end

    local function within()
        local first, behind = find_close(text, at, inside)
        at = behind
        if not first then return false end

        local name, content, rest = inside, text:sub(begin, first - 1), text.length - behind + 1
        inside = nil
        if malformed then return bad(name, content, behind - 1) end
        if by_tag[name] then return { calls = { call(by_tag[name], content) }, rest = rest } end
        if name == options.answer then return { answer = content, rest = rest } end
        return true
    end

    local function feed(chunk)
        text:add(chunk)
        while true do
            local found
            if inside then
                found = within()
            elseif tag then
                found = on_tag()
            else
                found = outside()
            end
            if type(found) == "table" then return found end
            if not found then return nil end
        end
    end

    -- The policy has stopped. A tool's tag that is still open is a call in another form, as one with attributes is where it closes.
    local function finished(stop_bytes)
        local last = text.length - stop_bytes
        if inside and by_tag[inside] then
            return bad(inside, text:sub(begin, last), last, not malformed and "with its closing tag" or nil)
        end
        if tag and by_tag[tag.name] and tag.assigns() then return bad(tag.name, text:sub(tag.from, last), last) end
        return nil
    end

    return feed, finished
end

return dialect
