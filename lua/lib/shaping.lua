-- SPDX-License-Identifier: MIT
-- Rewards between right and wrong, for reward scripts: proximity in tiers (Sweet Spot Learning, arXiv 2601.22491) and tests in
-- tiers (TAROT), and tool calls against those that were wanted (ToolRL, arXiv 2504.13958).
local json = require "troupe.json"

local shaping = {}

-- 1 at distance 0, falling as a Gaussian: exp(-d^2 / (2 sigma^2)).
function shaping.proximity(distance, sigma)
    return math.exp(-(distance * distance) / (2 * sigma * sigma))
end

-- The tier 0 .. tiers of a progress q in [0, 1]: small noise on q changes no order within a tier.
function shaping.tier(q, tiers)
    return math.min(tiers, math.max(0, math.ceil(tiers * q)))
end

-- The reward of progress q: 0.5 for being correct and 0.5 (k / tiers)^2 for tier k, of four. A correct answer is worth more than
-- any that is not: those stay below the last tier.
function shaping.tiered(q, correct, tiers)
    tiers = tiers or 4
    local k = shaping.tier(q, tiers)
    if not correct then k = math.min(k, tiers - 1) end
    return (correct and 0.5 or 0) + 0.5 * (k / tiers) ^ 2
end

-- Passed shares of tests by tier ({ basic = 1, medium = 0.5, ... }) under the tiers' weights; tiers without tests count for
-- nothing, and the weights of the others are brought to 1, so that the largest reward is always 1.
function shaping.weighted_tiers(passed, weights)
    local names, sum, all = {}, 0, 0
    for name in pairs(passed) do names[#names + 1] = name end
    table.sort(names) -- pairs has no order, and a sum in another order is another sum
    for _, name in ipairs(names) do
        local w = weights[name] or 0
        sum, all = sum + w * passed[name], all + w
    end
    return all > 0 and sum / all or 0
end

-- An empty list is not an empty object, null is itself.
local function same(a, b)
    if json.kind(a) ~= json.kind(b) then return false end
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for k, v in pairs(a) do
        if not same(v, b[k]) then return false end
    end
    for k in pairs(b) do
        if a[k] == nil then return false end
    end
    return true
end

-- Jaccard's index of two multisets, { [item] = how often }.
local function jaccard(a, b)
    local both, all = 0, 0
    for item, n in pairs(a) do both, all = both + math.min(n, b[item] or 0), all + n end
    for _, n in pairs(b) do all = all + n end
    return all == both and 1 or both / (all - both)
end

local function names_of(calls)
    local names = {}
    for _, call in ipairs(calls) do names[call.name] = (names[call.name] or 0) + 1 end
    return names
end

-- Two calls of one name: how alike the sets of their parameters are, and one for each value that is right.
local function match(wanted, made)
    local keys, made_keys, right = {}, {}, 0
    for k, v in pairs(wanted) do
        keys[k] = 1
        if made[k] ~= nil and same(made[k], v) then right = right + 1 end
    end
    for k in pairs(made) do made_keys[k] = 1 end
    return jaccard(keys, made_keys) + right
end

-- The calls with their arguments as tables; nil when some are no JSON object.
local function parsed(calls)
    local out = {}
    for i, call in ipairs(calls) do
        local arguments = call.arguments
        if type(arguments) == "string" then
            local fine, value = pcall(json.decode, arguments)
            arguments = fine and value or nil
        end
        if type(arguments) ~= "table" then return nil end
        out[i] = { name = call.name, arguments = arguments }
    end
    return out
end

-- The best of the calls not yet taken that wanted can be compared with: its score and its place.
local function best_match(wanted, made, taken)
    local best, at = 0, nil
    for i, call in ipairs(made) do
        if not taken[i] and call.name == wanted.name then
            local score = match(wanted.arguments, call.arguments)
            if score > best then best, at = score, i end
        end
    end
    return best, at
end

-- How well the calls made match the wanted ones, from -1 to 1: their names, the names of their parameters, the values, each wanted
-- call against the best one that is left. It is ToolRL's correctness divided by 3. `made` may be episode.tool_calls; wanted is
-- { { name = "add", arguments = { a = 1, b = 2 } } }. 0 where no call is wanted; -1 for arguments that are no JSON object.
function shaping.calls(wanted, made)
    if #wanted == 0 then return 0 end
    made = parsed(made)
    if not made then return -1 end

    local got, max, taken = jaccard(names_of(wanted), names_of(made)), 1, {}
    for _, call in ipairs(wanted) do
        local score, at = best_match(call, made, taken)
        if at then taken[at] = true end

        local parameters = 0
        for _ in pairs(call.arguments) do parameters = parameters + 1 end
        got, max = got + score, max + 1 + parameters
    end
    return 2 * got / max - 1
end

return shaping
