# SPDX-License-Identifier: MIT
"""A folder that `troupe train FOLDER/recipe.lua` takes as it is: recipe.lua, reward.lua, rows.jsonl. No KIND."""
import json
import os
import sys

from troupe_env import Refused, plain

RECIPE = """local T = require "troupe"

return {{
    name = {name},
    model = {model},
    data = {{ train = {data} }},
    prompt = {{
        dialect = "xml",{template}
        instruction = {instruction},
    }},
    env = {{
        tools = {{ T.env{{
            command = {{ {command} }},
            config = {config},
            instances = 4, at_once = 1, start = 300, -- seconds: some packages take long to be imported
        }} }},
        max_turns = {turns},
    }},
    -- valid: turns that the environment could use. While no episode scores, they are the signal.
    reward = {{ script = "reward.lua", objectives = {{ score = 1, valid = 0.1 }} }},
    rollout = {{ group = 8, prompts_per_step = 4, max_tokens = {tokens}, max_context = {context}, temperature = 0.8 }},
    optim = {{ lr = 2e-5, warmup = 2 }}, -- for small models; 1e-6 is for models of billions
    precision = "bf16",
    steps = 30, actors = 1, eval_every = 0, checkpoint_every = 10, keep_checkpoints = 1,
    lease_seconds = 900, -- on a slow machine long prompts take minutes
}}
"""
REWARD = """-- What the environment gave: `reward`, or `score` where that is its name; docs/env_python.md names others.
local function score(episode)
    local sum = 0
    for _, step in ipairs(episode.env_rewards) do sum = sum + (step.reward or step.score or 0) end
    return sum
end

-- The share of the turns that the environment could use; one that the tokens did not suffice for is none.
local function valid(episode)
    local usable, turns = 0, #episode.tool_calls
    for _, call in ipairs(episode.tool_calls) do usable = usable + (call.ok and 1 or 0) end
    if episode.stop_reason == "length" then turns = turns + 1 end
    return turns > 0 and usable / turns or 0
end

return function(task, episode)
    return { score = score(episode), valid = valid(episode) }
end
"""
FILES = ("rows.jsonl", "reward.lua", "recipe.lua")
CONTEXT = 2048  # tokens; an actor's memory grows with it
WORD_TOKENS, TURN_TOKENS, EPISODE_TOKENS = 8, 32, 128  # a call with one word has about 10


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


# Of which kinds a NAME can be a path, and whether to a folder, too: elsewhere one of this name is here by chance.
PATHS = {"file": os.path.isfile, "openenv": os.path.exists, "textworld": os.path.exists, "verifiers": os.path.isfile}


def from_anywhere(what):
    """KIND:NAME with the path in it, if there is one, from the root."""
    kind, _, name = what.partition(":")
    is_path = PATHS.get(kind, lambda path: False)
    path, colon, rest = (name, "", "") if is_path(name) else name.rpartition(":")
    return f"{kind}:{os.path.abspath(path)}{colon}{rest}" if path and is_path(path) else what


# ---- What the policy is told


def calls(tool):
    """A tool's calls as the dialect xml has them: one for each value, where there are few."""
    name, properties = tool["name"], tool.get("parameters", {}).get("properties", {})
    only = next(iter(properties.items())) if len(properties) == 1 else (None, {})
    if only[1].get("type") != "string":
        return [f"<{name}>{{{', '.join(json.dumps(p) + ': ...' for p in properties)}}}</{name}>"]
    values = only[1].get("enum", [])
    return [f"<{name}>{v}</{name}>" for v in values] if 0 < len(values) <= 8 else [f"<{name}>{only[0].upper()}</{name}>"]


def instruction(maker):
    said = "<answer>TEXT</answer>"
    if maker.ask:
        return maker.ask
    if maker.turns == 1 and not maker.tools:
        return f"Be brief, and write your answer as {said}."
    if not maker.tools:
        return f"In each turn write what you do as {said}, and nothing else."
    written = [call for tool in maker.tools for call in calls(tool)] + [said]
    return f"In each turn write one of these, and nothing else: {', '.join(written)}."


# ---- What the model can do


def of_model(model, name):
    """A file of the model's folder as an object; {} where it is not there."""
    try:
        with open(os.path.join(model, name), encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def has_template(model):
    return os.path.exists(os.path.join(model, "chat_template.jinja")) or bool(of_model(model, "tokenizer_config.json").get("chat_template"))


def text_of(what, config, model, maker, data):
    """recipe.lua."""
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "troupe_env.py")
    context = min(CONTEXT, of_model(model, "config.json").get("max_position_embeddings") or CONTEXT)
    tokens = min(max(EPISODE_TOKENS, maker.turns * (WORD_TOKENS if maker.ask else TURN_TOKENS)), context // 2)
    return RECIPE.format(data=lua(os.path.abspath(data) if data else "rows.jsonl"), name=lua(what), model=lua(os.path.abspath(model)), config=lua(config), turns=maker.turns, tokens=tokens,
                         command=", ".join(map(lua, (sys.executable, program, from_anywhere(what)))), context=context,
                         instruction=lua(instruction(maker)), template=' chat_template = "model",' if has_template(model) else "")


# ---- The folder


def check(folder, data):
    """Before a package is imported: that takes long. What is in the way is not written over."""
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise Refused(f"{folder} is a file, not a folder to write a recipe into")
    if data and not os.path.isfile(data):
        raise Refused(f"there is no file {data}")
    there = [name for name in FILES if os.path.exists(os.path.join(folder, name))]
    if there:
        raise Refused(f"{folder} has a {there[-1]} already: name another folder, or remove it")


def write(folder, what, config, model, maker, rows, data=None):
    """data: a file with rows of the user's own; then the folder gets none."""
    lines = "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
    if not lines and not data:
        raise Refused(f"{what} has no rows")
    texts = lines, REWARD, text_of(what, config, model, maker, data)
    os.makedirs(folder, exist_ok=True)
    for name, text in list(zip(FILES, texts))[1 if data else 0:]:
        with open(os.path.join(folder, name), "w", encoding="utf-8", errors="replace") as f:
            f.write(text)
