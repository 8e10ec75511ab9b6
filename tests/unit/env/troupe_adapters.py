#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The adapters of plugins/python, played on small stand-ins of the packages (standins/); scripts/judge_env.sh plays the
packages themselves.

    troupe_adapters.py SOURCE [CLASS]"""
import http.server
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import troupe_env

HERE = os.path.join(troupe_env.SOURCE, "tests/unit/env/standins")
os.environ.update(PYTHONPATH=HERE, PYTHONHASHSEED="0")  # so that Python need not start twice
ECHO = os.path.join(HERE, "echo/server/app.py")
SAID = {"done": False, "ok": True}


class Adapters(unittest.TestCase):
    def setUp(self):
        self.programs = []

    tearDown, program = troupe_env.TroupeEnv.tearDown, troupe_env.TroupeEnv.program

    def call(self, p, name, arguments, episode="1"):
        return p.ask(method="step", episode=episode, call={"name": name, "arguments": arguments}, turn="")


    def begin(self, p, name):
        """A new episode, once those that were closed are: their threads have no answer to give."""
        for n in itertools.count():
            if "error" not in p.reset(f"{name}{n}"):
                return f"{name}{n}"


class Verifiers(Adapters):
    def test_a_rollout_is_played_and_scored_by_its_own_rubric(self):
        p = self.program("verifiers:sums_env")
        self.assertEqual(p.opened["tools"], [{"name": "add", "description": "Adds.", "parameters": {
            "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}])
        self.assertEqual(p.reset(index=2), {"messages": [{"role": "user", "content": "2 + 1?"}]})
        self.assertEqual(self.call(p, "add", {"a": 2}), {"observation": "add 3", **SAID})
        self.assertEqual(self.call(p, "fly", {}), {"observation": "there is no tool 'fly' here, expected one of: add", "done": False,
                                                   "ok": False})
        self.assertEqual(p.say("3"), {"observation": "Thanks.", "done": True, "ok": True, "info": {"stop": "over"},
                                      "rewards": {"right": 1.0, "reward": 2.0}})
        status, _, err = p.end()
        self.assertEqual((status, err.count("cleaned up 3"), err.count("torn down")), (0, 1, 1))

    def test_a_row_is_an_index_a_seed_or_an_input_of_ones_own(self):
        p = self.program("verifiers:" + os.path.join(HERE, "sums_env.py"))
        self.assertEqual(p.reset("a", seed=5)["messages"][0]["content"], "1 + 1?")
        self.assertEqual(p.reset("b", input={"question": "why?"})["messages"],
                         [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why?"}])
        for row, said in (({"index": 4}, "rows 0 to 3"), ({"index": "x"}, "index is 'x'"), ({"input": {"answer": 1}}, "nor a question")):
            self.assertIn(said, p.reset(str(row), **row)["error"])
        self.assertEqual(self.program("verifiers:sums_env", split="eval").reset()["messages"][0]["content"], "eval")
        self.assertEqual(self.program("verifiers:sums_env", kwargs={"rows": 0}).reset()["messages"][0]["content"], "eval")

    def test_rollouts_share_one_event_loop_and_wait_for_each_other_in_it(self):
        p = self.program("verifiers:sums_env")
        for episode in "abc":
            p.reset(episode)
        waits = p.send(method="step", episode="a", text="wait", turn="wait")
        self.assertEqual(self.call(p, "add", {"a": 1}, "b")["observation"], "add 2")
        p.say("go", "b")
        self.assertEqual(p.wait(waits), {"observation": "waited", **SAID})

    def test_what_fails_is_the_environments_or_the_policys(self):
        p = self.program("verifiers:sums_env")
        for episode in "abcdef":
            p.reset(episode)
        self.assertIn("KeyError: 'lost'", p.say("raise", "a")["error"])
        self.assertIn("SandboxError -> why", p.say("SandboxError", "b")["error"])
        self.assertEqual(p.say("ToolCallError", "c")["info"]["error"]["error"], "ToolCallError")
        self.assertIn("reads text alone", p.say("picture", "d")["error"])
        self.assertTrue(p.say("half \ud83d of a pair", "e")["done"])
        p.send(method="close", episode="f")
        status, _, err = p.end()
        self.assertEqual((status, err.count("cleaned up 2")), (0, 6))

    def test_rewards_that_an_episode_cannot_have_are_refused(self):
        self.assertIn("compares the answers of a group", self.program("verifiers:sums_env", kwargs={"rubric": "group"}).opened["error"])
        self.assertIn("language model 'judge-1' at https://judge.example/v1",
                      self.program("verifiers:sums_env", kwargs={"rubric": "judge"}).opened["error"])
        self.assertIn("tools", self.program("verifiers:sums_env", kwargs={"rubric": "judge"}, judge=True).opened)

    def test_its_signal_handler_does_not_stay(self):
        p = self.program("verifiers:sums_env")
        p.process.send_signal(signal.SIGTERM)
        self.assertEqual(p.process.wait(30), 143)


class Sessions(http.server.BaseHTTPRequestHandler):
    """A server of OpenEnv with room for two sessions, an echo each."""

    seen = []

    def do_GET(self):
        self.say({"action": {"properties": {"message": {"type": "string"}, "metadata": {}}, "required": ["message"], "title": "EchoAction"}})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = asked["data"].get("message", "ready")
        if asked["session"] not in self.seen and len(self.seen) < 2:
            self.seen.append(asked["session"])
        if asked["session"] not in self.seen:
            self.say({"message": "full", "code": "CAPACITY_REACHED"})
        elif not isinstance(message, str):
            self.say({"message": "Invalid message", "code": "VALIDATION_ERROR"})
        elif message == "raise":
            self.say({"message": "lost", "code": "EXECUTION_ERROR"})
        else:
            self.say({"observation": {"said": message}, "reward": 0.5, "done": message == "bye"})

    def say(self, answer):
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class OpenEnv(Adapters):
    def test_a_folder_is_played_in_process(self):
        p = self.program("openenv:" + os.path.join(HERE, "echo"), prompt="Say something.")
        self.assertEqual(p.opened["tools"], [{"name": "step", "description": "Says something.", "parameters": {
            "type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"], "additionalProperties": False}}])
        self.assertEqual(p.reset(seed=3, reset={"split": "x"})["observation"], "Say something.\n\nready 3 {'split': 'x'}")
        self.assertEqual(p.say("hi"), {"observation": "said: hi\nlength: 2", **SAID, "rewards": {"reward": 0.5}, "info": {"steps": 1}})
        self.assertEqual(self.call(p, "step", {"mess": "hi"})["observation"], "wrong: message, mess")
        self.assertEqual(self.call(p, "fly", {})["ok"], False)
        self.call(p, "step", {"message": "hi"})
        self.assertTrue(p.say("")["done"])
        p.reset("2")
        self.assertIn("KeyError: 'lost'", p.say("raise", "2")["error"])
        p.send(method="close", episode="1")
        self.assertIn("closed after 3", p.end()[2])

    def test_a_class_has_the_action_that_its_step_names(self):
        p = self.program(f"openenv:{ECHO}:Board")
        self.assertEqual(p.reset()["observation"], "[[0]]")
        self.assertIn("at_once = 1", p.reset("2")["error"])
        for text in ("left", "[1, 2]", '{"x": 1}', "[" * 9999):
            self.assertFalse(p.say(text)["ok"], text)
        self.assertEqual(p.say('{"x": 1, "y": 2}'), {"observation": "[[1, 2]]", "done": True, "ok": True, "rewards": {"reward": 1.0}})
        p.send(method="close", episode="1")
        self.begin(p, "later")

    def test_tools_of_an_mcp_environment_are_tools(self):
        p = self.program(f"openenv:{ECHO}:Tools")
        self.assertEqual(p.opened["tools"], [{"name": "add", "description": "Adds.", "parameters": {
            "type": "object", "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "required": []}}])
        self.assertEqual(p.reset(), {})
        self.assertEqual(self.call(p, "add", {"a": 1}), {"observation": "2", **SAID, "rewards": {"reward": 1.0}})
        self.assertEqual(self.call(p, "add", {}), {"observation": "a is missing", "done": False, "ok": False})
        self.assertEqual(p.say("two")["observation"], "expected a call of add, not a text")

    def test_a_server_is_played_by_sessions_that_are_used_again(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sessions)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        p = self.program(f"openenv:http://127.0.0.1:{server.server_port}/")
        for name in "abcd":
            episode = self.begin(p, name)
            self.assertEqual(self.call(p, "step", {"message": 1}, episode)["ok"], False)
            self.assertEqual(p.say("bye", episode), {"observation": "bye", "done": True, "ok": True, "rewards": {"reward": 0.5}})
            p.send(method="close", episode=episode)
        held = [self.begin(p, name) for name in "ef"]
        self.assertIn("raise its max_concurrent_envs", p.reset("full")["error"])
        self.assertIn("lost", p.say("raise", held[0])["error"])

    def test_what_is_not_there_is_said(self):
        for what, said in (("http://127.0.0.1:9", "does not answer"), ("nowhere", "neither a URL"), (ECHO + ":Nothing", "no environment"),
                           (HERE, "there is no file"), (ECHO + ":EchoAction", "no environment")):
            self.assertIn(said, self.program("openenv:" + what).opened["error"])


class Recipes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_program(self, *words, folder="made"):
        return subprocess.run([sys.executable, troupe_env.PROGRAM, *words, "--recipe", folder], check=False, capture_output=True, text=True,
                              cwd=self.folder.name)

    def write(self, *words, folder="made"):
        done = self.run_program(*words, folder=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.folder.name, folder, "recipe.lua"), encoding="utf-8") as f:
            return f.read()

    def test_a_recipe_is_a_folder_with_rows_and_a_reward(self):
        sums = os.path.join(HERE, "sums_env.py")
        recipe = self.write(f"verifiers:{os.path.relpath(sums, self.folder.name)}", "--rows", "2", "--config",
                            '{"kwargs": {"rows": 3}, "n": ["a \\"b\\"", true]}')
        self.assertIn(f'"verifiers:{os.path.abspath(sums)}"', recipe)
        self.assertIn('config = { ["kwargs"] = { ["rows"] = 3 }, ["n"] = { "a \\034b\\034", true } }', recipe)
        self.assertIn(f'command = {{ "{sys.executable}", "{troupe_env.PROGRAM}", ', recipe)
        with open(os.path.join(self.folder.name, "made/rows.jsonl"), encoding="utf-8") as f:
            self.assertEqual([json.loads(line)["index"] for line in f], [0, 1])

    def test_a_folder_of_the_environments_name_is_no_path(self):
        self.assertIn('"verifiers:sums_env"', self.write("verifiers:sums_env", folder="sums_env"))
        self.assertIn('"verifiers:sums_env"', self.write("verifiers:sums_env", folder="again"))

    def test_what_is_there_is_refused_before_the_package_is_looked_for(self):
        self.write("verifiers:sums_env", "--rows", "1")
        self.assertIn("made has a recipe.lua already", self.run_program("verifiers:nothing").stderr)
        os.remove(os.path.join(self.folder.name, "made/recipe.lua"))
        self.assertIn("made has a reward.lua already", self.run_program("verifiers:sums_env").stderr)
        self.assertIn("made/rows.jsonl is a file", self.run_program("verifiers:sums_env", folder="made/rows.jsonl").stderr)
        self.assertEqual(os.listdir(os.path.join(self.folder.name, "made")).count("recipe.lua"), 0)

    def test_the_policy_is_told_how_a_turn_is_written(self):
        path = os.path.join(self.folder.name, "made.py")
        one = "[{'name': %r, 'parameters': {'properties': {%r: {'type': 'string'%s}}}}]"
        for tools, more, said in (
                (one % ("act", "action", ", 'enum': ['left', 'up']"), "", "else: <act>left</act>, <act>up</act>, <answer>"),
                (one % ("act", "action", ""), "ask = 'Go on.'", 'instruction = "Go on.",'),
                (one % ("say", "text", ""), "", ": <say>TEXT</say>, <answer>TEXT</answer>."),
                ("[{'name': 'look'}, {'name': 'add', 'parameters': {'properties': {'a': {}, 'b': {}}}}]", "",
                 ": <look>{}</look>, <add>{\\034a\\034: ..., \\034b\\034: ...}</add>, <answer>"),
                ("[]", "", "In each turn write what you do as <answer>TEXT</answer>"),
                ("[]", "turns = 1", "write your answer as <answer>TEXT</answer>")):
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"import troupe_env\nclass Made(troupe_env.Maker):\n    {more}\n"
                        f"    def __init__(self, name, config):\n        super().__init__(name, config, tools={tools})\n")
            self.assertIn(said, self.write(f"file:{path}:Made", folder=str(hash(said + more))))

    def test_a_recipe_asks_no_more_than_the_model_can(self):
        for name, text in (("config.json", '{"max_position_embeddings": 512}'), ("tokenizer_config.json", '{"chat_template": "x"}')):
            self.assertNotIn("max_context = 512" if name == "config.json" else "chat_template", self.write("verifiers:sums_env", folder=name[:3]))
            with open(os.path.join(self.folder.name, name), "w", encoding="utf-8") as f:
                f.write(text)
        recipe = self.write("verifiers:sums_env", "--model", ".")
        self.assertIn("max_tokens = 256, max_context = 512,", recipe)
        self.assertIn('dialect = "xml", chat_template = "model",', recipe)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
