# SPDX-License-Identifier: MIT
"""A folder that `troupe train FOLDER/recipe.lua` takes as it is: recipe.lua, reward.lua, rows.jsonl. No KIND."""
import json
import os
import sys

from troupe_env import Refused, plain

RECIPE = """local T = require "troupe"
return {{
    model = {model},
    data = {{ train = "rows.jsonl" }},
    prompt = {{ dialect = "xml", chat_template = "model", instruction = {instruction} }},
    env = {{
        tools = {{ T.env{{
            command = {{ {command} }},
            config = {config},
            instances = 4, at_once = 1,
        }} }},
        max_turns = {turns},
    }},
    rollout = {{ max_tokens = 128, max_context = 2048, group = 8, prompts_per_step = 8 }},
    reward = {{ script = "reward.lua", objectives = {{ score = 1 }} }},
    steps = 30, actors = 1, eval_every = 0,
}}
"""
REWARD = """-- What the environment gave: `reward`, or `score` where that is its name; docs/env_python.md names others.
return function(task, episode)
    local sum = 0
    for _, step in ipairs(episode.env_rewards) do sum = sum + (step.reward or step.score or 0) end
    return { score = sum }
end
"""


def lua(value):
    """JSON as Lua writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"[{lua(str(k))}] = {lua(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "{ " + ", ".join(map(lua, value)) + " }" if value else "{}"
    if value is None or isinstance(value, (bool, int, float)):
        return {None: "nil", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    escaped = "".join(c if c >= " " and c not in '"\\' else f"\\{ord(c):03d}" for c in value)
    return f'"{escaped}"'


def from_anywhere(what):
    """KIND:NAME with the path in it, if there is one, from the root."""
    kind, _, name = what.partition(":")
    path, colon, rest = (name, "", "") if os.path.exists(name) else name.rpartition(":")
    return f"{kind}:{os.path.abspath(path)}{colon}{rest}" if path and os.path.exists(path) else what


def write(folder, what, config, model, maker, rows):
    if os.path.exists(os.path.join(folder, "recipe.lua")):
        raise Refused(f"{folder} has a recipe.lua already")
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "troupe_env.py")
    tools = ", ".join(tool["name"] for tool in maker.tools)
    instruction = f"Take your turn by a call of a tool ({tools}), or" if tools else "Say what you do or answer"
    recipe = RECIPE.format(model=lua(os.path.abspath(model)), config=lua(config), turns=maker.turns,
                           command=", ".join(map(lua, (sys.executable, program, from_anywhere(what)))),
                           instruction=lua(f"{instruction} as <answer>TEXT</answer>."))

    os.makedirs(folder, exist_ok=True)
    lines = "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
    for name, text in (("rows.jsonl", lines), ("reward.lua", REWARD), ("recipe.lua", recipe)):
        with open(os.path.join(folder, name), "w", encoding="utf-8", errors="replace") as f:
            f.write(text)
