# SPDX-License-Identifier: MIT
# Three languages one after the other: what is lost. Sourced by scripts/experiments.sh.

# ARM: accuracy of each language's test rows at the end (de, it, es in the order of the stages), of the three that were never
# trained together, and what was forgotten on average.
result_forgetting() {
    local seed
    for seed in $seeds; do
        "$troupe" forgetting "$out/forgetting/$1-$seed" | awk '
            $1 == "step" { for (i = 2; i <= NF; i++) at[$i] = i }
            $1 ~ /^[0-9]+$/ { for (name in at) last[name] = $at[name] }
            /^mean forgotten/ { f = $3 }
            END { print last["de"], last["it"], last["es"], (last["en"] + last["fr"] + last["nl"]) / 3, f }'
    done > "$out/forgetting/$1.numbers"
    row "$1" "$out/forgetting/$1.numbers" %.2f %.2f %.2f %.2f %.2f
}

forgetting() {
    local arms=()
    run() { arms+=("$1"); BASE=languages arm forgetting "$@"; }
    base_of languages
    run before steps=1 optim.lr=0 eval_every=1 "$@"
    run plain "$@"
    run kl algorithm.kl=0.05 "$@"
    run half optim.freeze=0.5 optim.freeze_every=20 "$@"
    run isolation-0.05 optim.protect=0.05 optim.freeze_every=20 "$@"
    run isolation-0.2 optim.protect=0.2 optim.freeze_every=20 "$@"
    table forgetting "| arm | de (first) | it (second) | es (last) | untrained | mean forgotten |" "${arms[@]}"
}
