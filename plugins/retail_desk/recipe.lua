-- SPDX-License-Identifier: MIT
-- Teaches a public language model (SmolLM2-135M-Instruct: make model) to serve at a shop's desk. What each setting is for:
-- recipes/smollm2/recipe.lua; what came of it: docs/experiments.md.
local T = require "troupe"

return {
    name = "retail-desk",
    model = "../../models/smollm2",
    model_from = "make model",
    data = { train = "train.jsonl", test = "test.jsonl" }, -- written by make_data.lua

    env = {
        plugin = "desk.lua",
        tools = { T.env{} },
        max_turns = 5,
        max_observation = 32,
    },

    prompt = {
        dialect = "xml", chat_template = "model",
        instruction = "You serve the customers of a shop. Look the order up: <order>number</order>. Delivered at most 30 days ago: "
            .. "<refund>number</refund>. Not sent yet: <cancel>number</cancel>. Else say sorry. Then tell the customer: "
            .. "<answer>words</answer>.",
        shots = T.shots{ file = "shots.jsonl", schedule = "success", levels = { 4, 0 }, enough = 0.8 },
    },

    reward = { script = "reward.lua", objectives = { solved = 1.0, handled = 0.4, looked_up = 0.2 } },
    rollout = { group = 8, prompts_per_step = 4, max_tokens = 64, max_context = 640, temperature = 0.8 },
    algorithm = { name = "grpo", clip = { 0.2, 0.28 }, given = "sft", carry = true },
    optim = { lr = 3e-5, warmup = 2, schedule = "cosine" },
    precision = "bf16",

    steps = 24,
    seed = 1,
    checkpoint_every = 8,
    keep_checkpoints = 1,
    eval_every = 0,
    actors = 1,
    lease_seconds = 900,
}
