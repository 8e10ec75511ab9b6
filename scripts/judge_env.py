# SPDX-License-Identifier: MIT
"""Plays one package's environments through troupe_env.py and by the package itself, and compares (scripts/judge_env.sh).

    judge_env.py PACKAGE FOLDER      run by the Python that has the package; FOLDER may be written to"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../plugins/python/troupe_env.py")


def play(what, row, steps, config=None, seed=1):
    """The start and the steps of an episode, as the protocol has them. A step is a text, or a call: (name, arguments)."""
    program = subprocess.Popen([sys.executable, PROGRAM, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    requests = [{"method": "open", "version": 1, "config": config or {}},
                {"method": "reset", "episode": "1", "row": row, "seed": seed}]
    for step in steps:
        said = {"text": step} if isinstance(step, str) else {"call": {"name": step[0], "arguments": step[1]}}
        requests.append({"method": "step", "episode": "1", **said, "turn": str(step)})

    answers = []
    for number, request in enumerate(requests):
        program.stdin.write(json.dumps({"id": number, **request}) + "\n")
        program.stdin.flush()
        answers.append(json.loads(program.stdout.readline()))
        if "error" in answers[-1]:
            program.kill()
            raise AssertionError(answers[-1]["error"])
    program.communicate(timeout=60)
    return answers[1:]


def same(found, expected):
    if found != expected:
        raise AssertionError(f"found {found}, expected {expected}")


def rewards_of(episode, name="reward"):
    return [a["rewards"][name] for a in episode[1:]]


def gymnasium_game(name, names, actions, **kwargs):
    def judge(folder):
        import gymnasium
        if name.startswith("MiniGrid"):
            import minigrid  # noqa: F401
        env = gymnasium.make(name, **kwargs)
        env.reset(seed=5)
        direct = [float(env.step(names.index(a))[1]) for a in actions]
        episode = play(f"gymnasium:{name}", {"seed": 5}, actions, {"kwargs": kwargs})
        same(rewards_of(episode), direct)
        same(play(f"gymnasium:{name}", {"seed": 5}, actions, {"kwargs": kwargs}), episode)
        same(play(f"gymnasium:{name}", {"seed": 5}, ["fly"], {"kwargs": kwargs})[1]["ok"], False)
    return judge


def reasoning_families(folder):
    """Of every family the first question: its own answer scores as the package says."""
    import reasoning_gym
    from reasoning_gym.factory import DATASETS
    for family in sorted(set(DATASETS) - {"composite"}):  # it is made of others, by settings
        data = reasoning_gym.create_dataset(family, seed=3, size=10)
        answer = str(data[0]["answer"])
        start, step = play("reasoning_gym:all", {"family": family, "seed": 3, "index": 0}, [answer], {"dataset": {"size": 10}})
        if start["observation"] != data[0]["question"]:
            raise AssertionError(f"{family}: another question")
        if step["rewards"]["score"] != float(data.score_answer(answer=answer.strip(), entry=data[0])):
            raise AssertionError(f"{family}: another score")


def skyrl_gsm8k(folder):
    row = {"prompt": "1 + 1?", "reward_spec": {"ground_truth": "2"}, "max_turns": 3}
    same(rewards_of(play("skyrl_gym:gsm8k", row, ["#### 2"])), [1.0])
    same(rewards_of(play("skyrl_gym:gsm8k", row, ["#### 3"])), [0.0])
    import skyrl_gym
    env = skyrl_gym.make("gsm8k_multi_turn", extras=row)
    env.init([])
    direct = [env.step(t)["reward"] for t in ("#### 3", "#### 2")]
    same(rewards_of(play("skyrl_gym:gsm8k_multi_turn", row, ["#### 3", "#### 2"])), direct)


def textworld_game(folder):
    import textworld
    game = os.path.join(folder, "game.z8")
    subprocess.run([os.path.join(os.path.dirname(sys.executable), "tw-make"), "tw-simple", "--rewards", "dense", "--goal", "detailed",
                    "--seed", "1", "--output", game], check=True, capture_output=True)
    env = textworld.start(game, textworld.EnvInfos(policy_commands=True, max_score=True))
    state = env.reset()
    commands = state.policy_commands
    episode = play(f"textworld:{game}", {}, commands)
    same(episode[-1]["done"], True)
    same(rewards_of(episode, "won")[-1], 1.0)
    same(round(sum(rewards_of(episode, "score")), 9), 1.0)
    same(play(f"textworld:{game}", {}, commands), episode)


# ---- verifiers: the package with a scripted client

TOOLS = """
import verifiers as vf
from datasets import Dataset


def add(a: int, b: int = 1) -> int:
    '''Adds.'''
    return a + b


