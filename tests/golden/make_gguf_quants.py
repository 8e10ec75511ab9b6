#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes gguf_quants.json: random blocks of each of GGUF's number formats and what the Python package `gguf` makes of them.

    pip install gguf numpy; tests/golden/make_gguf_quants.py
"""
import json
import pathlib

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split()
# Where a block's half-precision scales stand: random bits there would often be infinities.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def blocks(rng, name, count):
    kind = GGMLQuantizationType[name]
    values, size = GGML_QUANT_SIZES[kind]
    if values == 1:
        count, numbers = 24, rng.standard_normal(24).astype(np.float32)
        if name == "F16":
            return np.concatenate([numbers[:-4].astype(np.float16), np.array([0, -0.0, 6e-8, 65504], np.float16)]).view(np.uint8)
        return numbers.view(np.uint8) if name == "F32" else (numbers.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    data = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in SCALES[name]:
        data[:, at:at + 2] = rng.standard_normal((count, 1)).astype(np.float16).view(np.uint8)
    return data.reshape(-1)


def main():
    rng = np.random.default_rng(20261126)
    out = []
    for name in TYPES:
        kind = GGMLQuantizationType[name]
        data = blocks(rng, name, 2)
        values = quants.dequantize(data, kind).astype(np.float32).reshape(-1)
        out.append({"type": int(kind), "name": name, "data": data.tobytes().hex(), "f32": values.tobytes().hex()})
    path = pathlib.Path(__file__).with_name("gguf_quants.json")
    path.write_text("[\n" + ",\n".join(json.dumps(o) for o in out) + "\n]\n")


main()
