-- SPDX-License-Identifier: MIT
-- The base model of the hints experiment: asked to spell a name, it says three of ten letters, all of them alike.
local letters = "abcdefghij"

local function letter(rng)
    local at = rng(10)
    return letters:sub(at, at)
end

local function document(rng)
    return "Q: spell " .. (rng(20) - 1) .. "\nA: " .. letter(rng) .. " " .. letter(rng) .. " " .. letter(rng)
end

return {
    model = "../../runs/experiments/hints/base",
    init_std = 0.08,
    steps = 600,
    max_sequence = 32,
    warmup = 50,
    document = document,
}
