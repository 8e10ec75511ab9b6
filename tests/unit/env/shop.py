# SPDX-License-Identifier: MIT
"""An environment with all the bad habits that libraries have: what tests/unit/env/troupe_env.py plays."""
import asyncio
import os
import random
import subprocess
import sys
import threading

from troupe_env import Environment, Mistake, Step

print("printed while it is imported")
GATE = threading.Event()


class Shop(Environment):
    tools = [{"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}]

    def reset(self, row, seed):
        print("printed by reset")
        os.write(1, b"written to fd 1\n")
        if row.get("child"):
            code = "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
            self.child = subprocess.Popen([sys.executable, "-c", code])
        if row.get("fail"):
            raise KeyError("no such row")
        if row.get("quit"):
            sys.exit(3)
        self.sum = 0
        return row.get("start", f"{self.config.get('greeting', 'Hello')} {random.randrange(1 << 30)}")

    async def step(self, call, text, turn):
        if call is not None:
            if not isinstance(call["arguments"].get("n"), int):
                raise Mistake("expected a whole number as n")
            self.sum += call["arguments"]["n"]
            return Step(f"sum {self.sum}", rewards={"added": 1})
        return await self.said(text)

    async def said(self, text):
        await asyncio.sleep(0)
        print("printed by step")
        if text == "order":
            return Step(" ".join({"apple", "pear", "plum", "fig", "kiwi"}))
        if text == "hang":
            GATE.wait()
        if text == "release":
            GATE.set()
        if text == "child":
            return Step(sys.stdin.read() + "read all of stdin")
        if text == "bad":
            return Step("x", rewards=float("nan"))
        if text == "half":
            return "half \ud83d of a pair"
        if text == "raise":
            raise ValueError("over the top")
        return Step("goodbye", done=True, rewards=self.sum, info={"set": {2, 1}, "inf": float("inf"), "tuple": (1, None)})

    def close(self):
        print(f"closed {self.sum}\n", end="", file=sys.stderr)  # in one write: others close at the same time
