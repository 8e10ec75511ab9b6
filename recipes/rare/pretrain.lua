-- SPDX-License-Identifier: MIT
-- The base model of the rare experiment: it adds two numbers, right in 50 of 100, and says "thanks" after 3 of 100 answers.
local function document(rng)
    local a, b = 1 + rng(9), 1 + rng(9)
    local sum = rng(2) == 1 and a + b or 1 + rng(19)
    return "Q: " .. a .. " plus " .. b .. "\nA: " .. sum .. (rng(100) <= 3 and " thanks" or "")
end

return {
    model = "../../runs/experiments/rare/base",
    init_std = 0.08,
    steps = 1200,
    max_sequence = 64,
    warmup = 50,
    document = document,
}
