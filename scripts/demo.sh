#!/bin/bash
# SPDX-License-Identifier: MIT
# The demo: one model, a Python tool it does not use by itself, and two ways to teach it with the same rewards and the same
# number of rollouts: with worked examples that fade away (ICRL), and without any (the control).
#
#   scripts/demo.sh [key=value ...]           a tiny model of our own (recipes/calculator): a minute
#   scripts/demo.sh --real [key=value ...]    SmolLM2-135M-Instruct, a public one (recipes/smollm2; scripts/real_model.sh)
#                                             a quarter of an hour on two quiet cores with AVX-512 or AMX (with AVX2
#                                             alone a few times that), 7 GB of memory, 3 GB of disk beside the model's 0.5
#
# Leaves runs/demo/{icrl,control}, runs/demo/curves.svg and runs/demo/summary.json (--real: runs/demo-real). Words are
# overrides of both recipes, e.g.: scripts/demo.sh steps=40
set -euo pipefail
cd "$(dirname "$0")/.."
troupe=${TROUPE:-build/release/troupe}
name=demo recipes=recipes/calculator model=models/stagehand fade="3, 2, half 1 and half 0, none"
question="what is 348 times 28?" answer=9744
if [ "${1:-}" = --real ]; then
    shift
    name=demo-real recipes=recipes/smollm2 model=models/smollm2 fade="as fast as it succeeds without them"
    question="Each of the schools has 3481 pupils and there are 28 schools. How many pupils are there?" answer=97468
fi
out=runs/$name
began=$(date +%s)

last_eval() { # RUN first|last: the accuracy of an evaluation
    grep '"event": "eval"' "$1/metrics.jsonl" | { if [ "$2" = first ]; then head -n 1; else tail -n 1; fi; } |
        sed 's/.*"eval\/accuracy\/mean": \([0-9.e+-]*\).*/\1/'
}
sampled() { sed -n 's/.*"training\/episodes": \([0-9]*\).*/\1/p' "$1/metrics.jsonl" | awk '{n += $1} END {print n + 0}'; }
took() { awk -v from="$1" -v to="$(date +%s)" 'BEGIN {print to - from}'; }
fixed() { LC_ALL=C printf '%.3f' "$1"; }

ask() { # MODEL: one question that no training saw, without an example
    echo "$question" | "$troupe" chat $recipes/recipe.lua --model "$1" | tr "\n" " " | cut -c 1-160
}

mkdir -p "$out"
[ "$name" = demo ] || printf '%s\n' "Two runs of a model of 135 M parameters: a quarter of an hour on two quiet cores with AVX-512 or AMX, a few times" \
    "that with AVX2 alone; 3 GB in $out, 7 GB of memory. What runs is in recipes/smollm2, what to expect in" \
    "docs/experiments.md." ""
echo "Question, never trained on:  $question   ($answer)"
echo "before:  $(ask "$model")"
echo
echo "== with worked examples that fade away: $fade"
at=$(date +%s)
"$troupe" train $recipes/recipe.lua --fresh --run-dir "$out/icrl" "$@"
icrl=$(took "$at")
echo
echo "== control: no examples at any time, the same number of rollouts"
at=$(date +%s)
"$troupe" train $recipes/control.lua --fresh --run-dir "$out/control" "$@"
control=$(took "$at")

newest=$(ls -d "$out"/icrl/checkpoints/step-* | sort -t- -k2 -n | tail -n 1)
echo
echo "after:   $(ask "$newest")"
echo
"$troupe" plot "$out/curves.svg" "$out/icrl" "$out/control"
before=$(fixed "$(last_eval "$out/icrl" first)")
after=$(fixed "$(last_eval "$out/icrl" last)")
control_after=$(fixed "$(last_eval "$out/control" last)")
seconds=$(took "$began")

echo "held-out questions, no example in the prompt, real Python tool"
printf '%-22s %10s %10s %10s %9s\n' "" before after rollouts seconds
printf '%-22s %10s %10s %10s %9s\n' "examples that fade" "$before" "$after" "$(sampled "$out/icrl")" "$icrl"
printf '%-22s %10s %10s %10s %9s\n' "control, no examples" "$(fixed "$(last_eval "$out/control" first)")" "$control_after" "$(sampled "$out/control")" "$control"
printf '{"zero_shot_before": %s, "zero_shot_after": %s, "control_after": %s, "seconds": %s, "icrl_seconds": %s, "control_seconds": %s, "icrl_rollouts": %s, "control_rollouts": %s}\n' \
    "$before" "$after" "$control_after" "$seconds" "$icrl" "$control" "$(sampled "$out/icrl")" "$(sampled "$out/control")" > "$out/summary.json"
echo
echo "curves: $out/curves.svg   episodes: $troupe rollouts $out/icrl --text --limit 5"
echo "talk to it: $troupe chat $recipes/recipe.lua --model $newest"
echo "$name: zero_shot_before=$before zero_shot_after=$after control_after=$control_after seconds=$seconds"
