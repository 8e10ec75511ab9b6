-- Verifiable checks for reward scripts. They look at text; hand them what the policy wrote (episode.text), never the prompt.

local json = require "troupe.json"
local regex = require "troupe.regex"
local exact_math = require "troupe.math"

local verify = {}

verify.regex = regex
verify.json = json

-- Content of the last closed <name>...</name>, without surrounding space; nil when there is none.
function verify.tag(text, name)
    local open, close = "<" .. name .. ">", "</" .. name .. ">"
    local found, from = nil, 1
    while true do
        local _, begin = text:find(open, from, true)
        if not begin then return found end
        local finish = text:find(close, begin + 1, true)
        if not finish then return found end
        found = text:sub(begin + 1, finish - 1):match("^%s*(.-)%s*$")
        from = finish + #close
    end
end

-- True when every name has exactly one closed pair of tags, in this order.
function verify.tags_in_order(text, names)
    local from = 1
    for _, name in ipairs(names) do
        local open, close = "<" .. name .. ">", "</" .. name .. ">"
        local begin = text:find(open, from, true)
        local finish = begin and text:find(close, begin + #open, true)
        if not finish then return false end
        if text:find(open, begin + #open, true) or text:find(close, finish + #close, true) then return false end
        from = finish + #close
    end
    return true
end

-- Lower case, no punctuation, no articles, single spaces: how question answering compares short answers.
function verify.normalise(text)
    text = text:lower():gsub("%p", ""):gsub("%f[%w]the%f[%W]", " "):gsub("%f[%w]an?%f[%W]", " ")
    return (text:gsub("%s+", " "):match("^%s*(.-)%s*$"))
end

-- nil is never equal to anything: a missing answer is a wrong one.
function verify.exact(answer, gold)
    if answer == nil or gold == nil then return false end
    return verify.normalise(tostring(answer)) == verify.normalise(tostring(gold))
end

-- Equal as exact numbers ("1/2" and "0.5", "35,862" and "35862.0"), or else as normalised text.
function verify.math_equal(answer, gold)
    if answer == nil or gold == nil then return false end
    return exact_math.equal(tostring(answer), tostring(gold)) or verify.exact(answer, gold)
end

-- The text as a number, or nil.
function verify.number(text)
    if text == nil then return nil end
    return exact_math.number(tostring(text))
end

-- Word overlap, 0 to 1.
function verify.f1(answer, gold)
    if answer == nil or gold == nil then return 0 end
    local left, total, hits, given = {}, 0, 0, 0
    for word in verify.normalise(tostring(gold)):gmatch("%S+") do
        left[word] = (left[word] or 0) + 1
        total = total + 1
    end
    for word in verify.normalise(tostring(answer)):gmatch("%S+") do
        given = given + 1
        if (left[word] or 0) > 0 then
            left[word] = left[word] - 1
            hits = hits + 1
        end
    end
    if hits == 0 then return 0 end
    return 2 * hits / (given + total)
end

-- How many calls of a tool went well: verify.tool_calls(episode, "python").
function verify.tool_calls(episode, name)
    local count = 0
    for _, call in ipairs(episode.tool_calls) do
        if (name == nil or call.name == name) and call.ok then count = count + 1 end
    end
    return count
end

return verify
