/* SPDX-License-Identifier: MIT */
/* Rows of the embedding, gathered forward and added back in the order of the batch. */
#include <string.h>

#include "kernels/cpu/cpu.h"

void cpu_embed(device *dev, const float *e, const int32_t *ids, int T, int D, float *y)
{
    (void)dev;
    for (int t = 0; t < T; t++)
        memcpy(y + (size_t)t * (size_t)D, e + (size_t)ids[t] * (size_t)D, sizeof(float) * (size_t)D);
}

/* One thread: rows of E repeat in a batch, and the sum over them must keep the batch's order. */
void cpu_embed_backward(device *dev, const float *dy, const int32_t *ids, int T, int D, float *de)
{
    (void)dev;
    for (int t = 0; t < T; t++) {
        float *to = de + (size_t)ids[t] * (size_t)D;
        const float *from = dy + (size_t)t * (size_t)D;
        for (int d = 0; d < D; d++) to[d] += from[d];
    }
}
