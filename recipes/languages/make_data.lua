-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl (five languages, 80 of the 100 sums) and data/test.jsonl (all six, the other 20):  lua5.4 make_data.lua
-- The files are committed, so there is no need to run this.
local here = arg[0]:match("^(.*/)") or "./"
local base = dofile(here .. "pretrain.lua")
local train, test = assert(io.open(here .. "data/train.jsonl", "w")), assert(io.open(here .. "data/test.jsonl", "w"))

for n, language in ipairs(base.order) do
    for a = 0, 9 do
        for b = 0, 9 do
            local held = (3 * a + 7 * b + n) % 5 == 0
            local w = base.words[language]
            local row = ('{"id": "%s-%d%d", "prompt": "%s: %s plus %s", "answer": "%d", "group": "%s"}\n'):format(
                language, a, b, language, w[a + 1], w[b + 1], a + b, language)
            if held then test:write(row) elseif language ~= "nl" then train:write(row) end
        end
    end
end
