-- SPDX-License-Identifier: MIT
-- The base model of the spans experiment: asked to spell one of 20 names, it knows each of the six letters 30 times of 100,
-- one no better for the other.
local letters = "abcdefghij"

local function letter(rng)
    local at = rng(10)
    return letters:sub(at, at)
end

local function spelled(i, k)
    local at = (i * 7 + k * k * 3 + i * k) % 10 + 1
    return letters:sub(at, at)
end

local function document(rng)
    local i, word = rng(20) - 1, {}
    for k = 1, 6 do word[k] = rng(100) <= 30 and spelled(i, k) or letter(rng) end
    return "Q: spell " .. i .. "\nA: " .. table.concat(word, " ")
end

return {
    model = "../../runs/experiments/spans/base",
    init_std = 0.08,
    steps = 1500,
    max_sequence = 48,
    warmup = 50,
    document = document,
    spelled = spelled, -- for make_data.lua
}
