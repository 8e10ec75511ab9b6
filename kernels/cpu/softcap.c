/* SPDX-License-Identifier: MIT */
/* Soft-caps of whole arrays: blocks of sixteen, the last one padded, so that every element takes the same path. */
#include "kernels/cpu/softcap.h"
#include "kernels/cpu/cpu.h"

typedef struct capped {
    const float *y;
    float *out; /* y itself, or its cotangents */
    float cap;
    int64_t n;
} capped;

static inline int width_at(const capped *c, int64_t i) { return c->n - i < 16 ? (int)(c->n - i) : 16; }

static void cap_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const capped *c = ctx;
    (void)thread;
    for (int64_t i = begin * 16; i < end * 16; i += 16) {
        const int width = width_at(c, i);
        const v16 y = v16_softcap(v16_load_some(c->y + i, width), c->cap);
        memcpy(c->out + i, &y, sizeof(float) * (size_t)width);
    }
}

static void cotangent_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const capped *c = ctx;
    (void)thread;
    for (int64_t i = begin * 16; i < end * 16; i += 16) {
        const int width = width_at(c, i);
        const v16 derivative = v16_softcap_derivative(v16_load_some(c->y + i, width), c->cap);
        const v16 dy = v16_load_some(c->out + i, width) * derivative;
        memcpy(c->out + i, &dy, sizeof(float) * (size_t)width);
    }
}

void cpu_softcap(device *dev, float *y, float cap, int64_t n)
{
    cpu_parallel(dev, 30.0 * (double)n, (n + 15) / 16, 0, cap_blocks, &(capped){ y, y, cap, n });
}

void cpu_softcap_backward(device *dev, const float *y, float cap, int64_t n, float *dy)
{
    cpu_parallel(dev, 4.0 * (double)n, (n + 15) / 16, 0, cotangent_blocks, &(capped){ y, dy, cap, n });
}
