#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long a call may take, judged by the zygote's own code on made histories: no clock, no process.

    judge.py SOURCE

A history is a list of what a process does, and for how long: computes, waits for a processor, sleeps. The promise:
whatever the history, a call is ended when it has computed and slept for its limit, not before, and hardly after. One that
ended itself in time never is, though the zygote was stopped for seconds between its reap and its judgement."""
import ast, os, random, sys, types

LIMIT_S, LOOKS_S = 1.0, 0.45  # the limit; two looks and a little


class History:
    """A process that began at 0. The kernel counts a wait when it is over, and what it computed at once."""

    def __init__(self, parts):
        self.parts = parts

    def at(self, t):  # computed, counted waits, slept, what it does then
        sums, now = {"computes": 0.0, "waits": 0.0, "sleeps": 0.0}, 0.0
        for what, seconds in self.parts:
            part = min(seconds, t - now)
            if what != "waits" or part == seconds:
                sums[what] += part
            now += part
            if part < seconds:
                return sums["computes"], sums["waits"], sums["sleeps"], what
        return sums["computes"], sums["waits"], sums["sleeps"], "sleeps"


def zygote(source, clock, history, stopped_s=0):
    """Call and look of zygote.py, on `clock` and `history`; `stopped_s` pass behind each reap, which finds nothing."""
    with open(os.path.join(source, "env/sandbox/zygote.py")) as f:
        tree = ast.parse(f.read())
    tree.body = [n for n in tree.body if getattr(n, "name", "") in ("Call", "judge", "look")]
    ended = []

    def read_proc(name):
        computed, waited, _, what = history.at(clock.now)
        if name.endswith("schedstat"):
            return b"%d %d 7\n" % (computed * 1e9, waited * 1e9)
        return b"1 (a) R) " + (b"S" if what == "sleeps" else b"R") + b" 1 1"

    def reap(_, calls):
        clock.now += stopped_s

    names = {"reap": reap, "time": types.SimpleNamespace(monotonic=lambda: clock.now), "read_proc": read_proc, "end": ended.append,
             "TOO_LONG": 2}
    exec(compile(tree, "zygote.py", "exec"), names)
    return names["Call"], names["look"], ended


def own_time_at_end(source, parts):
    """What a call had computed and slept when it was ended; None: it never was."""
    clock, history = types.SimpleNamespace(now=0.0), History(parts)
    Call, look, ended = zygote(source, clock, history)
    calls = {1: Call(1, 1, -1, LIMIT_S)}
    whole = sum(seconds for _, seconds in parts)
    while not ended and clock.now < whole:
        clock.now = max(calls[1].due_s, clock.now) + 0.001
        look(None, calls)
    computed, _, slept, _ = history.at(clock.now)
    return computed + slept if ended else None


def stopped_behind_its_reap(source):
    """Whether a call that ended after 10 ms is ended for its time by a zygote that was stopped for 30 s."""
    clock = types.SimpleNamespace(now=0.0)
    Call, look, ended = zygote(source, clock, History([("computes", 0.01), ("sleeps", 0)]), stopped_s=30)
    calls = {1: Call(1, 1, -1, LIMIT_S)}
    clock.now = 0.005
    look(None, calls)
    return bool(ended)


def synchronised(busy_s, whole_s):
    """Sleeps, but computes for a moment whenever it is looked at: at its limit, and each 0.201 s from then on."""
    parts, looks = [("computes", 0.01)], [LIMIT_S + 0.001 + 0.201 * i for i in range(int(whole_s / 0.201))]
    now = 0.01
    for look in looks:
        parts += [("sleeps", look - busy_s / 2 - now), ("computes", busy_s)]
        now = look + busy_s / 2
    return parts


def drawn(seed):
    rnd = random.Random(seed)
    parts = []
    for _ in range(400):
        parts.append((rnd.choice(["computes", "waits", "sleeps"]), rnd.choice([0.001, 0.03, 0.3]) * rnd.random()))
    return parts + [("sleeps", 10)]


def check(name, parts, problems, source):
    own = own_time_at_end(source, parts)
    if own is None or not LIMIT_S - 1e-6 <= own <= LIMIT_S + LOOKS_S:
        problems.append("%s: ended after %s s of its own" % (name, own))


if __name__ == "__main__":
    source, problems = sys.argv[1], []
    check("computes", [("computes", 10)], problems, source)
    check("sleeps", [("sleeps", 10)], problems, source)
    check("waits, then computes", [("waits", 30), ("computes", 10)], problems, source)
    check("in small pieces", [("computes", 0.0005), ("waits", 0.01), ("sleeps", 0.0005)] * 5000, problems, source)
    for busy_s in (0.01, 0.05, 0.1):
        check("computes when looked at, %g s" % busy_s, synchronised(busy_s, 40), problems, source)
    if stopped_behind_its_reap(source):
        problems.append("a call that had ended was ended for its time")
    for seed in range(300):
        check("seed %d" % seed, drawn(seed), problems, source)
    print("\n".join(problems) or "ended in time, all of them")
    sys.exit(1 if problems else 0)
