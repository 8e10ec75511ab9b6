# SPDX-License-Identifier: MIT
# A bandit with a noisy verifier: how much of the policy's variety is left. Sourced by scripts/experiments.sh.

# ARM: entropy and true success of the last 500 steps.
result_era() {
    local seed
    for seed in $seeds; do
        tail -n 500 "$out/era/$1-$seed/metrics.jsonl" |
            awk "$get"'/"event": "step"/ { n++; h += get("actor/entropy"); a += get("reward/truth/mean"); t += get("timing_s/step") } END { print h / n, a / n, 1000 * t / n }'
    done > "$out/era/$1.numbers"
    row "$1" "$out/era/$1.numbers" %.3f %.4f %.1f
}

era() {
    local arms=()
    run() { arms+=("$1"); arm era "$@"; }
    base_of era
    run grpo "$@"
    run era algorithm.era_k=2 "$@"
    run era-1.2 algorithm.era_k=2 algorithm.era_low=1.2 "$@"
    table era "| arm | entropy, nats | right | ms a step |" "${arms[@]}"
}
