/* SPDX-License-Identifier: MIT */
/* SwiGLU and GeGLU, forward and backward: blocks of sixteen, the last one padded, so that every element takes the same
 * path wherever it lies. */
#include <stdbool.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

typedef struct gated {
    const float *dy, *gate, *up;
    int64_t n;
    float *y, *dgate, *dup;
} gated;

static inline v16 sigmoid(v16 x) { return v16_set(1.0f) / (v16_set(1.0f) + v16_exp(-x)); }

static inline int width_at(const gated *g, int64_t i) { return g->n - i < 16 ? (int)(g->n - i) : 16; }

/* The sigmoid s of y = g s u. GELU's is that of 2 z, tanh's z: 1/2 (1 + tanh z) = sigmoid(2 z). */
static const float GELU_SLOPE = 1.5957691216057308f, GELU_CUBE = 0.044715f; /* 2 sqrt(2 / pi) */

static inline v16 sigmoid_of(bool gelu, v16 g)
{
    if (!gelu) return sigmoid(g);
    return sigmoid(v16_set(GELU_SLOPE) * g * (v16_set(1.0f) + v16_set(GELU_CUBE) * g * g));
}

static inline void forward_some(const gated *j, int64_t begin, int64_t end, bool gelu)
{
    for (int64_t b = begin; b < end; b++) {
        const int64_t i = b * 16;
        const int width = width_at(j, i);
        const v16 g = v16_load_some(j->gate + i, width);
        const v16 r = g * sigmoid_of(gelu, g) * v16_load_some(j->up + i, width);
        memcpy(j->y + i, &r, sizeof(float) * (size_t)width);
    }
}

/* ds/dg = s (1 - s) times the derivative of the sigmoid's argument, which SiLU has none of: du = dy g s,
 * dg = dy u s (1 + g (1 - s)). */
static inline void backward_some(const gated *j, int64_t begin, int64_t end, bool gelu)
{
    for (int64_t b = begin; b < end; b++) {
        const int64_t i = b * 16;
        const int width = width_at(j, i);
        const v16 g = v16_load_some(j->gate + i, width), u = v16_load_some(j->up + i, width);
        const v16 d = v16_load_some(j->dy + i, width), s = sigmoid_of(gelu, g);
        v16 steep = v16_set(1.0f) - s;
        if (gelu) steep *= v16_set(GELU_SLOPE) * (v16_set(1.0f) + v16_set(3 * GELU_CUBE) * g * g);
        const v16 du = d * g * s, dg = d * u * s * (v16_set(1.0f) + g * steep);

        memcpy(j->dgate + i, &dg, sizeof(float) * (size_t)width);
        memcpy(j->dup + i, &du, sizeof(float) * (size_t)width);
    }
}

/* A loop for each: which one it is, no element asks. */
static void silu_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    if (((const gated *)ctx)->dy)
        backward_some(ctx, begin, end, false);
    else
        forward_some(ctx, begin, end, false);
}

static void gelu_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    if (((const gated *)ctx)->dy)
        backward_some(ctx, begin, end, true);
    else
        forward_some(ctx, begin, end, true);
}

void cpu_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y)
{
    gated j = { .gate = gate, .up = up, .n = n, .y = y };
    cpu_parallel(dev, 20.0 * (double)n, (n + 15) / 16, 0, silu_blocks, &j);
}

void cpu_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                         float *dup)
{
    gated j = { .dy = dy, .gate = gate, .up = up, .n = n, .dgate = dgate, .dup = dup };
    cpu_parallel(dev, 30.0 * (double)n, (n + 15) / 16, 0, silu_blocks, &j);
}

void cpu_geglu(device *dev, const float *gate, const float *up, int64_t n, float *y)
{
    gated j = { .gate = gate, .up = up, .n = n, .y = y };
    cpu_parallel(dev, 25.0 * (double)n, (n + 15) / 16, 0, gelu_blocks, &j);
}

void cpu_geglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                        float *dup)
{
    gated j = { .dy = dy, .gate = gate, .up = up, .n = n, .dgate = dgate, .dup = dup };
    cpu_parallel(dev, 35.0 * (double)n, (n + 15) / 16, 0, gelu_blocks, &j);
}
