# SPDX-License-Identifier: MIT
"""guards.unused: a function that a header offers is called by the program. One that is there for tests says so.

    python3 unused.py SOURCE-FOLDER

A name that the program's sources have nowhere but in its declaration and its definition is called by nobody. Where only
tests need it (they look at a state that shows in nothing else), the comment at its declaration says "for tests"; where
they don't either, it goes.
"""
import os
import re
import sys

from sizes import sources

PROGRAM = (".c", ".h", ".cu", ".cuh", ".cpp", ".def")
SILENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
DECLARED = re.compile(r"^(?!static|typedef|#|extern|struct \w+ \{)[a-z][\w \*]*?\b(\w+)\([^;{]*\)[^;{]*;(.*)", re.M)
FOR_TESTS = re.compile(r"\b[Ff]or tests\b")
DEFINED = re.compile(r"^[a-z][\w \*]*?\b(\w+)\([^;{}]*\)\s*\{", re.M)


def blank(text):
    """The text without comments and strings, every line in its place."""
    return SILENT.sub(lambda m: "\n" * m.group().count("\n"), text)


def comment_above(text, at):
    """The comment that ends on the line before offset `at`; "" without one."""
    before = text[:at].rstrip()
    return before[before.rfind("/*"):] if before.endswith("*/") else ""


def main(root):
    texts, tested = {}, set()
    for path in sources(root):
        if not path.endswith(PROGRAM):
            continue
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
            text = f.read()
        if path.startswith("tests/"):
            tested.update(re.findall(r"\w+", blank(text)))
        else:
            texts[path] = text

    words = {}
    for text in texts.values():
        for word in re.findall(r"\w+", blank(text)):
            words[word] = words.get(word, 0) + 1
    for path, text in texts.items():  # a definition is no use
        if not path.endswith(".h"):
            for match in DEFINED.finditer(blank(text)):
                words[match.group(1)] -= 1

    bad, n = [], 0
    for path, text in texts.items():
        if not path.endswith(".h"):
            continue
        for match in DECLARED.finditer(text):
            name, behind = match.groups()
            n += 1
            if words.get(name, 0) > 1:
                continue
            for_tests = FOR_TESTS.search(comment_above(text, match.start()) + behind)
            if for_tests and name in tested:
                continue
            what = "is for tests, and no test calls it" if for_tests else "is called by nothing in the program (for tests? its comment says so)"
            bad.append(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {name} {what}")
    print("\n".join(bad) if bad else f"{n} functions are called")
    return 1 if bad or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
