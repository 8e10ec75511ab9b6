# SPDX-License-Identifier: MIT
"""guards.sizes: no file over 800 lines, no C function over 80, unless allowed.txt names it with a reason.

    python3 sizes.py SOURCE-FOLDER [ALLOW-LIST]

A line of the allow-list is `path: reason` or `path function: reason`. A line that allows what needs no allowance any
more is an error too, so that the list only shrinks by itself. Functions are found as clang-format leaves them: `{` and
`}` alone in the first column.
"""
import os
import re
import sys

FILE_LINES, FUNCTION_LINES = 800, 80
ENDINGS = (".c", ".h", ".cu", ".cuh", ".cpp", ".def", ".lua", ".py", ".sh", ".cmake")
SKIPPED = {"build", "runs", ".git", ".cache", "corpus", "golden", "__pycache__"}


def sources(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(names):
            if name.endswith(ENDINGS):
                yield os.path.relpath(os.path.join(folder, name), root)


def functions(lines):
    """(name, number of lines) of each C function, its signature included."""
    begin = name = None
    for i, line in enumerate(lines):
        if line == "{":
            begin = i
            while begin > 0 and lines[begin - 1] and not lines[begin - 1].endswith((";", "}", "*/")):
                begin -= 1
            found = re.search(r"(\w+)\s*\(", " ".join(lines[begin:i]))
            name = found.group(1) if found else "?"
        elif line.startswith("}") and begin is not None:
            yield name, i - begin + 1
            begin = None


def read_allowed(path):
    allowed, bad = {}, []
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        what, colon, reason = line.partition(":")
        if not colon or len(reason.strip()) < 10:
            bad.append(f"{path}:{number}: needs `path: reason` or `path function: reason`")
        allowed[what.strip()] = False
    return allowed, bad


def main(root, allow_list):
    allowed, bad = read_allowed(allow_list)
    n = 0
    for path in sources(root):
        n += 1
        lines = open(os.path.join(root, path), encoding="utf-8", errors="replace").read().splitlines()
        found = [(path, len(lines), FILE_LINES)]
        if path.endswith((".c", ".h", ".cu", ".cuh", ".cpp")):
            found += [(f"{path} {name}", length, FUNCTION_LINES) for name, length in functions(lines)]
        for what, length, limit in found:
            if length > limit and what in allowed:
                allowed[what] = True
            elif length > limit:
                bad.append(f"{what}: {length} lines, {limit} are allowed")
    bad += [f"{allow_list}: {what} needs no allowance" for what, used in allowed.items() if not used]
    print("\n".join(bad) if bad else f"{n} files keep to their size")
    return 1 if bad or n == 0 else 0


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "allowed.txt")))
