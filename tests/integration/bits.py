#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A seed's trained bits: the calculator's weights after two steps are the bytes that tests/golden/bits.txt says.

    bits.py TROUPE SOURCE COMPILER

One line there for each kind of kernels, precision, compiler and C library (whose mathematics can differ in the last
bit). Tried are the kind that this processor takes and `base`. Where a kind has no line its hash is printed, and the test
counts as skipped (77)."""
import hashlib, os, platform, re, subprocess, sys, tempfile

TROUPE, SOURCE, COMPILER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
HASHES = os.path.join(SOURCE, "tests", "golden", "bits.txt")
KEYS = ["steps=2", "eval_every=0", "checkpoint_every=2", "rollout.prompts_per_step=2", "rollout.group=4", "actors=1",
        "learner_threads=1", "learner.micro_tokens=2048", "device=cpu"]


def written():
    """What the file says: (kind, precision, compiler, C library) to hash."""
    known = {}
    for line in open(HASHES):
        words = line.split("#")[0].split()
        if words:
            known[tuple(words[:4])] = words[4]
    return known


def trained(folder, isa, precision):
    """The kind of kernels that it took, and the hash of the weights; None: this processor lacks the kind."""
    run = os.path.join(folder, isa + precision)
    words = [TROUPE, "train", os.path.join(SOURCE, "recipes", "calculator", "recipe.lua"), "--run-dir", run, *KEYS,
             "precision=" + precision]
    done = subprocess.run(words, env=dict(os.environ, TROUPE_ISA=isa), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if "this processor or build lacks it" in done.stdout:
        return None
    device = re.search(r"on cpu \((\w+),", done.stdout)
    if done.returncode != 0 or not device or "nothing to learn from" in done.stdout:
        sys.exit("status %d: %s" % (done.returncode, done.stdout))
    with open(os.path.join(run, "checkpoints", "step-2", "model.safetensors"), "rb") as f:
        return device[1], hashlib.sha256(f.read()).hexdigest()


def no_sandbox():
    call = [TROUPE, "env", "call", "--tool", "python", '{"code": "print(1)"}']
    return subprocess.run(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0


def main():
    if no_sandbox():
        print("skipped: no sandbox on this machine, and the calculator's tool needs one")
        return 77
    library = "-".join(platform.libc_ver()) or "unknown"
    known, wrong, unknown = written(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for isa, precision in [("", "f32"), ("", "bf16"), ("base", "f32")]:
            found = trained(folder, isa, precision)
            if not found:
                continue
            kind, bits = platform.machine() + "-" + found[0], found[1]
            line = (kind, precision, COMPILER, library)
            if line not in known:
                unknown += 1
                print("not written down: %s %s" % (" ".join(line), bits))
            elif known[line] != bits:
                wrong += 1
                print("other bits than %s has: %s\n    there %s\n    now   %s" % (HASHES, " ".join(line), known[line], bits))
            else:
                print("as written: " + " ".join(line))
    if wrong:
        print("the same seed gives other weights than before: if that is meant, %s says how to renew it" % HASHES)
        return 1
    return 77 if unknown else 0


sys.exit(main())
