#!/bin/bash
# SPDX-License-Identifier: MIT
# Trains a small recipe again and again while every process of the run is killed and stopped at random: supervisor,
# learner, actors, reward workers and their hosts, the sandbox and its children. Every run must end, leave no process
# behind, and equal the undisturbed run: the same weights to the byte, the same episodes with the same scores in its
# database, each trained on once.
#   scripts/chaos.sh TROUPE [SECONDS=600] [SEED=1]
# A failure leaves the run's folder, and says which; the same seed draws the same acts, though they meet other moments.
set -euo pipefail
export LC_ALL=C
troupe=$(realpath "$1") seconds=${2:-600} RANDOM=${3:-1}
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
export OMP_NUM_THREADS=1
recipe=$source/recipes/calculator/recipe.lua
keys=(rollout.prompts_per_step=4 rollout.group=4 steps=12 checkpoint_every=2 eval_every=4 eval_prompts=8
    learner_threads=1 actors=2 reward_workers=2)
hang_s=150 # without a step, and without a process being stopped by us

declare -A seen=() acts=()
runs=0 resumed=0 supervisor=

finish() { # also when this script fails or is stopped: no process of ours stays, none stays stopped
    local pid
    for pid in "${!seen[@]}"; do alive "$pid" && kill -KILL "$pid" 2> /dev/null; done
    [ -n "${kept:-}" ] || rm -rf "$work"
}
trap finish EXIT

fail() {
    kept=1
    echo "chaos: $1 (run $runs, in $work)" >&2
    tail -n 5 "$work/out" "$work"/live/logs/*.log 2> /dev/null >&2 || true
    exit 1
}

born() { # PID: when it started, which tells it from a later process of the same number
    local stat
    { stat=$(< "/proc/$1/stat"); } 2> /dev/null || return 1
    stat=${stat##*) }
    set -- $stat
    [ "${1:-Z}" != Z ] && echo "${20}"
}

alive() { [ "$(born "$1")" = "${seen[$1]}" ]; }

tree=() # the supervisor and all below it
look() {
    local pid children start
    tree=("$supervisor")
    for ((i = 0; i < ${#tree[@]}; i++)); do
        pid=${tree[i]}
        children=
        { children=$(cat /proc/"$pid"/task/*/children); } 2> /dev/null || true
        # shellcheck disable=SC2206
        tree+=($children)
        [ -n "${seen[$pid]:-}" ] || { start=$(born "$pid") && seen[$pid]=$start; } || true
    done
}

kind_of() { # PID: what it is, for the tally
    local line
    { line=$(tr '\0' ' ' < "/proc/$1/cmdline"); } 2> /dev/null || line=
    case $line in
    *" train "*) echo supervisor ;;
    *" learner "*) echo learner ;;
    *" actor "*) echo actor ;;
    *" reward-host "*) echo reward-host ;;
    *" reward "*) echo reward ;;
    *) echo box ;;
    esac
}

steps_done() { grep -c '"event": "step"' "$work/live/metrics.jsonl" 2> /dev/null || true; }

start() { # words of `troupe train`; its status goes to a file. In a shell of its own, which does not print a killed one
    rm -f "$work/pid" "$work/status"
    (
        exec 2> /dev/null
        "$troupe" train "$@" >> "$work/out" 2>&1 &
        echo $! > "$work/pid.new" && mv "$work/pid.new" "$work/pid"
        status=0
        wait $! || status=$?
        echo $status > "$work/status.new" && mv "$work/status.new" "$work/status"
    ) &
    while [ ! -f "$work/pid" ]; do sleep 0.01; done
    supervisor=$(< "$work/pid")
}

gone() { # the supervisor was killed: whoever it started must end by itself
    local pid deadline=$((SECONDS + 20))
    for pid in "${!seen[@]}"; do
        [ "$pid" = "$supervisor" ] && continue
        while alive "$pid"; do
            [ $SECONDS -lt $deadline ] || fail "$(kind_of "$pid") $pid outlived its supervisor"
            sleep 0.05
        done
        unset "seen[$pid]"
    done
}

