-- SPDX-License-Identifier: MIT
-- The calculator's worked examples, learned by imitation instead of from the prompt: a few seconds of troupe sft
-- (docs/sft.md). What reinforcement does without them: recipe.lua.
local recipe = require "recipe"

recipe.name = "calculator"
recipe.data = { train = "shots.jsonl" }
recipe.prompt.shots = nil -- they are the data
recipe.sft = { rows_per_step = 16 }
recipe.optim = { lr = 3e-4, warmup = 5, schedule = "cosine" }
recipe.steps = 40
recipe.eval_every = 0
return recipe
