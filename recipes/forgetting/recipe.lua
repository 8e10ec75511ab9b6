-- SPDX-License-Identifier: MIT
-- The languages recipe's sums, one language after the other: what is lost of the first while the second is learned, and what
-- protects it. See docs/experiments.md.
return {
    name = "forgetting",
    model = "../../runs/experiments/languages/base",
    model_from = "scripts/experiments.sh forgetting",
    data = {
        train = "../languages/data/train.jsonl",
        test = "../languages/data/test.jsonl",
        stages = { { groups = { "de" }, steps = 100 }, { groups = { "it" }, steps = 100 }, { groups = { "es" } } },
    },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "../languages/reward.lua", objectives = { accuracy = 1.0, de = 0, en = 0, fr = 0, es = 0, it = 0, nl = 0 } },
    rollout = { group = 8, prompts_per_step = 16, max_tokens = 8, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 1e-3, warmup = 5 },
    steps = 300,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 100,
    actors = 1,
}
