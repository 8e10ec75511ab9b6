# SPDX-License-Identifier: MIT
# One policy for every trade-off of two rewards. Sourced by scripts/experiments.sh.

# RUN-DIR FILE: what a finished run achieves on the preferences of a data file, sampled 64 times each with the weights as they
# are -> lines "sixteenths brevity detail".
achieved() {
    local dir=$1 rows
    rows=$(wc -l < "recipes/preference/data/$2.jsonl")
    "$troupe" train recipes/preference/recipe.lua --fresh --run-dir "$dir-$2" "model=$PWD/$(ls -d "$dir"/checkpoints/step-* | tail -n 1)" \
        "data.train=$PWD/recipes/preference/data/$2.jsonl" steps=1 patience=0 optim.lr=0 "rollout.prompts_per_step=$rows" \
        rollout.group=64 > "$dir-$2.log" 2>&1 || { tail -n 3 "$dir-$2.log" >&2; exit 1; }
    "$troupe" rollouts "$dir-$2" --json | sed -E 's/.*"brevity":([0-9.e-]+),"detail":([0-9.e-]+).*"id":"([0-9]+)".*/\3 \1 \2/' |
        awk '{ n[$1]++; b[$1] += $2; d[$1] += $3 } END { for (k in n) print k, b[k] / n[k], d[k] / n[k] }' | sort -n
}

# Kendall's tau-b between column 1 and column $1 of lines of numbers, signed so that 1 is what the preference asks for.
kendall() {
    awk -v c="$1" -v s="$2" '{ x[NR] = $1; y[NR] = s * $c } END {
        for (i = 1; i <= NR; i++) for (j = i + 1; j <= NR; j++) {
            d = (x[j] - x[i]) * (y[j] - y[i])
            if (d > 0) up++; else if (d < 0) down++
            nx += x[i] != x[j]; ny += y[i] != y[j]
        }
        print (nx * ny > 0 ? (up - down) / sqrt(nx * ny) : 0)
    }'
}

# Hypervolume over (0, 0) of the best points: brevity in column 2, detail in column 3. The most that can be had is 0.833.
hypervolume() {
    sort -k2,2gr | awk '{ if ($3 > best) { area += $2 * ($3 - best); best = $3 } } END { print area }'
}

result_preference() {
    local arm=$1 seed dir=$out/preference
    for seed in $seeds; do
        echo "$(kendall 2 1 < "$dir/$arm-$seed.front") $(kendall 3 -1 < "$dir/$arm-$seed.front")" \
            "$(hypervolume < "$dir/$arm-$seed.front")" \
            "$(tail -n 20 "$dir/$arm-$seed/metrics.jsonl" | awk "$get"'/"event": "step"/ { s += get("timing_s/step"); n++ } END { print 1000 * s / n }')"
    done > "$dir/$arm.numbers"
    row "$arm" "$dir/$arm.numbers" %.2f %.2f %.3f %.0f
}

preference() {
    local arms=() seed
    run() {
        arms+=("$1")
        result_preference() { :; } # there is nothing to tell before the front is sampled
        arm preference "$@" > /dev/null
        . scripts/experiments/preference.sh
        for seed in $([ -n "${TABLES:-}" ] || echo $seeds); do achieved "$out/preference/$1-$seed" test > "$out/preference/$1-$seed.front"; done
        result_preference "$1"
    }
    base_of preference
    run preference "$@"
    run divided algorithm.std=group "$@"
    run fixed reward.preference= "$@"
    table preference "| arm | tau brevity | tau detail | hypervolume | ms a step |" "${arms[@]}"
}
