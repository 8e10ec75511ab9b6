-- SPDX-License-Identifier: MIT
-- One policy, number words in five languages as data groups: see docs/experiments.md.
return {
    name = "languages",
    model = "../../runs/experiments/languages/base",
    model_from = "scripts/experiments.sh languages",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { accuracy = 1.0, de = 0, en = 0, fr = 0, es = 0, it = 0, nl = 0 } },
    rollout = { group = 8, prompts_per_step = 20, max_tokens = 8, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 3e-4, warmup = 5 },
    steps = 150,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 150,
    actors = 1,
}
