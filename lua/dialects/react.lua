-- Thought, Action, Observation (Yao et al. 2022, ReAct), for models without a chat format:
--     Thought: ...
--     Action: tool[argument]          or   Action: tool{"name": value, ...}
--     Observation: ...                (ours)
--     Answer: ...                     (one line; ends the episode)

local json = require "troupe.json"

local dialect = { defaults = { answer = "Answer" } }

-- A tool with one string parameter is called by tool[text]; any by tool{json}.
local function only_parameter(tool)
    local schema = tool and tool.parameters
    local name, n = nil, 0
    for key in pairs(type(schema) == "table" and schema.properties or {}) do name, n = key, n + 1 end
    return n == 1 and name or nil
end

local function tool_named(tools, name)
    for _, tool in ipairs(tools) do if tool.name == name then return tool end end
end

local function written_call(tools, name, arguments)
    local only = only_parameter(tool_named(tools, name))
    local value = only and arguments[only]
    if type(value) == "string" and not value:find("[%]\n]") then return name .. "[" .. value .. "]" end
    return name .. json.encode(arguments)
end

local function tools_text(tools)
    local lines = {}
    for _, tool in ipairs(tools) do
        local only = only_parameter(tool)
        lines[#lines + 1] = "- " .. tool.name .. (only and "[" .. only .. "]" or json.encode(tool.parameters or {}))
            .. (tool.description and ": " .. tool.description or "")
    end
    return #lines > 0 and "Tools:\n" .. table.concat(lines, "\n") .. "\n\n" or ""
end

local function shot_text(options, spec, shot)
    local parts = { "Question: " .. shot.prompt .. "\n" }
    for _, step in ipairs(shot.steps or {}) do
        parts[#parts + 1] = (step.thought and "Thought: " .. step.thought .. "\n" or "")
            .. "Action: " .. written_call(spec.tools, step.tool, step.arguments) .. "\nObservation: " .. step.result .. "\n"
    end
    parts[#parts + 1] = options.answer .. ": " .. shot.answer .. "\n\n"
    return table.concat(parts)
end

function dialect.prompt(options, spec)
    local instruction = spec.instruction ~= "" and spec.instruction .. "\n\n" or ""
    local pieces = { { "instruction", instruction .. tools_text(spec.tools) } }
    for _, shot in ipairs(spec.shots) do pieces[#pieces + 1] = { "shot", shot_text(options, spec, shot) } end
    pieces[#pieces + 1] = { "question", "Question: " .. spec.row.prompt .. "\n" }
    return pieces
end

function dialect.observation(_, _, text, _) return "Observation: " .. text:gsub("\n+$", "") .. "\n" end

local function parse_action(tools, action)
    local name, rest = action:match("^%s*([%w_%-%.]+)%s*(.-)%s*$")
    if name and rest:sub(1, 1) == "[" and rest:sub(-1) == "]" then
        local only = only_parameter(tool_named(tools, name))
        if only then return "call", name, { [only] = rest:sub(2, -2) } end
    elseif name and rest:sub(1, 1) == "{" then
        local arguments, why = json.decode(rest)
        if type(arguments) == "table" then return "call", name, arguments end
        return "bad", "error: the action's arguments are no JSON object" .. (why and (": " .. why) or "")
    end
    return "bad", "error: an action is written as tool[argument] or tool{\"name\": value}"
end

-- Line by line: only a whole line counts.
function dialect.parser(options, tools)
    local text = ""
    return function(chunk)
        text = text .. chunk
        while true do
            local line, rest = text:match("^([^\n]*)\n(.*)$")
            if not line then return nil end
            text = rest
            local action = line:match("^%s*Action:%s*(.*)$")
            if action then return parse_action(tools, action) end
            local head = options.answer .. ":"
            if line:sub(1, #head) == head then return "answer", (line:sub(#head + 1):match("^%s*(.-)%s*$")) end
        end
    end
end

return dialect
