-- SPDX-License-Identifier: MIT
-- Writes rows for the desk: lua5.4 plugins/retail_desk/make_data.lua, in the repository's folder. A row is a customer; the
-- desk invents the rest from its number.
local function write(path, words, first, n)
    local out = assert(io.open("plugins/retail_desk/" .. path, "w"))
    for case = first, first + n - 1 do out:write(('{"id": "%s-%d", "case": %d, "words": "%s"}\n'):format(words, case, case, words)) end
    out:close()
end

write("train.jsonl", "train", 1, 400)
write("test.jsonl", "test", 100001, 120)
