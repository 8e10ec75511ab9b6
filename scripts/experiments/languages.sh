# SPDX-License-Identifier: MIT
# One policy, five languages as data groups. Sourced by scripts/experiments.sh.

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
    local arms=() groups=(moo.over=groups "moo.groups={'de','en','fr','es','it'}")
    run() { arms+=("$1"); arm languages "$@"; }
    base_of languages
    run before steps=1 optim.lr=0 "$@"
    run gdpo "$@"
    run average "${groups[@]}" moo.method=pref moo.gate=0 "$@"
    run pcgrad "${groups[@]}" moo.method=pcgrad "$@"
    run cagrad "${groups[@]}" moo.method=cagrad "$@"
    run upgrad "${groups[@]}" moo.method=upgrad "$@"
    run mgda "${groups[@]}" moo.method=mgda "$@"
    run cagrad-global "${groups[@]}" moo.method=cagrad moo.bucket=global "$@"
    table languages "| arm | mean of five | worst | unseen (nl) | conflict | hidden | ms a step |" "${arms[@]}"
}
