-- SPDX-License-Identifier: MIT
-- Six of twenty answers are right and the verifier is noisy: how many of them does the policy keep? See docs/experiments.md.
return {
    name = "era",
    model = "../../runs/experiments/era/base",
    model_from = "scripts/experiments.sh era",
    data = { train = "data/train.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { accuracy = 1.0, truth = 0 } },
    rollout = { group = 16, prompts_per_step = 1, max_tokens = 1, max_context = 32 },
    algorithm = { name = "grpo" },
    optim = { lr = 5e-4, warmup = 5 },
    steps = 4000,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 0,
    actors = 1,
}
