-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl, data/test.jsonl and shots.jsonl: sums, differences and products with numbers that a small
-- language model can't do in its head, asked in several wordings. The wordings of the test set are in no other file.
--
--     lua5.4 recipes/smollm2/make_data.lua

local here = arg[0]:match("^(.*)/") or "."

local operations = {
    {
        sign = "+", apply = function(a, b) return a + b end, a = { 10000, 99999 }, b = { 1000, 99999 },
        train = {
            "What is %d plus %d?", "Add %d and %d.", "Compute the sum of %d and %d.", "How much is %d + %d?",
            "A town has %d people and %d more move in. How many people live there now?",
            "A library owns %d books and buys %d more. How many books does it own now?",
            "Anna walked %d steps on Monday and %d steps on Tuesday. How many steps did she walk altogether?",
            "One truck carries %d bricks and another carries %d. How many bricks do they carry together?",
            "A museum had %d visitors in spring and %d visitors in autumn. How many visitors came in all?",
            "There are %d red cars and %d blue cars. What is the total number of cars?",
            "Ben earned %d coins last year and %d coins this year. How many coins did he earn in the two years?",
            "Put together %d and %d.",
        },
        test = {
            "If you add %d to %d, what do you get?",
            "A shop sold %d apples in May and %d in June. How many in both months?",
        },
    },
    {
        sign = "-", apply = function(a, b) return a - b end, a = { 10000, 99999 }, b = { 1000, 9999 },
        train = {
            "What is %d minus %d?", "Compute the difference of %d and %d.", "How much is %d - %d?", "Start at %d and subtract %d.",
            "A tank holds %d litres and %d are used. How many are left?",
            "A farmer owned %d hens and sold %d. How many hens are left on the farm?",
            "Of %d seats in a stadium %d are taken. How many seats are free?",
            "A book has %d words and Lena has read %d. How many words does she still have to read?",
            "Maria saved %d dollars and spent %d of them. How much money does she have left?",
            "A plane flies at %d feet and goes down by %d feet. How high is it now?",
            "There were %d fish in a lake and %d were caught. How many fish remain?",
            "By how much is %d larger than %d?",
        },
        test = {
            "What remains of %d when %d is taken away?",
            "Tom had %d stamps and gave away %d. How many does he have now?",
        },
    },
    {
        sign = "*", apply = function(a, b) return a * b end, a = { 1000, 9999 }, b = { 12, 99 },
        train = {
            "What is %d times %d?", "Multiply %d by %d.", "Compute the product of %d and %d.", "How much is %d * %d?",
            "A box has %d nails. How many nails are in %d boxes?",
            "A printer makes %d pages an hour. How many pages does it make in %d hours?",
            "A ticket costs %d cents. How many cents do %d tickets cost?",
            "A factory fills %d bottles a day. How many bottles does it fill in %d days?",
            "A farm has fields with %d trees each. How many trees are there in %d fields?",
            "A train runs %d metres a minute. How many metres does it run in %d minutes?",
            "Every crate weighs %d grams. What do %d crates weigh?",
            "Work out %d by %d as a product.",
        },
        test = {
            "Find %d multiplied by %d.",
            "Each of the schools has %d pupils and there are %d schools. How many pupils are there?",
        },
    },
}

local state = 20261126
local function draw(from, to) -- a 64-bit LCG (Knuth's MMIX constants): the same files on every machine
    state = state * 6364136223846793005 + 1442695040888963407
    return from + ((state >> 33) % (to - from + 1))
end

local function question(wordings)
    local op = operations[draw(1, #operations)]
    local texts = op[wordings]
    local a, b = draw(op.a[1], op.a[2]), draw(op.b[1], op.b[2])
    return { prompt = texts[draw(1, #texts)]:format(a, b), code = "print(" .. a .. op.sign .. b .. ")", answer = op.apply(a, b) }
end

local function write(name, n, wordings, line)
    local f <close> = assert(io.open(here .. "/" .. name, "w"))
    for i = 1, n do f:write(line(question(wordings), i), "\n") end
end

write("data/train.jsonl", 1000, "train", function(q, i)
    return ('{"id": "train-%d", "prompt": "%s", "answer": "%d"}'):format(i, q.prompt, q.answer)
end)
write("data/test.jsonl", 200, "test", function(q, i)
    return ('{"id": "test-%d", "prompt": "%s", "answer": "%d"}'):format(i, q.prompt, q.answer)
end)
write("shots.jsonl", 64, "train", function(q)
    return ('{"prompt": "%s", "steps": [{"tool": "python", "arguments": {"code": "%s"}, "result": "%d"}], "answer": "%d"}')
        :format(q.prompt, q.code, q.answer, q.answer)
end)
