-- SPDX-License-Identifier: MIT
-- Verifiable checks for reward scripts. They look at text; hand them what the policy wrote (episode.text), never the prompt.

local json = require "troupe.json"
local regex = require "troupe.regex"
local exact_math = require "troupe.math"

local verify = {}

verify.regex = regex
verify.json = json

-- Where the policy's own words begin: after a </think> without a beginning, which ends what the prompt began; else at 1.
local function behind_thinking(text)
    local open, close = text:find("<think>", 1, true), text:find("</think>", 1, true)
    return close and (not open or close < open) and close + #"</think>" or 1
end

local THOUGHTS = { "think", "thinking", "thought", "reasoning" }

-- The first thought that begins at `from` or after it: where, and its name. `begins` remembers where each does, so that a text with
-- many is searched once.
local function next_thought(text, from, begins)
    local at, which = math.huge, nil
    for _, name in ipairs(THOUGHTS) do
        if begins[name] < from then begins[name] = text:find("<" .. name .. ">", from, true) or math.huge end
        if begins[name] < at then at, which = begins[name], name end
    end
    return at, which
end

-- Content of the first closed <name>...</name> outside of thoughts (<think>...</think> and their like), without surrounding space;
-- nil when there is none. That is where an episode ends, and so what episode.answer is; text after it, or a tag in a thought,
-- changes nothing. It knows no tools: an answer that stands in a call's text is one for it, and none for episode.answer.
function verify.tag(text, name)
    if type(text) ~= "string" then return nil end
    local open, close = "<" .. name .. ">", "</" .. name .. ">"
    local begins, thought = {}, false -- thought: the tag that is looked for is one itself
    for _, one in ipairs(THOUGHTS) do
        begins[one] = 0
        thought = thought or one == name
    end

    local from, begin = thought and 1 or behind_thinking(text), 0
    while true do
        if begin < from then begin = text:find(open, from, true) end
        if not begin then return nil end
        if thought then break end

        local at, which = next_thought(text, from, begins)
        if begin < at then break end
        local _, finish = text:find("</" .. which .. ">", at, true)
        if not finish then return nil end -- a thought without an end: all after it is in it
        from = finish + 1
    end

    local finish = text:find(close, begin + #open, true)
    if not finish then return nil end
    local first = text:find("%S", begin + #open)
    if first >= finish then return "" end
    return text:sub(first, finish - 1):match("^.*%S")
end

-- True when every name has exactly one closed pair of tags, in this order.
function verify.tags_in_order(text, names)
    if type(text) ~= "string" then return false end
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

-- Lower case, no punctuation, no articles, single spaces: how question answering compares short answers. Signs stay: -5 is not 5,
-- 3.5 not 35, C++ not C. "" for what says nothing: nil, false (an episode without an answer), json.null, a table, NaN.
verify.normalise = exact_math.words

-- The same short text but for capitals, punctuation and articles. Nothing is equal to nothing, and that includes "false".
function verify.exact(answer, gold)
    answer = verify.normalise(answer)
    return answer ~= "" and answer == verify.normalise(gold)
end

-- Whether both say the same: numbers by their exact value ("1/2" and "0.5", "35,862" and "35862.0", "50%" and "0.5"), everything
-- else by its structure, words by their letters. Sign, point, power, bracket, order, relation and unit all count, what still has
-- to be computed is not its value ("348*28" is not 9744), and in doubt two texts differ.
verify.math_equal = exact_math.equal

-- The text as a number; nil where it is none, or one that a double can't hold (1e400).
verify.number = exact_math.number

-- Word overlap, 0 to 1.
function verify.f1(answer, gold)
    local left, total, hits, given = {}, 0, 0, 0
    for word in verify.normalise(gold):gmatch("%S+") do
        left[word] = (left[word] or 0) + 1
        total = total + 1
    end

    for word in verify.normalise(answer):gmatch("%S+") do
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
        local called = name == nil and call.name ~= "" or call.name == name -- "": said to an environment
        if called and call.ok then count = count + 1 end
    end
    return count
end

return verify
