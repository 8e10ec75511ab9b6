# SPDX-License-Identifier: MIT
"""Compares what `troupe render` and Jinja2 make of chat templates, for conversations of every kind.

    judge_templates.py TROUPE FOLDER...        (run by judge_templates.sh)

Exit status 1 when any rendering differs: another text, or an error on one side only.
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden"))
import jinja_reference as reference  # noqa: E402


def templates(folders):
    for folder in folders:
        for where, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                if name.endswith(".jinja"):
                    yield os.path.join(where, name)


def ours(program, template, conversation):
    """(text, None) or (None, sentence)."""
    done = subprocess.run([program, "render", "--json", "--template", template, conversation], capture_output=True)
    if done.returncode == 0:
        return json.loads(done.stdout)["text"], None
    return None, done.stderr.decode(errors="replace")


def write_conversations(folder):
    paths = {}
    for name, variables in reference.conversations():
        paths[name] = os.path.join(folder, name + ".json")
        with open(paths[name], "w", encoding="utf-8") as file:
            json.dump(variables, file, ensure_ascii=False)
    return paths


def judge(program, path, paths, pool):
    """How many renderings of one template were compared, and how many differ (printed)."""
    with open(path, encoding="utf-8", newline="") as file:
        template = reference.compile_template(reference.environment(), file.read())
    made = pool.map(lambda conversation: ours(program, path, conversation), paths.values())
    compared = differ = 0
    for (name, variables), (text, sentence) in zip(reference.conversations(), made):
        want, kind = reference.render(template, variables)
        compared += 1
        if want != text or (kind is not None and "is not supported" in sentence):
            differ += 1
            if differ <= 3:
                print("%s, conversation %s:\n  want %s\n  got  %s" % (path, name, repr(want or kind), repr(text or sentence)))
    return compared, differ


def main():
    program, folders = os.path.abspath(sys.argv[1]), sys.argv[2:]
    compared = differ = files = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        paths = write_conversations(folder)
        for path in templates(folders):
            n, wrong = judge(program, path, paths, pool)
            compared, differ, files = compared + n, differ + wrong, files + 1
    print("%d templates, %d renderings, %d differ" % (files, compared, differ))
    sys.exit(1 if differ or not files else 0)


main()