begun() { # whether the run has a learner
    local pid
    for pid in "${tree[@]}"; do
        [ "$(kind_of "$pid")" = learner ] && return 0
    done
    return 1
}

act() { # one thing to one process; the supervisor is only killed, since who stops it stops the run on purpose
    local victim kind what pause
    look
    # before a run there are checks, with a box of their own: whoever kills that is told, and there is no run
    begun || return 0
    victim=${tree[RANDOM % ${#tree[@]}]}
    kind=$(kind_of "$victim")
    [ "$kind" = supervisor ] && [ $((RANDOM % 4)) -gt 0 ] && return
    # a lost tool call is a failed episode, and a run with more than 5 % of those ends by its own rule
    [ "$kind" = box ] && [ $((RANDOM % 2)) -gt 0 ] && return
    what=KILL
    [ "$kind" != supervisor ] && [ $((RANDOM % 5)) -lt 2 ] && what=STOP
    kill -"$what" "$victim" 2> /dev/null || return 0
    acts[$kind $what]=$((${acts[$kind $what]:-0} + 1))
    [ $what = STOP ] || return 0
    pause=$((RANDOM % 30))
    sleep "$((pause / 10)).$((pause % 10))"
    kill -CONT "$victim" 2> /dev/null || true
}

episodes() { # RUN: what it has played, without the times that things took
    "$troupe" rollouts "$1" --json | sed -E 's/"ms":[^,}]*//g' | sort
}

if ! "$troupe" env call --tool python '{"code": "print(1)"}' > "$work/out" 2>&1; then
    echo "chaos: no sandbox on this machine: $(tail -n 1 "$work/out")"
    exit 77
fi

# ---- the undisturbed run ----
"$troupe" train "$recipe" --run-dir "$work/calm" "${keys[@]}" > "$work/out" 2>&1 || fail "the calm run failed"
episodes "$work/calm" > "$work/calm.episodes"
counts=$("$troupe" rollouts "$work/calm" --limit 1 | grep '^trained:')
weights=checkpoints/step-12/model.safetensors

compare() {
    cmp "$work/calm/$weights" "$work/live/$weights" || fail "the weights differ"
    episodes "$work/live" > "$work/live.episodes"
    cmp "$work/calm.episodes" "$work/live.episodes" || fail "the episodes differ: diff $work/*.episodes"
    [ "$("$troupe" rollouts "$work/live" --limit 1 | grep '^trained:')" = "$counts" ] || fail "not $counts"
}

# ---- the others ----
one_run() {
    local status moved=$SECONDS steps=0 now
    : > "$work/out"
    rm -rf "$work/live"
    seen=()
    runs=$((runs + 1))
    start "$recipe" --run-dir "$work/live" "${keys[@]}"
    while :; do
        sleep "0.$((1 + RANDOM % 5))"
        act
        now=$(steps_done)
        [ "${now:-0}" = "$steps" ] || { steps=${now:-0} moved=$SECONDS; }
        [ $((SECONDS - moved)) -lt $hang_s ] || fail "no step for $hang_s s"
        [ -f "$work/status" ] || continue
        status=$(< "$work/status")
        gone
        [ $status = 0 ] && return
        [ $status = 137 ] || fail "the run ended with status $status: $(tail -n 1 "$work/out")"
        resumed=$((resumed + 1))
        seen=()
        if [ -f "$work/live/run.json" ]; then start --resume "$work/live"; else start "$recipe" --run-dir "$work/live" "${keys[@]}"; fi
    done
}

began=$SECONDS
while [ $((SECONDS - began)) -lt "$seconds" ]; do
    one_run
    compare
done
for kind in "${!acts[@]}"; do echo "chaos: $kind ${acts[$kind]}"; done | sort
echo "chaos: $runs runs, $resumed resumed, in $((SECONDS - began)) s: all the same, no process left"
