# SPDX-License-Identifier: MIT
"""Environments as people write them for `openenv`: an echo, one of two fields, and one of tools."""
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation


class EchoAction(Action):
    """Says something."""

    message: str


class Echo(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, **other):
        self.steps = 0
        return Observation(reward=0.0, said=f"ready {seed} {other}")

    def step(self, action: EchoAction):
        if action.message == "raise":
            raise KeyError("lost")
        self.steps += 1
        return Observation(self.steps == 3, len(action.message) / 4, {"steps": self.steps}, said=action.message, length=len(action.message))

    def close(self):
        print(f"closed after {self.steps}\n", end="")  # in one write: two episodes close at the same time


class Move(Action):
    x: int
    y: int


class Board(Environment):
    def reset(self):
        return Observation(board=[[0]])

    async def step_async(self, action: Move):
        return Observation(True, True, board=[[action.x, action.y]])

    def step(self, action: Move):
        raise AssertionError("step_async is there")


class Tools(Environment):
    def mcp_session(self):
        pass

    def reset(self, seed=None):
        return Observation(metadata={"status": "ready"})

    def step(self, action):
        if not hasattr(action, "tool_name"):
            return Observation(tools=[{"name": "add", "description": "Adds.", "input_schema": {"type": "object", "properties": {
                "a": {"oneOf": [{"type": "integer"}, {"type": "null"}], "pattern": "x"}}}}])
        if action.arguments.get("a") is None:
            return Observation(tool_name="add", result=None, error={"message": "a is missing"})
        return Observation(reward=1, tool_name="add", error=None, result={"data": action.arguments["a"] + 1, "content": []})


app = create_app(Echo, EchoAction, Observation, max_concurrent_envs=1)
