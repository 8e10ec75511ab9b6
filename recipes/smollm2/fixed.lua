-- SPDX-License-Identifier: MIT
-- The same run with examples that fade by the step, as in recipes/calculator, and nothing carried over: see docs/experiments.md.
local recipe = require "recipe"

recipe.name = "smollm2-fixed"
recipe.patience = 0 -- to its last step even where nothing is learned
recipe.prompt.shots = { kind = "shots", file = "shots.jsonl", schedule = { { 0, 3 }, { 10, 2 }, { 16, { 1, 0 } }, { 24, 0 } } }
recipe.algorithm.carry, recipe.algorithm.given = nil, nil
return recipe
