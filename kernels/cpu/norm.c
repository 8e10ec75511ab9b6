/* SPDX-License-Identifier: MIT */
/* RMSNorm. A row is one thread's, and all rows are summed in one order, sixteen partial sums and then a tree, so a
 * row has the same bits in any batch. */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

typedef struct norm {
    const float *x, *w, *dy, *rstd_in;
    int T, D;
    float eps, plus;
    float *y, *rstd, *dx, *dw;
} norm;

/* Numbers whose squares are too large for fp32 would come out as 0, and a model that has diverged would look like one
 * without an opinion: probabilities all the same, gradients 0. They are NaN, which whoever looks for trouble finds. */
static float rstd_of(float mean_square, float eps)
{
    const float r = 1.0f / sqrtf(mean_square + eps);
    return r > 0 ? r : NAN;
}

static void norm_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm *n = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        const float *row = n->x + (size_t)t * (size_t)n->D;
        float *to = n->y + (size_t)t * (size_t)n->D;
        const float r = rstd_of(v16_dot(row, row, n->D) / (float)n->D, n->eps);
        for (int d = 0; d < n->D; d++) to[d] = row[d] * r * (n->plus + n->w[d]);
        n->rstd[t] = r;
    }
}

void cpu_rmsnorm(device *dev, const float *x, const float *w, int T, int D, float eps, float plus, float *y,
                 float *rstd)
{
    norm n = { .x = x, .w = w, .T = T, .D = D, .eps = eps, .plus = plus, .y = y, .rstd = rstd };
    cpu_parallel(dev, 4.0 * T * D, T, 0, norm_rows, &n);
}

/* dx += r (dy w) - x r^3 / D sum(dy w x) */
static void gradient_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm *n = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        const float *g = n->dy + (size_t)t * (size_t)n->D, *row = n->x + (size_t)t * (size_t)n->D;
        float *to = n->dx + (size_t)t * (size_t)n->D;

        /* sum(dy w x), sixteen columns at a time and the rest one by one: the same order for every T. */
        v16 sum = v16_set(0);
        int d = 0;
        for (; d + 16 <= n->D; d += 16)
            sum += v16_load(g + d) * (v16_set(n->plus) + v16_load(n->w + d)) * v16_load(row + d);
        float total = v16_sum(sum);
        for (; d < n->D; d++) total += g[d] * (n->plus + n->w[d]) * row[d];

        const float r = n->rstd_in[t], c = r * r * r * total / (float)n->D;
        for (d = 0; d < n->D; d++) to[d] += r * g[d] * (n->plus + n->w[d]) - c * row[d];
    }
}

/* dw += sum over rows of dy x r, in row order: columns are shared out, sixteen a task. */
static void gradient_columns(void *ctx, int64_t begin, int64_t end, int thread)
{
    const norm *n = ctx;
    (void)thread;

    for (int64_t b = begin; b < end; b++) {
        const int d = (int)b * 16, width = n->D - d < 16 ? n->D - d : 16;
        v16 sum = v16_load_n(n->dw + d, width);

        for (int t = 0; t < n->T; t++) {
            const size_t at = (size_t)t * (size_t)n->D + (size_t)d;
            const v16 g = v16_load_some(n->dy + at, width), x = v16_load_some(n->x + at, width);
            sum = g * x * v16_set(n->rstd_in[t]) + sum;
        }
        memcpy(n->dw + d, &sum, sizeof(float) * (size_t)width);
    }
}

void cpu_rmsnorm_backward(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T, int D,
                          float plus, float *dx, float *dw)
{
    norm n = { .x = x, .w = w, .dy = dy, .rstd_in = rstd, .T = T, .D = D, .plus = plus, .dx = dx, .dw = dw };
    cpu_parallel(dev, 8.0 * T * D, T, 0, gradient_rows, &n);
    cpu_parallel(dev, 3.0 * T * D, (D + 15) / 16, 0, gradient_columns, &n);
}
