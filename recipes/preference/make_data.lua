-- SPDX-License-Identifier: MIT
-- Writes data/train.jsonl (five preferences) and data/test.jsonl (the twelve between them):  lua5.4 make_data.lua
-- A preference of k sixteenths for brevity is shown as k plus signs and 16 - k minus signs, so that what was never seen lies
-- between what was. The files are committed, so there is no need to run this.
local here = arg[0]:match("^(.*/)") or "./"
local train, test = assert(io.open(here .. "data/train.jsonl", "w")), assert(io.open(here .. "data/test.jsonl", "w"))

for k = 0, 16 do
    local prompt = ("+ "):rep(k) .. ("- "):rep(16 - k)
    local row = ('{"id": "%d", "prompt": "%s", "preference": {"brevity": %g, "detail": %g}}\n'):format(
        k, prompt:sub(1, -2), k / 16, 1 - k / 16)
    local to = k % 4 == 0 and train or test
    to:write(row)
end
