-- The same run without a single worked example: what the reinforcement alone would have done.
local recipe = require "recipe"

recipe.name = "control"
recipe.prompt.shots.schedule = { { 0, 0 } }
return recipe
