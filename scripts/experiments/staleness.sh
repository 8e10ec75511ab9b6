# SPDX-License-Identifier: MIT
# Tokens that are 0 to 8 versions old, with and without correction. Sourced by scripts/experiments.sh.

# ARM: accuracy of the last 20 steps and of all of them, and the share of the policy's tokens' weight.
result_staleness() {
    local seed
    for seed in $seeds; do
        awk -v seed="$seed" "$get"'/"event": "step"/ { a[n++] = get("reward/accuracy/mean"); s += a[n - 1]; w += get("training/importance_weight/mean"); r = get("actor/ratio/max") > r ? get("actor/ratio/max") : r }
            END { for (i = n - 20; i < n; i++) l += a[i] / 20; print l, s / n, w / n, r }' "$out/staleness/$1-$seed/metrics.jsonl"
    done > "$out/staleness/$1.numbers"
    row "$1" "$out/staleness/$1.numbers" %.2f %.2f %.2f %.0f
}

staleness() {
    local arms=() lag
    run() { arms+=("$1"); BASE=conflict arm staleness "$@"; }
    base_of conflict
    run fresh "$@"
    for lag in 2 4 8; do
        run "$lag-uncorrected" rollout.lag=$lag algorithm.correction=geometric algorithm.band=10 "$@"
        run "$lag-clip" rollout.lag=$lag algorithm.correction=none "$@"
        run "$lag-token_tis" rollout.lag=$lag "$@"
    done
    run 8-sequence_tis rollout.lag=8 algorithm.correction=sequence_tis "$@"
    run 8-mask rollout.lag=8 algorithm.correction=mask "$@"
    table staleness "| arm | accuracy at the end | over all steps | mean weight | largest ratio |" "${arms[@]}"
}
