# SPDX-License-Identifier: MIT
"""OpenEnv: environments behind a server, or in this process.

NAME is a URL (http://127.0.0.1:8000: a session of the server for each episode at a time), a folder with an openenv.yaml
(its app is imported, for the environment that it serves), MODULE:Class or FILE.py:Class. config: {"prompt": "text above
the first observation"}, {"observation": "field"} (the one to show). A row has "prompt" and "reset", an object of what
reset takes beside the seed.

An environment has one tool, `step`, with the fields of its action; where a text is all that an action needs, a turn
without a call is one. An environment of MCP tools has these as tools. Rewards: `reward`."""
import asyncio
import contextlib
import importlib
import inspect
import json
import os
import re
import sys
import threading
import typing
import urllib.request

from openenv.core.env_server import http_server
from openenv.core.env_server.interfaces import Environment as Served
from openenv.core.env_server.serialization import deserialize_action, serialize_observation
from openenv.core.env_server.types import Action

from troupe_adapters.schema import of_arguments
from troupe_env import Environment, Maker, Mistake, Refused, Step, load_file, plain, start_seed

TIMEOUT_S = 30


# ---- An environment in this process


def accepted(function, arguments):
    """Those of the arguments that it takes."""
    parameters = inspect.signature(function).parameters
    if any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {k: v for k, v in arguments.items() if k in parameters}


class Local:
    """An environment of its class, asked as its server would ask it. What it brings has the form of the wire."""

    def __init__(self, factory, action_class):
        self.env, self.action_class = factory(), action_class

    def method(self, name):
        """The asynchronous one where the environment has its own."""
        other = f"{name}_async"
        own = getattr(type(self.env), other, None) is not getattr(Served, other)
        return getattr(self.env, other if own else name)

    async def reset(self, arguments):
        return await self.seen(self.method("reset"), **accepted(self.method("reset"), arguments))

    async def step(self, action):
        try:
            action = deserialize_action(action, self.action_class)
        except ValueError as error:  # pydantic's is one
            raise Mistake(wrong_fields(error))
        return await self.seen(self.method("step"), action)

    async def seen(self, method, *arguments, **named):
        observation = method(*arguments, **named)
        return serialize_observation(await observation if inspect.isawaitable(observation) else observation)

    async def close(self):
        self.env.close()


def wrong_fields(error):
    """An error of pydantic as a sentence."""
    errors = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
    return "; ".join(": ".join(filter(None, [".".join(map(str, e["loc"])), e["msg"]])) for e in errors)


@contextlib.contextmanager
def servers_made():
    """The environments that servers are made for meanwhile, and the actions that these take."""
    found, original = [], http_server.HTTPEnvServer.__init__

    def remember(self, env, action_cls, *arguments, **named):
        found.append((env, action_cls))
        original(self, env, action_cls, *arguments, **named)

    http_server.HTTPEnvServer.__init__ = remember
    try:
        yield found
    finally:
        http_server.HTTPEnvServer.__init__ = original


def of_folder(path):
    """What the app of an openenv.yaml serves. It is imported as the server would import it, from its folder."""
    manifest = os.path.join(path, "openenv.yaml")
    if not os.path.exists(manifest):
        raise Refused(f"there is no file {manifest}")
    with open(manifest, encoding="utf-8") as f:
        named = re.search(r"^app:\s*['\"]?([\w.]+)", f.read(), re.M)
    module = named.group(1) if named else "server.app"
    sys.path.insert(0, os.path.abspath(path))
    with servers_made() as found:
        importlib.import_module(module)
    if not found:
        raise Refused(f"{path}: {module} makes no server of an environment (create_app)")
    return found[0]


