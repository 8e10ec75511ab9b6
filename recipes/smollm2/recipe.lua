-- SPDX-License-Identifier: MIT
-- Teaches a public language model (SmolLM2-135M-Instruct: make model) to use a Python tool that it never calls by itself.
-- What each setting is for, and what was tried instead: docs/experiments.md. Every key: docs/keys.md.
local T = require "troupe"

return {
    name = "smollm2",
    model = "../../models/smollm2",
    model_from = "make model",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" }, -- written by make_data.lua

    env = {
        tools = { T.python{ timeout = 2, memory_mb = 256 } },
        max_turns = 2, -- a call, and one more if it has to look again; then the answer
        max_observation = 24, -- tokens: a product has seven digits
    },

    prompt = {
        dialect = "xml", chat_template = "model", -- calls are tags in the text; the model's own template around it
        instruction = "Write <python>code</python> to run Python code, read <result>output</result>, then say "
            .. "<answer>number</answer>.",
        -- Half of each prompt's samples are shown three worked examples and half none, until 0.8 of those without are right.
        shots = T.shots{ file = "shots.jsonl", schedule = "success", levels = { 3, 0 }, enough = 0.8 },
    },

    reward = { script = "../calculator/reward.lua", objectives = { accuracy = 1.0 } },
    -- 512 tokens hold three examples and an answer; an answer by the tool has about 30.
    rollout = { group = 8, prompts_per_step = 8, max_tokens = 60, max_context = 512, temperature = 1.0 },
    -- carry, given: what succeeds with examples is imitated after the prompt without, where it never succeeds at first.
    algorithm = { name = "grpo", clip = { 0.2, 0.28 }, given = "sft", carry = true },
    optim = { lr = 2e-5, warmup = 2 }, -- 1e-6 is for models of billions; wide.lua lets it fall
    precision = "bf16",

    steps = 30,
    seed = 1,
    checkpoint_every = 10,
    keep_checkpoints = 1, -- 1.6 GB each
    eval_every = 10,
    actors = 1,
    lease_seconds = 900, -- 64 long prompts are played at once: minutes on a slow machine, and after that twice
}
