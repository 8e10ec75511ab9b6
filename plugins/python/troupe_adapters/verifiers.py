# SPDX-License-Identifier: MIT
"""verifiers (before 0.2): environments with the package's own rollout, tools and rubric.

NAME is what verifiers.load_environment takes, FILE.py with a load_environment of its own, or MODULE:Class. config: {"kwargs": {...}}
for it, {"split": "eval"}, {"turn": true} (the response is the whole turn, thought and tags with it), {"judge": true}
(its rubric may ask a language model). A row has the "index" of a row of the environment's own data; or "input", a row
of yours with a prompt or question, answer, info.

    env.run_rollout ---- get_response(messages) ----> Policy ----> observation        all rollouts share one event
                    <--- response -------------------        <---- step               loop, as in the package

The policy takes the place of the model's client, so that what stands between two responses is the package's alone. The
last step brings `reward` and every metric of the rubric, by its name."""
import asyncio
import contextlib
import importlib
import json
import os
import threading

import verifiers

from troupe_adapters.schema import of_arguments
from troupe_env import GRACE_S, Environment, Maker, Mistake, Refused, Step, load_file, start_seed

if not hasattr(verifiers, "Environment"):
    raise Refused(f"verifiers {getattr(verifiers, '__version__', '')} has only its v1 tasksets, which run programs of their own "
                  "against a model's server; environments with load_environment need: pip install 'verifiers<0.2'")

from verifiers.clients import Client  # noqa: E402 (what follows is not there in later versions)
from verifiers.types import Response, ResponseMessage, ToolCall  # noqa: E402

POLICYS_OWN = ("ToolError", "ToolParseError", "ToolCallError")  # of verifiers.errors: these end an episode and are scored
ROLES = {"text": "user"}


# ---- Messages, in words


def text_of(content):
    """A message's content as text."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = []
    for part in content:
        text = part.get("text")
        if not isinstance(text, str):
            raise Refused(f"a message has a part of type {part.get('type')!r}: the policy reads text alone")
        parts.append(text)
    return "\n".join(parts)


def after_the_policy(messages):
    """What an environment has said since the policy's last turn."""
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=-1)
    return "\n".join(text_of(m["content"]) for m in messages[last + 1:])


# ---- One rollout


class Policy(Client):
    """The client of a rollout: what it is asked goes to `asked`, with a future for the response."""

    def __init__(self):
        super().__init__(None)
        self.asked = asyncio.Queue()

    async def get_response(self, prompt, model, sampling_args, tools=None, **kwargs):
        answer = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((prompt, tools or [], answer))
        return await answer


Policy.__abstractmethods__ = frozenset()  # they translate for a provider; there is none


def response(text, call=None):
    """A turn of the policy as a model's response."""
    text = text.encode("utf-8", "replace").decode()  # pydantic refuses half of a surrogate pair
    calls = call and [ToolCall(id="call", name=call["name"], arguments=json.dumps(call["arguments"]))]
    message = ResponseMessage(content=text, tool_calls=calls, finish_reason="tool_calls" if call else "stop", is_truncated=False)
    return Response(id="policy", created=0, model="policy", message=message)


