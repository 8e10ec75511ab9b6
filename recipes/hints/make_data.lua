-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl, 20 names with the three letters that spell them, and data/misleading.jsonl, the same twice: once with the
-- right demonstration and once with the next name's:  lua5.4 make_data.lua        The files are committed, so there is no need to run this.
local here = arg[0]:match("^(.*/)") or "./"
local letters = "abcdefghij"

local function spelled(i)
    local word = {}
    for k = 1, 3 do
        local at = (i * 7 + k * k * 3 + i * k) % 10 + 1
        word[k] = letters:sub(at, at)
    end
    return table.concat(word, " ")
end

local function row(i, shown)
    return ('{"id": "%d", "prompt": "spell %d", "answer": "%s", "demonstration": "%s<|endoftext|>"}\n'):format(i, i, spelled(i), shown)
end

local train = assert(io.open(here .. "data/train.jsonl", "w"))
local misleading = assert(io.open(here .. "data/misleading.jsonl", "w"))
for i = 0, 19 do
    train:write(row(i, spelled(i)))
    misleading:write(row(i, spelled(i)), row(i, spelled((i + 1) % 20)))
end
