# SPDX-License-Identifier: MIT
# A text in the prompt that helps, and what is learned with it. Sourced by scripts/experiments.sh.

# ARM: right rollouts of the first 20 steps; the step at which plain prompts pass 0.5 in an evaluation; the last evaluation.
result_templates() {
    local seed
    for seed in $seeds; do
        awk "$get"'/"event": "step"/ { n++; if (n <= 20) s += get("reward/accuracy/mean") / 20 }
            /"event": "eval"/ { e = get("eval/accuracy/mean"); if (!at && e >= 0.5) at = get("step") }
            END { print 100 * s, at ? at : n, e }' "$out/templates/$1-$seed/metrics.jsonl"
    done > "$out/templates/$1.numbers"
    row "$1" "$out/templates/$1.numbers" %.1f %.0f %.2f
}

templates() {
    local arms=()
    run() { arms+=("$1"); arm templates "$@"; }
    base_of templates
    run none "$@"
    run templates rollout.templated=4 "$@"
    table templates "| arm | right of 100 rollouts at first | steps to 0.5 without a template | at the end |" "${arms[@]}"
}
