-- SPDX-License-Identifier: MIT
-- Fifty tasks from easy to hard: which of them a step should show. See docs/experiments.md.
return {
    name = "priority",
    model = "../../runs/experiments/priority/base",
    model_from = "scripts/experiments.sh priority",
    data = { train = "data/train.jsonl", test = "data/test.jsonl", sampling = "in_turn" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { accuracy = 1.0 } },
    rollout = { group = 8, prompts_per_step = 1, max_tokens = 3, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 1e-4, warmup = 5 },
    steps = 1600,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 40,
    eval_temperature = 1,
    actors = 1,
}
