-- SPDX-License-Identifier: MIT
-- Two ways to go about it, one of which helps: what is learned with it, of the prompt without it. See docs/experiments.md.
return {
    name = "templates",
    model = "../../runs/experiments/templates/base",
    model_from = "scripts/experiments.sh templates",
    data = { train = "data/train.jsonl", test = "data/test.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml", templates = { "Be quick.", "Think slowly." } },
    reward = { script = "../hints/reward.lua", objectives = { accuracy = 1.0 } },
    rollout = { group = 8, prompts_per_step = 4, max_tokens = 6, max_context = 64 },
    algorithm = { name = "grpo" },
    optim = { lr = 2e-4, warmup = 5 },
    steps = 300,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 10,
    eval_temperature = 1,
    actors = 1,
}
