#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A training whose policy attacks: its dialect puts the code of tests/attacks in place of whatever the model says.

    attacks.py TROUPE SOURCE [STEPS]

In each mode of the sandbox: the run ends well, no episode is lost, nothing got out, and the host is as it was."""
import os, re, shutil, subprocess, sys, tempfile

TROUPE, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
STEPS = sys.argv[3] if len(sys.argv) > 3 else "2"
PLACES = ["/usr/local", "/usr/lib/python3", "/dev/null", "/dev/zero", "/dev/urandom"]
TRACES = ["/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/usr", "/usr/lib", "/root", "/home", "/run"]

DIALECT = r"""
-- Calls the tool after every few characters, with an attack that depends on them.
local ATTACKS = {
%s
}
local dialect = { defaults = {} }
function dialect.prompt(_, spec) return { { "question", "Q: " .. spec.row.prompt .. "\nA: " } } end
function dialect.observation(_, calls) return { " ", "" } end
function dialect.parser(_, tools)
    local hash, n = 5381, 0
    return function(chunk)
        for i = 1, #chunk do hash = (hash * 33 + chunk:byte(i)) & 0xffffffff end
        n = n + #chunk
        if n < 4 then return nil end
        if hash %% 5 == 0 then return { answer = "0" } end
        return { calls = { { name = "python", arguments = { code = ATTACKS[hash %% #ATTACKS + 1] } } } }
    end
end
return dialect
"""

RECIPE = """
local T = require "troupe"
return {
    name = "attacks", model = "%(source)s/models/stagehand", data = { train = "%(source)s/recipes/calculator/data/train.jsonl" },
    env = { tools = { T.python{ timeout = 0.4, memory_mb = 128, sandbox = "%(mode)s" } }, max_turns = 4, max_observation = 60 },
    prompt = { dialect = "dialect.lua" }, reward = { script = "reward.lua", objectives = { length = 1 } },
    rollout = { group = 8, prompts_per_step = 8, max_tokens = 32, max_context = 448 },
    steps = %(steps)s, checkpoint_every = 0, actors = 2,
}
"""


def attacks():
    with open(os.path.join(SOURCE, "tests/attacks/prelude.py")) as f:
        prelude = f.read()
    with open(os.path.join(SOURCE, "tests/attacks/attacks.txt")) as f:
        parts = re.split(r"(?m)^### .*\n", f.read())[1:]
    return [prelude + code for part in parts for code in part.split("--- next\n")]


def long_string(text):
    return "[====[\n" + text + "]====]"


def host():
    seen = []
    for place in PLACES:
        for folder, _, files in os.walk(place) if os.path.isdir(place) else [("", [], [place])]:
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                if path and os.path.lexists(path):
                    s = os.lstat(path)
                    seen.append((path, s.st_mode, s.st_uid, s.st_size, s.st_mtime_ns))
    return seen + [t for t in TRACES if os.path.lexists(os.path.join(t, "troupe_escape"))]


def processes(word):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if word.encode() in f.read() and int(pid) != os.getpid():
                    found.append(pid)
        except OSError:
            pass
    return found


def train(mode):
    work = tempfile.mkdtemp(prefix="troupe-attacks-")
    write = lambda name, text: open(os.path.join(work, name), "w").write(text)
    write("dialect.lua", DIALECT % ",\n".join(map(long_string, attacks())))
    write("recipe.lua", RECIPE % {"source": SOURCE, "mode": mode, "steps": STEPS})
    write("reward.lua", "return function(task, episode) return { length = (#episode.text % 7) / 7 } end\n")
    before = host()
    run = os.path.join(work, "run")
    p = subprocess.run([TROUPE, "train", os.path.join(work, "recipe.lua"), "--run-dir", run], capture_output=True, text=True, timeout=500)
    said = subprocess.run([TROUPE, "rollouts", run, "--json"], capture_output=True, text=True, timeout=100).stdout
    problems = []
    if p.returncode:
        problems.append("the run ended with %d: %s" % (p.returncode, (p.stdout + p.stderr)[-2000:]))
    if "ESCAPED" in said:
        problems.append("got out: " + said[said.index("ESCAPED"):][:300])
    calls = said.count('"observation"')
    if calls < 100:
        problems.append("only %d calls were made: %s" % (calls, said[:300]))
    if "tool_lost" in said:
        problems.append("an attack took the sandbox with it")
    if host() != before:
        problems.append("the host is not as it was: %s" % [x for x in host() if x not in before][:5])
    if processes(work):
        problems.append("processes are left: %s" % processes(work))
    shutil.rmtree(work)
    print("%s: %d calls, %s" % (mode, calls, "; ".join(problems) or "nothing got out"))
    return not problems


if __name__ == "__main__":
    sys.exit(0 if all([train(mode) for mode in ("auto", "landlock")]) else 1)
