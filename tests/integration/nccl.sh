#!/bin/bash
# SPDX-License-Identifier: MIT
# Two learners whose gradients go from GPU to GPU end with the same bits as two whose gradients go through host memory. The
# GPU is the emulated one, NCCL a stand-in (tests/support/nccl): TROUPE_CUDA_MODULE and TROUPE_NCCL_MODULE name them.
#   nccl.sh TROUPE MPIRUN SOURCE-FOLDER
set -u
troupe=$1 mpirun=$2 source=$3
keys=(steps=2 checkpoint_every=2 eval_every=0 learner_threads=1)
. "$source/tests/integration/fleet.sh"

whole_run gpus device=cuda:0
grep -q "from GPU to GPU" "$work/gpus.log" || fail "NCCL was not used"
TROUPE_NCCL_MODULE=$work/none whole_run host device=cuda:0
grep -q "through host memory (learner 1: no NCCL module" "$work/host.log" || fail "nothing was said of the missing module"

gradients gpus
same gpus host step-2/model.safetensors
same gpus host step-2/optimizer.safetensors
echo "from GPU to GPU and through host memory: the same bits"
