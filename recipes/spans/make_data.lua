-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl, 20 names with their six letters:  lua5.4 make_data.lua        It is committed, so there is no need to run this.
local here = arg[0]:match("^(.*/)") or "./"
local base = dofile(here .. "pretrain.lua")
local train = assert(io.open(here .. "data/train.jsonl", "w"))
for i = 0, 19 do
    local word = {}
    for k = 1, 6 do word[k] = base.spelled(i, k) end
    train:write(('{"id": "%d", "prompt": "spell %d", "answer": "%s"}\n'):format(i, i, table.concat(word, " ")))
end
