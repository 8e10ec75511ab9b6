-- The base model of the ERA experiment: asked to pick, it says one of 20 letters, all of them alike.
local letters = "abcdefghijklmnopqrst"

local function document(rng)
    local at = rng(20)
    return "Q: pick\nA: " .. letters:sub(at, at)
end

return {
    model = "../../runs/experiments/era/base",
    tokenizer = "../../models/stagehand",
    seed = 1,
    init_std = 0.08,
    steps = 300,
    tokens_per_step = 1024,
    max_sequence = 32,
    lr = 1e-3,
    warmup = 50,
    beta1 = 0.9,
    beta2 = 0.95,
    weight_decay = 0.01,
    clip_norm = 1.0,
    document = document,
}
