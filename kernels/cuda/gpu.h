/* SPDX-License-Identifier: MIT */
/* gpu - one header for two compilers: nvcc, and a host C++ compiler that runs the same .cu files on the CPU.
 *
 * The emulation (TROUPE_GPU_EMULATED) is honest about a block: every thread is a fiber of its own; __syncthreads,
 * shuffles and tensor-core products really exchange values between fibers, so a missing barrier, a wrong index or a
 * wrong fragment shows in the tests of every machine. Dynamic shared memory is filled with NaN before a block runs; a
 * barrier that not all threads reach ends the program with the kernel's name. What it can't show: races between warps
 * that a lucky order hides, the hardware's own arithmetic in tensor cores, and speed.
 *
 * Conventions: kernels are `GPU_KERNEL void name(...)`, started by GPU_LAUNCH(dev, name, grid, block, bytes, ...),
 * which notes the first failure under the kernel's name. Dynamic shared memory is GPU_DYNAMIC(type, name). */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined TROUPE_GPU_EMULATED
#include "kernels/cuda/emulation/emulation.h"
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#define GPU_KERNEL __global__ static
#define GPU_DEVICE __device__ static inline
#define GPU_DYNAMIC(type, name)                                                                                        \
    extern __shared__ __align__(16) unsigned char gpu_dynamic_memory[];                                                \
    type *name = (type *)gpu_dynamic_memory
#define GPU_START(kernel, grid, block, bytes, stream, ...)                                                             \
    (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes)),                          \
     kernel<<<grid, block, bytes, stream>>>(__VA_ARGS__), (int)cudaGetLastError())

typedef cudaStream_t gpu_stream;
static inline int gpu_devices(void)
{
    int n = 0;
    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}
static inline int gpu_malloc(void **p, size_t bytes) { return cudaMalloc(p, bytes); }
static inline int gpu_free(void *p) { return cudaFree(p); }
static inline int gpu_copy(void *to, const void *from, size_t bytes, gpu_stream s)
{
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, s);
}
static inline int gpu_fill_zero(void *p, size_t bytes, gpu_stream s) { return cudaMemsetAsync(p, 0, bytes, s); }
static inline int gpu_wait(gpu_stream s) { return cudaStreamSynchronize(s); }
static inline const char *gpu_error(int code) { return cudaGetErrorString((cudaError_t)code); }

/* d [16, 8] += a [16, 16] b [16, 8], bf16 factors, fp32 sums, over a warp (PTX mma.sync.m16n8k16; its fragments: lane l
 * has g = l / 4, t = l % 4; a: rows g, g + 8 of columns 2 t.. and 2 t + 8..; b: rows 2 t.. and 2 t + 8.. of column g;
 * d: rows g (two columns from 2 t) and g + 8). */
__device__ static inline void mma_16x8x16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

enum { WARP = 32 };

/* Two numbers as bf16 in one register, the first in the lower half. */
GPU_DEVICE uint32_t pack_bf16(float low, float high)
{
    const __nv_bfloat16 l = __float2bfloat16(low), h = __float2bfloat16(high);
    uint16_t a, b;
    memcpy(&a, &l, 2);
    memcpy(&b, &h, 2);
    return (uint32_t)b << 16 | a;
}

GPU_DEVICE float warp_sum(float v)
{
    for (int away = WARP / 2; away > 0; away /= 2) v += __shfl_xor_sync(0xffffffffu, v, away);
    return v;
}

GPU_DEVICE float warp_max(float v)
{
    for (int away = WARP / 2; away > 0; away /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, away));
    return v;
}

/* The sum (or maximum) of v over a block of THREADS, in every thread: a tree in each warp, then the warps in order. */
template <int THREADS> GPU_DEVICE float block_sum(float v)
{
    __shared__ float of_warp[THREADS / WARP];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = v;
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < THREADS / WARP; i++) sum += of_warp[i];
    return sum;
}

template <int THREADS> GPU_DEVICE float block_max(float v)
{
    __shared__ float of_warp[THREADS / WARP];
    v = warp_max(v);
    __syncthreads();
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = v;
    __syncthreads();
    float largest = of_warp[0];
    for (int i = 1; i < THREADS / WARP; i++) largest = fmaxf(largest, of_warp[i]);
    return largest;
}
