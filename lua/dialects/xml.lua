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
-- Options: tags (tool name -> tag, when they differ), result, answer, and the words in between.

local json = require "troupe.json"

local dialect = {
    defaults = {
        tags = {},
        result = "result",
        answer = "answer",
        before_question = "Q: ",
        before_example = "Example: ",
        before_reply = "\nA: ",
        between = "\n\n",
    },
}

local function wrap(tag, text) return "<" .. tag .. ">" .. text .. "</" .. tag .. ">" end

-- A tool with one text parameter takes the tag's content as it is; any other takes a JSON object.
local function only_text_parameter(tool)
    local found
    for name, schema in pairs((tool.parameters or {}).properties or {}) do
        if found or schema.type ~= "string" then return nil end
        found = name
    end
    return found
end

local function written_call(options, tools, step)
    local tag, parameter = options.tags[step.tool] or step.tool, nil
    for _, tool in ipairs(tools) do
        if tool.name == step.tool then parameter = only_text_parameter(tool) end
    end
    return wrap(tag, parameter and step.arguments[parameter] or json.encode(step.arguments))
end

local function transcript(options, tools, shot)
    local parts = {}
    for _, step in ipairs(shot.steps or {}) do
        parts[#parts + 1] = written_call(options, tools, step) .. wrap(options.result, step.result)
    end
    return table.concat(parts) .. wrap(options.answer, shot.answer)
end

function dialect.prompt(options, spec)
    local pieces = {}
    if spec.instruction ~= "" then pieces[1] = { "instruction", spec.instruction .. options.between } end
    for _, shot in ipairs(spec.shots) do
        pieces[#pieces + 1] = { "shot", options.before_example .. shot.prompt .. options.before_reply
            .. transcript(options, spec.tools, shot) .. options.between }
    end
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

function dialect.observation(options, _, text, _) return wrap(options.result, text) end

-- Looks for the first tag that opens, then for the end of that tag; each byte is looked at once or twice.
function dialect.parser(options, tools)
    local openers, names = {}, {}
    for _, tool in ipairs(tools) do
        local tag = options.tags[tool.name] or tool.name
        openers[#openers + 1] = { open = "<" .. tag .. ">", close = "</" .. tag .. ">", tool = tool }
        names[#names + 1] = tag
    end
    openers[#openers + 1] = { open = "<" .. options.answer .. ">", close = "</" .. options.answer .. ">" }
    local longest = 0
    for _, o in ipairs(openers) do longest = math.max(longest, #o.open, #o.close) end

    local text, from, inside, begin = "", 1, nil, nil

    local function find_opener()
        local at, which
        for _, o in ipairs(openers) do
            local found = text:find(o.open, from, true)
            if found and (not at or found < at) then at, which = found, o end
        end
        return at, which
    end

    local function call(tool, content)
        local parameter = only_text_parameter(tool)
        if parameter then return "call", tool.name, { [parameter] = content } end
        local arguments, why = json.decode(content)
        if type(arguments) ~= "table" then
            return "bad", "error: the arguments of " .. tool.name .. " should be a JSON object" .. (why and (": " .. why) or "")
        end
        return "call", tool.name, arguments
    end

    return function(chunk)
        text = text .. chunk
        if not inside then
            local at, which = find_opener()
            if not at then
                from = math.max(from, #text - longest + 2)
                return nil
            end
            inside, begin = which, at + #which.open
            from = begin
        end
        local finish = text:find(inside.close, from, true)
        if not finish then
            from = math.max(begin, #text - longest + 2)
            return nil
        end
        local done, content = inside, text:sub(begin, finish - 1)
        text, from, inside = text:sub(finish + #inside.close), 1, nil
        if done.tool then return call(done.tool, content) end
        return "answer", content
    end
end

return dialect
