-- SPDX-License-Identifier: MIT
-- One policy for every trade-off: the prompt says how much brevity and detail are worth. See docs/experiments.md.
return {
    name = "preference",
    model = "../../runs/experiments/preference/base",
    model_from = "scripts/experiments.sh preference",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { brevity = 1.0, detail = 1.0 }, preference = "preference" },
    rollout = { group = 16, prompts_per_step = 10, max_tokens = 24, max_context = 96 },
    -- Rewards that are divided by their group's spread lose what makes a compromise worth while: see docs/experiments.md.
    algorithm = { name = "grpo", std = "none" },
    optim = { lr = 2e-4, warmup = 5 },
    steps = 900,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 0,
    actors = 1,
}
