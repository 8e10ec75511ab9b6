/* SPDX-License-Identifier: MIT */
/* What runs over flat arrays of any length: zero, add, scale, and the sums (squares, Gram matrix, sketch, combine).
 *
 * A sum goes by chunks of a fixed size, added in order: its bits don't depend on the number of threads. */
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"
#include "kernels/sketch.h"

enum { COMBINE_PIECE = 1 << 16 }; /* a multiple of 8: what is left over doesn't depend on the threads */
enum { CHUNK = 8192 };            /* partial sums of fixed chunks, added in order: the same for any number of threads */

typedef struct flat {
    float *y;
    const float *x, *other;
    const double *weights;
    double *partial;
    float factor;
    uint64_t seed;
    int K;
    int64_t n, stride;
} flat;

static void zero_run(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    memset(f->y + begin, 0, sizeof(float) * (size_t)(end - begin));
}

void cpu_zero(device *dev, float *x, int64_t n) { cpu_parallel(dev, (double)n, n, 0, zero_run, &(flat){ .y = x }); }

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

/* Elements of chunk c, of n in all: the last one is shorter. */
static int64_t chunk_length(int64_t n, int64_t c) { return n - c * CHUNK < CHUNK ? n - c * CHUNK : CHUNK; }

static void dot_chunks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t c = begin; c < end; c++)
        f->partial[c] = chunk_dot(f->x + c * CHUNK, f->other + c * CHUNK, chunk_length(f->n, c));
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

typedef double v8d __attribute__((vector_size(64)));
typedef float v8 __attribute__((vector_size(32)));
enum { FEW_ROWS_OF_GRAM = 4 };

static inline v8d load_wide(const float *p)
{
    v8 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, v8d);
}

static inline double sum_wide(v8d v) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

/* K is a constant where this is called: every element is loaded and widened once, the sums stay in registers. */
static inline __attribute__((always_inline)) void few_rows_gram(const int K, const float *x, int64_t stride, int64_t n,
                                                                double *out)
{
    v8d sums[FEW_ROWS_OF_GRAM][FEW_ROWS_OF_GRAM] = { 0 };
    int64_t i = 0;

    for (; i + 8 <= n; i += 8) {
        v8d row[FEW_ROWS_OF_GRAM];
#pragma GCC unroll 4
        for (int a = 0; a < K; a++) row[a] = load_wide(x + a * stride + i);
#pragma GCC unroll 4
        for (int a = 0; a < K; a++)
#pragma GCC unroll 4
            for (int b = 0; b <= a; b++) sums[a][b] += row[a] * row[b];
    }

    /* What is left of the row, less than eight, in scalars. */
    for (int a = 0; a < K; a++)
        for (int b = 0; b <= a; b++) {
            double rest = 0;
            for (int64_t k = i; k < n; k++) rest += (double)x[a * stride + k] * (double)x[b * stride + k];
            out[a * K + b] = sum_wide(sums[a][b]) + rest;
        }
}

static void chunk_gram(const float *x, int K, int64_t stride, int64_t n, double *out)
{
    if (K == 1) few_rows_gram(1, x, stride, n, out);
    if (K == 2) few_rows_gram(2, x, stride, n, out);
    if (K == 3) few_rows_gram(3, x, stride, n, out);
    if (K == 4) few_rows_gram(4, x, stride, n, out);
    for (int a = 0; K > FEW_ROWS_OF_GRAM && a < K; a++)
        for (int b = 0; b <= a; b++) out[a * K + b] = chunk_dot(x + a * stride, x + b * stride, n);
}

/* All pairs of a chunk while it is in cache: the rows come from memory once, not K times. */
static void gram_chunks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t c = begin; c < end; c++)
        chunk_gram(f->x + c * CHUNK, f->K, f->stride, chunk_length(f->n, c), f->partial + c * f->K * f->K);
}

