# SPDX-License-Identifier: MIT
"""Gymnasium: environments with a Discrete or Text action space, among them toy_text and MiniGrid.

NAME is what gymnasium.make takes ("FrozenLake-v1", "MiniGrid-Empty-5x5-v0"; "MODULE:ID" imports MODULE first).
config: {"kwargs": {...}} for make, {"actions": [names]}, {"prompt": "text above the first observation"}.

The policy acts by the tool `act`, or by naming one action in a turn without a call. The row's "seed" is the start."""
import enum
import importlib.util
import json
import re

import gymnasium
from gymnasium import spaces

from troupe_env import Environment, Maker, Mistake, Refused, Step, plain, start_seed

ACTIONS = {  # toy_text has no names of its own, only its documentation has
    "FrozenLake": ("left", "down", "right", "up"),
    "Taxi": ("south", "north", "east", "west", "pickup", "dropoff"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Blackjack": ("stick", "hit"),
}
PROMPTS = {
    "FrozenLake": "Cross the frozen lake from S to G without stepping on a hole H; F is ice. [ ] marks where you are.",
    "Taxi": "Drive the taxi to the passenger, pick the passenger up, drive to the destination and drop the passenger off.",
    "CliffWalking": "Walk from the lower left corner to T. You are x; C is a cliff: stepping on it takes you back to the start.",
    "Blackjack": "Blackjack: come closer to 21 than the dealer without going over it.",
}
MAX_TURNS = 16  # of a recipe; to cross the cliff takes 13, the taxi's trips about as many
HIGHLIGHT = re.compile(r"\x1b\[[\d;]*?(?:4\d|10\d|7)(?:;\d+)*m(.*?)\x1b\[0m", re.S)
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


# ---- What is seen, in words


def uncoloured(text):
    """A terminal's picture without its colours; what was highlighted stands in brackets."""
    return ESCAPE.sub("", HIGHLIGHT.sub(r"[\1]", text)).strip("\n")


def blackjack_words(env, seen):
    own, dealer, ace = seen
    return f"Your hand: {own}. The dealer shows: {dealer}. Usable ace: {'yes' if ace else 'no'}."


def taxi_words(env, seen):
    """Its picture tells passenger and destination by colours alone."""
    row, column, passenger, destination = env.unwrapped.decode(int(seen))
    stops = [f"{name} (row {r}, column {c})" for name, (r, c) in zip("RGYB", env.unwrapped.locs)]
    waits = "in the taxi" if passenger == len(stops) else f"at {stops[passenger]}"
    return f"{picture(env)}\nTaxi: row {row}, column {column}. Passenger: {waits}. Destination: {stops[destination]}."


def cell_words(cell, types, colours, states):
    kind = types[int(cell[0])]
    if kind == "door":
        return f"{states[int(cell[2])]} {colours[int(cell[1])]} door"
    return kind if kind in ("wall", "lava", "floor") else f"{colours[int(cell[1])]} {kind}"


def place_words(ahead, aside):
    sides = [f"{ahead} ahead"] if ahead else []
    if aside:
        sides.append(f"{abs(aside)} to the {'left' if aside < 0 else 'right'}")
    return " and ".join(sides)


def minigrid_words(env, seen):
    """The square that the agent sees, itself in the middle of the lowest row and looking up: what stands where."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT, STATE_TO_IDX

    states, image = {v: k for k, v in STATE_TO_IDX.items()}, seen["image"]
    width, height = image.shape[:2]
    lines = []
    for y in reversed(range(height)):
        for x in range(width):
            where = place_words(height - 1 - y, x - width // 2)
            if where and IDX_TO_OBJECT[int(image[x, y][0])] not in ("unseen", "empty"):
                lines.append(f"{where}: {cell_words(image[x, y], IDX_TO_OBJECT, IDX_TO_COLOR, states)}")

    facing = ("right", "down", "left", "up")[int(seen["direction"])]
    held = env.unwrapped.carrying
    carried = f" You carry a {held.color} {held.type}." if held is not None else ""
    return f"Mission: {seen['mission']}\nYou face {facing}.{carried} You see, in steps from you:\n" + "\n".join(lines)


def picture(env):
    return uncoloured(env.render())


def words(env, seen):
    """An observation as text."""
    name = env.spec.id.split("/")[-1]
    if isinstance(seen, dict) and {"image", "direction", "mission"} <= set(seen):
        return minigrid_words(env, seen)
    for prefix, describe in (("Blackjack", blackjack_words), ("Taxi", taxi_words)):
        if name.startswith(prefix):
            return describe(env, seen)
    if env.render_mode == "ansi":
        return picture(env)
    return seen if isinstance(seen, str) else json.dumps(plain(seen))


# ---- What is done


def action_names(env, config):
    """Names of a Discrete space's actions; None: they are numbers."""
    n = int(env.action_space.n)
    names = config.get("actions")
    own = getattr(env.unwrapped, "actions", None)
    if names is None and isinstance(own, enum.EnumMeta):
        names = [a.name for a in sorted(own, key=int)][:n]
    if names is None:
        names = next((list(v) for k, v in ACTIONS.items() if env.spec.id.startswith(k)), None)
    if names is not None and len(names) != n:
        raise Refused(f"config: 'actions' has {len(names)} names, {env.spec.id} has {n} actions")
    return names


def named(text, names):
    """The one action that a text names, as it stands or among other words."""
    text = str(text).strip().lower()
    found = [text] if text in names else [n for n in names if re.search(rf"(?<!\w){re.escape(n)}(?!\w)", text)]
    return found[0] if len(found) == 1 else None


class Play(Environment):
    def __init__(self, maker):
        super().__init__(maker.config)
        self.maker, self.env = maker, None

    def reset(self, row, seed):
        self.env = self.maker.make_env()
        self.env.action_space.seed(start_seed(row, seed))
        seen, _ = self.env.reset(seed=start_seed(row, seed), options=row.get("options"))
        head = row.get("prompt") or self.maker.prompt
        return f"{head}\n\n{words(self.env, seen)}"

    def step(self, call, text, turn):
        if call is not None and call["name"] != "act":
            raise Mistake(f"there is no tool '{call['name']}', expected act")
        action = self.maker.action(text if call is None else call["arguments"].get("action"))
        seen, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, **({"truncated": True} if truncated else {})}
        return Step(words(self.env, seen), terminated or truncated, reward, info)

    def close(self):
        if self.env is not None:
            self.env.close()


