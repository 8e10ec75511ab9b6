-- SPDX-License-Identifier: MIT
-- The base model of the ERA experiment: asked to pick, it says one of 20 letters, all of them alike.
local letters = "abcdefghijklmnopqrst"

local function document(rng)
    local at = rng(20)
    return "Q: pick\nA: " .. letters:sub(at, at)
end

return {
    model = "../../runs/experiments/era/base",
    init_std = 0.08,
    steps = 300,
    tokens_per_step = 1024,
    max_sequence = 32,
    lr = 1e-3,
    warmup = 50,
    document = document,
}
