#!/bin/bash
# SPDX-License-Identifier: MIT
# What only a GPU can prove: builds the CUDA module and the maths for this machine's GPU, runs the operation suite and the
# families' goldens on it, then the benches where the whole program is there. Needs nvcc, gcc, cmake and the libraries
# of docs/dependencies.md (kernels/, model/ and learner/ alone: Jansson, PCRE2, utf8proc, cmocka).
#   scripts/gpu.sh [architecture, 90 by default]
set -u
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/local/cuda/bin
build=build/gpu status=0
if ! command -v nvcc >/dev/null; then
    echo "gpu.sh: no nvcc in PATH or /usr/local/cuda/bin" >&2
    exit 1
fi
rooms="base;rollout;kernels;model;learner"
pkg-config --exists libzmq msgpack lua5.4 sqlite3 && rooms=""
cmake -S . -B $build -DCMAKE_BUILD_TYPE=Release -DTROUPE_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${1:-90}" "-DTROUPE_ROOMS=$rooms" \
    --log-level=NOTICE && cmake --build $build -j "$(nproc)" || exit 1

export TROUPE_TEST_DEVICE=cuda:0 TROUPE_CUDA_MODULE=$PWD/$build/libtroupe_cuda.so TROUPE_SOURCE=$PWD TROUPE_BUILD=$PWD/$build
for test in kernels/test_kernels_{linear,layer,attention,head,elementwise,memory} model/test_model_golden; do
    if $build/$test >$build/log 2>&1; then echo "ok    $test"; else
        status=1
        echo "FAIL  $test"
        grep -E "ERROR|LINE|device" $build/log | head -5
    fi
done
[ -x $build/troupe ] || exit $status
for what in "train" "train --size large" "decode" "decode --batch 64" "decode --size large" "ops"; do
    for precision in f32 bf16; do
        echo "== bench $what $precision"
        $build/troupe bench $what --precision $precision --seconds 5 || status=1
    done
done
exit $status
