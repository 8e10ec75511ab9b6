-- SPDX-License-Identifier: MIT
-- Reinforcement for a clerk who was shown how (sft.lua): customers without examples, and the desk's own judgement.
local recipe = require "recipe"

recipe.name = "retail-desk-practice"
recipe.model = "../../runs/retail-desk-sft/checkpoints/step-12"
recipe.model_from = "troupe sft plugins/retail_desk/sft.lua"
recipe.prompt.shots = nil
recipe.rollout.temperature = 1.0
recipe.algorithm = { name = "grpo", clip = { 0.2, 0.28 } }
recipe.optim = { lr = 4e-6, warmup = 2 }
recipe.steps, recipe.checkpoint_every, recipe.keep_checkpoints = 30, 5, 2
return recipe
