-- SPDX-License-Identifier: MIT
-- The base model of the conflict experiment: it adds two numbers in four manners, and is more often right in the longer one.
--
--   terse    "27"                     right in 35 of 100
--   working  "14 plus 13 is 27"    right in 90 of 100
--   either of them inside <answer> tags or not, half and half
--
-- So at the start accuracy wants length, brevity wants it gone, and the format costs two tags: three rewards that pull apart.
local function number(rng) return 1 + rng(19) end

local function document(rng)
    local a, b = number(rng), number(rng)
    local working, tags = rng(2) == 1, rng(2) == 1
    local right = rng(100) <= (working and 90 or 35)
    local sum = right and a + b or 1 + rng(39)
    local text = working and (a .. " plus " .. b .. " is " .. sum) or tostring(sum)
    return "Q: " .. a .. " plus " .. b .. "\nA: " .. (tags and "<answer>" .. text .. "</answer>" or text)
end

return {
    model = "../../runs/experiments/conflict/base",
    init_std = 0.08,
    steps = 1500,
    max_sequence = 64,
    warmup = 50,
    document = document,
}
