-- SPDX-License-Identifier: MIT
-- Shows the clerk how customers are served, by 96 demonstrations (docs/sft.md); practice.lua continues from there:
--
--     troupe sft plugins/retail_desk/sft.lua
--     troupe train plugins/retail_desk/practice.lua
local recipe = require "recipe"

recipe.data = { train = "demonstrations.jsonl", test = "held_out.jsonl" } -- written by make_data.lua
recipe.sft = { rows_per_step = 8 }
recipe.prompt.shots = nil -- a row is an example
recipe.optim = { lr = 5e-5, warmup = 2, schedule = "cosine" }
recipe.steps, recipe.checkpoint_every = 12, 6
return recipe
