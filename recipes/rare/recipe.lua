-- SPDX-License-Identifier: MIT
-- A rare, small reward beside a common, large one: see docs/experiments.md.
return {
    name = "rare",
    model = "../../runs/experiments/rare/base",
    model_from = "scripts/experiments.sh rare",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { accuracy = 1.0, courtesy = 1.0, both = 0 } },
    rollout = { group = 8, prompts_per_step = 16, max_tokens = 10, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 3e-4, warmup = 5 },
    steps = 200,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 0,
    actors = 1,
}
