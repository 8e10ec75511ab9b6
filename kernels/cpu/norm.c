#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

/* Sum over d of a[d] b[d], sixteen partial sums then a tree: one order for every row. */
static float dot(const float *a, const float *b, int D)
{
    v16 sum = v16_set(0);
    int d = 0;
    for (; d + 16 <= D; d += 16) sum = v16_load(a + d) * v16_load(b + d) + sum;
    if (d < D) sum = v16_load_n(a + d, D - d) * v16_load_n(b + d, D - d) + sum;
    return v16_sum(sum);
}

void cpu_rmsnorm(device *dev, const float *x, const float *w, int T, int D, float eps, float *y, float *rstd)
{
#pragma omp parallel for num_threads(threads_for(dev, 4.0 * T * D))
    for (int t = 0; t < T; t++) {
        const float *row = x + (size_t)t * (size_t)D;
        float *to = y + (size_t)t * (size_t)D;
        const float r = 1.0f / sqrtf(dot(row, row, D) / (float)D + eps);
        for (int d = 0; d < D; d++) to[d] = row[d] * r * w[d];
        rstd[t] = r;
    }
}

/* dx += r (dy w) - x r^3 / D sum(dy w x);  dw += sum over rows of dy x r, in row order: columns are shared out instead.
 */
void cpu_rmsnorm_backward(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T, int D,
                          float *dx, float *dw)
{
#pragma omp parallel for num_threads(threads_for(dev, 8.0 * T * D))
    for (int t = 0; t < T; t++) {
        const float *g = dy + (size_t)t * (size_t)D, *row = x + (size_t)t * (size_t)D;
        float *to = dx + (size_t)t * (size_t)D;
        float sum = 0;
        for (int d = 0; d < D; d++) sum += g[d] * w[d] * row[d];
        const float r = rstd[t], c = r * r * r * sum / (float)D;
        for (int d = 0; d < D; d++) to[d] += r * g[d] * w[d] - c * row[d];
    }
#pragma omp parallel for schedule(static) num_threads(threads_for(dev, 3.0 * T * D))
    for (int block = 0; block < (D + 15) / 16; block++) {
        const int begin = block * 16, end = begin + 16 < D ? begin + 16 : D;
        for (int t = 0; t < T; t++)
            for (int d = begin; d < end; d++)
                dw[d] += dy[(size_t)t * (size_t)D + (size_t)d] * x[(size_t)t * (size_t)D + (size_t)d] * rstd[t];
    }
}