def of_class(name):
    """MODULE:Class or FILE.py:Class, and the action that its step names."""
    path, colon, class_name = name.rpartition(":")
    if not colon:
        raise Refused(f"openenv:{name} is neither a URL, a folder with an openenv.yaml, nor MODULE:Class")
    sys.path.insert(0, os.getcwd())
    found = getattr(load_file(path) if path.endswith(".py") else importlib.import_module(path), class_name, None)
    if not isinstance(found, type) or not issubclass(found, Served):
        raise Refused(f"{path} has no environment '{class_name}'")
    if hasattr(found, "mcp_session"):
        return found, Action
    hints = [typing.get_type_hints(found.step).get("action")]
    hints += [a for base in getattr(found, "__orig_bases__", ()) for a in typing.get_args(base)]
    action = next((h for h in hints if isinstance(h, type) and issubclass(h, Action) and h is not Action), None)
    if action is None:
        raise Refused(f"{name}: its step does not name the class of its action; give the folder with its openenv.yaml instead")
    return found, action


# ---- An environment behind a server


class Remote:
    """A session of a server. The package's own client has a thread that keeps it alive."""

    def __init__(self, url):
        from openenv.core import GenericEnvClient

        self.url, self.client = url, GenericEnvClient(base_url=url).sync()

    async def reset(self, arguments):
        return self.seen(self.client.reset, **arguments)

    async def step(self, action):
        return self.seen(self.client.step, action)

    def seen(self, method, *arguments, **named):
        try:
            result = method(*arguments, **named)
        except RuntimeError as error:
            raise self.said(str(error))
        return {"observation": result.observation, "reward": result.reward, "done": result.done, "metadata": result.metadata}

    def said(self, error):
        """An error of the server: whose it is."""
        if "VALIDATION_ERROR" in error:
            return Mistake("the arguments are not what the environment takes")
        if "CAPACITY_REACHED" in error:
            return Refused(f"{self.url} has no place for one more session: raise its max_concurrent_envs, or lower instances and "
                           f"at_once (times actors) of T.env ({error})")
        return Refused(f"{self.url}: {error}")

    async def close(self):
        self.client.close()


