# SPDX-License-Identifier: MIT
"""A GRPO step of Troupe beside one of TRL's GRPOTrainer: same model, prompts, group and lengths, same cores, by turns.

    python3 bench/trl_peer.py [--model models/smollm2] [--steps 3] [--group 4] [--prompts 4] [--tokens 48]
                              [--precisions f32 bf16] [--troupe build/release/troupe] [--batch N]

Prints a table: seconds a step (mean without the first, which loads), tokens a step, and peak memory: of Troupe all
processes of the run together (Pss) and its files in shared memory, of TRL its one process. The reward is the answer's
length modulo 7, so that each step has a gradient; temperature 1, no KL, one update a step, AdamW. bf16 is autocast over
float32 weights in TRL, and bf16 factors of linear products in Troupe; with --weights-bf16 a line more, of TRL on bf16
weights. TRL's threads are bound before torch is loaded, its allocator keeps what it has, and its passes take --batch
episodes (default: all of a step at once). Needs torch, trl, transformers, datasets; nothing of Troupe needs this file.
"""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEST = {
    "OMP_PROC_BIND": "true", "OMP_PLACES": "cores", "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_ARENA_MAX": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
}
SYSTEM = "You are a helpful assistant."


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("--model", default=os.path.join(HERE, "models/smollm2"))
    a.add_argument("--data", default=os.path.join(HERE, "recipes/smollm2/data/train.jsonl"))
    a.add_argument("--troupe", default=os.path.join(HERE, "build/release/troupe"))
    a.add_argument("--steps", type=int, default=3)
    a.add_argument("--group", type=int, default=4)
    a.add_argument("--prompts", type=int, default=4)
    a.add_argument("--tokens", type=int, default=48)
    a.add_argument("--batch", type=int, default=0)
    a.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    a.add_argument("--precisions", nargs="+", default=["f32", "bf16"], choices=["f32", "bf16"])
    a.add_argument("--weights-bf16", action="store_true")
    a.add_argument("--inside", choices=["f32", "bf16", "weights-bf16"], help=argparse.SUPPRESS)
    return a.parse_args()


ARGS = arguments()


# ---- TRL, in a process of its own ----

def rows():
    with open(ARGS.data) as file:
        return [json.loads(line)["prompt"] for line, _ in zip(file, range(ARGS.prompts * (ARGS.steps + 1)))]


