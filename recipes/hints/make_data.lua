-- Writes data/train.jsonl, 20 names with the three letters that spell them:  lua5.4 make_data.lua
-- The file is committed, so nobody has to run this.
local here = arg[0]:match("^(.*/)") or "./"
local train = assert(io.open(here .. "data/train.jsonl", "w"))
local letters = "abcdefghij"
for i = 0, 19 do
    local word = {}
    for k = 1, 3 do
        local at = (i * 7 + k * k * 3 + i * k) % 10 + 1
        word[k] = letters:sub(at, at)
    end
    local answer = table.concat(word, " ")
    train:write(('{"id": "%d", "prompt": "spell %d", "answer": "%s", "demonstration": "%s<|endoftext|>"}\n'):format(i, i, answer, answer))
end
