# SPDX-License-Identifier: MIT
"""SkyRL-gym: skyrl_gym.make(NAME, extras = the row), init with the row's prompt, step with what the policy wrote.

NAME is a registered environment (gsm8k, aime, ...), or MODULE:Class of your own. config: {"env": {...}}, which is
env_config. A row has "prompt" or "messages", and what the environment looks for in its extras (a "reward_spec")."""
import importlib

import skyrl_gym
from skyrl_gym.envs.registration import register, registry

from troupe_env import Environment, Maker, Refused, Step


class Settings(dict):
    """env_config as SkyRL has it: members, and attributes."""

    __getattr__ = dict.get


class Conversation(Environment):
    def __init__(self, maker):
        super().__init__(maker.config)
        self.maker, self.env = maker, None

    def reset(self, row, seed):
        prompt = row.get("messages") or [{"role": "user", "content": row.get("prompt", "")}]
        self.env = skyrl_gym.make(self.maker.env_id, env_config=Settings(self.config.get("env", {})), extras=row)
        start, _ = self.env.init(prompt)
        return start

    def step(self, call, text, turn):
        out = self.env.step(turn if call is not None else text)
        observation = "\n".join(message["content"] for message in out["observations"])
        info = {**(out.get("metadata") or {}), **(self.env.get_metrics() if out["done"] else {})}
        return Step(observation, out["done"], out["reward"], info)

    def close(self):
        if self.env is not None:
            self.env.close()


class Registered(Maker):
    def __init__(self, name, config):
        super().__init__(f"skyrl_gym:{name}", config)
        self.env_id = name
        if ":" in name:
            importlib.import_module(name.partition(":")[0])
            register(id=name, entry_point=name)
        if name not in registry:
            raise Refused(f"skyrl_gym has no environment '{name}': it has {', '.join(sorted(registry))}")

    def new(self):
        return Conversation(self)

    def rows(self, count, seed):
        raise Refused("SkyRL-gym brings no data: rows are yours (--data FILE.jsonl), with a prompt and what the environment wants of its extras")


open_maker = Registered