def trl_inside(kind):
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(ARGS.threads)
    began, seconds, lengths = [0.0], [], []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            began[0] = time.monotonic()

        def on_step_end(self, *_, **__):
            seconds.append(time.monotonic() - began[0])

    def reward(completions, completion_ids, **_):
        lengths.extend(len(ids) for ids in completion_ids)
        return [float(len(c[0]["content"].encode()) % 7) for c in completions]

    prompts = [{"prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": p}]} for p in rows()]
    episodes = ARGS.group * ARGS.prompts
    batch = ARGS.batch or episodes
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(prefix="trl-peer."), use_cpu=True, bf16=kind == "bf16", beta=0.0, temperature=1.0,
        num_generations=ARGS.group, per_device_train_batch_size=batch, gradient_accumulation_steps=episodes // batch,
        max_completion_length=ARGS.tokens, max_steps=ARGS.steps, learning_rate=1e-6, shuffle_dataset=False,
        save_strategy="no", report_to=[], logging_steps=1, disable_tqdm=True,
        model_init_kwargs={"dtype": "bfloat16" if kind == "weights-bf16" else "float32"})
    trainer = GRPOTrainer(model=ARGS.model, reward_funcs=reward, args=config, train_dataset=Dataset.from_list(prompts),
                          callbacks=[Clock()])
    trainer.train()
    shutil.rmtree(config.output_dir, ignore_errors=True)
    print("RESULT " + json.dumps({
        "seconds": seconds, "tokens": sum(lengths) / max(1, len(seconds)),
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def run_trl(kind):
    words = [sys.executable, os.path.abspath(__file__)] + sys.argv[1:] + ["--inside", kind]
    out = subprocess.run(words, env={**os.environ, **BEST, "OMP_NUM_THREADS": str(ARGS.threads)},
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads([line for line in out.splitlines() if line.startswith("RESULT ")][-1][7:])


# ---- Troupe ----

RECIPE = """return {
    name = "peer", model = "%(model)s", data = { train = "%(data)s" },
    prompt = { dialect = "xml", chat_template = "model", instruction = "%(system)s" },
    reward = { script = "reward.lua", objectives = { length = 1 } },
    rollout = { group = %(group)d, prompts_per_step = %(prompts)d, max_tokens = %(tokens)d, max_context = 512 },
    optim = { lr = 1e-6 }, precision = "%(precision)s", steps = %(steps)d, checkpoint_every = 0,
    actors = 1, actor_threads = %(threads)d, learner_threads = %(threads)d,
}
"""
REWARD = "return function(task, episode) return { length = #episode.text % 7 } end\n"


def tree(pid):
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    todo += [int(child) for child in file.read().split()]
        except OSError:
            pass
    return found


def pss_mb(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0


def shared_mb(pids):
    """Versions of the weights in shared memory: files without a name, which one of the run's processes holds open."""
    files = {}
    for pid in pids:
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{fd}"
                if os.readlink(path).startswith("/dev/shm/troupe-weights"):
                    files[os.stat(path).st_ino] = os.stat(path).st_size
        except OSError:
            pass
    return sum(files.values()) / 2 ** 20


def run_troupe(precision):
    folder = tempfile.mkdtemp(prefix="troupe-peer.")
    with open(os.path.join(folder, "recipe.lua"), "w") as file:
        file.write(RECIPE % dict(model=os.path.abspath(ARGS.model), data=os.path.abspath(ARGS.data), system=SYSTEM,
                                 group=ARGS.group, prompts=ARGS.prompts, tokens=ARGS.tokens, precision=precision,
                                 steps=ARGS.steps, threads=ARGS.threads))
    with open(os.path.join(folder, "reward.lua"), "w") as file:
        file.write(REWARD)
    run = os.path.join(folder, "run")
    process = subprocess.Popen([ARGS.troupe, "train", os.path.join(folder, "recipe.lua"), "--run-dir", run],
                               stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        pids = tree(process.pid)
        peak = max(peak, sum(pss_mb(pid) for pid in pids) + shared_mb(pids))
        time.sleep(0.1)
    if process.returncode != 0:
        sys.exit(f"trl_peer: troupe ended with status {process.returncode}: see {run}/logs")
    with open(os.path.join(run, "metrics.jsonl")) as file:
        steps = [m for m in map(json.loads, file) if m.get("event") == "step"]
    shutil.rmtree(folder)
    episodes = ARGS.group * ARGS.prompts
    return {"seconds": [m["timing_s/step"] for m in steps], "mb": peak,
            "tokens": sum(m["response_length/mean"] for m in steps) / len(steps) * episodes}


# ---- both, in one table ----

def line(name, r):
    later = r["seconds"][1:] or r["seconds"]
    mean = sum(later) / len(later)
    print(f"| {name} | {mean:.1f} | {r['tokens']:.0f} | {r['tokens'] / mean:.1f} | {r['mb']:.0f} |", flush=True)
    return mean


def main():
    print(f"{ARGS.group * ARGS.prompts} episodes a step ({ARGS.prompts} prompts x {ARGS.group}), at most {ARGS.tokens} "
          f"tokens each, {ARGS.steps} steps, {ARGS.threads} threads\n")
    print("| | s a step | tokens written a step | tokens/s | peak MB |\n|---|---|---|---|---|", flush=True)
    ratios = []
    for precision in ARGS.precisions:
        ours, theirs = line(f"Troupe, {precision}", run_troupe(precision)), line(f"TRL, {precision}", run_trl(precision))
        ratios.append(f"{precision} {theirs / ours:.2f}")
    if ARGS.weights_bf16:
        line("TRL, bf16 weights", run_trl("weights-bf16"))
    print("\nTRL's seconds a step over Troupe's: " + ", ".join(ratios))


if ARGS.inside:
    trl_inside(ARGS.inside)
else:
    main()
