/* SPDX-License-Identifier: MIT */
/* emulation - the words of CUDA for a host C++ compiler: see gpu.h. One block runs at a time, its threads as fibers
 * that change places at barriers and shuffles, in an order that differs from block to block. */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct gpu_place { /* of the fiber that runs */
    dim3 thread, block, block_size, grid;
};
extern gpu_place *gpu_now;
#define threadIdx (gpu_now->thread)
#define blockIdx (gpu_now->block)
#define blockDim (gpu_now->block_size)
#define gridDim (gpu_now->grid)

#define GPU_KERNEL static
#define GPU_DEVICE static inline
#define __shared__ static
#define __restrict__
#define GPU_DYNAMIC(type, name) type *name = (type *)gpu_dynamic_memory()

void *gpu_dynamic_memory(void);
void gpu_block_barrier(void);
void gpu_warp_barrier(void);
/* This lane's slot of the warp, [32] slots of 32 bytes each, for exchanges: write, warp barrier, read, warp barrier. */
unsigned char *gpu_warp_slot(int lane);
int gpu_lane(void);

#define __syncthreads() gpu_block_barrier()
#define __syncwarp() gpu_warp_barrier()

template <class T> T gpu_exchange(T v, int from)
{
    T got;
    memcpy(gpu_warp_slot(gpu_lane()), &v, sizeof v);
    gpu_warp_barrier();
    memcpy(&got, gpu_warp_slot(from), sizeof got);
    gpu_warp_barrier();
    return got;
}
template <class T> T __shfl_xor_sync(unsigned, T v, int mask) { return gpu_exchange(v, gpu_lane() ^ mask); }
template <class T> T __shfl_sync(unsigned, T v, int from) { return gpu_exchange(v, from & 31); }
template <class T> T __shfl_up_sync(unsigned, T v, int by)
{
    const T got = gpu_exchange(v, gpu_lane() >= by ? gpu_lane() - by : gpu_lane());
    return gpu_lane() >= by ? got : v;
}

/* ---- bf16 ---- */

struct __nv_bfloat16 {
    uint16_t bits;
};
static inline __nv_bfloat16 __float2bfloat16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) return __nv_bfloat16{ (uint16_t)((u >> 16) | 64) };
    return __nv_bfloat16{ (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16) };
}
static inline float __bfloat162float(__nv_bfloat16 b)
{
    const uint32_t u = (uint32_t)b.bits << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
void mma_16x8x16(float d[4], const uint32_t a[4], const uint32_t b[2]);

/* ---- the runtime ---- */

typedef int gpu_stream;
static inline int gpu_devices(void) { return 1; }
static inline int gpu_malloc(void **p, size_t bytes)
{
    return (*p = aligned_alloc(256, (bytes + 511) / 256 * 256)) ? 0 : 2;
}
static inline int gpu_free(void *p)
{
    free(p);
    return 0;
}
static inline int gpu_copy(void *to, const void *from, size_t bytes, gpu_stream)
{
    memcpy(to, from, bytes);
    return 0;
}
static inline int gpu_fill_zero(void *p, size_t bytes, gpu_stream)
{
    memset(p, 0, bytes);
    return 0;
}
static inline int gpu_wait(gpu_stream) { return 0; }
static inline const char *gpu_error(int code) { return code ? "out of memory" : "no error"; }

/* ---- launching ---- */

/* Runs body(ctx) as every thread of every block. */
void gpu_run(const char *kernel, dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(void *), void *ctx);

template <class F> void gpu_call(void *f) { (*(F *)f)(); }
template <class F> int gpu_start(const char *kernel, dim3 grid, dim3 block, size_t bytes, F f)
{
    gpu_run(kernel, grid, block, bytes, gpu_call<F>, &f);
    return 0;
}
#define GPU_START(kernel, grid, block, bytes, stream, ...)                                                             \
    gpu_start(#kernel, grid, block, bytes, [=] { kernel(__VA_ARGS__); })
