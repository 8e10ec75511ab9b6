-- SPDX-License-Identifier: MIT
-- The same run with twice the wordings in its training data and a learning rate that falls: large steps while there is much
-- to learn, small ones at the end, where most samples are right and the few steps with a signal push the policy about.
local recipe = require "recipe"

recipe.name = "smollm2-wide"
recipe.data.train = "data/wide_train.jsonl"
recipe.prompt.shots.file = "wide_shots.jsonl"
recipe.optim.lr, recipe.optim.schedule = 3e-5, "cosine"
return recipe
