-- SPDX-License-Identifier: MIT
-- Teaches a tiny model to use a calculator it was never trained to use: from worked examples in the prompt, of which there
-- are fewer and fewer, until none is left.
local T = require "troupe"

return {
    name = "calculator",
    model = "../../models/stagehand",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },

    env = {
        tools = { T.python{ timeout = 2, memory_mb = 256 } },
        max_turns = 2,
        max_observation = 24,
    },

    prompt = {
        dialect = "xml",
        instruction = "Write <python>code</python> to run it, read <result>output</result>, then say <answer>number</answer>.",
        shots = T.shots{ file = "shots.jsonl", schedule = { { 0, 3 }, { 16, 2 }, { 32, { 1, 0 } }, { 64, 0 } } },
    },

    reward = {
        script = "reward.lua",
        objectives = { accuracy = 1.0 },
    },

    rollout = { group = 8, prompts_per_step = 12, max_tokens = 64, max_context = 448, temperature = 1.0 },
    algorithm = { name = "grpo", clip = { 0.2, 0.28 } },
    optim = { lr = 1e-4, warmup = 5 },

    steps = 120,
    seed = 1,
    checkpoint_every = 40,
    eval_every = 10,
    actors = 2,
    reward_workers = 1,
}
