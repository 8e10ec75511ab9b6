#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""coverage - which lines of each room the tests ran, from what a build with TROUPE_COVERAGE=ON has counted.

    scripts/coverage.py BUILD-FOLDER [--files]      --files: a line a file, those with the most lines left out first

A line counts as run when any copy of it ran: the CPU's kernels are compiled once for each instruction set. What a process
counted is lost when it is killed or leaves by _exit, so supervisors, sandboxes and actors look worse than they are.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCH = 20  # files that one gcov reads


def built(build, suffix):
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(build) for name in names
                  if name.endswith(suffix))


def lines_of(build, files):
    """{source below ROOT: {line: whether it ran}}."""
    ran = {}
    for i in range(0, len(files), BATCH):
        done = subprocess.run(["gcov", "--json-format", "--stdout"] + files[i : i + BATCH], cwd=build,
                              capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise SystemExit("coverage: gcov: " + done.stderr.strip()[-300:])

        for answer in filter(None, done.stdout.splitlines()):
            answer = json.loads(answer)
            for source in answer["files"]:
                path = os.path.join(answer["current_working_directory"], source["file"])
                path = os.path.relpath(os.path.realpath(path), ROOT)
                if path.startswith(("..", "build", "tests")):
                    continue
                of_file = ran.setdefault(path, {})
                for line in source["lines"]:
                    number = line["line_number"]
                    of_file[number] = of_file.get(number, False) or line["count"] > 0
    return ran


def room_of(path):
    return "model/tokenizer" if path.startswith("model/tokenizer/") else path.split(os.sep)[0]


def print_row(name, ran, there):
    print(f"{name:<40}{ran:>8} of {there:>6}   {100 * ran / max(there, 1):5.1f} %")


def main(build, by_file):
    if not built(build, ".gcda"):
        print(f"coverage: nothing was counted in {build}: run make coverage", file=sys.stderr)
        return 1

    rows, rooms = [], {}
    # By what was compiled, not by what ran: a file that no test's process has is a file of lines that never ran.
    for path, lines in lines_of(build, built(build, ".gcno")).items():
        rows.append((path, sum(lines.values()), len(lines)))
        ran, there = rooms.get(room_of(path), (0, 0))
        rooms[room_of(path)] = (ran + rows[-1][1], there + rows[-1][2])

    if by_file:
        for path, ran, there in sorted(rows, key=lambda row: row[1] - row[2]):
            print_row(path, ran, there)
        print()
    for room in sorted(rooms):
        print_row(room, *rooms[room])
    print_row("all", sum(r for r, _ in rooms.values()), sum(t for _, t in rooms.values()))
    return 0


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--files"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__)
        sys.exit(2)
    sys.exit(main(os.path.abspath(arguments[0]), "--files" in sys.argv))