class Rollout(Environment):
    def __init__(self, maker):
        super().__init__(maker.config)
        self.maker, self.rollout = maker, None

    def reset(self, row, seed):
        given = self.maker.input_of(row, seed)
        self.maker.loop.result(self.begin(given))
        messages = self.next_turn()
        if messages is None:
            raise Refused(f"the environment ended before the policy's first turn ({self.rollout.result().get('stop_condition')})")
        if any(m.get("tool_calls") for m in messages):
            raise Refused("the prompt has calls of tools in it, which T.env can't show")
        return [{"role": ROLES.get(m["role"], m["role"]), "content": text_of(m["content"])} for m in messages]

    async def begin(self, given):
        self.policy = Policy()
        self.rollout = asyncio.ensure_future(self.maker.env.run_rollout(given, self.policy, "policy", {}))

    def next_turn(self):
        """The messages that the policy is shown next; None: the rollout has ended."""
        asked = self.maker.loop.result(self.wait())
        if asked is None:
            return None
        messages, tools, self.answer = asked
        self.tools = [tool.name for tool in tools]
        unknown = sorted(set(self.tools) - {t["name"] for t in self.maker.tools})
        if unknown:
            raise Refused(f"the episode has tools that the environment did not have when it was opened: {', '.join(unknown)}")
        return messages

    async def wait(self):
        asked = asyncio.ensure_future(self.policy.asked.get())
        await asyncio.wait({asked, self.rollout}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        asked.cancel()
        self.rollout.result()  # raises what it raised
        return None

    def step(self, call, text, turn):
        if call is not None and call["name"] not in self.tools:
            raise Mistake(f"there is no tool '{call['name']}' here, expected one of: {', '.join(self.tools) or '(none)'}")
        said = turn if self.config.get("turn") else text or ""
        self.maker.loop.call(self.answer.set_result, response(said, call))
        messages = self.next_turn()
        return self.ended() if messages is None else Step(after_the_policy(messages))

    def ended(self):
        """The last step: what the rubric says of the whole."""
        out = self.rollout.result()
        error = out.get("error")
        if error and error.get("error") not in POLICYS_OWN:
            raise Refused(f"the rollout failed: {error.get('error_chain_str') or error}")
        rewards = {**(out.get("metrics") or {}), "reward": out.get("reward") or 0.0}
        info = {"stop": out.get("stop_condition"), **({"error": error} if error else {})}
        return Step(after_the_policy(out.get("completion") or []), done=True, rewards=rewards, info=info)

    def close(self):
        if self.rollout is not None and not self.rollout.done():
            self.maker.loop.result(self.cancelled())

    async def cancelled(self):
        """The environment's own cleanup runs then, for as long as it may."""
        self.rollout.cancel()
        await asyncio.wait({self.rollout}, timeout=GRACE_S)


class Loop:
    """The event loop that all rollouts share: what an environment keeps (a client, a lock) belongs to one."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def result(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def call(self, function, *arguments):
        self.loop.call_soon_threadsafe(function, *arguments)


# ---- What episodes share


def load(name, kwargs):
    try:
        if name.endswith(".py"):
            return load_file(name).load_environment(**kwargs)
        if ":" in name:
            module, _, made = name.partition(":")
            return getattr(importlib.import_module(module), made)(**kwargs)
        return verifiers.load_environment(name, **kwargs)
    except Exception as error:
        if "api_key" in str(error):  # JudgeRubric makes its client when it is made
            raise Refused(f"{name} asks a language model for its rewards, which has no key: set OPENAI_API_KEY (and OPENAI_BASE_URL) "
                          f"where this runs, and config = {{ judge = true }} in the recipe. ({error})")
        raise


def rubrics_of(rubric):
    return [rubric] + [r for part in getattr(rubric, "rubrics", []) for r in rubrics_of(part)]


def check_rubric(name, env, config):
    """Rewards that one episode can't have are said before the first one."""
    if env.requires_group_rollouts:
        raise Refused(f"{name}: its rubric compares the answers of a group, and an episode is alone here; score them in the reward script")
    judges = [r for r in rubrics_of(env.rubric) if hasattr(r, "judge_client")]
    if judges and not config.get("judge"):
        raise Refused(f"{name}: its rubric asks the language model '{judges[0].judge_model}' at {judges[0].judge_client.base_url}; "
                      "config = { judge = true } allows that (OPENAI_BASE_URL and OPENAI_API_KEY say which)")


class Loaded(Maker):
    def __init__(self, name, config):
        super().__init__(f"verifiers:{os.path.basename(name)}", config)
        self.loop = Loop()
        self.env = load(name, config.get("kwargs", {}))
        check_rubric(name, self.env, config)
        envs = [self.env] + list(getattr(self.env, "envs", []))  # of a group each has its own tools
        tools = {t.name: {"name": t.name, "description": t.description or "", "parameters": of_arguments(t.parameters)}
                 for env in envs for t in env.tool_defs or []}
        self.tools = list(tools.values())
        self.turns = max(getattr(self.env, "max_turns", 0), 0) or self.turns
        self.data = self.env.get_eval_dataset() if config.get("split") == "eval" else self.own_data()

    def own_data(self):
        try:
            return self.env.get_dataset()
        except ValueError:  # some have nothing to train on
            return self.env.get_eval_dataset()

    def new(self):
        return Rollout(self)

    def input_of(self, row, seed):
        """The environment's row that a row of the recipe means."""
        if isinstance(row.get("input"), dict):
            return self.given(row["input"])
        index = row.get("index", start_seed(row, seed) % len(self.data))
        if not isinstance(index, int) or not 0 <= index < len(self.data):
            raise Refused(f"the row's index is {index!r}: {self.name} has rows 0 to {len(self.data) - 1}")
        return dict(self.data[index])

    def given(self, row):
        prompt = row.get("prompt", row.get("question"))
        if isinstance(prompt, str):
            system = [{"role": "system", "content": self.env.system_prompt}] if self.env.system_prompt else []
            prompt = system + list(self.env.few_shot or []) + [{"role": "user", "content": prompt}]
        if not isinstance(prompt, list):
            raise Refused(f"the row's input has neither a prompt nor a question: it has {', '.join(row) or 'nothing'}")
        return {"example_id": 0, **row, "prompt": prompt}

    def rows(self, count, seed):
        for i in range(count):
            index = (seed + i) % len(self.data)
            yield {"id": f"{self.name}-{index}-{i}", "index": index}

    def close(self):
        with contextlib.suppress(Exception):
            self.loop.result(self.env._teardown())


open_maker = Loaded
