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
    tokenizer = "../../models/stagehand",
    seed = 1,
    init_std = 0.08,
    steps = 600,
    tokens_per_step = 2048,
    max_sequence = 32,
    lr = 2e-3,
    warmup = 50,
    beta1 = 0.9,
    beta2 = 0.95,
    weight_decay = 0.01,
    clip_norm = 1.0,
    document = document,
}