def fetched(url):
    """JSON from the server. A proxy is not asked: the server is mostly this machine."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise Refused(f"{url} does not answer as an OpenEnv server: {error}")


# ---- Observations and actions, in words


def result_words(result):
    """What an MCP tool has returned."""
    if not isinstance(result, dict):
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    if result.get("data") is not None:
        return result_words(result["data"])
    texts = [part.get("text") for part in result.get("content") or [] if isinstance(part, dict)]
    return "\n".join(t for t in texts if t) or json.dumps(result.get("structured_content") or {}, ensure_ascii=False)


def fields_words(seen, only=None):
    """An observation: its only field, or a line for each of them."""
    seen = {k: v for k, v in seen.items() if v is not None and (k == only or only is None and k != "metadata")}
    said = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in seen.items()}
    return next(iter(said.values())) if len(said) == 1 else "\n".join(f"{k}: {v}" for k, v in said.items())


def text_field(parameters):
    """The field that a text can stand for: the only one that is required, and a string."""
    required = parameters.get("required", [])
    one = required[0] if len(required) == 1 else None
    return one if one and parameters["properties"][one].get("type") == "string" else None


def step_tool(schema):
    """The tool that an action is, without what its base class adds for programs."""
    properties = {k: v for k, v in schema.get("properties", {}).items() if k != "metadata"}
    said = str(schema.get("description") or "").strip().split("\n\n")[0]
    return {"name": "step", "description": said or "Takes one action in the environment.",
            "parameters": of_arguments({**schema, "description": "", "properties": properties})}


def mcp_tools(seen):
    return [{"name": t["name"], "description": t.get("description") or "",
             "parameters": of_arguments(t.get("input_schema") or t.get("inputSchema"))} for t in seen["observation"].get("tools") or []]


# ---- Episodes


class Play(Environment):
    def __init__(self, maker):
        super().__init__(maker.config)
        self.maker, self.session, self.sound = maker, None, False

    async def reset(self, row, seed):
        self.session = self.maker.take_session()
        arguments = {"seed": start_seed(row, seed), **(row.get("reset") or {})}
        seen = plain(await self.session.reset(arguments))
        self.sound = True
        parts = [row.get("prompt") or self.config.get("prompt"), self.words(seen["observation"])]
        return "\n\n".join(p for p in parts if p) or None

    async def step(self, call, text, turn):
        action = self.maker.action(call, text)
        self.sound = False  # a session that fails is not used again
        try:
            seen = plain(await self.session.step(action))
        except Mistake:
            self.sound = True
            raise
        self.sound = True
        error = seen["observation"].get("error") if self.maker.mcp else None
        rewards = None if seen["reward"] is None else float(seen["reward"])
        ok = not error and not (self.maker.mcp and (seen["observation"].get("result") or {}).get("is_error"))
        return Step(self.words(seen["observation"]), seen["done"], rewards, seen.get("metadata"), ok)

    def words(self, seen):
        if not self.maker.mcp or "result" not in seen:
            return fields_words(seen, self.config.get("observation"))
        return seen["error"].get("message", "") if seen.get("error") else result_words(seen["result"])

    async def close(self):
        if self.session is not None:
            await self.maker.give_session(self.session, self.sound)


class Opened(Maker):
    def __init__(self, name, config):
        super().__init__(f"openenv:{os.path.basename(name.rstrip('/'))}", config)
        self.url = name.rstrip("/") if name.startswith(("http://", "https://")) else None
        self.lock, self.idle, self.busy, self.alone = threading.Lock(), [], 0, False
        if self.url:
            schema = fetched(self.url + "/schema")["action"]
        else:
            self.factory, self.action_class = of_folder(name) if os.path.isdir(name) else of_class(name)
            schema = self.action_class.model_json_schema()
        names = set(schema.get("properties", {}))
        self.mcp = {"tool_name", "arguments"} <= names or names <= {"type", "metadata"}
        self.tools = asyncio.run(self.first_session(schema))
        self.text = None if self.mcp else text_field(self.tools[0]["parameters"])

    def new(self):
        return Play(self)

    # -- sessions

    def new_session(self):
        return Remote(self.url) if self.url else Local(self.factory, self.action_class)

    def take_session(self):
        """Of a server's sessions those that are free are used again: a reset is a new episode."""
        with self.lock:
            if self.idle:
                return self.idle.pop()
            self.busy += 1
            if self.busy > 1 and self.alone:
                self.busy -= 1
                raise Refused(f"{self.name} plays one episode at a time (SUPPORTS_CONCURRENT_SESSIONS is false): at_once = 1")
        return self.new_session()

    async def give_session(self, session, sound):
        with self.lock:
            if self.url and sound:
                self.idle.append(session)
                return
        try:
            await session.close()
        finally:
            with self.lock:
                self.busy -= 1

    def close(self):
        for session in self.idle:
            session.client.close()

    # -- actions

    async def first_session(self, schema):
        """The tools, which an environment of MCP tools lists."""
        session = self.new_session()
        try:
            self.alone = self.url is None and not session.env.SUPPORTS_CONCURRENT_SESSIONS
            return mcp_tools(plain(await session.step({"type": "list_tools"}))) if self.mcp else [step_tool(schema)]
        finally:
            self.busy += 1
            with contextlib.suppress(Exception):  # some can't be closed before their first reset
                await self.give_session(session, True)

    def action(self, call, text):
        """What the policy wrote, as an action of the wire."""
        names = [t["name"] for t in self.tools]
        if call is not None:
            if call["name"] not in names:
                raise Mistake(f"there is no tool '{call['name']}', expected one of: {', '.join(names)}")
            return {"type": "call_tool", "tool_name": call["name"], "arguments": call["arguments"]} if self.mcp else call["arguments"]
        if self.text:
            return {self.text: text}
        with contextlib.suppress(ValueError, RecursionError):
            action = None if self.mcp else json.loads(text)
            if isinstance(action, dict):
                return action
        raise Mistake(f"expected a call of {' or '.join(names)}, not a text")


open_maker = Opened
