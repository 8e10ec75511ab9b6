-- SPDX-License-Identifier: MIT
-- Writes sums, differences and products with numbers that a small language model can't do in its head, asked in several
-- wordings: data/train.jsonl and shots.jsonl with 12 wordings an operation; wide_train.jsonl and wide_shots.jsonl with 24,
-- where a sentence stands with each operation if it can ("Lucy's score was 7 and then she won, lost, ..."), so that its
-- words say which one is meant, and not its frame. The wordings of data/test.jsonl, which is evaluated during training, and
-- of data/fresh.jsonl, for models that are finished and for no choice of settings, are in no other file.
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
        more = {
            "Give me the sum of %d and %d.",
            "%d plus %d equals what?",
            "Calculate %d + %d.",
            "What number is %d more than %d?",
            "Increase %d by %d.",
            "A baker made %d rolls in the morning and %d rolls after lunch. What is the day's total?",
            "The first shelf holds %d cards, the second %d. How many cards are on the two shelves?",
            "Lucy's score was %d and then she won %d points more. What is her score?",
            "A bridge was crossed by %d cars before noon and by %d cars later. How many crossings were there?",
            "A lake holds %d trout and the town puts in another %d. How many trout swim in it?",
            "My bill is %d cents for food and %d cents for drinks. What do I pay?",
            "Paul drives %d metres, rests, and drives %d metres more. How far does he drive?",
        },
        test = {
            "If you add %d to %d, what do you get?",
            "A shop sold %d apples in May and %d in June. How many in both months?",
        },
        fresh = {
            "Tell me what %d and %d make together.",
            "A hotel has %d guests on the first floor and %d on the second. How many guests are in the hotel?",
            "To %d we add %d. The result?",
            "Sara read %d pages before the holidays and %d pages during them. How many pages has she read?",
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
        more = {
            "Give me the difference between %d and %d.",
            "%d minus %d equals what?",
            "Calculate %d - %d.",
            "How many more is %d than %d?",
            "Decrease %d by %d.",
            "A baker made %d rolls and %d of them were burnt. How many good rolls are there?",
            "The first shelf holds %d cards, the second %d fewer. How many cards are on the second shelf?",
            "Lucy's score was %d and then she lost %d points. What is her score?",
            "A concert hall sold %d tickets and %d people stayed at home. How many people came?",
            "A school library has %d books and %d are lent out. How many are on the shelves?",
            "My bill is %d cents and I have a voucher for %d cents. What do I pay?",
            "Paul has to drive %d metres and has driven %d metres. How far is it still?",
        },
        test = {
            "What remains of %d when %d is taken away?",
            "Tom had %d stamps and gave away %d. How many does he have now?",
        },
        fresh = {
            "What is %d less %d?",
            "A bus company has %d buses and %d are being repaired. How many are on the road?",
            "A village had %d inhabitants, then %d moved away. How many are there today?",
            "Begin with %d, go down by %d. Where are you?",
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
        more = {
            "Give me the product of %d and %d.",
            "%d times %d equals what?",
            "Calculate %d * %d.",
            "Scale %d by the factor %d.",
            "Make %d larger by the factor %d.",
            "A baker makes %d rolls every morning and works %d mornings. What is the total?",
            "One shelf holds %d cards and a room has %d such shelves. How many cards is that?",
            "Lucy wins %d points in a game and plays %d such games. What is her score?",
            "A bridge is crossed by %d cars a day. How many crossings are there in %d days?",
            "A cinema seats %d people and shows a film %d times, always full. How many people see it?",
            "My rent is %d dollars a month and I stay %d months. What do I pay?",
            "Paul drives %d metres to work and does so on %d days. How far does he drive?",
        },
        test = {
            "Find %d multiplied by %d.",
            "Each of the schools has %d pupils and there are %d schools. How many pupils are there?",
        },
        fresh = {
            "Use multiplication on %d and %d. The result?",
            "A hen house yields %d eggs a week. How many eggs come in %d weeks?",
            "There are %d seeds in a bag and I buy %d bags. How many seeds do I have?",
            "A worker packs %d parcels a month. How many has he packed after %d months?",
        },
    },
}

local SEED = 20261126
local state
local function draw(from, to) -- a 64-bit LCG (Knuth's MMIX constants): the same files on every machine
    state = state * 6364136223846793005 + 1442695040888963407
    return from + ((state >> 33) % (to - from + 1))
end

-- One of the operation's wordings of these kinds.
local function question(kinds)
    local op, texts = operations[draw(1, #operations)], {}
    for _, kind in ipairs(kinds) do table.move(op[kind], 1, #op[kind], #texts + 1, texts) end
    local a, b = draw(op.a[1], op.a[2]), draw(op.b[1], op.b[2])
    return { prompt = texts[draw(1, #texts)]:format(a, b), code = "print(" .. a .. op.sign .. b .. ")", answer = op.apply(a, b) }
end

local function write(name, n, kinds, line)
    local f <close> = assert(io.open(here .. "/" .. name, "w"))
    for i = 1, n do f:write(line(question(kinds), i), "\n") end
end

local function rows(name, n, kinds, id)
    write("data/" .. name .. ".jsonl", n, kinds, function(q, i)
        return ('{"id": "%s-%d", "prompt": "%s", "answer": "%d"}'):format(id, i, q.prompt, q.answer)
    end)
end

-- Training data and examples of these wordings; test and fresh, from the same numbers, are the same each time.
local function write_all(prefix, kinds)
    state = SEED
    rows(prefix .. "train", 1000, kinds, "train")
    rows("test", 200, { "test" }, "test")
    write(prefix .. "shots.jsonl", 64, kinds, function(q)
        return ('{"prompt": "%s", "steps": [{"tool": "python", "arguments": {"code": "%s"}, "result": "%d"}], "answer": "%d"}')
            :format(q.prompt, q.code, q.answer, q.answer)
    end)
    rows("fresh", 240, { "fresh" }, "fresh")
end

write_all("", { "train" })
write_all("wide_", { "train", "more" })
