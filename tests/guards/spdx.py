# SPDX-License-Identifier: MIT
"""guards.spdx: every source says on its first line (a script's second) which license it is under.

    python3 spdx.py SOURCE-FOLDER [--write]      --write: puts the line where it is missing

The line is for programs that look through other people's sources; LICENSE is what counts.
"""
import os
import sys

LINE = "SPDX-License-Identifier: MIT"
SKIPPED = {"build", "runs", ".git", ".cache", "corpus", "__pycache__"}
COMMENTS = {
    **dict.fromkeys((".c", ".h", ".cu", ".cuh", ".cpp", ".def"), ("/* ", " */")),
    **dict.fromkeys((".py", ".sh", ".cmake", "CMakeLists.txt", "Makefile"), ("# ", "")),
    ".lua": ("-- ", ""),
}


def sources(root):
    """(path below root, the line it needs) of each source."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(names):
            comment = COMMENTS.get(name) or COMMENTS.get(os.path.splitext(name)[1])
            if comment:
                yield os.path.relpath(os.path.join(folder, name), root), comment[0] + LINE + comment[1]


def main(root, write):
    bad, n = [], 0
    for path, wanted in sources(root):
        n += 1
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = f.read().split("\n")
        place = 1 if lines[0].startswith("#!") else 0
        if lines[place : place + 1] == [wanted]:
            continue

        if not write:
            bad.append(f"{path}: line {place + 1} is not `{wanted}` (python3 tests/guards/spdx.py . --write)")
            continue
        lines.insert(place, wanted)
        with open(os.path.join(root, path), "w", encoding="utf-8") as f:
            f.write("\n".join(lines))

    print("\n".join(bad) if bad else f"{n} files name their license")
    return 1 if bad or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--write" in sys.argv[2:]))
