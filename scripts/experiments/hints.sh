# SPDX-License-Identifier: MIT
# One answer in a thousand is right: hints and demonstrations. Sourced by scripts/experiments.sh.

# ARM: share of groups with a signal in the first ten steps; accuracy without help in the last 20, and of an evaluation.
result_hints() {
    local seed
    for seed in $seeds; do
        awk "$get"'/"event": "step"/ { n++; a[n] = get("reward/accuracy/mean"); if (n <= 10) s += (1 - get("reward/accuracy/frac_zero_std")) / 10 }
            /"event": "eval"/ { e = get("eval/accuracy/mean") }
            END { for (i = n - 19; i <= n; i++) l += a[i] / 20; print s, l, e }' "$out/hints/$1-$seed/metrics.jsonl"
    done > "$out/hints/$1.numbers"
    row "$1" "$out/hints/$1.numbers" %.2f %.2f %.2f
}

hints() {
    local arms=()
    run() { arms+=("$1"); arm hints "$@"; }
    base_of hints
    run none "$@"
    run hints-alone rollout.hinted=8 "$@"
    run hints-sft rollout.hinted=8 algorithm.given=sft "$@"
    run demonstrations-sft rollout.demonstrations=1 algorithm.given=sft "$@"
    run demonstrations-dft rollout.demonstrations=1 algorithm.given=dft "$@"
    run demonstrations-mixture rollout.demonstrations=1 algorithm.given=sft algorithm.mixture=0.5 algorithm.mixture_every=5 "$@"
    run demonstrations-guide rollout.demonstrations=1 algorithm.given=guide "$@"
    local misleading="data.train=$PWD/recipes/hints/data/misleading.jsonl"
    run misleading-sft "$misleading" rollout.demonstrations=1 algorithm.given=sft "$@"
    run misleading-mixture "$misleading" rollout.demonstrations=1 algorithm.given=sft algorithm.mixture=0.5 algorithm.mixture_every=5 "$@"
    table hints "| arm | groups with signal at first | accuracy at the end | sampled evaluation |" "${arms[@]}"
}
