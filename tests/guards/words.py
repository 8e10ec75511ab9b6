# SPDX-License-Identifier: MIT
"""guards.words: one word for one thing (the glossary of CONTRIBUTING.md), and plain technical English.

    python3 words.py SOURCE-FOLDER

A line of BANNED is a regular expression for whole words, what to write in its place, and a regular expression for the
paths where it has another, proper meaning.
"""
import os
import re
import sys

SKIPPED = {"build", "runs", ".git", ".cache", "corpus", "golden", "results", "__pycache__"}
ENDINGS = (".c", ".h", ".cu", ".cuh", ".cpp", ".def", ".lua", ".py", ".sh", ".cmake", ".md")
EXEMPT = r"^(CONTRIBUTING\.md|CHANGELOG\.md|tests/guards/)"  # where the words themselves are written about
NOWHERE = r"^$"

BANNED = [
    # Names: the glossary has their meanings.
    (r"slopes?", "gradient, derivative or cotangent; a trend line has a slope", r"^(learner/methods/moa\.c|docs/)"),
    (r"\w+_slopes?(?<!mixture_slope)", "..._gradient or ..._derivative", NOWHERE),
    (r"(\w+_)?(MOST|LEAST)(_\w+)?", "MAX_... or MIN_...", NOWHERE),
    (r"theatre", "fixture, or rollouts for the episodes that an actor has under way", r"^tests/unit/lua/test_library\.c"),
    (r"stage_(new|free|begin|turn|in_flight)", "rollouts_...: a stage is the curriculum's", NOWHERE),
    (r"player(_new|_free|_run|_callbacks)?", "actor, rollout or episode_runner", r"^(cli|run|show|bench|recipes)/"),
    (r"leash", "regulariser", NOWHERE),
    (r"(by )heart", "imitation", r"^recipes/"),
    (r"GIVEN_\w+|ORIGIN_GIVEN|loss_given", "IMITATION_..., ORIGIN_DEMONSTRATION", NOWHERE),
    (r"pivot_(config|state|weights)", "moa_...: pivot is MOA's leading objective", NOWHERE),
    (r"reward_mark|score_mark|n_marks", "reward_span, score_add_span, n_spans", NOWHERE),
    (r"stretch(es)?", "span (of an answer), segment (of text), range", r"^(learner/options_algorithm\.c|tests/unit/cli/)"),
    (r"rope_turns|layer_turns", "rope_table, layer_rope: a turn is a conversation's", NOWHERE),
    (r"spread_(new|free|begin|send|poll|receive)", "reduce_scatter_...", NOWHERE),
    (r"loss_share", "loss_token_weight", NOWHERE),
    (r"meetings?(_\w+)?", "rendezvous (of learners); a recipe's and the command line's word is --meet", NOWHERE),
    (r"ROLE_(POLICY|HINT|OBSERVATION|INSTRUCTION|SHOT|QUESTION)", "TOKEN_...: a role is a process's", NOWHERE),
    # Idioms: a reader whose first language is another one stops at them.
    (r"to be had", "available, possible, cannot be ...", r"^tests/unit/base/test_memory\.c"),
    (r"what there (is|was) to (see|learn)", "statistics, signal", NOWHERE),
    (r"two minds", "(answers) that differ", NOWHERE),
    (r"[Bb]ad news", "failure report", NOWHERE),
    (r"who is asked", "the objective, worker or peer that is meant", NOWHERE),
    (r"ways? out of", "what it allows: a policy could avoid ...", NOWHERE),
    (r"[Kk]nows nothing", "is independent of, does not see", r"^tests/"),
    (r"([Nn]o|[Ss]ome|[Aa]ny|[Ee]very)body('s)?", "its name: no peer, the caller, another process, ...",
     r"^(env/sandbox/|README\.md|tests/integration/test_verbs\.c|tests/unit/actor/test_hostile_turns\.c)"),  # the user
    (r"at heart", "say what it is", NOWHERE),
    (r"(stands?|comes?|begins?|right|directly|tokens|text) behind|one behind the other", "after: behind is a version's lag, or "
     "what is out of sight", NOWHERE),
    (r"go(es|ing)? on|\w*_goes_on|GOES_ON|\w+_GOES_ON", "continue, continues", r"^(docs/dependencies\.md|tests/)"),
]

CONTINUED = re.compile(r"^\s*(\*|#|--|//)?\s*")  # what a line of a comment or a page begins with


def texts(root):
    """(path below root, its lines) of each source and page."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(ENDINGS) and not re.search(EXEMPT, path):
                with open(os.path.join(root, path), encoding="utf-8") as f:
                    yield path, f.read().split("\n")


def joined(line, following):
    """A line and the following one as one sentence, and where the first ends."""
    begin = line.rstrip()
    return begin + " " + CONTINUED.sub("", following, count=1), len(begin)


def found(word, text, end):
    """What `word` matches in the first line or across its end; None."""
    for match in word.finditer(text):
        if match.start() < end:
            return match.group()
    return None


def main(root):
    rules = [(re.compile(rf"(?<!\w)(?:{word})(?!\w)"), instead, re.compile(where)) for word, instead, where in BANNED]
    any_word = re.compile(rf"(?<!\w)(?:{'|'.join(word for word, _, _ in BANNED)})(?!\w)")
    bad, n = [], 0
    for path, lines in texts(root):
        n += 1
        for number, (line, following) in enumerate(zip(lines, lines[1:] + [""]), 1):
            text, end = joined(line, following)
            if not any_word.search(text):
                continue
            for word, instead, where in rules:
                said = None if where.search(path) else found(word, text, end)
                if said:
                    bad.append(f"{path}:{number}: '{said}': write {instead} (glossary: CONTRIBUTING.md)")
    print("\n".join(bad) if bad else f"{n} files keep to the glossary")
    return 1 if bad or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
