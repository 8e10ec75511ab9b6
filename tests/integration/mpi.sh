#!/bin/bash
# SPDX-License-Identifier: MIT
# Two learners under mpirun: a run that is killed in the middle and resumed ends with the same bits as one that isn't.
#   mpi.sh TROUPE MPIRUN SOURCE-FOLDER
set -u
troupe=$1 mpirun=$2 source=$3
keys=(steps=30 checkpoint_every=2 eval_every=0 rollout.prompts_per_step=4 learner_threads=1)
. "$source/tests/integration/fleet.sh"

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
dismiss
whole_run rough --resume

gradients calm
same calm rough step-30/model.safetensors
same calm rough step-30/optimizer.safetensors
echo "two learners, one killed: the same bits"
