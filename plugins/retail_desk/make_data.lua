-- SPDX-License-Identifier: MIT
-- Writes rows for the desk: lua5.4 plugins/retail_desk/make_data.lua, in the repository's folder. A row is a customer; the
-- desk invents the rest from its number. Demonstrations are customers of the training's wordings, served by a clerk who
-- knows the shop's policy; the desk itself says what the tools answer, and that each of them is solved.
local HERE = arg[0]:match("^(.*)/") or "."

-- T.random as a plain Lua interpreter has it: the customers are others than those of the same numbers in a training.
package.preload.troupe = function()
    return { random = function(seed) math.randomseed(seed) return math.random end }
end
local desk = dofile(HERE .. "/desk.lua")

local function open(path) return assert(io.open(HERE .. "/" .. path, "w")) end

local function write(path, words, first, n)
    local out = open(path)
    for case = first, first + n - 1 do out:write(('{"id": "%s-%d", "case": %d, "words": "%s"}\n'):format(words, case, case, words)) end
    out:close()
end

-- ---- the clerk ----

local function call(steps, tool, id)
    local said = desk.step({ name = tool, arguments = { id = id } }, "")
    steps[#steps + 1] = ('{"tool": "%s", "arguments": {"id": "%s"}, "result": "%s"}'):format(tool, id, said)
    return said
end

-- What a clerk does who reads the order; returns what is told to the customer.
local function serve(wish, id, steps)
    local order = call(steps, "order", id)
    local price, state, days = order:match("(%d+) euro, (%a+).- (%d+) days")
    if wish == "back" then
        if tonumber(days) > 30 then return "Sorry, that is more than 30 days ago." end
        call(steps, "refund", id)
        return "You get " .. price .. " euro back."
    elseif wish == "cancel" then
        if state ~= "leaves" then return "Sorry, it was sent already." end
        call(steps, "cancel", id)
        return "It is cancelled."
    end
    return "It arrives in " .. days .. " days."
end

local function wish_of(asked)
    if asked:find("cancel", 1, true) or asked:find("Cancel", 1, true) then return "cancel" end
    return (asked:find("Where", 1, true) or asked:find("When", 1, true) or asked:find("long", 1, true)) and "where" or "back"
end

-- Customers who tell their number at once: a row has one question.
local function write_demonstrations(path, first, n)
    local out, case = open(path), first
    while n > 0 do
        local asked, steps = desk.reset({ case = case, words = "train" }), {}
        local id = asked:match("The order is (%d+)%.")
        if id then
            local answer = serve(wish_of(asked), id, steps)
            assert(desk.step(nil, answer).rewards.solved, asked)
            out:write(('{"prompt": "%s", "steps": [%s], "answer": "%s"}\n'):format(asked, table.concat(steps, ", "), answer))
            n = n - 1
        end
        case = case + 1
    end
    out:close()
end

write("train.jsonl", "train", 1, 400)
write("test.jsonl", "test", 100001, 120)
write_demonstrations("demonstrations.jsonl", 200001, 200)
write_demonstrations("held_out.jsonl", 300001, 40)
