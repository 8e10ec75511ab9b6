-- SPDX-License-Identifier: MIT
-- The base model of the languages experiment: it adds two digits said in six languages, and knows some better than others.
-- Five are trained (their share of right answers in these documents: de, en 50, fr, es 20, it 10 of 100), nl (20) is only tested.
local words = {
    de = { "null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun" },
    en = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine" },
    fr = { "zero", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf" },
    es = { "cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve" },
    it = { "zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove" },
    nl = { "nul", "een", "twee", "drie", "vier", "vijf", "zes", "zeven", "acht", "negen" },
}
local order = { "de", "en", "fr", "es", "it", "nl" }
local right = { de = 50, en = 50, fr = 20, es = 20, it = 10, nl = 20 }

local function document(rng)
    local language, a, b = order[rng(#order)], rng(10) - 1, rng(10) - 1
    local sum = rng(100) <= right[language] and a + b or rng(19) - 1
    local w = words[language]
    return "Q: " .. language .. ": " .. w[a + 1] .. " plus " .. w[b + 1] .. "\nA: " .. sum
end

return {
    model = "../../runs/experiments/languages/base",
    init_std = 0.08,
    steps = 1500,
    max_sequence = 64,
    warmup = 50,
    document = document,
    words = words, -- for make_data.lua
    order = order,
}
