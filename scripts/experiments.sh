#!/bin/bash
# Experiments with their control arms: scripts/experiments.sh [conflict|languages [key=value ...]]. Leaves
# runs/experiments/NAME/table.md, which docs/experiments.md prints. Three seeds an arm (SEEDS="1 2 3"), one arm after the
# other: about twelve minutes on two cores.
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
    echo "$arm: $("result_$name" "$arm" | cut -d'|' -f3-)"
}

# The number of a key in a line of metrics.jsonl, for awk.
get='function get(key,   at) {
    at = index($0, "\"" key "\": ")
    return at ? substr($0, at + length(key) + 4) + 0 : 0
}'

# ARM: a line of the table: means over the seeds of each run's last 20 steps, and the spread of the product.
result_conflict() {
    for seed in $seeds; do tail -n 20 "$out/conflict/$1-$seed/metrics.jsonl" | grep '"event": "step"' | sed "s/^/$seed /"; done |
        awk -v arm="$1" "$get"'
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
        for a in "${arms[@]}"; do result_conflict "$a"; done
    } > $out/conflict/table.md
    echo
    cat $out/conflict/table.md
}

# ARM: the last evaluation's accuracy, mean over the five trained languages, the worst of them, the sixth; and over all steps the
# share of layers in conflict.
result_languages() {
    for seed in $seeds; do sed "s/^/$seed /" "$out/languages/$1-$seed/metrics.jsonl"; done |
        awk -v arm="$1" "$get"'
        BEGIN { n = split("de en fr es it", seen, " ") }
        /"event": "eval"/ {
            mean[$1] = 0; worst[$1] = 1; nl[$1] = get("eval/nl/mean")
            for (i = 1; i <= n; i++) {
                x = get("eval/" seen[i] "/mean")
                mean[$1] += x / n
                if (x < worst[$1]) worst[$1] = x
            }
        }
        /"event": "step"/ {
            steps++; time += get("timing_s/step")
            for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) {
                conflict += get("moo/conflict/" seen[i] ":" seen[j]) / 10
                hidden += get("moo/hidden_conflict/" seen[i] ":" seen[j]) / 10
            }
        }
        END {
            for (s in mean) { M += mean[s]; W += worst[s]; U += nl[s]; Q += mean[s] * mean[s]; N++ }
            sd = N > 1 && Q > M * M / N ? sqrt((Q - M * M / N) / (N - 1)) : 0
            printf "| %s | %.2f +- %.2f | %.2f | %.2f | %.2f | %.2f | %.0f |\n", arm, M / N, sd, W / N, U / N, conflict / steps, hidden / steps,
                1000 * time / steps
        }'
}

languages() {
    local arms=() a
    run() { arms+=("$1"); arm languages "$@"; }
    base_of languages
    run before steps=1 optim.lr=0 "$@"
    run gdpo "$@"
    run average moo.method=pref moo.gate=0 "$@"
    run pcgrad moo.method=pcgrad "$@"
    run cagrad moo.method=cagrad "$@"
    run upgrad moo.method=upgrad "$@"
    run mgda moo.method=mgda "$@"
    run cagrad-global moo.method=cagrad moo.bucket=global "$@"
    {
        echo "| arm | mean of five | worst | unseen (nl) | conflict | hidden | ms a step |"
        echo "|---|---|---|---|---|---|---|"
        for a in "${arms[@]}"; do result_languages "$a"; done
    } > $out/languages/table.md
    echo
    cat $out/languages/table.md
}

case ${1:-all} in
all) conflict && languages ;;
conflict | languages) "$@" ;;
*) echo "experiments: no '$1' (conflict, languages)" >&2; exit 2 ;;
esac
