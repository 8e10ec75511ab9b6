-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl and data/test.jsonl, the sums of 1..9, a fifth of them held out:  lua5.4 make_data.lua
-- The files are committed, so there is no need to run this.
local here = arg[0]:match("^(.*/)") or "./"
local train, test = assert(io.open(here .. "data/train.jsonl", "w")), assert(io.open(here .. "data/test.jsonl", "w"))
for a = 1, 9 do
    for b = 1, 9 do
        local to = (3 * a + 7 * b) % 5 == 0 and test or train
        to:write(('{"id": "%d-%d", "prompt": "%d plus %d", "answer": "%d"}\n'):format(a, b, a, b, a + b))
    end
end
