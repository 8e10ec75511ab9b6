#!/bin/bash
# Experiments with their control arms: scripts/experiments.sh [conflict] [key=value ...]. Leaves runs/experiments/NAME/table.md,
# which docs/experiments.md prints. Three seeds an arm (SEEDS="1 2 3"), one arm after the other: about eight minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
troupe=${TROUPE:-build/release/troupe}
out=runs/experiments
seeds=${SEEDS:-1 2 3}

# NAME: a base model from recipes/NAME/pretrain.lua, once.
base_of() {
    local base=$out/$1/base
    [ -s "$base/model.safetensors" ] && return
    mkdir -p "$base"
    cp models/stagehand/{tokenizer,tokenizer_config,special_tokens_map}.json "recipes/$1/model.json" "$base"
    mv "$base/model.json" "$base/config.json"
    echo "== the base model of $1 (half a minute)"
    "$troupe" pretrain "recipes/$1/pretrain.lua" "model=$PWD/$base" | tail -n 1
}

# NAME ARM key=value...: runs of all seeds, silent; one that fails is shown.
arm() {
    local name=$1 arm=$2 seed
    shift 2
    for seed in $seeds; do
        "$troupe" train "recipes/$name/recipe.lua" --fresh --run-dir "$out/$name/$arm-$seed" "model=$PWD/$out/$name/base" \
            "seed=$seed" "$@" > "$out/$name/$arm-$seed.log" 2>&1 || { tail -n 3 "$out/$name/$arm-$seed.log" >&2; exit 1; }
    done
    echo "$arm: $(result "$name" "$arm" | cut -d'|' -f3-)"
}

# A line of the table: means over the seeds of each run's last 20 steps, and the spread of the product.
result() {
    for seed in $seeds; do tail -n 20 "$out/$1/$2-$seed/metrics.jsonl" | grep '"event": "step"' | sed "s/^/$seed /"; done |
        awk -v arm="$2" '
        function get(key,   at, rest) {
            at = index($0, "\"" key "\": ")
            if (!at) return 0
            rest = substr($0, at + length(key) + 4)
            return rest + 0
        }
        {
            seed[$1] = 1; n[$1]++
            a[$1] += get("reward/accuracy/mean"); b[$1] += 1 + get("reward/brevity/mean"); f[$1] += get("reward/format/mean")
            time[$1] += get("timing_s/step")
        }
        END {
            for (s in seed) {
                x = a[s] / n[s]; y = b[s] / n[s]; z = f[s] / n[s]; h = x * y * z
                A += x; B += y; F += z; H += h; S += h * h; T += time[s] / n[s]; N++
            }
            sd = N > 1 && S > H * H / N ? sqrt((S - H * H / N) / (N - 1)) : 0
            printf "| %s | %.2f | %.1f | %.2f | %.3f +- %.3f | %.0f |\n", arm, A / N, 12 * (1 - B / N), F / N, H / N, sd, 1000 * T / N
        }'
}

conflict() {
    local arms=() a
    run() { arms+=("$1"); arm conflict "$@"; }
    base_of conflict
    run gdpo "$@"
    run average moo.method=pref moo.gate=0 "$@"
    run cagrad-token moo.method=cagrad moo.bucket=token "$@"
    run cagrad moo.method=cagrad "$@"
    run cagrad-gate-0.25 moo.method=cagrad moo.gate=0.25 "$@"
    run cagrad-ungated moo.method=cagrad moo.gate=0 "$@"
    run pcgrad moo.method=pcgrad "$@"
    run mgda moo.method=mgda "$@"
    run mgda-ungated moo.method=mgda moo.gate=0 "$@"
    run mgda-global moo.method=mgda moo.gate=0 moo.bucket=global "$@"
    run gdpo-constrained reward.objectives.accuracy.weight=1 reward.objectives.accuracy.least=0.9 "$@"
    run cagrad-constrained moo.method=cagrad reward.objectives.accuracy.weight=1 reward.objectives.accuracy.least=0.9 "$@"
    {
        echo "| arm | accuracy | tokens | format | product | ms a step |"
        echo "|---|---|---|---|---|---|"
        for a in "${arms[@]}"; do result conflict "$a"; done
    } > $out/conflict/table.md
    echo
    cat $out/conflict/table.md
}

[ $# -gt 0 ] || set -- conflict
what=$1
shift
case $what in
conflict) conflict "$@" ;;
*) echo "experiments: no '$what' (conflict)" >&2; exit 2 ;;
esac
