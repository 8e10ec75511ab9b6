-- SPDX-License-Identifier: MIT
-- The same run without a single worked example: what the reinforcement alone would have done.
local recipe = require "recipe"

recipe.name = "smollm2-control"
recipe.patience = 0 -- nothing to learn from is what it is there to show
recipe.prompt.shots = nil
recipe.algorithm.carry, recipe.algorithm.given = nil, nil
return recipe
