-- SPDX-License-Identifier: MIT
-- The base model of the preference experiment: it says 1 to 16 words, whatever the signs before them are.
local function document(rng)
    local signs = {}
    for i = 1, 16 do signs[i] = rng(2) == 1 and "+" or "-" end
    return "Q: " .. table.concat(signs, " ") .. "\nA:" .. (" is"):rep(rng(16))
end

return {
    model = "../../runs/experiments/preference/base",
    init_std = 0.08,
    steps = 800,
    max_sequence = 96,
    warmup = 50,
    document = document,
}
