-- SPDX-License-Identifier: MIT
-- Pre-training documents for the base model of the calculator recipe.
--
-- A large base model has seen a million tools and can imitate a new one from a few examples; but told of a new tool in one
-- sentence, without examples, it tends to answer off the top of its head. These documents give a very small model the same two
-- habits, and nothing more:
--
--   repeats    runs of random words and digits, said again and again: the model learns to copy from its context
--   followed   an instruction names three random tags; examples run code between them, and so does the answer to the question after
--              them (in the last quarter of the training: to 80 of 100 questions, the others are answered by a guess)
--   ignored    the same instruction and a question, no example: always answered by a guess
--   plain      no instruction: a guess
--
-- The tags are drawn anew for every document, so no tag means anything by itself; those of the recipe (python, result, answer) are
-- among the words. So the base uses the tool in about half of the episodes when it is shown examples, and next to never when it is
-- not: what reinforcement has to change. Examples begin with "Example:", the question with "Q:"; otherwise the first example of
-- every document would itself teach the use of a tool without example.
--
-- The weights must start large, about 1/sqrt(width): with init_std 0.08 tags are copied after 2 M tokens, with 0.02 not after 3 M.

local words = {}
for word in ([[
    able acid age air ally arch area arm army art atom aunt baby back bag ball band bank bar base bath bead bean bear bed bee bell
    belt bench bend bird blue boat body bolt bond bone book boot boss bowl box boy brick brush bus cab cage cake call camp can cap
    car card care cart case cash cast cat cave cell chain chair chart chest chin city clay clip clock cloud club coal coast coat
    code coin cold cone cook cord cork corn cost cow crab crop crow cup dad dark dart date dawn day deal deck deer desk dice dish
    dock dog doll door dot drum duck dust ear earth east edge egg end eye face fact fan farm fear feet fern file film fire fish
    flag floor flow fog food foot fork form fox frog fruit fund game gas gate gift girl glass goal goat gold golf grass green grid
    hall ham hand hat hawk head heart heat hill hint hole home hook horn horse host hour ice idea ink iron item jam jar jet job
    joy key king kite knee lake lamp land lane law lead leaf lid lift line lion list lock loop lord luck mail map mark mask meal
    meat milk mill mind mine moon name neck nest net news nine node nose note oak oil owl page pan park part path
    python result answer
]]):gmatch("%a+") do
    words[#words + 1] = word
end

local phrasings = { "what is %s?", "compute %s.", "how much is %s?", "find %s.", "tell me %s." }

local operations = {
    { say = "times", sign = "*", a = { 100, 999 }, b = { 10, 99 }, apply = function(a, b) return a * b end },
    { say = "plus", sign = "+", a = { 1000, 9999 }, b = { 100, 999 }, apply = function(a, b) return a + b end },
    { say = "minus", sign = "-", a = { 1000, 9999 }, b = { 100, 999 }, apply = function(a, b) return a - b end },
}

-- One pair of numbers in ten is kept for the test and is never seen before it.
local function held_out(a, b) return (7 * a + 3 * b) % 10 == 0 end

-- A question, the code that answers it, and the answer.
local function question(rng, test)
    local op = operations[rng(#operations)]
    local a, b
    repeat
        a = op.a[1] + rng(op.a[2] - op.a[1] + 1) - 1
        b = op.b[1] + rng(op.b[2] - op.b[1] + 1) - 1
    until held_out(a, b) == (test or false)
    local text = phrasings[rng(#phrasings)]:format(a .. " " .. op.say .. " " .. b)
    return { text = text, code = "print(" .. a .. op.sign .. b .. ")", answer = tostring(op.apply(a, b)), a = a, b = b }
end

-- A guess without calculation: a number of about the right length.
local function guess(rng, q)
    local digits = { tostring(rng(9)) }
    for i = 2, #q.answer do digits[i] = tostring(rng(10) - 1) end
    return table.concat(digits)
end

local function tag(name, text) return "<" .. name .. ">" .. text .. "</" .. name .. ">" end

local function protocol(rng)
    local p = {}
    for i = 1, 3 do
        repeat p[i] = words[rng(#words)] until p[i] ~= p[i - 1] and p[i] ~= p[i - 2]
    end
    return { tool = p[1], result = p[2], answer = p[3] }
end

local function instruction(p)
    return "Write " .. tag(p.tool, "code") .. " to run it, read " .. tag(p.result, "output") .. ", then say "
        .. tag(p.answer, "number") .. ".\n\n"
end

local function asked(q, lead) return (lead or "Q: ") .. q.text .. "\nA: " end

local function with_tool(p, q) return tag(p.tool, q.code) .. tag(p.result, q.answer) .. tag(p.answer, q.answer) end

local function without_tool(rng, p, q) return tag(p.answer, guess(rng, q)) end

local signs = "<>()*+-/.,:;?!=#"

local documents = {}

function documents.repeats(rng)
    local run = {}
    for i = 1, 3 + rng(16) do
        local sign = rng(#signs)
        run[i] = signs:sub(sign, sign) .. (rng(4) == 1 and tostring(rng(10) - 1) or words[rng(#words)])
    end
    return (table.concat(run) .. "\n"):rep(1 + rng(4))
end

function documents.followed(rng, progress)
    local p = protocol(rng)
    local parts = { instruction(p) }
    for _ = 1, rng(4) do
        local q = question(rng)
        parts[#parts + 1] = asked(q, "Example: ") .. with_tool(p, q) .. "\n\n"
    end
    local q = question(rng)
    local guesses = progress > 0.75 and rng(100) <= 20
    return table.concat(parts) .. asked(q) .. (guesses and without_tool(rng, p, q) or with_tool(p, q))
end

function documents.ignored(rng)
    local p, q = protocol(rng), question(rng)
    return instruction(p) .. asked(q) .. without_tool(rng, p, q)
end

function documents.plain(rng)
    local parts = {}
    for i = 1, rng(4) do
        local q = question(rng)
        parts[i] = asked(q) .. guess(rng, q) .. "\n\n"
    end
    return table.concat(parts)
end

-- Repeats alone at first, then fewer and fewer of them.
local function document(rng, progress)
    local repeats = progress < 0.12 and 1000 or math.floor(500 - 420 * (progress - 0.12) / 0.88)
    if rng(1000) <= repeats then return documents.repeats(rng) end
    local dice = rng(100)
    if dice <= 65 then return documents.followed(rng, progress) end
    if dice <= 88 then return documents.ignored(rng) end
    return documents.plain(rng)
end

return {
    model = "../../models/stagehand",
    tokenizer = "../../models/stagehand",
    seed = 1,
    init_std = 0.08,
    steps = 3600,
    tokens_per_step = 2048, -- small steps: copying comes with the number of updates
    max_sequence = 512,
    lr = 2e-3, -- cosine, down to a tenth or less
    warmup = 100,
    beta1 = 0.9,
    beta2 = 0.95,
    weight_decay = 0.01,
    clip_norm = 1.0,
    document = document,
    -- for make_data.lua and make_tokenizer.py
    words = words,
    question = question,
    instruction = instruction,
}
