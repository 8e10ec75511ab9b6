-- SPDX-License-Identifier: MIT
-- The same run without a single worked example: what the reinforcement alone would have done.
local recipe = require "recipe"

recipe.name = "control"
recipe.patience = 0 -- nothing to learn from is what it is there to show
recipe.prompt.shots.schedule = { { 0, 0 } }
return recipe
