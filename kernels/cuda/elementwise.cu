/* SPDX-License-Identifier: MIT */
/* Whole arrays: fill, add, scale, SwiGLU, GeGLU, AdamW, and the reductions. */
#include <math.h>

#include "kernels/cuda/softcap.cuh"
#include "kernels/sketch.h"

enum { THREADS = 256, CHUNK = 8192 };

GPU_DEVICE int64_t place(void) { return (int64_t)blockIdx.x * THREADS + threadIdx.x; }

void cuda_zero(device *dev, float *x, int64_t n)
{
    gpu_note(dev, gpu_fill_zero(x, sizeof(float) * (size_t)n, cuda_of(dev)->stream), "zero");
}

GPU_KERNEL void add_all(float *y, const float *x, int64_t n)
{
    const int64_t i = place();
    if (i < n) y[i] += x[i];
}

void cuda_add(device *dev, float *y, const float *x, int64_t n)
{
    if (n > 0) GPU_LAUNCH(dev, add_all, gpu_blocks(n, THREADS), THREADS, 0, y, x, n);
}

GPU_KERNEL void scale_all(float *y, float a, int64_t n)
{
    const int64_t i = place();
    if (i < n) y[i] *= a;
}

void cuda_scale(device *dev, float *y, float a, int64_t n)
{
    if (n > 0) GPU_LAUNCH(dev, scale_all, gpu_blocks(n, THREADS), THREADS, 0, y, a, n);
}

/* ---- soft-caps ---- */

GPU_KERNEL void cap_all(float *y, float cap, int64_t n)
{
    const int64_t i = place();
    if (i < n) y[i] = capped(y[i], cap);
}

void cuda_softcap(device *dev, float *y, float cap, int64_t n)
{
    if (n > 0) GPU_LAUNCH(dev, cap_all, gpu_blocks(n, THREADS), THREADS, 0, y, cap, n);
}

GPU_KERNEL void cap_derivatives(const float *y, float cap, int64_t n, float *dy)
{
    const int64_t i = place();
    if (i < n) dy[i] *= cap_derivative(y[i], cap);
}

void cuda_softcap_backward(device *dev, const float *y, float cap, int64_t n, float *dy)
{
    if (n > 0) GPU_LAUNCH(dev, cap_derivatives, gpu_blocks(n, THREADS), THREADS, 0, y, cap, n, dy);
}

/* ---- SwiGLU and GeGLU: y = g s u; GELU's s is 1/2 (1 + tanh z) = sigmoid(2 z) ---- */

GPU_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <bool GELU> GPU_DEVICE float sigmoid_of(float g)
{
    return sigmoid(GELU ? 1.5957691216057308f * g * (1.0f + 0.044715f * g * g) : g);
}

template <bool GELU> GPU_KERNEL void gate_all(const float *gate, const float *up, int64_t n, float *y)
{
    const int64_t i = place();
    if (i < n) y[i] = gate[i] * sigmoid_of<GELU>(gate[i]) * up[i];
}

template <bool GELU>
GPU_KERNEL void gate_backward(const float *dy, const float *gate, const float *up, int64_t n, float *dgate, float *dup)
{
    const int64_t i = place();
    if (i >= n) return;
    const float g = gate[i], s = sigmoid_of<GELU>(g), d = dy[i], u = up[i];
    const float steep = (1.0f - s) * (GELU ? 1.5957691216057308f * (1.0f + 3 * 0.044715f * g * g) : 1.0f);
    dup[i] = d * g * s;
    dgate[i] = d * u * s * (1.0f + g * steep);
}

void cuda_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y)
{
    if (n > 0) GPU_LAUNCH(dev, gate_all<false>, gpu_blocks(n, THREADS), THREADS, 0, gate, up, n, y);
}

void cuda_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                          float *dup)
{
    if (n > 0) GPU_LAUNCH(dev, gate_backward<false>, gpu_blocks(n, THREADS), THREADS, 0, dy, gate, up, n, dgate, dup);
}

void cuda_geglu(device *dev, const float *gate, const float *up, int64_t n, float *y)
{
    if (n > 0) GPU_LAUNCH(dev, gate_all<true>, gpu_blocks(n, THREADS), THREADS, 0, gate, up, n, y);
}

void cuda_geglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                         float *dup)
{
    if (n > 0) GPU_LAUNCH(dev, gate_backward<true>, gpu_blocks(n, THREADS), THREADS, 0, dy, gate, up, n, dgate, dup);
}

/* ---- AdamW ---- */

GPU_KERNEL void adamw_all(float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1, float beta2,
                          float eps, float decay, float scale, float correct1, float correct2)
{
    const int64_t i = place();
    if (i >= n) return;
    const float grad = g[i] * scale;
    const float mi = beta1 * m[i] + (1.0f - beta1) * grad, vi = beta2 * v[i] + (1.0f - beta2) * grad * grad;
    m[i] = mi;
    v[i] = vi;
    w[i] -= lr * (mi * correct1 / (sqrtf(vi * correct2) + eps) + decay * w[i]);
}

