-- The base model of the priority experiment: to each of 50 names belongs one of 20 letters, and how often it knows which is
-- logistic, with logits from 2 (88 of 100) to -4 (2 of 100).
local letters = "abcdefghijklmnopqrst"

local function letter_of(i) return letters:sub((i * 7) % 20 + 1, (i * 7) % 20 + 1) end
local function known(i) return 1 / (1 + math.exp(6 * i / 49 - 2)) end

local function document(rng)
    local i = rng(50) - 1
    local at = rng(20)
    local letter = rng(1000) <= 1000 * known(i) and letter_of(i) or letters:sub(at, at)
    return "Q: name " .. i .. "\nA: " .. letter
end

return {
    model = "../../runs/experiments/priority/base",
    init_std = 0.08,
    steps = 1500,
    max_sequence = 32,
    warmup = 50,
    document = document,
    letter_of = letter_of, -- for make_data.lua
}
