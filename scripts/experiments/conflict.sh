# SPDX-License-Identifier: MIT
# Three rewards that pull apart. Sourced by scripts/experiments.sh.

# ARM: a line of the table: means over the seeds of each run's last 20 steps, the spread of the product, the step at which accuracy
# has been 0.9 for ten steps (the last, where it never was), and the time a step takes.
result_conflict() {
    local seed
    for seed in $seeds; do
        awk "$get"'
        /"event": "step"/ {
            n++; a[n] = get("reward/accuracy/mean"); b[n] = 1 + get("reward/brevity/mean"); f[n] = get("reward/format/mean")
            t[n] = get("timing_s/step"); s += a[n] - (n > 10 ? a[n - 10] : 0)
            if (!at && n >= 10 && s / 10 >= 0.9) at = n
        }
        END {
            for (i = n - 19; i <= n; i++) { x += a[i] / 20; y += b[i] / 20; z += f[i] / 20; ms += 1000 * t[i] / 20 }
            print x, 12 * (1 - y), z, x * y * z, at ? at : n, ms
        }' "$out/conflict/$1-$seed/metrics.jsonl"
    done > "$out/conflict/$1.numbers"
    row "$1" "$out/conflict/$1.numbers" %.2f %.1f %.2f %.3f %.0f %.0f
}

conflict() {
    local arms=()
    run() { arms+=("$1"); arm conflict "$@"; }
    base_of conflict
    run gdpo "$@"
    run sum reward.objectives.accuracy=0 reward.objectives.brevity=0 reward.objectives.format=0 reward.objectives.sum=1 "$@"
    run average moo.method=pref moo.gate=0 "$@"
    run cagrad-token moo.method=cagrad moo.bucket=token "$@"
    run cagrad moo.method=cagrad "$@"
    run cagrad-gate-0.25 moo.method=cagrad moo.gate=0.25 "$@"
    run cagrad-ungated moo.method=cagrad moo.gate=0 "$@"
    run pcgrad moo.method=pcgrad "$@"
    run pcgrad-ungated moo.method=pcgrad moo.gate=0 "$@"
    run mgda moo.method=mgda "$@"
    run mgda-ungated moo.method=mgda moo.gate=0 "$@"
    run mgda-global moo.method=mgda moo.gate=0 moo.bucket=global "$@"
    run gdpo-constrained reward.objectives.accuracy.weight=1 reward.objectives.accuracy.least=0.9 "$@"
    run cagrad-constrained moo.method=cagrad reward.objectives.accuracy.weight=1 reward.objectives.accuracy.least=0.9 "$@"
    table conflict "| arm | accuracy | tokens | format | product | steps to 0.9 | ms a step |" "${arms[@]}"
}
