-- How Qwen 2.5 and 3 speak (ChatML, with Hermes tool calls): a system message with the instruction and the tools' signatures,
-- <tool_call>{"name": ..., "arguments": {...}}</tool_call> from the assistant, <tool_response>...</tool_response> in a user turn.
-- A reply without a tool call, closed by <|im_end|>, is the answer.

local chat = require "troupe.chat"
local json = require "troupe.json"

local dialect = { defaults = { system = "You are a helpful assistant." } }

local function message(role, text) return "<|im_start|>" .. role .. "\n" .. text .. "<|im_end|>\n" end

local function written_call(name, arguments)
    return "<tool_call>\n" .. json.encode{ name = name, arguments = arguments } .. "\n</tool_call>"
end

local function written_result(text) return message("user", "<tool_response>\n" .. text .. "\n</tool_response>") end

local function system_text(options, spec)
    local text = spec.instruction ~= "" and spec.instruction or options.system
    if #spec.tools == 0 then return text end
    local lines = {}
    for _, tool in ipairs(spec.tools) do lines[#lines + 1] = json.encode{ type = "function", ["function"] = tool } end
    return text .. "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        .. "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n" .. table.concat(lines, "\n")
        .. "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
        .. "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>"
end

function dialect.prompt(options, spec)
    return chat.pieces({ message = message, call = written_call, result = written_result, reply = "<|im_start|>assistant\n" },
        system_text(options, spec), spec)
end

function dialect.observation(_, _, text, _)
    return "<|im_end|>\n" .. written_result(text) .. "<|im_start|>assistant\n"
end

function dialect.parser(_, _)
    local open, close, finish = "<tool_call>", "</tool_call>", "<|im_end|>"
    local text, from = "", 1
    return function(chunk)
        text = text .. chunk
        local stop = text:find(finish, from, true)
        local closed = text:find(close, from, true)
        from = math.max(1, #text - #close + 2)
        if closed and (not stop or closed < stop) then
            local opened = text:find(open, 1, true)
            local content = opened and opened < closed and text:sub(opened + #open, closed - 1) or ""
            local call, why = json.decode(content)
            text, from = text:sub(closed + #close), 1
            if type(call) ~= "table" or type(call.name) ~= "string" then
                return "bad", "error: a tool call should be {\"name\": ..., \"arguments\": {...}}" .. (why and (": " .. why) or "")
            end
            return "call", call.name, type(call.arguments) == "table" and call.arguments or {}
        end
        if stop then
            local answer = text:sub(1, stop - 1):match("^%s*(.-)%s*$")
            text, from = "", 1
            return "answer", answer
        end
        return nil
    end
end

return dialect
