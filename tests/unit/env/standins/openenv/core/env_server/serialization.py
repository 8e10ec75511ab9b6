# SPDX-License-Identifier: MIT
from openenv.core.env_server.types import Action


class CallTool(Action):
    type: str = "call_tool"
    tool_name: str
    arguments: dict = {}


def deserialize_action(data, action_class):
    if action_class is not Action:
        return action_class.model_validate(data)
    return CallTool.model_validate(data) if data.get("type") == "call_tool" else Action()


def serialize_observation(seen):
    return {"observation": {**seen.fields, "metadata": seen.metadata}, "reward": seen.reward, "done": seen.done, "metadata": seen.metadata}
