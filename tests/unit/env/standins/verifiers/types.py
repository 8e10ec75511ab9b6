# SPDX-License-Identifier: MIT
from types import SimpleNamespace


def ToolCall(id, name, arguments):
    return SimpleNamespace(id=id, name=name, arguments=arguments)


def ResponseMessage(content, tool_calls, finish_reason, is_truncated):
    content.encode()  # pydantic refuses half of a surrogate pair, too
    return SimpleNamespace(content=content, tool_calls=tool_calls, finish_reason=finish_reason, is_truncated=is_truncated)


def Response(id, created, model, message):
    return SimpleNamespace(message=message)
