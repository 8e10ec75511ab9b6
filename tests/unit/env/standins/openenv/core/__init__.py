# SPDX-License-Identifier: MIT
"""Stands in for the package `openenv` in tests/unit/env/troupe_adapters.py: what the adapter uses of it, in short."""
import json
import types
import urllib.request


class GenericEnvClient:
    def __init__(self, base_url):
        self.base_url = base_url

    def sync(self):
        return self

    def ask(self, data):
        request = urllib.request.Request(self.base_url + "/ws", json.dumps({"session": id(self), **data}).encode())
        with urllib.request.urlopen(request) as answer:
            answer = json.load(answer)
        if "code" in answer:
            raise RuntimeError(f"Server error: {answer['message']} (code: {answer['code']})")
        return types.SimpleNamespace(metadata=None, **answer)

    def reset(self, **arguments):
        return self.ask({"type": "reset", "data": arguments})

    def step(self, action):
        return self.ask({"type": "step", "data": action})

    def close(self):
        pass
