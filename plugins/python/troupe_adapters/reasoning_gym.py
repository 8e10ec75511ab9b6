# SPDX-License-Identifier: MIT
"""reasoning_gym: one question, one answer, the data set's own score.

NAME is a task family (leg_counting), or `all`: then the row's "family" says which. config: {"dataset": {...}}, the
family's own settings. A row has "seed" and "index" of the question; or "entry", the question itself with its answer."""
import reasoning_gym
from reasoning_gym.factory import DATASETS

from troupe_env import Environment, Maker, Refused, Step, nearest, start_seed

INDICES = 1 << 20  # questions are made as they are asked for: a large data set costs nothing


class Question(Environment):
    def __init__(self, maker):
        super().__init__(maker.config)
        self.maker = maker

    def reset(self, row, seed):
        self.dataset = self.maker.dataset(row.get("family", self.maker.family), start_seed(row, seed))
        self.entry = row["entry"] if "entry" in row else self.dataset[int(row.get("index", 0))]
        return self.entry["question"]

    def step(self, call, text, turn):
        score = self.dataset.score_answer(answer=self.maker.answer_of(text or ""), entry=self.entry)
        return Step("", done=True, rewards={"score": score}, info={"answer": self.entry.get("answer")})


class Families(Maker):
    turns = 1

    def __init__(self, name, config):
        super().__init__(f"reasoning_gym:{name}", config)
        self.family = None if name == "all" else name
        if self.family is not None and self.family not in DATASETS:
            raise Refused(f"reasoning_gym has no family '{name}'{nearest(name, ['all', *DATASETS])}")

    def new(self):
        return Question(self)

    def dataset(self, family, seed):
        if family not in DATASETS:
            raise Refused(f"the row's family is {family!r}: reasoning_gym has {', '.join(sorted(DATASETS))}")
        settings = {"size": INDICES, **self.config.get("dataset", {})}
        return reasoning_gym.create_dataset(family, seed=seed, **settings)

    def answer_of(self, text):
        """What stands between <answer> and </answer>, as the package's own prompts ask for; without them the whole."""
        found = reasoning_gym.utils.extract_answer(text)
        return text.strip() if found is None else found

    def rows(self, count, seed):
        families = [self.family] if self.family else sorted(set(DATASETS) - {"composite"})  # it is made of others, by settings
        sets = {}
        for i in range(count):
            family, index = families[i % len(families)], i // len(families)
            if family not in sets:
                sets[family] = self.dataset(family, seed)
            yield {"id": f"{family}-{seed}-{index}", "prompt": sets[family][index]["question"], "family": family, "seed": seed,
                   "index": index}


open_maker = Families
