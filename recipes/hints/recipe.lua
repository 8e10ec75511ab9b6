-- SPDX-License-Identifier: MIT
-- One answer in a thousand is right: without help there is nothing to learn from. See docs/experiments.md.
return {
    name = "hints",
    model = "../../runs/experiments/hints/base",
    model_from = "scripts/experiments.sh hints",
    data = { train = "data/train.jsonl", test = "data/train.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { accuracy = 1.0 } },
    rollout = { group = 16, prompts_per_step = 4, max_tokens = 8, max_context = 48 },
    algorithm = { name = "grpo" },
    optim = { lr = 5e-4, warmup = 5 },
    steps = 400,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 400,
    eval_temperature = 1,
    actors = 1,
}
