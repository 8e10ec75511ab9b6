# SPDX-License-Identifier: MIT
"""guards.layout: what a formatter has broken, or would break next.

    python3 layout.py SOURCE-FOLDER

  - a line with nothing but the end of a comment: the text before it was one word too long. The end stands behind the
    last word.
  - a declarator cut from its type (`bool` alone on a line, `by_token;` on the next), which clang-format does to make
    room for a long comment beside it. The comment goes above.
  - two statements of the program with a comma between them, `a = 1, b = 2;` or `return *n = 1, OK;`: the second is
    overlooked.
  - a ternary in a branch of another one: which colon is whose has to be counted. A name for the inner one, or an `if`.
  - a .c of the program without an introduction: no header of its own, and no comment at its head.
  - a line of C over 120 columns: clang-format leaves comments, and their drawings, as they are.
  - a line of a page over 140 columns. Tables, images, code blocks and links that can't be broken are excepted.
"""
import os
import re
import sys

from sizes import SKIPPED, sources

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))
from measure import tokens_of, without_other_branches  # noqa: E402 (scripts/measure.py counts what this forbids)

C_FILES = (".c", ".h", ".cu", ".cuh", ".cpp", ".def")
COLUMNS, PAGE_COLUMNS = 120, 140

# A type's words alone on a line, and a name after a star, a comma or a semicolon on the next.
TYPE_ALONE = re.compile(r"\s+(?!(?:else|do|return)\b)[A-Za-z_]\w*(?: \w+)*(?: \*+)?")
DECLARATOR = re.compile(r"\s+\**\w+(?:\[[^\]]*\])?(?: = [^;]*)?[;,]")


# A whole statement, what is in brackets taken out: its first part assigns or calls, its second assigns.
IN_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\"(?:\\.|[^\"\\])*\"")
ASSIGNS = r"[*\w>.-]+(?: [-+*/|&^]?= [^,;{}]+|\+\+|--)"
TWO_STATEMENTS = re.compile(rf"(?:(?:if|for|while|else) )*(?:{ASSIGNS}|\w+), {ASSIGNS}[^{{}}]*;")


def bare(line):
    """A line without comments and without what is in brackets."""
    line, before = re.sub(r"\s*/\*.*", "", line), None
    while line != before:
        line, before = IN_BRACKETS.sub("", line), line
    return " ".join(line.split())


def comma_statements(lines):
    """Numbers of the lines that hold two statements with a comma between them. What continues a line is no statement."""
    begins = True
    for number, line in enumerate(lines, 1):
        text = bare(line)
        if begins and TWO_STATEMENTS.fullmatch(text):
            yield number
        if text:  # a brace or a statement has ended; or `if (...)` stands alone
            begins = text.endswith((";", "{", "}", ":")) or bool(re.fullmatch(r"(?:\} )?(?:else )?(?:if|for|while|else|do)", text))


def faults_of_expressions(text):
    """(line number, what is wrong) of ternaries in another one's branch, and of returns with a comma."""
    open_ones, returning = [0], None  # ternaries under way at each depth of brackets; the depth of a return
    for token in without_other_branches(tokens_of(text)):
        sign = token.text
        if sign in ("(", "[", "{"):
            open_ones.append(0)
        elif sign in (")", "]", "}"):
            open_ones = open_ones[:-1] or [0]
        elif sign == "return":
            returning = len(open_ones)
        elif sign == "," and returning == len(open_ones):
            yield token.line, "two statements with a comma between them"
        elif sign == "?":
            if open_ones[-1] > 0:
                yield token.line, "a ternary in a branch of another: give the inner one a name, or use an if"
            open_ones[-1] += 1

        if sign in (";", ","):
            open_ones[-1] = 0
        if sign == ";":
            returning = None


def faults(lines):
    """(line number, what is wrong) of each fault."""
    for i, line in enumerate(lines):
        if line.strip() == "*/":
            yield i + 1, "the end of a comment alone on its line: it belongs behind the last word"

        following = lines[i + 1] if i + 1 < len(lines) else ""
        if TYPE_ALONE.fullmatch(line) and DECLARATOR.match(following):
            yield i + 1, "a declarator cut from its type: put the comment above the declaration"


def introduced(root, path, lines):
    """Whether a file's own header, or its first comment behind the license, says what it is for."""
    if not path.endswith(".c") or path.startswith("tests/"):
        return True
    if os.path.exists(os.path.join(root, path[:-2] + ".h")):
        return True
    code = [line for line in lines if "SPDX-License-Identifier" not in line]
    return bool(code) and code[0].startswith("/*")


def pages(root):
    """Each .md of the project, as a path below its root."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        yield from (os.path.relpath(os.path.join(folder, n), root) for n in sorted(names) if n.endswith(".md"))


def long_lines(lines):
    """Numbers of a page's lines that a reader has to scroll for."""
    in_code = False
    for number, line in enumerate(lines, 1):
        in_code ^= line.startswith("```")
        free = in_code or line.startswith(("|", "![", "    "))
        if len(line) > PAGE_COLUMNS and not free and len(max(line.split(), key=len)) <= PAGE_COLUMNS:
            yield number


def main(root):
    bad, n = [], 0
    for path in pages(root):
        lines = open(os.path.join(root, path), encoding="utf-8").read().splitlines()
        bad += [f"{path}:{number}: over {PAGE_COLUMNS} columns" for number in long_lines(lines)]
    for path in sources(root):
        if not path.endswith(C_FILES):
            continue
        n += 1
        lines = open(os.path.join(root, path), encoding="utf-8", errors="replace").read().splitlines()
        bad += [f"{path}:{number}: {what}" for number, what in faults(lines)]
        bad += [f"{path}:{at}: over {COLUMNS} columns" for at, line in enumerate(lines, 1) if len(line) > COLUMNS]
        if not path.startswith("tests/"):
            bad += [f"{path}:{number}: two statements with a comma between them" for number in comma_statements(lines)]
            bad += [f"{path}:{number}: {what}" for number, what in faults_of_expressions("\n".join(lines))]
        if not introduced(root, path, lines):
            bad.append(f"{path}: no header of its own and no comment at its head: what is it for?")

    print("\n".join(bad) if bad else f"{n} files are laid out whole")
    return 1 if bad or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
