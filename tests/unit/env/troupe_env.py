#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plugins/python/troupe_env.py as T.env sees it: lines in, lines out; no package is needed.

    troupe_env.py SOURCE"""
import json
import os
import subprocess
import sys
import unittest

SOURCE = sys.argv[1]
PROGRAM = os.path.join(SOURCE, "plugins/python/troupe_env.py")
SHOP = "file:" + os.path.join(SOURCE, "tests/unit/env/shop.py") + ":Shop"


class Program:
    """The program, and what it answers, by request id."""

    def __init__(self, what=SHOP, opens=True, **config):
        self.process = subprocess.Popen([sys.executable, PROGRAM, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.n, self.answers = 0, {}
        if opens:
            self.opened = self.ask(method="open", version=1, config=config)

    def send(self, **request):
        self.n += 1
        self.process.stdin.write(json.dumps({"id": self.n, **request}).encode() + b"\n")
        self.process.stdin.flush()
        return self.n

    def raw(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait(self, number):
        while number not in self.answers:
            line = self.process.stdout.readline()
            assert line, "it has ended: " + self.process.stderr.read().decode()
            answer = json.loads(line)
            self.answers[answer.pop("id")] = answer
        return self.answers.pop(number)

    def ask(self, **request):
        return self.wait(self.send(**request))

    def reset(self, episode="1", seed=1, **row):
        return self.ask(method="reset", episode=episode, row=row, seed=seed)

    def say(self, text, episode="1"):
        return self.ask(method="step", episode=episode, text=text, turn=text)

    def call(self, n, episode="1"):
        return self.ask(method="step", episode=episode, call={"name": "add", "arguments": {"n": n}}, turn="")

    def end(self):
        """Exit status, the rest of stdout, stderr."""
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out.decode(), err.decode()


def alive(pids):
    """Those of the processes that have not ended."""
    states = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                states[pid] = f.read().rpartition(")")[2].split()[0]
        except OSError:
            pass
    return [pid for pid, state in states.items() if state not in "ZX"]


def descendants(pid):
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="utf-8") as f:
            for child in f.read().split():
                found += [int(child)] + descendants(int(child))
    return found


class TroupeEnv(unittest.TestCase):
    def setUp(self):
        self.programs = []

    def tearDown(self):
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
            program.process.communicate()

    def program(self, *arguments, **config):
        self.programs.append(Program(*arguments, **config))
        return self.programs[-1]

    def test_an_episode_is_played_and_prints_do_no_harm(self):
        p = self.program(greeting="Servus")
        self.assertEqual(p.opened["name"], "Shop")
        self.assertEqual(p.opened["tools"][0]["name"], "add")
        self.assertTrue(p.reset()["observation"].startswith("Servus "))
        self.assertEqual(p.call(20), {"observation": "sum 20", "done": False, "ok": True, "rewards": {"added": 1.0}})
        p.call(22)
        self.assertEqual(p.say("bye"), {"observation": "goodbye", "done": True, "ok": True, "rewards": {"reward": 42.0},
                                        "info": {"set": [1, 2], "inf": "inf", "tuple": [1, None]}})
        self.assertIn("is over", p.say("more")["error"])
        p.send(method="close", episode="1")
        status, out, err = p.end()
        self.assertEqual((status, out), (0, ""))
        for printed in ("printed while it is imported", "printed by reset", "written to fd 1", "printed by step", "closed 42"):
            self.assertIn(printed, err)

    def test_a_start_is_a_text_messages_or_the_rows_own(self):
        p = self.program()
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
        self.assertEqual(p.reset("text", start="go"), {"observation": "go"})
        self.assertEqual(p.reset("messages", start=messages), {"messages": messages})
        self.assertEqual(p.reset("row", start=None), {})
        self.assertIn("not int", p.reset("number", start=7)["error"])
        self.assertIn("'robot'", p.reset("role", start=[{"role": "robot", "content": "u"}])["error"])

    def test_the_same_seed_is_the_same_episode_in_every_process(self):
        seen = set()
        for _ in range(3):
            p = self.program()
            seen.add((p.reset("a", 7)["observation"], p.say("order", "a")["observation"]))
        self.assertEqual(len(seen), 1)
        self.assertNotEqual(p.reset("b", 8)["observation"], p.reset("c", 9)["observation"])
        p.reset("d", 2**64 - 1)

    def test_a_mistake_of_the_policy_is_an_observation_and_the_episode_continues(self):
        p = self.program()
        p.reset()
        self.assertEqual(p.call("two"), {"observation": "expected a whole number as n", "done": False, "ok": False})
        self.assertEqual(p.call(2)["observation"], "sum 2")

    def test_an_exception_is_an_error_with_its_type_and_message(self):
        p = self.program()
        self.assertEqual(p.reset("a", fail=True)["error"], "Shop: reset raised KeyError: 'no such row'")
        self.assertIn("its reset failed", p.say("x", "a")["error"])
        self.assertEqual(p.reset("b", quit=True)["error"], "Shop: reset raised SystemExit: 3")
        p.reset("c")
        self.assertEqual(p.say("raise", "c")["error"], "Shop: step raised ValueError: over the top")
        self.assertIn("finite number", p.say("bad", "c")["error"])
        self.assertEqual(p.say("half", "c")["observation"], "half ? of a pair")
        self.assertTrue(p.say("bye", "c")["done"])
        self.assertIn("over the top", p.end()[2])

    def test_episodes_have_states_of_their_own(self):
        p = self.program()
        for episode in "ab":
            p.reset(episode)
        for n in (1, 2, 3):
            self.assertEqual(p.call(n, "a")["observation"], f"sum {n * (n + 1) // 2}")
            self.assertEqual(p.call(10 * n, "b")["observation"], f"sum {5 * n * (n + 1)}")

    def test_an_episode_that_hangs_holds_up_no_other_and_may_be_closed(self):
        p = self.program()
        for episode in "abc":
            p.reset(episode)
        hangs = p.send(method="step", episode="a", text="hang", turn="hang")
        self.assertEqual(p.call(1, "b")["observation"], "sum 1")
        p.send(method="close", episode="a")
        self.assertIn("observation", p.reset("a"))
        self.assertTrue(p.say("release", "c")["done"])
        self.assertTrue(p.wait(hangs)["done"])

    def test_bad_requests_are_refused_with_a_sentence(self):
        p = self.program(SHOP, False)
        self.assertIn("before 'open'", p.ask(method="reset", episode="1", row={}, seed=1)["error"])
        self.assertIn("version 2", p.ask(method="open", version=2)["error"])
        self.assertIn("'config'", p.ask(method="open", version=1, config=[1])["error"])
        self.assertIn("tools", p.ask(method="open", version=1))
        self.assertIn("already open", p.ask(method="open", version=1)["error"])
        for line, said in ((b"{", "not a line of JSON"), (b"\xff", "UTF-8"), (b"[]", "expected an object"), (b"[" * 100000, "deep"),
                           (b"{}", "method is null"), (b'{"method": "step"}', "'id' is missing")):
            self.assertIn(said, p.raw(line)["error"])
        p.reset()
        for request, said in (({"method": "dance"}, '"dance"'), ({"method": "reset", "episode": "2", "row": [], "seed": 1}, "'row'"),
                              ({"method": "reset", "episode": "2", "row": {}, "seed": "x"}, "'seed'"),
                              ({"method": "reset", "episode": "1", "row": {}, "seed": 1}, "open already"),
                              ({"method": "reset", "row": {}, "seed": 1}, "'episode' is missing"),
                              ({"method": "step", "episode": "9", "text": ""}, "no episode '9'"),
                              ({"method": "step", "episode": "1"}, "either 'call' or 'text'"),
                              ({"method": "step", "episode": "1", "text": 1}, "'text' is 1"),
                              ({"method": "step", "episode": "1", "call": {"name": "add", "arguments": []}}, "'call' is")):
            self.assertIn(said, p.ask(**request)["error"], request)
        p.send(method="close", episode="9")
        self.assertEqual(p.call(1)["observation"], "sum 1")

    def test_what_was_asked_is_answered_when_stdin_ends(self):
        p = self.program()
        p.reset()
        last = p.send(method="step", episode="1", text="bye", turn="")
        status, out, err = p.end()
        self.assertEqual(status, 0)
        self.assertEqual(json.loads(out)["id"], last)
        self.assertIn("closed 0", err)

    def test_it_ends_with_stdin_though_an_episode_hangs_and_leaves_no_child(self):
        p = self.program()
        p.reset("a", child=True)
        p.reset("b")
        self.assertEqual(p.say("child", "b")["observation"], "read all of stdin")
        p.send(method="step", episode="b", text="hang", turn="hang")
        started = []
        while len(started) < 2:  # the child and its own, which has a session to itself
            started = descendants(p.process.pid)
        status, _, _ = p.end()
        self.assertEqual((status, alive(started)), (0, []))

    def test_sigterm_ends_it_and_its_children(self):
        p = self.program()
        p.reset("a", child=True)
        started = []
        while len(started) < 2:
            started = descendants(p.process.pid)
        p.process.terminate()
        self.assertEqual((p.process.wait(30), alive(started)), (143, []))

    def test_what_cannot_be_opened_is_said(self):
        for what, said in ((SHOP + "s", "no class 'Shops'"), ("file:nowhere.py:X", "there is no file"), ("file:x", "names no class")):
            p = self.program(what)
            self.assertIn(said, p.opened["error"])
        p = subprocess.run([sys.executable, PROGRAM, "nothing:x"], capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, 2)
        self.assertIn("'nothing:x' is not KIND:NAME", p.stderr)

    def test_rows_are_json_lines(self):
        p = subprocess.run([sys.executable, PROGRAM, SHOP, "--rows", "3", "--seed", "5"], capture_output=True, text=True, check=True)
        self.assertEqual([json.loads(line) for line in p.stdout.splitlines()], [{"id": f"Shop-{n}", "seed": n} for n in (5, 6, 7)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