class Registered(Maker):
    def __init__(self, name, config):
        super().__init__(name, config)
        if importlib.util.find_spec("minigrid"):
            import minigrid  # noqa: F401 (registers its environments)
        env = self.make_env()
        self.space, self.names = env.action_space, None
        if isinstance(self.space, spaces.Discrete):
            self.names = action_names(env, config)
        elif not isinstance(self.space, spaces.Text):
            raise Refused(f"{name}: its actions are {self.space}; Discrete and Text can be played")
        self.tools = [{"name": "act", "description": "Takes one action in the environment.", "parameters": self.parameters()}]
        known = next((v for k, v in PROMPTS.items() if env.spec.id.startswith(k)), f"You play {name}.")
        self.prompt = config.get("prompt", f"{known}\nActions: {self.expected()}.")
        # A word is a turn, too, and small models write one sooner than a call: SmolLM2, untrained, in 0.125 of its turns of
        # Blackjack against 0.021 (16 episodes).
        self.ask = f"Answer with one word, your action: {self.expected()}." if self.names else f"Answer with your action alone: {self.expected()}."
        self.turns = min(MAX_TURNS, env.spec.max_episode_steps or MAX_TURNS)
        env.close()

    def new(self):
        return Play(self)

    def make_env(self):
        kwargs = dict(self.config.get("kwargs", {}))
        if "render_mode" not in kwargs:
            modes = getattr(self.env_class(), "metadata", {}).get("render_modes", [])
            kwargs.update({"render_mode": "ansi"} if "ansi" in modes else {})
        return gymnasium.make(self.name, **kwargs)

    def env_class(self):
        """The class, which says how it can be shown before there is one of it."""
        point = gymnasium.spec(self.name).entry_point
        return gymnasium.envs.registration.load_env_creator(point) if isinstance(point, str) else point

    def parameters(self):
        if isinstance(self.space, spaces.Text):
            action = {"type": "string", "maxLength": int(self.space.max_length)}
        elif self.names:
            action = {"type": "string", "enum": self.names}
        else:
            action = {"type": "integer", "minimum": int(self.space.start), "maximum": int(self.space.start + self.space.n - 1)}
        return {"type": "object", "properties": {"action": action}, "required": ["action"]}

    def expected(self):
        if isinstance(self.space, spaces.Text):
            return f"a text of up to {self.space.max_length} characters"
        return ", ".join(self.names) if self.names else f"{self.space.start} to {self.space.start + self.space.n - 1}"

    def action(self, said):
        """What the policy wrote, as a value of the action space."""
        if isinstance(self.space, spaces.Text):
            value = str(said or "").strip()
        elif self.names:
            name = named(said, [n.lower() for n in self.names])
            value = None if name is None else int(self.space.start) + [n.lower() for n in self.names].index(name)
        else:
            numbers = re.findall(r"-?\d+", str(said))
            value = int(numbers[0]) if len(numbers) == 1 else None
        if value is None or not self.space.contains(value):
            raise Mistake(f"expected one action: {self.expected()}")
        return value


open_maker = Registered
