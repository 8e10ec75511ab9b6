# SPDX-License-Identifier: MIT
"""Plays one package's environments through troupe_env.py and by the package itself, and compares (scripts/judge_env.sh).

    judge_env.py PACKAGE FOLDER      run by the Python that has the package; FOLDER may be written to"""
import json
import os
import subprocess
import sys

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../plugins/python/troupe_env.py")


def play(what, row, texts, config=None, seed=1):
    """The start and the steps of an episode, as the protocol has them."""
    requests = [{"id": 0, "method": "open", "version": 1, "config": config or {}},
                {"id": 1, "method": "reset", "episode": "1", "row": row, "seed": seed}]
    requests += [{"id": 2 + i, "method": "step", "episode": "1", "text": t, "turn": t} for i, t in enumerate(texts)]
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([sys.executable, PROGRAM, what], input=lines, capture_output=True, text=True, timeout=120, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [a["error"] for a in answers if "error" in a]
    if bad or len(answers) != len(requests):
        raise AssertionError(f"{bad} {done.stderr[-500:]}")
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
