#!/bin/bash
# Two learners under mpirun: a run that is killed in the middle and resumed ends with the same bits as one that isn't.
#   mpi.sh TROUPE MPIRUN SOURCE-FOLDER
set -u
troupe=$1 mpirun=$2 source=$3
work=$(mktemp -d) && trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 TMPDIR=$work OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
keys=(steps=30 checkpoint_every=2 eval_every=0 rollout.prompts_per_step=4 learner_threads=1 env.max_turns=0)

fail() {
    echo "mpi: $1" >&2
    cat "$work"/*.log >&2
    exit 1
}

workers() { # ADDRESS: an actor and a reward worker, as long as there is somebody to talk to
    "$troupe" actor "$source/recipes/calculator/recipe.lua" --connect "$1" "${keys[@]}" > "$work/actor.log" 2>&1 &
    actor=$!
    "$troupe" reward "$source/recipes/calculator/recipe.lua" --connect "$1" "${keys[@]}" > "$work/reward.log" 2>&1 &
    reward=$!
}

learners() { # RUN [--resume]
    "$mpirun" --oversubscribe -n 2 "$troupe" learner "$source/recipes/calculator/recipe.lua" --run "$work/$1" \
        --bind "ipc://$work/$1.sock" --mpi "${@:2}" "${keys[@]}" > "$work/$1.log" 2>&1
}

whole_run() { # RUN [--resume]
    workers "ipc://$work/$1.sock"
    learners "$@" || fail "the run $* failed"
    kill $actor $reward 2>/dev/null
    wait $actor $reward 2>/dev/null
}

whole_run calm

# The second rank dies as soon as there is a checkpoint: MPI takes the first with it.
workers "ipc://$work/rough.sock"
learners rough &
mpi=$!
for _ in $(seq 300); do
    [ -e "$work/rough/checkpoints/step-2/state.json" ] && break
    sleep 0.1
done
[ -e "$work/rough/checkpoints/step-2/state.json" ] || fail "no checkpoint after 30 s"
ranks=$(pgrep -f "$work/rough --bind" | tail -n 1)
kill -9 "$ranks" || fail "the run was over before it could be killed"
wait $mpi && fail "a run without its second learner went on"
kill $actor $reward 2>/dev/null
wait $actor $reward 2>/dev/null
whole_run rough --resume

cmp "$work/calm/checkpoints/step-30/model.safetensors" "$work/rough/checkpoints/step-30/model.safetensors" ||
    fail "the weights differ"
cmp "$work/calm/checkpoints/step-30/optimizer.safetensors" "$work/rough/checkpoints/step-30/optimizer.safetensors" ||
    fail "the moments differ"
echo "two learners, one killed: the same bits"
