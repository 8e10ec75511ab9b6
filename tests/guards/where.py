# SPDX-License-Identifier: MIT
"""guards.where: what docs/where.md names is there: each file, and each word of a row in one of the row's files.

    python3 where.py SOURCE-FOLDER
"""
import glob
import os
import re
import sys

QUOTED = re.compile(r"`([^`]+)`")


def rows(text):
    """(line number, the words between backticks) of each row of a table that names a file."""
    for number, line in enumerate(text.split("\n"), 1):
        words = QUOTED.findall(line)
        if line.startswith("|") and any("/" in w for w in words):
            yield number, words


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def faults(root, words):
    files = [w for w in words if "/" in w]
    for pattern in files:
        if not glob.glob(os.path.join(root, pattern)):
            yield f"there is no {pattern}"

    found = [p for pattern in files for p in glob.glob(os.path.join(root, pattern)) if os.path.isfile(p)]
    text = "\n".join(read(p) for p in found)
    for word in words:
        if "/" not in word and not re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", text):
            yield f"'{word}' is in none of its files ({', '.join(files)})"


def main(root):
    page, n, bad = "docs/where.md", 0, []
    for number, words in rows(read(os.path.join(root, page))):
        n += 1
        bad += [f"{page}:{number}: {fault}" for fault in faults(root, words)]
    print("\n".join(bad) if bad else f"{n} rows hold")
    return 1 if bad or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
