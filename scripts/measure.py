#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""measure - how a C tree reads, in numbers: sizes, density, air, comments.

    scripts/measure.py TREE...     one column a tree, so that others' code can stand beside ours

Folders named build, tests and third-party ones are left out; a tree that is given by name is always read. The numbers
show where to look. They are not to be reached: a comment that repeats the code makes a file worse and a number better.

How things are counted:
  function     a `{` at file level (or inside extern "C" { }) behind a parameter list; its lines run from the signature to
               the closing brace; its tokens are the words, numbers, strings and signs (`->` is two) of
               those; functions of headers count too
  code line    a line with a token of C on it; its characters are counted without indentation and comments
  blank lines  of a function's lines
  comments     in bodies: comments (not their lines) a hundred lines of function; share: lines with a comment, of all
               lines that are not blank, headers too
  chained      a ternary that stands in the other's branch, in the same brackets
  head         a file's first comment, when it stands before any code; the license line alone is none
"""
import os
import re
import sys

SKIPPED = {"build", "tests", "runs", "third_party", "vendor", ".git", ".cache"}
CODE, HEADERS = (".c", ".cu", ".cpp"), (".h", ".cuh", ".hpp")

TOKEN = re.compile(r"""
    (?P<comment>/\*.*?\*/|//(?:\\\n|[^\n])*)
  | (?P<directive>(?<![^\n])[ \t]*\#(?:\\\r?\n|/\*.*?\*/|[^\n])*)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\#\#|::|[^\s\w])
""", re.S | re.X)


class Token:
    __slots__ = ("kind", "text", "line", "last")

    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line
        self.last = line + text.count("\n")


def tokens_of(text):
    """All tokens of a file, comments and preprocessor lines among them."""
    line, at, found = 1, 0, []
    for m in TOKEN.finditer(text):
        line += text.count("\n", at, m.start())
        at = m.start()
        found.append(Token(m.lastgroup, m.group(), line))
    return found


def bare_lines(text):
    """The lines of a file without its comments."""
    return TOKEN.sub(lambda m: "\n" * m.group().count("\n") if m.lastgroup == "comment" else m.group(), text).split("\n")


def without_other_branches(tokens):
    """C's tokens, of each #if ... #else ... #endif the first branch: both would open the same brace twice."""
    kept, skipping, depth = [], None, 0
    for t in tokens:
        if t.kind != "directive":
            if skipping is None and t.kind != "comment":
                kept.append(t)
            continue
        word = re.match(r"\s*#\s*(\w*)", t.text).group(1)
        if word in ("if", "ifdef", "ifndef"):
            depth += 1
        elif word in ("else", "elif") and skipping is None:
            skipping = depth
        elif word == "endif":
            if skipping == depth:
                skipping = None
            depth -= 1
    return kept


def opening(tokens, close):
    """Index of the bracket that tokens[close] closes, or -1."""
    depth = 0
    for i in range(close, -1, -1):
        depth += {")": 1, "(": -1}.get(tokens[i].text, 0)
        if depth == 0:
            return i
    return -1


def count_parameters(tokens, begin, end):
    inner = tokens[begin + 1 : end]
    if not inner or [t.text for t in inner] == ["void"]:
        return 0
    depth, n = 0, 1
    for t in inner:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(t.text, 0)
        n += t.text == "," and depth == 0
    return n


class Function:
    def __init__(self, tokens, begin, params, brace, end):
        self.first, self.last = tokens[begin].line, tokens[end].last
        self.body_first, self.body_last = tokens[brace].line, tokens[end].line
        self.n_tokens = sum(len(t.text) if t.kind == "sign" else 1 for t in tokens[begin : end + 1])
        self.n_params = params


def functions_of(tokens):
    """The functions of a file. Braces of extern "C" and of namespaces are looked through."""
    found, begin, i = [], 0, 0
    while i < len(tokens):
        text = tokens[i].text
        if text in (";", "}"):
            begin = i + 1
        if text != "{":
            i += 1
            continue

        before = tokens[i - 1] if i else None
        if before and (before.kind == "string" or any(t.text == "namespace" for t in tokens[begin:i])):
            begin = i = i + 1
            continue
        end, depth = i, 0
        while end < len(tokens):
            depth += {"{": 1, "}": -1}.get(tokens[end].text, 0)
            if depth == 0:
                break
            end += 1
        end = min(end, len(tokens) - 1)

        if before and before.text == ")":
            bracket = opening(tokens, i - 1)
            if bracket > begin and tokens[bracket - 1].text not in ("__attribute__", "__declspec"):
                found.append(Function(tokens, begin, count_parameters(tokens, bracket, i - 1), i, end))
            begin = end + 1
        i = end + 1
    return found


def ternaries_of(tokens):
    """(how many, how many of them stand in another one's branch)."""
    n = chained = 0
    open_ones = [0]
    for t in tokens:
        if t.text in ("(", "[", "{"):
            open_ones.append(0)
        elif t.text in (")", "]", "}"):
            if len(open_ones) > 1:
                open_ones.pop()
        elif t.text in (";", ","):
            open_ones[-1] = 0
        elif t.text == "?":
            n += 1
            chained += open_ones[-1] > 0
            open_ones[-1] += 1
    return n, chained


def has_head(tokens):
    for t in tokens:
        if t.kind == "comment" and "SPDX-License-Identifier" in t.text and "\n" not in t.text:
            continue
        return t.kind == "comment"
    return False


DECLARATOR_CUT = re.compile(r"^[ \t]+(?!(?:else|do|return)\b)[A-Za-z_]\w*(?: \w+)*(?: \*+)?\n[ \t]+\**\w+(?:\[[^\]]*\])?"
                            r"(?: = [^;]*)?[;,]", re.M)


def files_of(tree):
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(names):
            if name.endswith(CODE + HEADERS):
                yield os.path.join(folder, name)


class Measures:
    def __init__(self):
        self.file_lines, self.functions = [], []
        self.lines = self.code_lines = self.code_chars = self.long_lines = 0
        self.filled_lines = self.comment_lines = 0
        self.body_lines = self.body_blank = self.body_comments = 0
        self.ternaries = self.chained = 0
        self.headers = self.headers_with_head = 0
        self.sources = self.sources_with_head = self.orphans = 0
        self.lone_ends = self.cut_declarators = 0

    def add(self, path):
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        tokens = tokens_of(text)
        self.lone_ends += len(re.findall(r"^[ \t]*\*/[ \t]*$", text, re.M))
        self.cut_declarators += len(DECLARATOR_CUT.findall(text))
        self.filled_lines += sum(1 for line in text.splitlines() if line.strip())
        self.comment_lines += len({n for t in tokens if t.kind == "comment" for n in range(t.line, t.last + 1)})

        lines = text.splitlines()
        code = without_other_branches(tokens)
        self.add_functions(lines, tokens, code)
        if path.endswith(HEADERS):
            self.headers += 1
            self.headers_with_head += has_head(tokens)
        else:
            self.add_source(path, lines, tokens, code, bare_lines(text))

    def add_functions(self, lines, tokens, code):
        comments = [t for t in tokens if t.kind == "comment"]
        for f in functions_of(code):
            self.functions.append(f)
            self.body_lines += f.last - f.first + 1
            self.body_blank += sum(1 for n in range(f.body_first + 1, f.body_last) if not lines[n - 1].strip())
            self.body_comments += sum(1 for t in comments if f.body_first < t.line < f.body_last)

    def add_source(self, path, lines, tokens, code, bare):
        self.file_lines.append(len(lines))
        self.lines += len(lines)
        self.long_lines += sum(1 for line in lines if len(line) > 100)

        with_code = {n for t in code for n in range(t.line, t.last + 1)}
        self.code_lines += len(with_code)
        self.code_chars += sum(len(bare[n - 1].strip()) for n in with_code)
        n, chained = ternaries_of(code)
        self.ternaries += n
        self.chained += chained

        if path.endswith(".c"):
            self.sources += 1
            head = has_head(tokens)
            self.sources_with_head += head
            self.orphans += not head and not os.path.exists(path[:-2] + ".h")


def quantile(numbers, q):
    numbers = sorted(numbers)
    return numbers[min(len(numbers) - 1, int(q * len(numbers)))] if numbers else 0


def spread(numbers, *parts):
    return "/".join(str(quantile(numbers, q)) for q in parts)


def rows(m):
    """(name, value) of each line of the table."""
    kloc = max(m.code_lines, 1) / 1000
    body = max(m.body_lines, 1) / 100
    lengths = [f.last - f.first + 1 for f in m.functions]
    params = [f.n_params for f in m.functions]

    yield ".c/.cu files/lines", f"{len(m.file_lines)}/{m.lines}"
    yield "file median/p90/max", spread(m.file_lines, 0.5, 0.9, 1)
    yield "functions", str(len(m.functions))
    yield "lines a function med/p90/p99/max", spread(lengths, 0.5, 0.9, 0.99, 1)
    yield "tokens a function med/p90", spread([f.n_tokens for f in m.functions], 0.5, 0.9)
    yield "characters a code line", f"{m.code_chars / max(m.code_lines, 1):.0f}"
    yield "lines > 100 characters", f"{100 * m.long_lines / max(m.lines, 1):.1f} %"
    yield "blank lines in bodies", f"{m.body_blank / body:.1f} %"
    yield "comments in bodies / 100 lines", f"{m.body_comments / body:.1f}"
    yield "comment share", f"{100 * m.comment_lines / max(m.filled_lines, 1):.1f} %"
    yield "ternaries / 1,000 code lines", f"{m.ternaries / kloc:.0f}"
    yield "chained ternaries / 1,000 code lines", f"{m.chained / kloc:.1f}"
    yield "parameters med/p90/max", spread(params, 0.5, 0.9, 1)
    yield "functions with >= 8 parameters", str(sum(p >= 8 for p in params))
    yield "headers with a head", f"{m.headers_with_head}/{m.headers}"
    yield ".c with a head of its own", f"{m.sources_with_head}/{m.sources}"
    yield ".c with neither head nor header", str(m.orphans)
    yield "lone */", str(m.lone_ends)
    yield "split declarators", str(m.cut_declarators)


def main(trees):
    if not trees or any(t.startswith("-") for t in trees):
        print(__doc__)
        return 0 if trees in (["-h"], ["--help"]) else 2

    columns = []
    for tree in trees:
        if not os.path.isdir(tree):
            print(f"measure: {tree} is not a folder", file=sys.stderr)
            return 1
        m = Measures()
        for path in files_of(tree):
            m.add(path)
        columns.append(list(rows(m)))

    names = [os.path.basename(os.path.abspath(t)) for t in trees]
    widths = [max(len(n), *(len(v) for _, v in c)) for n, c in zip(names, columns)]
    left = max(len(name) for name, _ in columns[0])
    print(" " * left, *(n.rjust(w) for n, w in zip(names, widths)), sep="  ")
    for i, (name, _) in enumerate(columns[0]):
        print(name.ljust(left), *(c[i][1].rjust(w) for c, w in zip(columns, widths)), sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
