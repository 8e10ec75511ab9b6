#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""troupe sft beside the Trainer of Hugging Face transformers: the same rows, the same losses, and which is faster.

    trainer_peer.py TROUPE MODEL [--steps 50] [--rows 8] [--lr 1e-3] [--text FILE.jsonl]

Needs transformers, accelerate and torch. Each step has all rows, so that no order of rows is between the two; float32,
AdamW (0.9, 0.95), no weight decay, clipped to 1, a constant learning rate, the loss a mean over all tokens but each
row's first. Both run on the CPU with as many threads. Prints both curves, the largest difference, seconds of each."""
import argparse
import json
import os
import subprocess
import tempfile
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

WORDS = "the a red old tall house tree river walks sings sees quiet child over under stone".split()


def invented(count):
    """Rows of different lengths, the same at each call."""
    seed, rows = 1, []
    for i in range(count):
        words = []
        for _ in range(12 + 5 * i):
            seed = (seed * 1103515245 + 12345) % (1 << 31)
            words.append(WORDS[(seed >> 16) % len(WORDS)])
        rows.append({"text": " ".join(words) + "."})
    return rows


def by_troupe(given, rows, folder):
    with open(os.path.join(folder, "rows.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)
    with open(os.path.join(folder, "recipe.lua"), "w", encoding="utf-8") as f:
        f.write(f"""return {{ model = {json.dumps(os.path.abspath(given.model))}, data = {{ train = "rows.jsonl" }},
            sft = {{ rows_per_step = {len(rows)} }}, steps = {given.steps}, checkpoint_every = 0,
            optim = {{ lr = {given.lr}, warmup = 0 }}, learner_threads = {given.threads} }}""")
    run = os.path.join(folder, "run")
    subprocess.run([given.troupe, "sft", os.path.join(folder, "recipe.lua"), "--run-dir", run], check=True, capture_output=True)
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    # the first step also brings memory into being, of both
    return [line["actor/given_nll"] for line in lines], (lines[-1]["unix_ms"] - lines[0]["unix_ms"]) / 1000


class Watch(TrainerCallback):
    def __init__(self):
        self.losses, self.times = [], []

    def on_step_end(self, *_, **__):
        self.times.append(time.monotonic())

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def by_trainer(given, rows, folder):
    tokenizer, model = AutoTokenizer.from_pretrained(given.model), AutoModelForCausalLM.from_pretrained(given.model, torch_dtype=torch.float32)
    end = model.generation_config.eos_token_id if model.generation_config.eos_token_id is not None else model.config.eos_token_id
    end = end[0] if isinstance(end, list) else end
    data = [tokenizer(row["text"])["input_ids"] + [end] for row in rows]
    longest = max(map(len, data))

    def collate(batch):
        pad = [longest - len(ids) for ids in batch]
        return {"input_ids": torch.tensor([ids + [end] * n for ids, n in zip(batch, pad)]),
                "attention_mask": torch.tensor([[1] * len(ids) + [0] * n for ids, n in zip(batch, pad)]),
                "labels": torch.tensor([ids + [-100] * n for ids, n in zip(batch, pad)])}

    watch = Watch()
    arguments = TrainingArguments(output_dir=os.path.join(folder, "peer"), max_steps=given.steps, per_device_train_batch_size=len(rows),
                                  learning_rate=given.lr, lr_scheduler_type="constant", adam_beta1=0.9, adam_beta2=0.95, weight_decay=0.0,
                                  max_grad_norm=1.0, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate, callbacks=[watch])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return watch.losses, watch.times[-1] - watch.times[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("troupe")
    parser.add_argument("model")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--text", help="rows with a \"text\" instead of invented ones; the first --rows of them")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    rows = invented(given.rows)
    if given.text:
        with open(given.text, encoding="utf-8") as f:
            rows = [json.loads(line) for line, _ in zip(f, range(given.rows))]
    with tempfile.TemporaryDirectory() as folder:
        ours, seconds = by_troupe(given, rows, folder)
        theirs, their_seconds = by_trainer(given, rows, folder)
    apart = [abs(a - b) for a, b in zip(ours, theirs)]
    for i in sorted({0, 1, 4, 9, 19, given.steps - 1} & set(range(given.steps))):
        print(f"step {i + 1:3}  troupe {ours[i]:.6f}  Trainer {theirs[i]:.6f}")
    print(f"largest difference of {len(apart)} steps: {max(apart):.2e}")
    print(f"steps 2 to {given.steps}: troupe {seconds:.2f} s, Trainer {their_seconds:.2f} s, ratio {their_seconds / seconds:.2f}")


if __name__ == "__main__":
    main()
