-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl, data/test.jsonl and shots.jsonl of the calculator recipe:  lua5.4 make_data.lua
-- The files are committed, so there is no need to run this. The test's pairs of numbers occur nowhere else: not in training, not in a shot.

local here = arg[0]:match("^(.*/)") or "./"
local pretrain = dofile(here .. "pretrain.lua")

local seed = 20 -- Park and Miller's generator: the same files on every machine
local function rng(n)
    seed = seed * 48271 % 2147483647
    return 1 + seed % n
end

local function write(path, rows, line)
    local file = assert(io.open(here .. path, "w"))
    local seen, written = {}, 0
    while written < rows.count do
        local q = pretrain.question(rng, rows.test)
        if not seen[q.code] then
            seen[q.code], written = true, written + 1
            file:write(line(q, written), "\n")
        end
    end
    file:close()
end

local function row(name)
    return function(q, i) return ('{"id": "%s-%d", "prompt": "%s", "answer": "%s"}'):format(name, i, q.text, q.answer) end
end

local function shot(q)
    return ('{"prompt": "%s", "steps": [{"tool": "python", "arguments": {"code": "%s"}, "result": "%s"}], "answer": "%s"}'):format(
        q.text, q.code, q.answer, q.answer)
end

write("data/train.jsonl", { count = 4000 }, row("train"))
write("data/test.jsonl", { count = 256, test = true }, row("test"))
write("shots.jsonl", { count = 48 }, shot)
