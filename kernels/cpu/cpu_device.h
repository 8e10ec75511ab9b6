/* SPDX-License-Identifier: MIT */
/* cpu_device - the CPU as a device: threads, scratch memory, and the instruction set its operations were compiled for.
 * Internal to kernels/. */
#pragma once

#include "kernels/backend.h"
#include "kernels/cpu/pool.h"

/* `threads` <= 0: one a core this process may use. TROUPE_ISA=amx|avx512bf16|avx512|avx2|base asks for another
 * instruction set than the processor's best (for tests); NULL and `err` for one it lacks. */
device *cpu_open(int threads, error *err);

/* A loop over [0, n) in pieces of `grain` (0: a few a thread), on the device's threads when its work is worth sharing:
 * see pool_run. */
void cpu_parallel(device *dev, double flops, int64_t n, int64_t grain, pool_fn fn, void *ctx);

/* Scratch of one operation: what it took since the mark is free again after the rewind. */
typedef struct cpu_mark {
    int chunk;
    size_t in_chunk, used;
} cpu_mark;
cpu_mark cpu_scratch_mark(const device *dev);
void cpu_scratch_rewind(device *dev, cpu_mark mark);