def fails(text: str) -> str:
    '''Fails.'''
    raise ValueError("no " + text)


class Counted(vf.StatefulToolEnv):
    def update_tool_args(self, tool_name, tool_args, messages, state, **kwargs):
        state["calls"] = state.get("calls", 0) + 1
        return {**tool_args, "times": state["calls"]}


def times(n: int, times: int) -> int:
    '''Multiplies.'''
    return n * times


def right(completion, answer, **kwargs):
    return float(answer in str(completion[-1]["content"]))


def load_environment(stateful=False):
    data = Dataset.from_list([{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(9)])
    settings = dict(dataset=data, rubric=vf.Rubric(funcs=[right]), system_prompt="Be exact.")
    if not stateful:
        return vf.ToolEnv(tools=[add, fails], max_turns=5, **settings)
    env = Counted(max_turns=5, **settings)
    env.add_tool(times, args_to_skip=["times"])
    return env
"""
GUESS = """
import verifiers as vf
from datasets import Dataset


class Guess(vf.MultiTurnEnv):
    async def setup_state(self, state):
        state["tries"] = 0

    @vf.stop
    async def found(self, state):
        return state.get("right", False)

    async def env_response(self, messages, state, **kwargs):
        said, state["tries"] = messages[-1]["content"], state["tries"] + 1
        if said == state["answer"]:
            state["right"] = True
            state["final_env_response"] = [vf.UserMessage(content="Right.")]
            return state["final_env_response"]
        return [{"role": "user", "content": "Lower." if said > state["answer"] else "Higher."}]


async def won(state):
    return float(state.get("right", False)) / state["tries"]


def load_environment():
    data = Dataset.from_list([{"question": "1 to 7?", "answer": str(i % 7 + 1)} for i in range(9)])
    return Guess(dataset=data, rubric=vf.Rubric(funcs=[won]), max_turns=5)
"""


def scripted(env, row, steps):
    """A rollout by the package alone: what its client is shown, and its rewards."""
    import asyncio
    from verifiers.clients import Client
    from verifiers.types import Response, ResponseMessage, ToolCall

    shown = []

    class Script(Client):
        async def get_response(self, prompt, model, sampling_args, tools=None, **kwargs):
            step = steps[len(shown)]
            shown.append([m["content"] for m in prompt])
            calls = None if isinstance(step, str) else [ToolCall(id="1", name=step[0], arguments=json.dumps(step[1]))]
            message = ResponseMessage(content=step if calls is None else "", tool_calls=calls, finish_reason="stop", is_truncated=False)
            return Response(id="1", created=0, model="m", message=message)

    Script.__abstractmethods__ = frozenset()
    out = asyncio.run(env.run_rollout(dict(env.get_dataset()[row]), Script(None), "m", {}))
    return shown, {**out["metrics"], "reward": out["reward"]}


def verifiers_rollout(what, source, row, steps, **kwargs):
    def judge(folder):
        import verifiers
        name = what
        if source:
            name = os.path.join(folder, what)
            with open(name, "w", encoding="utf-8") as f:
                f.write(source)
            sys.path.insert(0, folder)
            env = verifiers.load_environment(what[:-len(".py")], **kwargs)
        else:
            from verifiers.envs.integrations.reasoninggym_env import ReasoningGymEnv
            env = ReasoningGymEnv(**kwargs)
        shown, rewards = scripted(env, row, steps)
        start, *answers = play(f"verifiers:{name}", {"index": row}, steps, {"kwargs": kwargs})
        same([m["content"] for m in start["messages"]], shown[0])
        same([a["observation"] for a in answers[:-1]], [s[-1] for s in shown[1:]])
        same([a["done"] for a in answers], [False] * (len(steps) - 1) + [True])
        same(answers[-1]["rewards"], {name: float(value) for name, value in rewards.items()})
    return judge


# ---- OpenEnv: what `openenv init` makes, and a server of its tools

SUMS = """
from fastmcp import FastMCP
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Observation, State


class Sums(MCPEnvironment):
    def __init__(self):
        mcp = FastMCP("sums")

        @mcp.tool
        def add(a: int, b: int) -> int:
            return a + b

        super().__init__(mcp)

    def reset(self, seed=None, episode_id=None, **kwargs):
        return Observation(metadata={"status": "ready"})

    def _step_impl(self, action, timeout_s=None, **kwargs):
        return Observation(done=True)

    @property
    def state(self):
        return State(episode_id="1", step_count=0)


app = create_app(Sums, CallToolAction, CallToolObservation, env_name="sums")
"""
SAID = ["hello", ("step", {"message": "a rather long text"}), ""]


def init_echo(folder):
    """The environment that `openenv init` makes; it is the package's own."""
    path = os.path.join(folder, "echo_env")
    if not os.path.isdir(path):
        command = os.path.join(os.path.dirname(sys.executable), "openenv")
        subprocess.run([command, "init", "echo_env", "-o", folder], check=True, capture_output=True)
    return path


def echo_rewards(path):
    """By the environment itself."""
    code = ("import json\nfrom server.echo_env_environment import *\nfrom models import *\ne = EchoEnvironment()\ne.reset(seed=1)\n"
            "print(json.dumps([float(e.step(EchoAction(message=m)).reward) for m in ('hello', 'a rather long text', '')]))")
    done = subprocess.run([sys.executable, "-c", code], cwd=path, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def judge_echo(what, path):
    episode = play(what, {}, SAID + [("step", {"words": 1})], {"observation": "echoed_message"})
    same([a["observation"] for a in episode[1:4]], ["hello", "a rather long text", ""])
    same([a["rewards"]["reward"] for a in episode[1:4]], echo_rewards(path))
    same(episode[4]["ok"], False)


def served(folder, app, judge):
    """Runs `judge(url)` beside a server of the app."""
    import socket
    import urllib.request
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
    server = subprocess.Popen([sys.executable, "-m", "uvicorn", app, "--port", url.rpartition(":")[2]], cwd=folder,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while "running on" not in server.stdout.readline():
            if server.poll() is not None:
                raise AssertionError("the server has ended")
        urllib.request.urlopen(url + "/health").close()
        judge(url)
    finally:
        server.kill()
        server.communicate()


def openenv_in_process(folder):
    path = init_echo(folder)
    judge_echo(f"openenv:{path}", path)


def openenv_server(folder):
    path = init_echo(folder)
    served(path, "server.app:app", lambda url: judge_echo(f"openenv:{url}", path))


def openenv_tools(folder):
    with open(os.path.join(folder, "sums.py"), "w", encoding="utf-8") as f:
        f.write(SUMS)

    def judge(what):
        episode = play(what, {"prompt": "Add."}, [("add", {"a": 1, "b": 2}), "3", ("add", {"a": "x"})])
        same([a["ok"] for a in episode[1:]], [True, False, False])
        same(episode[1]["observation"], "3")
    judge(f"openenv:{os.path.join(folder, 'sums.py')}:Sums")
    served(folder, "sums:app", lambda url: judge(f"openenv:{url}"))


CASES = {
    "gymnasium": {
        "FrozenLake-v1": gymnasium_game("FrozenLake-v1", ["left", "down", "right", "up"], ["down", "down", "right"],
                                        is_slippery=False),
        "Taxi-v4": gymnasium_game("Taxi-v4", ["south", "north", "east", "west", "pickup", "dropoff"], ["south", "pickup"]),
        "CliffWalking-v1": gymnasium_game("CliffWalking-v1", ["up", "right", "down", "left"], ["right", "up"]),
        "Blackjack-v1": gymnasium_game("Blackjack-v1", ["stick", "hit"], ["stick"]),
        "MiniGrid-Empty-5x5-v0": gymnasium_game(
            "MiniGrid-Empty-5x5-v0", ["left", "right", "forward"], ["forward", "forward", "right", "forward", "forward"]),
    },
    "reasoning_gym": {"all families": reasoning_families},
    "skyrl_gym": {"gsm8k": skyrl_gsm8k},
    "textworld": {"tw-simple": textworld_game},
    "verifiers": {
        "ReasoningGymEnv": verifiers_rollout("verifiers.envs.integrations.reasoninggym_env:ReasoningGymEnv", None, 3,
                                             ["<answer>4</answer>"], gym="leg_counting"),
        "ToolEnv": verifiers_rollout("tools.py", TOOLS, 3, [("add", {"a": 3, "b": 3}), ("fails", {"text": "way"}), "It is 6"]),
        "StatefulToolEnv": verifiers_rollout("tools.py", TOOLS, 3, [("times", {"n": 5}), ("times", {"n": 5}), "6"], stateful=True),
        "MultiTurnEnv": verifiers_rollout("guess.py", GUESS, 4, ["3", "7", "5"]),
        "MultiTurnEnv to its end": verifiers_rollout("guess.py", GUESS, 4, ["1", "2", "1", "2", "1"]),
    },
    "openenv": {"in process": openenv_in_process, "a server": openenv_server, "MCP tools": openenv_tools},
}


def main(package, folder):
    failures = 0
    for name, judge in CASES[package].items():
        try:
            judge(folder)
            print(f"ok      {package}: {name}", flush=True)
        except Exception as error:
            failures += 1
            print(f"failed  {package}: {name}: {error}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
