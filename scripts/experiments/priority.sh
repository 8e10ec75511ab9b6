# SPDX-License-Identifier: MIT
# Fifty tasks, from easy to hard or most of them solved, drawn in turn or by what they still teach. Sourced by scripts/experiments.sh.

# ARM: updates until sampled success passes 0.9 and 0.95 (mean of three evaluations).
result_priority() {
    local seed
    for seed in $seeds; do
        awk "$get"'/"event": "eval"/ { n++; a[n] = get("eval/accuracy/mean"); t[n] = get("step"); if (n < 3) next; m = (a[n] + a[n - 1] + a[n - 2]) / 3; if (!at && m >= 0.9) at = t[n - 1]; if (!more && m >= 0.95) more = t[n - 1] }
            END { print at ? at : t[n], more ? more : t[n], a[n] }' "$out/priority/$1-$seed/metrics.jsonl"
    done > "$out/priority/$1.numbers"
    row "$1" "$out/priority/$1.numbers" %.0f %.0f %.2f
}

priority() {
    local arms=() sampling
    run() { arms+=("$1"); arm priority "$@"; }
    base_of priority
    base_of priority solved solved.lua
    run in_turn "$@"
    run failure data.sampling=failure "$@"
    run signal data.sampling=signal "$@"
    for sampling in in_turn failure signal; do
        run "solved-$sampling" "data.sampling=$sampling" "model=$PWD/$out/priority/solved" "$@"
    done
    table priority "| arm | updates to 0.90 | to 0.95 | at the end |" "${arms[@]}"
}
