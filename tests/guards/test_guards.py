# SPDX-License-Identifier: MIT
"""guards.guards: the guards themselves fail where they should. A guard that can't fail guards nothing.

    python3 test_guards.py SOURCE-FOLDER CMAKE C-COMPILER
"""
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE, CMAKE, COMPILER = sys.argv[1:4]
SIZES = os.path.join(SOURCE, "tests/guards/sizes.py")


def write(root, path, text):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stdout + done.stderr


class Guards(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = self.folder.name

    def tearDown(self):
        self.folder.cleanup()

    def floors(self, room, allowed):
        return run(CMAKE, f"-DROOT={self.root}", f"-DROOM={room}", f"-DALLOWED={allowed}", "-P",
                   os.path.join(SOURCE, "cmake/check_room.cmake"))

    def headers(self, room):
        return run(CMAKE, f"-DROOT={self.root}", f"-DROOM={room}", f"-DCOMPILER={COMPILER}", "-P",
                   os.path.join(SOURCE, "cmake/check_headers.cmake"))

    def sizes(self, allowed=""):
        with tempfile.NamedTemporaryFile("w", suffix=".list") as f:
            f.write(allowed)
            f.flush()
            return run(sys.executable, SIZES, self.root, f.name)

    def layout(self):
        return run(sys.executable, os.path.join(SOURCE, "tests/guards/layout.py"), self.root)

    def where(self):
        return run(sys.executable, os.path.join(SOURCE, "tests/guards/where.py"), self.root)

    def test_the_map_names_what_is_there(self):
        write(self.root, "base/a.c", "int f(void);\n")
        write(self.root, "docs/where.md", "| is f | `base/a.c` | `f` |\n")
        self.assertTrue(self.where()[0], self.where()[1])

        for row, fault in (("| is f | `base/b.c` | |", "there is no base/b.c"),
                           ("| is g | `base/a.c` | `g` |", "'g' is in none of its files"),
                           ("| is f | `base/*.h`; `base/a.c` | `f` |", "there is no base/*.h")):
            write(self.root, "docs/where.md", f"| is f | `base/a.c` | `f` |\n{row}\n")
            good, said = self.where()
            self.assertFalse(good, row)
            self.assertIn("docs/where.md:2: " + fault, said)

        write(self.root, "docs/where.md", "No row at all.\n")
        self.assertFalse(self.where()[0])

    def unused(self):
        return run(sys.executable, os.path.join(SOURCE, "tests/guards/unused.py"), self.root)

    def test_a_function_that_nothing_calls_is_named_unless_it_is_for_tests(self):
        write(self.root, "base/a.h", "int used(int a,\n         int b);\nint peak(void); /* for tests */\n"
              "/* For tests: the state. */\nint state(void);\nstatic inline int two(void) { return used(1, 1); }\n")
        write(self.root, "tests/unit/base/test_a.c", "int main(void) { return peak() + state(); }\n")
        write(self.root, "base/a.c", "int used(int a, int b)\n{\n    return a + b;\n}\nint peak(void) { return 1; }\n"
              "int state(void) { return 2; }\n")
        good, said = self.unused()
        self.assertTrue(good, said)

        write(self.root, "tests/unit/base/test_a.c", "/* state */\nint main(void) { return peak(); }\n")
        good, said = self.unused()
        self.assertFalse(good)
        self.assertIn("base/a.h:5: state is for tests, and no test calls it", said)
        write(self.root, "tests/unit/base/test_a.c", "int main(void) { return peak() + state(); }\n")

        write(self.root, "base/t.h", "/* Like tests of others. */\nint excused(void);\n")
        write(self.root, "base/t.c", "int excused(void) { return 1; }\n")
        write(self.root, "tests/unit/base/test_t.c", "int main(void) { return excused(); }\n")
        good, said = self.unused()
        self.assertFalse(good)
        self.assertIn("base/t.h:2: excused is called by nothing in the program", said)
        os.remove(os.path.join(self.root, "base/t.h"))

        write(self.root, "base/b.h", "/* Gone. */\nint gone(void); /* \"gone\" */\n")
        write(self.root, "base/b.c", '/* gone */\nint gone(void) { return 3; }\nconst char *said = "gone";\n')
        good, said = self.unused()
        self.assertFalse(good)
        self.assertIn("base/b.h:2: gone is called by nothing", said)

        write(self.root, "tests/unit/base/test_b.c", "int main(void) { return gone(); }\n")
        self.assertFalse(self.unused()[0])
        write(self.root, "base/c.cu", "static int caller(void)\n{\n    return gone();\n}\n")
        self.assertTrue(self.unused()[0], self.unused()[1])

    def words(self):
        return run(sys.executable, os.path.join(SOURCE, "tests/guards/words.py"), self.root)

    def test_a_word_of_the_glossary_has_its_own_meaning(self):
        write(self.root, "learner/a.c", "int gradient, stretched, spans; /* 'actor/mixture_slope', heartbeat */\n")
        write(self.root, "learner/methods/moa.c", "double slope; /* of a trend */\n")
        write(self.root, "CONTRIBUTING.md", "not slope, leash or stretch\n")
        good, said = self.words()
        self.assertTrue(good, said)

    def test_a_word_that_is_not_used_is_named_with_its_place(self):
        for path, text in (("learner/a.c", "double slope;"), ("kernels/cpu/a.c", "tile_slopes();"),
                           ("learner/moo/a.h", "enum { MOO_MOST = 16 };"), ("actor/a.c", "stage_turn(s);"),
                           ("rollout/a.h", "/* a reward on a stretch */"), ("docs/a.md", "what is learned by heart"),
                           ("reward/a.c", 'error_set(err, 1, "nobody came");'), ("show/a.h", "/* Somebody's. */"),
                           ("actor/b.h", "/* no memory is to be\n * had */"), ("docs/b.md", "two\nminds"),
                           ("lua/b.lua", "-- bad\n-- news"), ("lua/a.lua", "-- a way out of a 0"),
                           ("base/a.c", "/* no memory is to be had */")):
            with tempfile.TemporaryDirectory() as self.root:
                write(self.root, path, "first line\n" + text + "\n")
                good, said = self.words()
                self.assertFalse(good, text)
                self.assertIn(f"{path}:2: '", said)

    def test_a_room_may_include_itself_and_the_rooms_below(self):
        write(self.root, "proto/a.c", '#include "proto/a.h"\n#include "base/error.h"\n#include <zmq.h>\n')
        good, said = self.floors("proto", "base;rollout")
        self.assertTrue(good, said)

    def test_an_include_upward_or_around_is_refused(self):
        for line in ('#include "exchange/core.h"', '  #  include "actor/x.h"', '#include "proto/../exchange/core.h"',
                     '#include "../exchange/core.h"', '#include "baseline/x.h"'):
            write(self.root, "proto/deep/a.h", line + "\n")
            good, said = self.floors("proto", "base;rollout")
            self.assertFalse(good, line)
            self.assertIn("proto/deep/a.h", said)

    def test_no_kind_of_source_is_overlooked(self):
        for path in ("kernels/a.c", "kernels/a.h", "kernels/a.cu", "kernels/a.cuh", "kernels/deep/a.cpp", "kernels/a.def"):
            write(self.root, path, '#include "model/x.h"\n')
            good, said = self.floors("kernels", "base")
            self.assertFalse(good, path)
            self.assertIn(path, said)
            os.remove(os.path.join(self.root, path))

    def test_the_tokenizer_is_a_room_inside_a_room(self):
        write(self.root, "model/tokenizer/a.c", '#include "model/tokenizer/a.h"\n#include "base/str.h"\n')
        self.assertTrue(self.floors("model/tokenizer", "base")[0])
        write(self.root, "model/tokenizer/b.c", '#include "model/config.h"\n')
        self.assertFalse(self.floors("model/tokenizer", "base")[0])
        write(self.root, "actor/a.c", '#include "model/tokenizer/a.h"\n')
        self.assertTrue(self.floors("actor", "base;tokenizer")[0])

    def test_a_header_must_compile_alone_and_twice(self):
        write(self.root, "base/good.h", "#pragma once\n#include <stddef.h>\ntypedef struct { size_t n; } good;\n")
        good, said = self.headers("base")
        self.assertTrue(good, said)
        write(self.root, "base/needy.h", "#pragma once\nsize_t needy(void);\n")
        good, said = self.headers("base")
        self.assertFalse(good)
        self.assertIn("base/needy.h", said)
        write(self.root, "base/needy.h", "typedef struct { int n; } twice;\n")
        self.assertFalse(self.headers("base")[0])

    def test_long_files_and_functions_are_named(self):
        write(self.root, "base/ok.c", "int f(void)\n{\n" + "    f();\n" * 77 + "}\n")
        good, said = self.sizes()
        self.assertTrue(good, said)
        write(self.root, "base/long.c", "int x;\n\nint too_long(int a,\n             int b)\n{\n" + "    f();\n" * 77 + "}\n")
        good, said = self.sizes()
        self.assertFalse(good)
        self.assertIn("base/long.c too_long: 81 lines", said)
        write(self.root, "base/long.c", "int x;\n" * 801)
        self.assertIn("base/long.c: 801 lines", self.sizes()[1])

    def test_two_statements_are_two_lines(self):
        write(self.root, "base/a.h", "int f(int a, int b);\nstruct a {\n    int b, c;\n};\n")
        write(self.root, "base/a.c", '#include "base/a.h"\nint f(int a, int b)\n{\n    int n = f(1, 2), m = 3;\n'
              "    struct a s = { .b = 1,\n                   .c = 2 };\n    f(n,\n      m = 4, s.b);\n"
              "    for (a = 0, b = 1; a < b; a++, b--) f(a, b);\n    (void)a, (void)b;\n    return 0;\n}\n")
        good, said = self.layout()
        self.assertTrue(good, said)

        for line in ("a = 1, b = 2;", "s->a[i] += f(1, 2), s->b[j]++;", "if (a > 0) memcpy(s, t, n), s[n] = 0;",
                     "for (i = 0; i < n; i++) a += i, b -= i; /* why */", "if (a)\n        a = 1, b = 2;"):
            write(self.root, "base/b.h", "")
            write(self.root, "base/b.c", "void g(void)\n{\n    " + line + "\n}\n")
            good, said = self.layout()
            self.assertFalse(good, line)
            self.assertIn(": two statements with a comma between them", said)

    def test_a_ternary_stands_in_no_branch_of_another(self):
        good = ("return a ? b : c;", "x = f(a ? b : c, d ? e : f);", "x = (a ? b : c) ? d : e;", "return a ? g(b ? c : d) : e;",
                "for (i = a ? b : c; d ? e : f; i++) g();", 'puts("a ? b : c ? d : e");')
        write(self.root, "base/a.h", "")
        write(self.root, "base/a.c", "void g(void)\n{\n    " + "\n    ".join(good) + "\n}\n")
        self.assertTrue(self.layout()[0], self.layout()[1])
        write(self.root, "base/b.h", "")
        for line in ("return a ? b : c ? d : e;", "x = a ? b ? c : d : e;", "f(x, a ? b : c\n        ? d : e);"):
            write(self.root, "base/b.c", "void g(void)\n{\n    " + line + "\n}\n")
            good, said = self.layout()
            self.assertFalse(good, line)
            self.assertIn("base/b.c:", said)
            self.assertIn(": a ternary in a branch of another", said)

    def test_a_return_is_one_expression(self):
        write(self.root, "base/a.h", "")
        write(self.root, "base/a.c", "int g(void)\n{\n    return f(a, b[c, d]);\n}\nt h(void)\n{\n    return (t){ 1, 2 };\n}\n")
        self.assertTrue(self.layout()[0], self.layout()[1])
        write(self.root, "base/b.h", "")
        write(self.root, "base/b.c", "int g(int *n)\n{\n    return *n = 1, OK;\n}\n")
        good, said = self.layout()
        self.assertFalse(good)
        self.assertIn("base/b.c:3: two statements with a comma between them", said)

    def test_a_line_of_c_has_120_columns_at_most(self):
        write(self.root, "base/a.h", "/* " + "x" * 114 + " */\n/* " + "\u00e9" * 114 + " */\n")
        self.assertTrue(self.layout()[0], self.layout()[1])
        write(self.root, "base/a.h", "\n/* " + "x" * 115 + " */\n")
        good, said = self.layout()
        self.assertFalse(good)
        self.assertIn("base/a.h:2: over 120 columns", said)

    def test_a_comment_ends_behind_its_last_word(self):
        write(self.root, "base/a.h", "/* One word\n * and another. */\nstruct a {\n    bool on; /* or off */\n};\n")
        good, said = self.layout()
        self.assertTrue(good, said)
        for path in ("base/b.h", "kernels/cuda/b.cuh", "kernels/cuda/emulation/b.cpp", "base/b.def"):
            write(self.root, path, "/* One word\n * and another.\n */\n")
            good, said = self.layout()
            self.assertFalse(good, path)
            self.assertIn(path + ":3", said)
            os.remove(os.path.join(self.root, path))

    def test_a_declarator_stands_beside_its_type(self):
        for cut in ("    bool\n        on; /* a long comment */\n", "    const char *\n        name;\n",
                    "    picked_row\n        *ahead; /* rows */\n", "    static const int\n        n = 3;\n"):
            write(self.root, "base/b.h", "struct b {\n" + cut + "};\n")
            self.assertFalse(self.layout()[0], cut)
        write(self.root, "base/b.h", "#define X \\\n    a \\\n    b\nint f(int a,\n      int b)\n{\n    if (a)\n"
              "        return b;\n    else\n        b++;\n}\n")
        good, said = self.layout()
        self.assertTrue(good, said)

    def test_a_source_without_a_header_has_a_head(self):
        license = "/* SPDX-License-Identifier: MIT */\n"
        write(self.root, "base/a.c", license + "/* What a is for. */\nint a;\n")
        write(self.root, "base/b.c", license + "int b;\n")
        write(self.root, "base/b.h", license + "/* b - what b is for. */\n")
        write(self.root, "tests/c.c", license + "int c;\n")
        good, said = self.layout()
        self.assertTrue(good, said)
        write(self.root, "base/c.c", license + "int c; /* not at its head */\n")
        good, said = self.layout()
        self.assertFalse(good)
        self.assertIn("base/c.c", said)

    def test_a_page_fits_a_window(self):
        long = "word " * 30
        write(self.root, "base/a.h", "int a;\n")
        write(self.root, "docs/a.md", f"short\n\n| {long} |\n\n```\n{long}\n```\n\n    {long}\n\n{'x' * 150}\n")
        good, said = self.layout()
        self.assertTrue(good, said)
        write(self.root, "docs/b.md", f"# Title\n\n```\n{long}\n```\n{long}\n")
        good, said = self.layout()
        self.assertFalse(good)
        self.assertIn("docs/b.md:6: over 140 columns", said)

    def test_every_source_names_its_license(self):
        spdx = os.path.join(SOURCE, "tests/guards/spdx.py")
        files = ("base/a.c", "kernels/a.cuh", "base/a.h", "lua/a.lua", "scripts/a.sh", "base/CMakeLists.txt", "Makefile")
        for path in files:
            write(self.root, path, "#!/bin/sh\nexit 0\n" if path.endswith(".sh") else "\n")
        good, said = run(sys.executable, spdx, self.root)
        self.assertFalse(good)
        for path in files:
            self.assertIn(path + ": line", said)

        self.assertTrue(run(sys.executable, spdx, self.root, "--write")[0])
        self.assertTrue(run(sys.executable, spdx, self.root)[0])
        with open(os.path.join(self.root, "scripts/a.sh"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "#!/bin/sh\n# SPDX-License-Identifier: MIT\nexit 0\n")

    def test_measure_counts_what_it_says(self):
        write(self.root, "base/a.c", "/* a - a head.\n * Of two lines. */\n#if A\nint f(int a, int b[2])\n{\n    /* Why. */\n\n"
              "    return a ? b[0] : a ? '}' : 2;\n}\n#else\nint f(int a, int b[2])\n{\n#endif\nint x[] = { 1 };\n")
        write(self.root, "base/b.c", "/* SPDX-License-Identifier: MIT */\nextern \"C\" {\nvoid g(void) {}\n}\n")
        write(self.root, "base/c.h", "#pragma once\n/*\n */\n")
        write(self.root, "tests/d.c", "int not_counted(void)\n{\n}\n")
        good, said = run(sys.executable, os.path.join(SOURCE, "scripts/measure.py"), self.root)
        self.assertTrue(good, said)
        table = {line[:40].strip(): line[40:].strip() for line in said.splitlines()}
        for name, value in {".c/.cu files/lines": "2/18", "functions": "2", "lines a function med/p90/p99/max": "6/6/6/6",
                            "parameters med/p90/max": "2/2/2", "headers with a head": "0/1",
                            ".c with a head of its own": "1/2", ".c with neither head nor header": "1", "lone */": "1",
                            "blank lines in bodies": "14.3 %", "comments in bodies / 100 lines": "14.3"}.items():
            self.assertEqual(table.get(name), value, name)

    def test_an_allowance_needs_a_reason_and_a_need(self):
        write(self.root, "base/long.c", "int x;\n" * 801)
        self.assertTrue(self.sizes("base/long.c: one table that is read from top to bottom\n")[0])
        self.assertFalse(self.sizes("base/long.c:\n")[0])
        write(self.root, "base/long.c", "int x;\n")
        good, said = self.sizes("base/long.c: one table that is read from top to bottom\n")
        self.assertFalse(good)
        self.assertIn("needs no allowance", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
