-- SPDX-License-Identifier: MIT
-- Teaches a public language model (SmolLM2-135M-Instruct: make model) to use a Python tool that it never calls by itself.
local T = require "troupe"

return {
    name = "smollm2",
    model = "../../models/smollm2",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },

    env = { tools = { T.python{ timeout = 2, memory_mb = 256 } }, max_turns = 2, max_observation = 24 },

    prompt = {
        dialect = "xml", chat_template = "model",
        instruction = "Write <python>code</python> to run Python code, read <result>output</result>, then say "
            .. "<answer>number</answer>.",
        shots = T.shots{ file = "shots.jsonl", schedule = "success", levels = { 3, 0 }, enough = 0.8 },
    },

    reward = { script = "../calculator/reward.lua", objectives = { accuracy = 1.0 } },
    rollout = { group = 8, prompts_per_step = 8, max_tokens = 60, max_context = 512, temperature = 1.0 },
    algorithm = { name = "grpo", clip = { 0.2, 0.28 }, given = "sft", carry = true },
    optim = { lr = 2e-5, warmup = 2 },
    precision = "bf16",

    steps = 30,
    seed = 1,
    checkpoint_every = 10,
    eval_every = 10,
    actors = 1,
}