void cpu_gram(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    flat f = { .x = g, .n = n, .K = K, .stride = stride };
    f.partial = device_scratch(dev, sizeof(double) * (size_t)(chunks * K * K + 1));
    cpu_parallel(dev, (double)n * K * (K + 1), chunks, 0, gram_chunks, &f);

    /* The lower triangle was summed; G is symmetric. */
    for (int a = 0; a < K; a++)
        for (int b = 0; b <= a; b++) {
            double total = 0;
            for (int64_t c = 0; c < chunks; c++) total += f.partial[(c * K + a) * K + b];
            G[a * K + b] += total;
            if (a != b) G[b * K + a] += total;
        }
    cpu_scratch_rewind(dev, mark);
}

/* 64 elements in a row, each with its sign, onto 64 sums: a bit of `signs` becomes the sign bit of its element. */
static inline void add_signed(const float *x, uint64_t signs, v16 sums[SKETCH_BINS / 16])
{
    static const v16i LANE = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    for (int j = 0; j < SKETCH_BINS / 16; j++) {
        const int32_t bits = (int32_t)(signs >> 16 * j & 0xffff);
        const v16i flip = (bits - (v16i){ 0 }) >> LANE << 31;
        sums[j] += (v16)((v16i)v16_load(x + 16 * j) ^ flip);
    }
}

static void sketch_chunks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t chunks = (f->n + CHUNK - 1) / CHUNK, a = i / chunks, first = i % chunks * CHUNK;
        const int64_t last = first + CHUNK < f->n ? first + CHUNK : f->n;
        const float *x = f->x + a * f->stride;
        v16 sums[SKETCH_BINS / 16] = { 0 };

        int64_t at = first;
        for (; at + SKETCH_BINS <= last; at += SKETCH_BINS)
            add_signed(x + at, sketch_signs(f->seed, at / SKETCH_BINS), sums);

        /* What is left, padded with zeros: they add nothing, whatever their sign. */
        float rest[SKETCH_BINS] = { 0 };
        memcpy(rest, x + at, sizeof(float) * (size_t)(last - at));
        if (at < last) add_signed(rest, sketch_signs(f->seed, at / SKETCH_BINS), sums);

        for (int j = 0; j < SKETCH_BINS; j++) f->partial[i * SKETCH_BINS + j] = (double)sums[j / 16][j % 16];
    }
}

void cpu_sketch(device *dev, const float *g, int K, int64_t n, int64_t stride, uint64_t seed, double *out)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    flat f = { .x = g, .n = n, .K = K, .stride = stride, .seed = seed };
    f.partial = device_scratch(dev, sizeof(double) * (size_t)(K * chunks * SKETCH_BINS + 1));
    cpu_parallel(dev, 2.0 * (double)n * K, K * chunks, 0, sketch_chunks, &f);

    for (int64_t i = 0; i < K * chunks; i++)
        for (int j = 0; j < SKETCH_BINS; j++) out[i / chunks * SKETCH_BINS + j] += f.partial[i * SKETCH_BINS + j];
    cpu_scratch_rewind(dev, mark);
}

static void combine_run(void *ctx, int64_t begin, int64_t end, int thread)
{
    const flat *f = ctx;
    (void)thread;
    int64_t i = begin;
    for (; i + 8 <= end; i += 8) {
        v8d sum = { 0 };
        for (int a = 0; a < f->K; a++) sum += f->weights[a] * load_wide(f->x + a * f->stride + i);
        const v8 narrow = __builtin_convertvector(sum, v8);
        memcpy(f->y + i, &narrow, sizeof narrow);
    }

    for (; i < end; i++) {
        double sum = 0;
        for (int a = 0; a < f->K; a++) sum += f->weights[a] * (double)f->x[a * f->stride + i];
        f->y[i] = (float)sum;
    }
}

void cpu_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out)
{
    cpu_parallel(dev, 2.0 * (double)n * K, n, COMBINE_PIECE, combine_run,
                 &(flat){ .y = out, .x = g, .weights = w, .K = K, .stride = stride });
}
