# SPDX-License-Identifier: MIT
"""guards.registers: the sums of products stay in registers.

    python3 registers.py OBJDUMP OBJECT ...      objects of kernels/cpu, compiled for AVX2

GCC keeps a vector that is wider than a register in memory, and each step of a sum then waits for its last store: every
product took ten times its time with AVX2, and no test could tell, for the bits were right. So the compiled code is looked at:
of a file's fused multiply-adds at most half may have an operand on the stack. (Then it was all of gemm's and four fifths of
attention's; constants of exp and tanh that lie there are only read, and do no harm.)
"""
import os
import re
import subprocess
import sys

MULTIPLY_ADD = re.compile(r"\svfn?m(add|sub)\w+ps\s.*%ymm")
ON_STACK = re.compile(r"\(%r[sb]p")
MAX_SHARE, MIN_SEEN = 0.5, 20


def main(objdump, objects):
    wrong = []
    for path in objects:
        code = subprocess.run([objdump, "-d", path], stdout=subprocess.PIPE, check=True, text=True).stdout
        steps = [line for line in code.splitlines() if MULTIPLY_ADD.search(line)]
        on_stack = sum(1 for line in steps if ON_STACK.search(line))
        print(f"{os.path.basename(path)}: {len(steps)} multiply-adds, {on_stack} of them on the stack")
        if len(steps) < MIN_SEEN or on_stack > MAX_SHARE * len(steps):
            wrong.append(os.path.basename(path))
    if wrong:
        sys.exit(f"guards.registers: sums of products go through memory in {', '.join(wrong)}: use reg, not v16 "
                 "(kernels/cpu/simd.h), and fewer sums at once")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
