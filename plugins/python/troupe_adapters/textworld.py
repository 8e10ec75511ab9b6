# SPDX-License-Identifier: MIT
"""TextWorld: a game file (.z8 or .ulx, as tw-make writes them), played by text commands. (A .json alone has no texts.)

NAME is the file, or a folder of files: then the row's "game" names one. config: {"commands": true} shows the commands
that are possible after each observation. Rewards: `score`, what the step added as a share of the game's maximum, and `won`."""
import os
import threading

import textworld

from troupe_env import Environment, Maker, Mistake, Refused, Step

# Its parser and its interpreters keep what they do in places that all threads share: of 8 games that began together, 6 failed.
ALONE = threading.Lock()

KINDS = (".z8", ".ulx")
INFOS = dict(admissible_commands=True, won=True, lost=True, score=True, max_score=True, objective=True, feedback=True)


def without_banner(text):
    """TextWorld's name in letters of $ before the first sentence: hundreds of tokens that say nothing."""
    return text.rpartition("$$")[2].lstrip("$\\ \n").strip()


class Game(Environment):
    def __init__(self, maker):
        super().__init__(maker.config)
        self.maker, self.env = maker, None

    def reset(self, row, seed):
        with ALONE:
            self.env = textworld.start(self.maker.file_of(row), textworld.EnvInfos(**INFOS))
            if hasattr(self.env, "seed"):
                self.env.seed(seed % (1 << 31))
            self.state, self.score = self.env.reset(), 0
        return self.seen(row.get("prompt"))

    def step(self, call, text, turn):
        command = (text or "").strip().split("\n")[-1].lstrip("> ").strip()
        if not command:
            raise Mistake("expected a command, such as: look")
        with ALONE:
            self.state, score, done = self.env.step(command)
        won, gained = bool(self.state.won), (score - self.score) / max(1, self.state.max_score or 1)
        self.score = score
        info = {"admissible_commands": self.state.admissible_commands, "score": score, "max_score": self.state.max_score}
        return Step(self.seen(), done, {"score": gained, "won": float(won)}, info)

    def seen(self, head=None):
        parts = [head, without_banner(self.state.feedback or "")]
        if self.config.get("commands") and self.state.admissible_commands:
            parts.append("Possible commands: " + ", ".join(self.state.admissible_commands))
        return "\n\n".join(p for p in parts if p)

    def close(self):
        if self.env is not None:
            with ALONE:
                self.env.close()


class Games(Maker):
    def __init__(self, name, config):
        super().__init__(f"textworld:{os.path.basename(name.rstrip('/'))}", config)
        self.path = name
        self.file_of({"game": self.games()[0]} if os.path.isdir(name) else {})

    def games(self):
        names = sorted(n for n in os.listdir(self.path) if n.endswith(KINDS))
        if not names:
            raise Refused(f"{self.path} has no game in it, expected {', '.join(KINDS)}")
        return names

    def file_of(self, row):
        path = os.path.join(self.path, os.path.basename(str(row.get("game")))) if os.path.isdir(self.path) else self.path
        if not os.path.isfile(path) or not path.endswith(KINDS):
            raise Refused(f"there is no game {path}, expected a file {', '.join(KINDS)}")
        return path

    def new(self):
        return Game(self)

    def rows(self, count, seed):
        games = self.games() if os.path.isdir(self.path) else [os.path.basename(self.path)]
        for i in range(count):
            yield {"id": f"{games[i % len(games)]}-{seed + i}", "game": games[i % len(games)], "seed": seed + i}


open_maker = Games
