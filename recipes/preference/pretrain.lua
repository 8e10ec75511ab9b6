-- The base model of the preference experiment: it says 1 to 16 words, whatever the signs before them are.
local function document(rng)
    local signs = {}
    for i = 1, 16 do signs[i] = rng(2) == 1 and "+" or "-" end
    return "Q: " .. table.concat(signs, " ") .. "\nA:" .. (" is"):rep(rng(16))
end

return {
    model = "../../runs/experiments/preference/base",
    tokenizer = "../../models/stagehand",
    seed = 1,
    init_std = 0.08,
    steps = 800,
    tokens_per_step = 2048,
    max_sequence = 96,
    lr = 2e-3,
    warmup = 50,
    beta1 = 0.9,
    beta2 = 0.95,
    weight_decay = 0.01,
    clip_norm = 1.0,
    document = document,
}
