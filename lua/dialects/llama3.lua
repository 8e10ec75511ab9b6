-- How Llama 3.1 and later speak: headers for roles, <|eot_id|> behind each message, and a tool call as the whole reply,
-- {"name": ..., "parameters": {...}}; what the tool said comes back from ipython. A reply that is no such object is the answer.

local chat = require "troupe.chat"
local json = require "troupe.json"

local dialect = { defaults = { system = "You are a helpful assistant.", date = "26 Jul 2024" } }

local function message(role, text) return "<|start_header_id|>" .. role .. "<|end_header_id|>\n\n" .. text .. "<|eot_id|>" end
local REPLY = "<|start_header_id|>assistant<|end_header_id|>\n\n"

local function written_call(name, arguments) return json.encode{ name = name, parameters = arguments } end
local function written_result(text) return message("ipython", json.encode(text)) end

local function system_text(options, spec)
    local text = { #spec.tools > 0 and "Environment: ipython\n" or "", "Cutting Knowledge Date: December 2023\nToday Date: ",
        options.date, "\n\n" }
    if #spec.tools > 0 then
        text[#text + 1] = "You have access to the following functions. To call a function, please respond with JSON for a function "
            .. 'call.Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
            .. "Do not use variables.\n\n"
        for _, tool in ipairs(spec.tools) do
            text[#text + 1] = json.encode{ type = "function", ["function"] = tool } .. "\n\n"
        end
    end
    text[#text + 1] = spec.instruction ~= "" and spec.instruction or options.system
    return table.concat(text)
end

function dialect.prompt(options, spec)
    return chat.pieces({ message = message, call = written_call, result = written_result, reply = REPLY }, system_text(options, spec), spec)
end

function dialect.observation(_, _, text, _) return written_result(text) .. REPLY end

-- A reply is over at <|eot_id|> or <|eom_id|>; only then is it known whether it is a call.
function dialect.parser(_, _)
    local text, from = "", 1
    return function(chunk)
        text = text .. chunk
        local stop = text:find("<|eot_id|>", from, true) or text:find("<|eom_id|>", from, true)
        from = math.max(1, #text - 9)
        if not stop then return nil end
        local reply = text:sub(1, stop - 1):match("^%s*(.-)%s*$")
        text, from = text:sub(stop + 10), 1
        if reply:sub(1, 1) ~= "{" or not reply:find('"name"', 1, true) then return "answer", reply end
        local call, why = json.decode(reply)
        if type(call) ~= "table" or type(call.name) ~= "string" then
            return "bad", 'error: a tool call should be {"name": ..., "parameters": {...}}' .. (why and (": " .. why) or "")
        end
        return "call", call.name, type(call.parameters) == "table" and call.parameters or {}
    end
end

return dialect
