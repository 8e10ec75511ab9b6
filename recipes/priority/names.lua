-- SPDX-License-Identifier: MIT
-- To each of 50 names belongs one of 20 letters. What a base model knows of them is said by known(i), the share of its
-- documents in which name i stands before its own letter and not before any.
local letters = "abcdefghijklmnopqrst"

local function letter_of(i) return letters:sub((i * 7) % 20 + 1, (i * 7) % 20 + 1) end

local function base(folder, known)
    local function document(rng)
        local i = rng(50) - 1
        local at = rng(20)
        local letter = rng(1000) <= 1000 * known(i) and letter_of(i) or letters:sub(at, at)
        return "Q: name " .. i .. "\nA: " .. letter
    end
    return { model = folder, init_std = 0.08, steps = 1500, max_sequence = 32, warmup = 50, document = document }
end

return { letter_of = letter_of, base = base }
