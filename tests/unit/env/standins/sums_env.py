# SPDX-License-Identifier: MIT
"""An environment as people write them for `verifiers`: sums, with a tool."""
import asyncio
import json

import verifiers as vf

GATE = []


def gate():
    """An asyncio.Event, which belongs to one event loop; who comes first makes it."""
    if not GATE:
        GATE.append(asyncio.Event())
    return GATE[0]


class Sums(vf.Environment):
    tool_defs = [vf.Tool(name="add", description="Adds.", parameters={"type": "object", "properties": {"a": {"$ref": "#/$defs/N"}},
                                                                    "required": ["a"], "$defs": {"N": {"type": "integer"}}})]

    async def respond(self, message, state):
        if message.tool_calls:
            call = message.tool_calls[0]
            return [{"role": "tool", "content": f"{call.name} {json.loads(call.arguments)['a'] + 1}", "tool_call_id": call.id}]
        if message.content == "wait":
            await gate().wait()
            return [{"role": "user", "content": [{"type": "text", "text": "waited"}]}]
        if message.content == "go":
            gate().set()
        if message.content == "raise":
            raise KeyError("lost")
        if message.content in ("SandboxError", "ToolCallError"):
            state["error"] = {"error": message.content, "error_chain_str": message.content + " -> why"}
        state["over"] = message.content != "picture"
        return [{"role": "user", "content": "Thanks." if state["over"] else [{"type": "image_url"}]}]

    def score(self, state, completion):
        said = completion[-2]["content"]
        return {"reward": 2 * float(said == state["answer"]), "metrics": {"right": float(said == state["answer"]), "reward": 9.0}}


class Compared(vf.Rubric):
    has_group_rewards = True


def load_environment(rubric=None, rows=4, few=()):
    made = {None: vf.Rubric, "judge": vf.JudgeRubric, "group": Compared}[rubric]()
    prompts = [[*few, {"role": "text", "content": f"{i} + 1?"}] for i in range(rows)]
    return Sums([{"prompt": p, "answer": str(i + 1)} for i, p in enumerate(prompts)], made)
