# SPDX-License-Identifier: MIT
# Which letters of an answer are right, said in their places or of the whole. Sourced by scripts/experiments.sh.

# ARM: steps until the share of right letters has been 0.9 over ten steps; whole answers right in the last 20.
result_spans() {
    local seed
    for seed in $seeds; do
        awk "$get"'/"event": "step"/ { n++; a[n] = get("reward/accuracy/mean"); s[n] = get("reward/share/mean")
                if (n < 10 || at) next
                m = 0; for (i = n - 9; i <= n; i++) m += s[i] / 10
                if (m >= 0.9) at = n }
            END { for (i = n - 19; i <= n; i++) l += a[i] / 20; print at ? at : n, l }' "$out/spans/$1-$seed/metrics.jsonl"
    done > "$out/spans/$1.numbers"
    row "$1" "$out/spans/$1.numbers" %.0f %.2f
}

spans() {
    local arms=()
    run() { arms+=("$1"); arm spans "$@"; }
    base_of spans
    run whole algorithm.credit=whole "$@"
    run span "$@"
    run return algorithm.credit=return "$@"
    table spans "| arm | steps to 0.9 of the letters | whole answers right at the end |" "${arms[@]}"
}
