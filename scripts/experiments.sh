#!/bin/bash
# SPDX-License-Identifier: MIT
# Experiments with their control arms: scripts/experiments.sh [NAME [key=value ...]]. Each is a recipe under recipes/ and a
# file under scripts/experiments/, and leaves runs/experiments/NAME/table.md, which docs/experiments.md prints. Three seeds an
# arm (SEEDS="1 2 3"), one run after the other: one to nine minutes an experiment on two cores. TABLES=1 runs nothing and makes
# the tables of the runs that are there.
set -euo pipefail
cd "$(dirname "$0")/.."
troupe=${TROUPE:-build/release/troupe}
out=runs/experiments
seeds=${SEEDS:-1 2 3}

# NAME [FOLDER FILE]: a base model from recipes/NAME/pretrain.lua (or FILE), in NAME/base (or FOLDER), once.
base_of() {
    local base=$out/$1/${2:-base}
    [ -s "$base/model.safetensors" ] && return
    mkdir -p "$base"
    cp models/stagehand/{tokenizer,tokenizer_config,special_tokens_map}.json recipes/small_model.json "$base"
    mv "$base/small_model.json" "$base/config.json"
    echo "== the base model of $1 (half a minute)"
    "$troupe" pretrain "recipes/$1/${3:-pretrain.lua}" "model=$PWD/$base" | tail -n 1
}

# NAME ARM key=value...: runs of all seeds, silent, to their last step even where nothing is learned; one that fails is shown. BASE: whose base model it is.
arm() {
    local name=$1 arm=$2 base=${BASE:-$1} seed
    shift 2
    mkdir -p "$out/$name"
    for seed in $seeds; do
        [ -z "${TABLES:-}" ] || break
        "$troupe" train "recipes/$name/recipe.lua" --fresh --run-dir "$out/$name/$arm-$seed" "model=$PWD/$out/$base/base" \
            patience=0 "seed=$seed" "$@" > "$out/$name/$arm-$seed.log" 2>&1 || { tail -n 3 "$out/$name/$arm-$seed.log" >&2; exit 1; }
    done
    echo "$arm: $("result_$name" "$arm" | cut -d'|' -f3-)"
}

# The number of a key in a line of metrics.jsonl, for awk.
get='function get(key,   at) {
    at = index($0, "\"" key "\": ")
    return at ? substr($0, at + length(key) + 4) + 0 : 0
}'

# NAME TITLES ARM...: the experiment's table.md, a line an arm.
table() {
    local name=$1 titles=$2 arm
    shift 2
    {
        echo "$titles"
        echo "$titles" | sed 's/[^|]*|/---|/g; s/^---|/|/'
        for arm in "$@"; do "result_$name" "$arm"; done
    } > "$out/$name/table.md"
    echo
    cat "$out/$name/table.md"
}

# FORMAT (of printf; %.2f): mean and spread of numbers, one a line: "0.31 +- 0.02".
spread() {
    awk -v f="${1:-%.2f}" '{ s += $1; q += $1 * $1 } END {
        m = s / NR; v = NR > 1 ? (q - NR * m * m) / (NR - 1) : 0
        printf(f " +- " f, m, (v > 0 ? sqrt(v) : 0))
    }'
}

# ARM FILE FORMAT...: a line of a table, the mean and spread of each column of FILE (a line a seed).
row() {
    local arm=$1 file=$2 column=1 format
    shift 2
    printf '| %s |' "$arm"
    for format in "$@"; do
        printf ' %s |' "$(cut -d' ' -f$column "$file" | spread "$format")"
        column=$((column + 1))
    done
    echo
}

all=(conflict languages preference staleness rare priority era hints spans forgetting templates)
for name in "${all[@]}"; do . "scripts/experiments/$name.sh"; done

if [ $# -eq 0 ]; then
    for name in "${all[@]}"; do "$name"; done
elif [ -f "scripts/experiments/$1.sh" ]; then
    "$@"
else
    echo "experiments: no '$1' (${all[*]})" >&2
    exit 2
fi
