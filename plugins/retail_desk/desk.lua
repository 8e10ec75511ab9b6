-- SPDX-License-Identifier: MIT
-- A shop's desk, as an environment (docs/env_plugins.md): a database of orders, the shop's policy, and a customer who wants one
-- of three things. The policy under training is the clerk. It looks orders up, refunds and cancels with tools, and its words
-- go to the customer, who may have to be asked for the number first.
--
-- An episode is judged as in tau-bench (arXiv:2406.12045): the database has to be what the shop's policy says it should be,
-- and the customer has to have been told what there is to be known. `solved` is 1 for that, and 0 else.
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

-- ---- the shop ----

-- What there is to be done, and what the customer has to be told.
local DUE = {
    back = function(o)
        if o.state == "delivered" and o.days <= 30 then return "refunded", tostring(o.price) end
        return o.state, "sorry"
    end,
    cancel = function(o)
        if o.state == "packed" then return "cancelled", "cancelled" end
        return o.state, "sorry"
    end,
    where = function(o) return o.state, tostring(o.days) end,
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

local function invent(random)
    order = { id = tostring(random(1000, 9999)), thing = pick(random, THINGS), price = random(11, 99) }
    wish = pick(random, { "back", "cancel", "where" })
    if wish == "back" then
        order.state, order.days = "delivered", random(2) == 1 and random(2, 29) or random(31, 90)
    elseif wish == "cancel" then
        order.state, order.days = pick(random, { "packed", "sent" }), random(2, 9)
    else
        order.state, order.days = "sent", random(2, 19)
    end
end

local function says(text, word) return (" " .. text:lower():gsub("%W", " ") .. " "):find(" " .. word .. " ", 1, true) ~= nil end

-- The clerk's words are the end of it, unless the customer has yet to give the number.
local function hear(text)
    if not number_told then
        number_told = true
        return { observation = "It is order " .. order.id .. "." }
    end
    return { done = true }
end

local function judged(answer, due, told)
    local solved = looked_up and order.state == due and says(answer, told)
    return { done = true, observation = "Thank you.", rewards = { solved = solved, looked_up = looked_up } }
end

local due, told

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
        due, told = DUE[wish](order)
        looked_up = false
        number_told = random(4) > 1
        local first = pick(random, WORDS[row.words or "train"][wish]):format(order.thing)
        return number_told and first .. " The order is " .. order.id .. "." or first
    end,

    step = function(call, text)
        if call then return TOOLS[call.name](call.arguments.id:match("^%s*(.-)%s*$")) end
        local heard = hear(text)
        return heard.done and judged(text, due, told) or heard
    end,
}
