-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl, the 30 names with their letters, and data/test.jsonl, each of them eight times, since an evaluation
-- samples a row once:  lua5.4 make_data.lua        The files are committed, so there is no need to run this.
local here = arg[0]:match("^(.*/)") or "./"
local base = dofile(here .. "pretrain.lua")
local train, test = assert(io.open(here .. "data/train.jsonl", "w")), assert(io.open(here .. "data/test.jsonl", "w"))
for i = 0, 29 do
    local row = ('{"id": "%d", "prompt": "name %d", "answer": "%s"}\n'):format(i, i, base.answer_of(i))
    train:write(row)
    test:write(row:rep(8))
end
