/* SPDX-License-Identifier: MIT */
/* SwiGLU, forward and backward: blocks of sixteen, the last one padded, so that every element takes the same path
 * wherever it lies. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

typedef struct gated {
    const float *dy, *gate, *up;
    int64_t n;
    float *y, *dgate, *dup;
} gated;

static inline v16 sigmoid(v16 x) { return v16_set(1.0f) / (v16_set(1.0f) + v16_exp(-x)); }

static inline int width_at(const gated *g, int64_t i) { return g->n - i < 16 ? (int)(g->n - i) : 16; }

static void forward_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const gated *j = ctx;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        const int64_t i = b * 16;
        const int width = width_at(j, i);
        const v16 g = v16_load_some(j->gate + i, width);
        const v16 r = g * sigmoid(g) * v16_load_some(j->up + i, width);
        memcpy(j->y + i, &r, sizeof(float) * (size_t)width);
    }
}

void cpu_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y)
{
    cpu_parallel(dev, 20.0 * (double)n, (n + 15) / 16, 0, forward_blocks,
                 &(gated){ .gate = gate, .up = up, .n = n, .y = y });
}

/* y = g s u with s = sigmoid(g), so ds/dg = s (1 - s): du = dy g s, dg = dy u s (1 + g (1 - s)). */
static void backward_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const gated *j = ctx;
    (void)thread;

    for (int64_t b = begin; b < end; b++) {
        const int64_t i = b * 16;
        const int width = width_at(j, i);
        const v16 g = v16_load_some(j->gate + i, width), u = v16_load_some(j->up + i, width);
        const v16 d = v16_load_some(j->dy + i, width), s = sigmoid(g);
        const v16 du = d * g * s, dg = d * u * s * (v16_set(1.0f) + g * (v16_set(1.0f) - s));

        memcpy(j->dgate + i, &dg, sizeof(float) * (size_t)width);
        memcpy(j->dup + i, &du, sizeof(float) * (size_t)width);
    }
}

void cpu_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                         float *dup)
{
    cpu_parallel(dev, 30.0 * (double)n, (n + 15) / 16, 0, backward_blocks,
                 &(gated){ .dy = dy, .gate = gate, .up = up, .n = n, .dgate = dgate, .dup = dup });
}
