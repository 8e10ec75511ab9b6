-- SPDX-License-Identifier: MIT
-- A shop's desk, as an environment (docs/env_plugins.md): a database of orders, the shop's policy, and a customer who wants one
-- of three things. The policy under training is the clerk. It looks orders up, refunds and cancels with tools, and its words
-- go to the customer, who may have to be asked for the number first.
--
-- An episode is judged as in tau-bench (arXiv:2406.12045): the database has to be what the shop's policy says it should be,
-- and the customer has to have been told what there is to be known. `solved` is 1 for both, `handled` for the first,
-- `looked_up` for having looked before anything was done or said.
--
-- A row is one customer: { "case": 17, "words": "train" }. `case` is the seed of all that is random; `words` says which of two
-- sets of wordings the customer speaks, so that a test can ask in words that no training has seen.
local T = require "troupe"

local THINGS = { "lamp", "chair", "kettle", "radio", "tent", "clock", "mirror", "bicycle", "guitar", "blanket" }

-- %s: the thing. A customer of "wish" wants it; what the clerk may do about it depends on the order.
local WORDS = {
    train = {
        back = {
            "I want my money back for the %s.", "Please take the %s back and refund me.", "The %s is not what I wanted. Can I have a refund?",
            "I would like to return a %s.",
        },
        cancel = {
            "Please cancel my %s.", "I no longer want the %s that I ordered. Cancel it, please.", "Can you cancel the order of the %s?",
        },
        where = {
            "Where is my %s?", "When will the %s be here?", "I am waiting for my %s. How long does it take?",
        },
    },
    test = {
        back = { "This %s does not please me, I should like to have what I paid.", "Could you refund the %s?" },
        cancel = { "I have changed my mind about the %s, so please stop the order.", "Do not send me the %s, please." },
        where = { "How many days until I get the %s?", "Has the %s been sent, and when does it come?" },
    },
}

local order, wish, looked_up, number_told
local due, told, declined -- see DUE

-- ---- the shop ----

-- What there is to be done: the state in which the order should be, the word that the customer has to be told, and whether the
-- wish is declined. A declined wish is told with "sorry" and no other one is, so that no sentence serves every customer.
local DUE = {
    back = function(o)
        if o.state == "delivered" and o.days <= 30 then return "refunded", tostring(o.price), false end
        return o.state, "sorry", true
    end,
    cancel = function(o)
        if o.state == "packed" then return "cancelled", "cancelled", false end
        return o.state, "sorry", true
    end,
    where = function(o) return o.state, tostring(o.days), false end,
}

local function described(o)
    local when = { packed = "leaves the house in %d days", sent = "arrives in %d days", delivered = "delivered %d days ago" }
    local state = when[o.state] and when[o.state]:format(o.days) or o.state
    return ("%s, %d euro, %s"):format(o.thing, o.price, state)
end

local function there_is_no(id) return { observation = "there is no order " .. id, ok = false } end

local TOOLS = {
    order = function(id)
        if id ~= order.id then return there_is_no(id) end
        looked_up = true
        return described(order)
    end,
    refund = function(id)
        if id ~= order.id then return there_is_no(id) end
        if order.state ~= "delivered" then return { observation = "not delivered", ok = false } end
        order.state = "refunded"
        return "refunded " .. order.price .. " euro"
    end,
    cancel = function(id)
        if id ~= order.id then return there_is_no(id) end
        if order.state ~= "packed" then return { observation = "too late", ok = false } end
        order.state = "cancelled"
        return "cancelled"
    end,
}

-- ---- the customer ----

local function pick(random, list) return list[random(#list)] end

-- Of five customers two want their money back, two want to cancel, and of either three can be helped.
local function invent(random)
    order = { id = tostring(random(1000, 9999)), thing = pick(random, THINGS), price = random(11, 99) }
    wish = pick(random, { "back", "back", "cancel", "cancel", "where" })
    local can_be = random(5) <= 3
    if wish == "back" then
        order.state, order.days = "delivered", can_be and random(2, 29) or random(31, 90)
    elseif wish == "cancel" then
        order.state, order.days = can_be and "packed" or "sent", random(2, 9)
    else
        order.state, order.days = "sent", random(2, 19)
    end
end

local function says(text, word) return (" " .. text:lower():gsub("%W", " ") .. " "):find(" " .. word .. " ", 1, true) ~= nil end

local function judged(answer)
    local handled = looked_up and order.state == due
    local solved = handled and says(answer, told) and says(answer, "sorry") == declined
    return { done = true, observation = "Thank you.", rewards = { solved = solved, handled = handled, looked_up = looked_up } }
end

return {
    open = function()
        local id = { type = "object", properties = { id = { type = "string" } }, required = { "id" } }
        return {
            { name = "order", description = "What is known of an order.", parameters = id },
            { name = "refund", description = "Gives the money of an order back.", parameters = id },
            { name = "cancel", description = "Cancels an order that was not sent.", parameters = id },
        }
    end,

    reset = function(row)
        local random = T.random(row.case)
        invent(random)
        due, told, declined = DUE[wish](order)
        looked_up = false
        number_told = random(4) > 1
        local first = pick(random, WORDS[row.words or "train"][wish]):format(order.thing)
        return number_told and first .. " The order is " .. order.id .. "." or first
    end,

    step = function(call, text)
        if call then return TOOLS[call.name](call.arguments.id:match("^%s*(.-)%s*$")) end
        if number_told then return judged(text) end -- the clerk's words are the end of it
        number_told = true
        return "It is order " .. order.id .. "."
    end,
}
