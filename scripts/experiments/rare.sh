# SPDX-License-Identifier: MIT
# A rare, small reward beside a common, large one. Sourced by scripts/experiments.sh.

# ARM: steps until 0.9 of all answers are courteous (mean of ten steps), accuracy at the end.
result_rare() {
    local seed
    for seed in $seeds; do
        awk "$get"'/"event": "step"/ { n++; c[n] = get("reward/courtesy/mean") * 10; a[n] = get("reward/accuracy/mean"); s += c[n] - (n > 10 ? c[n - 10] : 0); if (!at && n >= 10 && s / 10 >= 0.9) at = n }
            END { for (i = n - 19; i <= n; i++) l += a[i] / 20; print at ? at : n, l }' "$out/rare/$1-$seed/metrics.jsonl"
    done > "$out/rare/$1.numbers"
    row "$1" "$out/rare/$1.numbers" %.0f %.2f
}

rare() {
    local arms=()
    run() { arms+=("$1"); arm rare "$@"; }
    base_of rare
    run gdpo "$@"
    run sum reward.objectives.accuracy=0 reward.objectives.courtesy=0 reward.objectives.both=1 "$@"
    run gdpo-undivided algorithm.std=none "$@"
    table rare "| arm | steps to 0.9 courteous | accuracy |" "${arms[@]}"
}
