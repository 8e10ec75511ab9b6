-- SPDX-License-Identifier: MIT
-- The conflict recipe's sums with one objective, played by policies that are rollout.lag versions old: see docs/experiments.md.
return {
    name = "staleness",
    model = "../../runs/experiments/conflict/base",
    model_from = "scripts/experiments.sh staleness",
    data = { train = "../conflict/data/train.jsonl", test = "../conflict/data/test.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "../conflict/reward.lua", objectives = { accuracy = 1.0 } },
    rollout = { group = 8, prompts_per_step = 8, max_tokens = 24, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 4e-4, warmup = 5 },
    steps = 200,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 0,
    actors = 1,
}
