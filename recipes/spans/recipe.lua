-- SPDX-License-Identifier: MIT
-- Names that are spelled with six of ten letters: which letter was right, said in its place or for the whole answer.
-- See docs/experiments.md.
return {
    name = "spans",
    model = "../../runs/experiments/spans/base",
    model_from = "scripts/experiments.sh spans",
    data = { train = "data/train.jsonl", test = "data/train.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { letters = 1.0, share = 0, accuracy = 0 } },
    rollout = { group = 8, prompts_per_step = 8, max_tokens = 14, max_context = 64 },
    algorithm = { name = "grpo", credit = "span" },
    optim = { lr = 2e-4, warmup = 5 },
    steps = 400,
    seed = 1,
    checkpoint_every = 0,
    eval_every = 0,
    actors = 1,
}
