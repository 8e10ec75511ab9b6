-- SPDX-License-Identifier: MIT
-- troupe.render: conversations as each family's chat template prints them, to the byte. One function a family; what is
-- common is in the few helpers first. A template's raise_exception is a refusal here, with the template's words.

local families = {}

local function trim(text) return (text:match("^%s*(.-)%s*$")) end
local function strip_lines(text) return (text:gsub("^\n+", ""):gsub("\n+$", "")) end
local function refuse(why) error({ refused = why }, 0) end

-- The text of a message: a string, or the text parts of a list; no content is "".
local function content_of(message)
    local content = message.content
    if type(content) ~= "table" then return content == nil and "" or tostring(content) end
    local parts = {}
    for _, part in ipairs(content) do parts[#parts + 1] = part.text or "" end
    return table.concat(parts)
end

local function call_of(tool_call) return tool_call["function"] or tool_call end
local function has_calls(message) return type(message.tool_calls) == "table" and #message.tool_calls > 0 end

-- ---- ChatML: Qwen 2.5 and 3, Hermes 3, and models without tools ----

local function chatml(role, text) return "<|im_start|>" .. role .. "\n" .. text .. "<|im_end|>\n" end

function families.chatml(chat)
    local out = {}
    for _, m in ipairs(chat.messages) do out[#out + 1] = chatml(m.role, content_of(m)) end
    if chat.add_generation_prompt then out[#out + 1] = "<|im_start|>assistant\n" end
    return table.concat(out)
end

local function qwen_tools(chat)
    local out = { "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
        .. "signatures within <tools></tools> XML tags:\n<tools>" }
    for _, tool in ipairs(chat.tools) do out[#out + 1] = "\n" .. chat.tojson(tool) end
    out[#out + 1] = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
        .. "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n"
        .. "</tool_call>"
    return table.concat(out)
end

-- Results of one turn's calls share a user message.
local function qwen_result(chat, i, m)
    local before, after = chat.messages[i - 1], chat.messages[i + 1]
    return (before and before.role == "tool" and "" or "<|im_start|>user") .. "\n<tool_response>\n" .. content_of(m)
        .. "\n</tool_response>" .. (after and after.role == "tool" and "" or "<|im_end|>\n")
end

local function qwen_call(chat, tool_call)
    local call = call_of(tool_call)
    local arguments = type(call.arguments) == "string" and call.arguments or chat.tojson(call.arguments)
    return '<tool_call>\n{"name": "' .. call.name .. '", "arguments": ' .. arguments .. "}\n</tool_call>"
end

families["qwen2.5"] = function(chat)
    local out, first = {}, chat.messages[1]
    local system = first.role == "system" and content_of(first)
        or "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

    out[1] = chatml("system", chat.tools and system .. "\n\n" .. qwen_tools(chat) or system)
    for i, m in ipairs(chat.messages) do
        if m.role == "tool" then
            out[#out + 1] = qwen_result(chat, i, m)
        elseif m.role == "assistant" and has_calls(m) then
            local text = content_of(m)
            out[#out + 1] = "<|im_start|>assistant" .. (text ~= "" and "\n" .. text or "")
            for _, call in ipairs(m.tool_calls) do out[#out + 1] = "\n" .. qwen_call(chat, call) end
            out[#out + 1] = "<|im_end|>\n"
        elseif m.role ~= "system" or i > 1 then
            out[#out + 1] = chatml(m.role, content_of(m))
        end
    end

    if chat.add_generation_prompt then out[#out + 1] = "<|im_start|>assistant\n" end
    return table.concat(out)
end

-- The last message that a person wrote: thinking before it is forgotten.
local function last_query(messages)
    for i = #messages, 1, -1 do
        local text = content_of(messages[i])
        local result = text:sub(1, 15) == "<tool_response>" and text:sub(-16) == "</tool_response>"
        if messages[i].role == "user" and not result then return i end
    end
    return #messages
end

-- An assistant's thinking and what it said, apart.
local function thinking_of(m)
    local text = content_of(m)
    if type(m.reasoning_content) == "string" then return m.reasoning_content, text end
    if not text:find("</think>", 1, true) then return "", text end

    -- Behind the last <think>, up to the first </think>; what was said stands behind the last one.
    local first = text:find("</think>", 1, true)
    local thinking = text:sub(1, first - 1):gsub("\n+$", "")
    local from = 1
    for at in thinking:gmatch("<think>()") do from = at end
    thinking = thinking:sub(from):gsub("^\n+", "")

    local rest = 1
    for at in text:gmatch("</think>()") do rest = at end
    return thinking, (text:sub(rest):gsub("^\n+", ""))
end

families.qwen3 = function(chat)
    local out, first, query = {}, chat.messages[1], last_query(chat.messages)
    if chat.tools then
        out[1] = chatml("system", (first.role == "system" and content_of(first) .. "\n\n" or "") .. qwen_tools(chat))
    elseif first.role == "system" then
        out[1] = chatml("system", content_of(first))
    end

    for i, m in ipairs(chat.messages) do
        if m.role == "tool" then
            out[#out + 1] = qwen_result(chat, i, m)
        elseif m.role == "assistant" then
            local thinking, said = thinking_of(m)
            local shown = i > query and (i == #chat.messages or thinking ~= "")
            out[#out + 1] = "<|im_start|>assistant\n"
                .. (shown and "<think>\n" .. strip_lines(thinking) .. "\n</think>\n\n" .. said:gsub("^\n+", "") or said)
            for k, call in ipairs(has_calls(m) and m.tool_calls or {}) do
                out[#out + 1] = ((k > 1 or said ~= "") and "\n" or "") .. qwen_call(chat, call)
            end
            out[#out + 1] = "<|im_end|>\n"
        elseif m.role ~= "system" or i > 1 then
            out[#out + 1] = chatml(m.role, content_of(m))
        end
    end

    if chat.add_generation_prompt then
        out[#out + 1] = "<|im_start|>assistant\n" .. (chat.enable_thinking == false and "<think>\n\n</think>\n\n" or "")
    end
    return table.concat(out)
end

families.hermes3 = function(chat)
    if chat.tools then refuse("tools are rendered for qwen2.5 and qwen3; Hermes 3 writes them as Python signatures, which is not done here") end
    local out = { chat.bos_token, chatml("system", "You are a function calling AI model. You are provided with function signatures "
        .. "within <tools></tools> XML tags. You may call one or more functions to assist with the user query. Don't make "
        .. "assumptions about what values to plug into functions. Here are the available tools: <tools>  </tools>Use the following "
        .. 'pydantic model json schema for each tool call you will make: {"properties": {"name": {"title": "Name", "type": '
        .. '"string"}, "arguments": {"title": "Arguments", "type": "object"}}, "required": ["name", "arguments"], "title": '
        .. '"FunctionCall", "type": "object"}}\nFor each function call return a json object with function name and arguments within '
        .. "<tool_call></tool_call> XML tags as follows:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-dict>}\n"
        .. "</tool_call>") }

    for _, m in ipairs(chat.messages) do
        if m.role == "tool" or has_calls(m) then refuse("tool calls of Hermes 3 are not rendered here (qwen2.5's are the same tags)") end
        out[#out + 1] = chatml(m.role, content_of(m))
    end

    if chat.add_generation_prompt then out[#out + 1] = "<|im_start|>assistant\n" end
    return table.concat(out)
end

-- ---- Llama 3 ----

local function llama(role, text) return "<|start_header_id|>" .. role .. "<|end_header_id|>\n\n" .. text .. "<|eot_id|>" end

families.llama3 = function(chat)
    local out = { chat.bos_token }
    for _, m in ipairs(chat.messages) do out[#out + 1] = llama(m.role, trim(content_of(m))) end
    if chat.add_generation_prompt then out[#out + 1] = "<|start_header_id|>assistant<|end_header_id|>\n\n" end
    return table.concat(out)
end

local function llama_tools(chat, opening)
    local out = { opening, 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.',
        "Do not use variables.\n\n" }
    for _, tool in ipairs(chat.tools) do out[#out + 1] = chat.tojson(tool, true) .. "\n\n" end
    return table.concat(out)
end

local function llama_call(chat, m)
    if #m.tool_calls ~= 1 then refuse("This model only supports single tool-calls at once!") end
    local call = call_of(m.tool_calls[1])
    return llama("assistant", '{"name": "' .. call.name .. '", "parameters": ' .. chat.tojson(call.arguments) .. "}")
end

families["llama3.1"] = function(chat)
    local first, from = chat.messages[1], 1
    local system = first.role == "system" and trim(content_of(first)) or ""
    if first.role == "system" then from = 2 end

    local with_user = chat.tools and chat.tools_in_user_message ~= false
    local out = { chat.bos_token, llama("system", (chat.tools and "Environment: ipython\n" or "")
        .. "Cutting Knowledge Date: December 2023\nToday Date: " .. (chat.date_string or "26 Jul 2024") .. "\n\n"
        .. (chat.tools and not with_user and llama_tools(chat,
            "You have access to the following functions. To call a function, please respond with JSON for a function call.") or "")
        .. system) }

    if with_user then
        local user = chat.messages[from]
        if not user then refuse("Cannot put tools in the first user message when there's no first user message!") end
        out[#out + 1] = llama("user", llama_tools(chat, "Given the following functions, please respond with a JSON for a function call "
            .. "with its proper arguments that best answers the given prompt.\n\n") .. trim(content_of(user)))
        from = from + 1
    end

    for i = from, #chat.messages do
        local m = chat.messages[i]
        if m.tool_calls then
            out[#out + 1] = llama_call(chat, m)
        elseif m.role == "tool" or m.role == "ipython" then
            out[#out + 1] = llama("ipython", chat.tojson(m.content))
        else
            out[#out + 1] = llama(m.role, trim(content_of(m)))
        end
    end

    if chat.add_generation_prompt then out[#out + 1] = "<|start_header_id|>assistant<|end_header_id|>\n\n" end
    return table.concat(out)
end

-- ---- Mistral (Nemo, and the others of its tokenizer) ----

local NINE = "Tool call IDs should be alphanumeric strings with length 9!"

local function mistral_tools(chat)
    local tools = {}
    for _, tool in ipairs(chat.tools) do
        local fields, description = {}, call_of(tool)
        for _, key in ipairs(chat.keys(description)) do
            local value = description[key]
            if key ~= "return" then
                fields[#fields + 1] = '"' .. key .. '": '
                    .. (type(value) == "string" and '"' .. value .. '"' or chat.tojson(value))
            end
        end
        tools[#tools + 1] = '{"type": "function", "function": {' .. table.concat(fields, ", ") .. "}}"
    end
    return "[AVAILABLE_TOOLS][" .. table.concat(tools, ", ") .. "][/AVAILABLE_TOOLS]"
end

local function mistral_calls(chat, m)
    local calls = {}
    for _, tool_call in ipairs(m.tool_calls) do
        if type(tool_call.id) ~= "string" or #tool_call.id ~= 9 then refuse(NINE) end
        calls[#calls + 1] = chat.tojson(call_of(tool_call)):sub(1, -2) .. ', "id": "' .. tool_call.id .. '"}'
    end
    return "[TOOL_CALLS][" .. table.concat(calls, ", ") .. "]" .. chat.eos_token
end

local function mistral_check(messages, from)
    local n = 0
    for i = from, #messages do
        local m = messages[i]
        if m.role ~= "tool" and m.role ~= "tool_results" and not m.tool_calls then
            if (m.role == "user") ~= (n % 2 == 0) then
                refuse("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...")
            end
            n = n + 1
        end
    end
end

families.mistral = function(chat)
    local first = chat.messages[1]
    local system, from, last_user = nil, 1, nil
    if first.role == "system" then system, from = content_of(first), 2 end
    mistral_check(chat.messages, from)
    for i = from, #chat.messages do
        if chat.messages[i].role == "user" then last_user = i end
    end

    local out = { chat.bos_token }
    for i = from, #chat.messages do
        local m = chat.messages[i]
        if m.role == "user" then
            if chat.tools and i == last_user then out[#out + 1] = mistral_tools(chat) end
            local before = i == #chat.messages and system and system .. "\n\n" or ""
            out[#out + 1] = "[INST]" .. before .. content_of(m) .. "[/INST]"
        elseif m.tool_calls then
            out[#out + 1] = mistral_calls(chat, m)
        elseif m.role == "assistant" then
            out[#out + 1] = content_of(m) .. chat.eos_token
        elseif m.role == "tool" or m.role == "tool_results" then
            if type(m.tool_call_id) ~= "string" or #m.tool_call_id ~= 9 then refuse(NINE) end
            out[#out + 1] = '[TOOL_RESULTS]{"content": ' .. content_of(m) .. ', "call_id": "' .. m.tool_call_id .. '"}[/TOOL_RESULTS]'
        else
            refuse("Only user and assistant roles are supported, with the exception of an initial optional system message!")
        end
    end

    return table.concat(out)
end

-- ---- Gemma, Phi: no tools ----

families.gemma = function(chat)
    local out = { chat.bos_token }
    if chat.messages[1].role == "system" then refuse("System role not supported") end
    for i, m in ipairs(chat.messages) do
        if (m.role == "user") ~= (i % 2 == 1) then
            refuse("Conversation roles must alternate user/assistant/user/assistant/...")
        end
        local role = m.role == "assistant" and "model" or m.role
        out[#out + 1] = "<start_of_turn>" .. role .. "\n" .. trim(content_of(m)) .. "<end_of_turn>\n"
    end

    if chat.add_generation_prompt then out[#out + 1] = "<start_of_turn>model\n" end
    return table.concat(out)
end

families.phi3 = function(chat)
    local out = {}
    for _, m in ipairs(chat.messages) do
        local known = m.role == "user" or m.role == "assistant" or (m.role == "system" and content_of(m) ~= "")
        if known then out[#out + 1] = "<|" .. m.role .. "|>\n" .. content_of(m) .. "<|end|>\n" end
    end
    out[#out + 1] = chat.add_generation_prompt and "<|assistant|>\n" or chat.eos_token
    return table.concat(out)
end

-- ---- the one entrance ----

-- family, the conversation, texts[table] = { JSON text, indented, keys in order }, quote(string): text, or nil and why.
return function(family, conversation, texts, quote)
    local render = families[family]
    if not render then return nil, "no such family of chat templates" end

    -- A copy: templates change what they are given.
    local chat = {}
    for key, value in pairs(conversation) do chat[key] = value end
    if chat.add_generation_prompt == nil then chat.add_generation_prompt = true end
    chat.bos_token, chat.eos_token = chat.bos_token or "", chat.eos_token or ""
    if type(chat.tools) ~= "table" or #chat.tools == 0 then chat.tools = nil end

    function chat.tojson(value, indented)
        if type(value) == "table" then return texts[value][indented and 2 or 1] end
        if type(value) == "string" then return quote(value) end
        return value == nil and "null" or tostring(value)
    end
    function chat.keys(value) return texts[value][3] end

    local ok, text = pcall(render, chat)
    if ok then return text end
    if type(text) == "table" and text.refused then return nil, text.refused end
    error(text, 0)
end
