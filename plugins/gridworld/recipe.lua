-- SPDX-License-Identifier: MIT
-- A room with a door to be found, in C (gridworld.c says how it is built). To look at and to begin one's own from: try
--     troupe env play --recipe plugins/gridworld/recipe.lua
local T = require "troupe"

return {
    name = "gridworld",
    model = "../../models/stagehand",
    data = { train = "rooms.jsonl" },
    env = { plugin = "gridworld.so", tools = { T.env{} }, max_turns = 12, max_observation = 96 },
    reward = { script = "reward.lua", objectives = { out = 1 } },
    rollout = { group = 8, prompts_per_step = 4, max_tokens = 200, max_context = 1024 },
    steps = 20,
}
