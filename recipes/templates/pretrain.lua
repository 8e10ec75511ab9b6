-- SPDX-License-Identifier: MIT
-- The base model of the templates experiment: to each of 30 names belong two of 20 letters. Told to think slowly it is right 40
-- times of 100; told to be quick, or told nothing, as often as chance has it.
local letters = "abcdefghijklmnopqrst"
local manners = { "", "Be quick.\n", "Think slowly.\n" }

local function letter(at) return letters:sub(at, at) end
local function answer_of(i) return letter((i * 7) % 20 + 1) .. " " .. letter((i * 11 + 3) % 20 + 1) end

local function document(rng)
    local i, manner = rng(30) - 1, rng(3)
    local right = manner == 3 and rng(100) <= 40
    return manners[manner] .. "Q: name " .. i .. "\nA: " .. (right and answer_of(i) or letter(rng(20)) .. " " .. letter(rng(20)))
end

return {
    model = "../../runs/experiments/templates/base",
    init_std = 0.08,
    steps = 2000,
    max_sequence = 32,
    warmup = 50,
    document = document,
    answer_of = answer_of, -- for make_data.lua
}
