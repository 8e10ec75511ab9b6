-- SPDX-License-Identifier: MIT
-- Accuracy wants working, brevity wants none, the format wants two tags: see docs/experiments.md.
return {
    name = "conflict",
    model = "../../runs/experiments/conflict/base",
    model_from = "scripts/experiments.sh conflict",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { accuracy = 1.0, brevity = 0.5, format = 0.5 } },
    rollout = { group = 8, prompts_per_step = 16, max_tokens = 24, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 3e-4, warmup = 5 },
    steps = 300,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 0,
    actors = 1,
}