void cuda_adamw(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1,
                float beta2, float eps, float weight_decay, float grad_scale, int64_t step)
{
    const float correct1 = (float)(1.0 / (1.0 - pow((double)beta1, (double)step)));
    const float correct2 = (float)(1.0 / (1.0 - pow((double)beta2, (double)step)));
    if (n > 0)
        GPU_LAUNCH(dev, adamw_all, gpu_blocks(n, THREADS), THREADS, 0, w, g, m, v, n, lr, beta1, beta2, eps,
                   weight_decay, grad_scale, correct1, correct2);
}

/* ---- reductions: a block a chunk, threads' sums in a tree, chunks in order on the host: one order for ever ---- */

GPU_KERNEL void dot_chunks(const float *a, const float *b, int64_t n, double *partial)
{
    __shared__ double of_thread[THREADS];
    const int64_t begin = (int64_t)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
    double sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += THREADS) sum += (double)a[i] * (double)b[i];

    __syncthreads();
    of_thread[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) of_thread[threadIdx.x] += of_thread[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = of_thread[0];
}

static double dot(device *dev, const float *a, const float *b, int64_t n)
{
    const gpu_mark mark = gpu_mark_here(dev);
    const unsigned chunks = gpu_blocks(n, CHUNK);
    double *partial = gpu_scratch<double>(dev, chunks + 1), total = 0;
    double *host = gpu_host<double>(chunks + 1);
    if (n > 0) {
        GPU_LAUNCH(dev, dot_chunks, chunks, THREADS, 0, a, b, n, partial);
        dev->backend->copy_out(dev, host, partial, sizeof *host * chunks);
    }

    for (unsigned c = 0; c < chunks; c++) total += host[c];
    free(host);
    gpu_rewind(dev, mark);
    return total;
}

double cuda_sum_squares(device *dev, const float *x, int64_t n) { return dot(dev, x, x, n); }

void cuda_gram(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G)
{
    for (int a = 0; a < K; a++)
        for (int b = 0; b <= a; b++) {
            const double d = dot(dev, g + a * stride, g + b * stride, n);
            G[a * K + b] += d;
            if (a != b) G[b * K + a] += d;
        }
}

/* A block a chunk of a row, a thread a bin. */
GPU_KERNEL void sketch_chunks(const float *x, int64_t n, uint64_t seed, double *partial)
{
    const int64_t first = (int64_t)blockIdx.x * CHUNK, last = first + CHUNK < n ? first + CHUNK : n;
    float sum = 0;
    for (int64_t i = first + threadIdx.x; i < last; i += SKETCH_BINS) {
        const bool negative = sketch_signs(seed, i / SKETCH_BINS) >> threadIdx.x & 1;
        sum += negative ? -x[i] : x[i];
    }
    partial[(int64_t)blockIdx.x * SKETCH_BINS + threadIdx.x] = (double)sum;
}

void cuda_sketch(device *dev, const float *g, int K, int64_t n, int64_t stride, uint64_t seed, double *out)
{
    const gpu_mark mark = gpu_mark_here(dev);
    const unsigned chunks = gpu_blocks(n, CHUNK);
    const size_t count = (size_t)chunks * SKETCH_BINS;
    double *partial = gpu_scratch<double>(dev, count + 1), *host = gpu_host<double>(count + 1);
    for (int a = 0; n > 0 && a < K; a++) {
        GPU_LAUNCH(dev, sketch_chunks, chunks, SKETCH_BINS, 0, g + a * stride, n, seed, partial);
        dev->backend->copy_out(dev, host, partial, sizeof *host * count);
        for (size_t i = 0; i < count; i++) out[(size_t)a * SKETCH_BINS + i % SKETCH_BINS] += host[i];
    }
    free(host);
    gpu_rewind(dev, mark);
}

GPU_KERNEL void combine_all(const float *g, const double *w, int K, int64_t n, int64_t stride, float *out)
{
    const int64_t i = place();
    if (i >= n) return;
    double sum = 0;
    for (int a = 0; a < K; a++) sum += w[a] * (double)g[a * stride + i];
    out[i] = (float)sum;
}

void cuda_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out)
{
    const gpu_mark mark = gpu_mark_here(dev);
    double *on_device = gpu_scratch<double>(dev, (size_t)K);
    dev->backend->copy_in(dev, on_device, w, sizeof *w * (size_t)K);
    if (n > 0) GPU_LAUNCH(dev, combine_all, gpu_blocks(n, THREADS), THREADS, 0, g, on_device, K, n, stride, out);
    gpu_rewind(dev, mark);
}
