#include <string.h>

#include "kernels/cpu/cpu.h"

enum { CHUNK = 8192 }; /* partial sums of fixed chunks, added in order: the same for any number of threads */

void cpu_zero(device *dev, float *x, int64_t n)
{
    (void)dev;
    memset(x, 0, sizeof(float) * (size_t)n);
}

void cpu_add(device *dev, float *y, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(threads_for(dev, 2.0 * (double)n))
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void cpu_scale(device *dev, float *y, float a, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(threads_for(dev, 2.0 * (double)n))
    for (int64_t i = 0; i < n; i++) y[i] *= a;
}

/* Eight running sums of a chunk: the order is fixed by the source, the compiler may not change it. */
static double chunk_dot(const float *a, const float *b, int64_t n)
{
    double sum[8] = { 0 };
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) sum[j] += (double)a[i + j] * (double)b[i + j];
    for (; i < n; i++) sum[0] += (double)a[i] * (double)b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static double dot(device *dev, const float *a, const float *b, int64_t n)
{
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    double *partial = device_scratch(dev, sizeof(double) * (size_t)(chunks + 1)), total = 0;
#pragma omp parallel for schedule(static) num_threads(threads_for(dev, 2.0 * (double)n))
    for (int64_t c = 0; c < chunks; c++)
        partial[c] = chunk_dot(a + c * CHUNK, b + c * CHUNK, n - c * CHUNK < CHUNK ? n - c * CHUNK : CHUNK);
    for (int64_t c = 0; c < chunks; c++) total += partial[c];
    return total;
}

double cpu_sum_squares(device *dev, const float *x, int64_t n) { return dot(dev, x, x, n); }

void cpu_gram(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G)
{
    for (int a = 0; a < K; a++)
        for (int b = 0; b <= a; b++) {
            const double d = dot(dev, g + a * stride, g + b * stride, n);
            G[a * K + b] += d;
            if (a != b) G[b * K + a] += d;
        }
}

void cpu_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out)
{
#pragma omp parallel for schedule(static) num_threads(threads_for(dev, 2.0 * (double)n * K))
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int a = 0; a < K; a++) sum += w[a] * (double)g[a * stride + i];
        out[i] = (float)sum;
    }
}
