# SPDX-License-Identifier: MIT
"""Stands in for the package `verifiers` in tests/unit/env/troupe_adapters.py: what the adapter uses of it, in short."""
import importlib
import signal
import types as python_types

from verifiers.types import ToolCall  # noqa: F401

Tool = python_types.SimpleNamespace


class Rubric:
    has_group_rewards = False


class JudgeRubric(Rubric):
    judge_model = "judge-1"
    judge_client = python_types.SimpleNamespace(base_url="https://judge.example/v1")


class Environment:
    """A rollout asks the client until `respond` says that it is over, cleans up and scores."""

    system_prompt, few_shot, tool_defs = "Be brief.", [], []

    def __init__(self, rows, rubric=None):
        self.rows, self.rubric = rows, rubric or Rubric()
        signal.signal(signal.SIGTERM, lambda *_: None)  # as the package does

    @property
    def requires_group_rollouts(self):
        return self.rubric.has_group_rewards

    def get_dataset(self):
        if not self.rows:
            raise ValueError("dataset is not set")
        return self.rows

    def get_eval_dataset(self):
        return [{"prompt": [{"role": "user", "content": "eval"}], "answer": "1"}]

    async def run_rollout(self, row, client, model, sampling_args):
        state = {"answer": row.get("answer"), "messages": list(row["prompt"]), "over": False, "error": None}
        try:
            while not state["over"]:
                answer = await client.get_response(state["messages"], model=model, sampling_args=sampling_args, tools=self.tool_defs)
                message = answer.message
                state["messages"] = state["messages"] + [{"role": "assistant", "content": message.content, "tool_calls": message.tool_calls}]
                state["messages"] += await self.respond(message, state)
        finally:
            await self.cleanup(state)
        completion = state["messages"][len(row["prompt"]):]
        return {"completion": completion, "error": state["error"], "stop_condition": "over", **self.score(state, completion)}

    async def cleanup(self, state):
        print(f"cleaned up {state['answer']}\n", end="")  # in one write: others end at the same time

    async def _teardown(self):
        print("torn down\n", end="")


def load_environment(name, **kwargs):
    return importlib.import_module(name).load_environment(**kwargs)
