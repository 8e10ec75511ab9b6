#include <string.h>

#include "kernels/cpu/cpu.h"

enum { CHUNK = 8192 }; /* partial sums of fixed chunks, added in order: the same for any number of threads */

typedef struct flat {
    float *y;
    const float *x, *other;
    const double *weights;
    double *partial;
    float factor;
    int K;
    int64_t n, stride;
} flat;

void cpu_zero(device *dev, float *x, int64_t n)
{
    (void)dev;
    memset(x, 0, sizeof(float) * (size_t)n);
}

static void add_run(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) f->y[i] += f->x[i];
}

void cpu_add(device *dev, float *y, const float *x, int64_t n)
{
    cpu_parallel(dev, 2.0 * (double)n, n, 0, add_run, &(flat){ .y = y, .x = x });
}

static void scale_run(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) f->y[i] *= f->factor;
}

void cpu_scale(device *dev, float *y, float a, int64_t n)
{
    cpu_parallel(dev, 2.0 * (double)n, n, 0, scale_run, &(flat){ .y = y, .factor = a });
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

static void dot_chunks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t c = begin; c < end; c++)
        f->partial[c] =
            chunk_dot(f->x + c * CHUNK, f->other + c * CHUNK, f->n - c * CHUNK < CHUNK ? f->n - c * CHUNK : CHUNK);
}

static double dot(device *dev, const float *a, const float *b, int64_t n)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    double total = 0;
    flat f = { .x = a, .other = b, .n = n, .partial = device_scratch(dev, sizeof(double) * (size_t)(chunks + 1)) };
    cpu_parallel(dev, 2.0 * (double)n, chunks, 0, dot_chunks, &f);
    for (int64_t c = 0; c < chunks; c++) total += f.partial[c];
    cpu_scratch_rewind(dev, mark);
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

static void combine_run(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double sum = 0;
        for (int a = 0; a < f->K; a++) sum += f->weights[a] * (double)f->x[a * f->stride + i];
        f->y[i] = (float)sum;
    }
}

void cpu_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out)
{
    cpu_parallel(dev, 2.0 * (double)n * K, n, 0, combine_run,
                 &(flat){ .y = out, .x = g, .weights = w, .K = K, .stride = stride });
}
