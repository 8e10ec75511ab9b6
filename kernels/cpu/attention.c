/* Packed causal attention, forward and backward: see ops.h. A thread owns a (sequence, key/value head): sums over rows
 * keep their order, and the transposed keys are made once for all query heads that share them. */
#include <math.h>
#include <omp.h>

#include "kernels/cpu/attend.h"
#include "kernels/cpu/cpu.h"

typedef struct shape {
    int S, H, Hkv, hd;
    int longest; /* tokens of the longest sequence, rounded up to whole blocks */
    double flops;
} shape;

static shape shape_of(const int32_t *starts, int S, int H, int Hkv, int hd)
{
    shape s = { .S = S, .H = H, .Hkv = Hkv, .hd = hd };
    for (int i = 0; i < S; i++) {
        const int n = starts[i + 1] - starts[i];
        s.longest = n > s.longest ? n : s.longest;
        s.flops += 2.0 * n * n * H * hd;
    }
    s.longest = (s.longest + KV_PAGE - 1) / KV_PAGE * KV_PAGE;
    return s;
}

/* x [n, Hkv, hd] of one head -> blocks [hd][KV_PAGE], zeros behind the last token. */
static void transpose(const float *x, int n, size_t stride, int hd, float *out)
{
    const int blocks = (n + KV_PAGE - 1) / KV_PAGE;
    for (int b = 0; b < blocks; b++)
        for (int d = 0; d < hd; d++)
            for (int i = 0; i < KV_PAGE; i++) {
                const int t = b * KV_PAGE + i;
                out[((size_t)b * (size_t)hd + (size_t)d) * KV_PAGE + (size_t)i] =
                    t < n ? x[(size_t)t * stride + (size_t)d] : 0;
            }
}

void cpu_attention(device *dev, const float *q, const float *k, const float *v, const int32_t *starts, int S, int H,
                   int Hkv, int hd, float *o, float *lse)
{
    const shape sh = shape_of(starts, S, H, Hkv, hd);
    const size_t stride = (size_t)Hkv * (size_t)hd, room = (size_t)sh.longest * (size_t)(hd + 1);
    const int group = H / Hkv, threads = threads_for(dev, sh.flops);
    const float scale = 1.0f / sqrtf((float)hd);
    float *buffers = device_scratch(dev, sizeof(float) * room * (size_t)threads);
#pragma omp parallel for collapse(2) schedule(dynamic, 1) num_threads(threads)
    for (int s = 0; s < S; s++)
        for (int g = 0; g < Hkv; g++) {
            const int begin = starts[s], n = starts[s + 1] - begin;
            float *keys = buffers + room * (size_t)omp_get_thread_num(),
                  *scores = keys + (size_t)sh.longest * (size_t)hd;
            const size_t first = ((size_t)begin * (size_t)Hkv + (size_t)g) * (size_t)hd;
            transpose(k + first, n, stride, hd, keys);
            const key_blocks kb = { .keys = keys,
                                    .values = v + first,
                                    .key_block = (size_t)hd * KV_PAGE,
                                    .value_block = stride * KV_PAGE,
                                    .value_stride = stride };
            for (int t = 0; t < n; t++)
                for (int h = g * group; h < (g + 1) * group; h++) {
                    const size_t row = (size_t)(begin + t) * (size_t)H + (size_t)h;
                    lse[row] = attend_row(q + row * (size_t)hd, &kb, t + 1, hd, scale, scores, o + row * (size_t)hd);
                }
        }
}

/* ---- backward ---- */

typedef struct backward_buffers {
    float *keys, *values; /* transposed blocks */
    float *dk, *dv;       /* [longest, hd] sums of this head */
    float *p, *ds;        /* [longest] of one row */
} backward_buffers;

static backward_buffers buffers_at(float *base, const shape *sh)
{
    const size_t n = (size_t)sh->longest * (size_t)sh->hd;
    return (backward_buffers){ .keys = base,
                               .values = base + n,
                               .dk = base + 2 * n,
                               .dv = base + 3 * n,
                               .p = base + 4 * n,
                               .ds = base + 4 * n + (size_t)sh->longest };
}

/* out [blocks*16] = x . columns, x [hd]. */
static inline void products(const float *x, const float *transposed, int blocks, int hd, float *out)
{
    for (int b = 0; b < blocks; b++) {
        const float *block = transposed + (size_t)b * (size_t)hd * KV_PAGE;
        v16 s = v16_set(0);
        for (int d = 0; d < hd; d++) s = v16_set(x[d]) * v16_load(block + (size_t)d * KV_PAGE) + s;
        v16_store(out + b * KV_PAGE, s);
    }
}

/* Sixteen columns d of dq = ds k, dk += ds q, dv += p do, over the keys of one row. */
static inline void slope_columns(const backward_buffers *b, const float *q, const float *k, size_t stride,
                                 const float *doo, int n, int hd, int column, int width, float *dq)
{
    const v16 qd = v16_load_n(q, width), dod = v16_load_n(doo, width);
    v16 sum = v16_set(0);
    if (width == 16) {
        for (int j = 0; j < n; j++) {
            float *dk = b->dk + (size_t)j * (size_t)hd + column, *dv = b->dv + (size_t)j * (size_t)hd + column;
            const v16 ds = v16_set(b->ds[j]);
            sum = ds * v16_load(k + (size_t)j * stride) + sum;
            v16_store(dk, ds * qd + v16_load(dk));
            v16_store(dv, v16_set(b->p[j]) * dod + v16_load(dv));
        }
    } else {
        for (int j = 0; j < n; j++) {
            float *dk = b->dk + (size_t)j * (size_t)hd + column, *dv = b->dv + (size_t)j * (size_t)hd + column;
            sum = v16_set(b->ds[j]) * v16_load_n(k + (size_t)j * stride, width) + sum;
            for (int d = 0; d < width; d++) {
                dk[d] += b->ds[j] * q[d];
                dv[d] += b->p[j] * doo[d];
            }
        }
    }
    memcpy(dq, &sum, sizeof(float) * (size_t)width);
}

/* One query row: p and ds of its keys, then dq, dk, dv. */
static void backward_row(const backward_buffers *b, const float *q, const float *k, size_t stride, const float *doo,
                         const float *o, float lse, int n, int hd, float scale, float *dq)
{
    const int blocks = (n + KV_PAGE - 1) / KV_PAGE;
    float delta = 0;
    for (int d = 0; d < hd; d++) delta += doo[d] * o[d];
    products(q, b->keys, blocks, hd, b->p);
    products(doo, b->values, blocks, hd, b->ds);
    for (int i = 0; i < blocks; i++) {
        const v16 p = v16_exp(v16_load(b->p + i * KV_PAGE) * v16_set(scale) - v16_set(lse));
        v16_store(b->p + i * KV_PAGE, p);
        v16_store(b->ds + i * KV_PAGE, p * (v16_load(b->ds + i * KV_PAGE) - v16_set(delta)) * v16_set(scale));
    }
    for (int d = 0; d < hd; d += 16)
        slope_columns(b, q + d, k + d, stride, doo + d, n, hd, d, hd - d < 16 ? hd - d : 16, dq + d);
}

void cpu_attention_backward(device *dev, const float *doo, const float *q, const float *k, const float *v,
                            const float *o, const float *lse, const int32_t *starts, int S, int H, int Hkv, int hd,
                            float *dq, float *dk, float *dv)
{
    const shape sh = shape_of(starts, S, H, Hkv, hd);
    const size_t stride = (size_t)Hkv * (size_t)hd, room = (size_t)sh.longest * (size_t)(4 * hd + 2);
    const int group = H / Hkv, threads = threads_for(dev, sh.flops);
    const float scale = 1.0f / sqrtf((float)hd);
    float *base = device_scratch(dev, sizeof(float) * room * (size_t)threads);
#pragma omp parallel for collapse(2) schedule(dynamic, 1) num_threads(threads)
    for (int s = 0; s < S; s++)
        for (int g = 0; g < Hkv; g++) {
            const int begin = starts[s], n = starts[s + 1] - begin;
            const backward_buffers b = buffers_at(base + room * (size_t)omp_get_thread_num(), &sh);
            const size_t first = ((size_t)begin * (size_t)Hkv + (size_t)g) * (size_t)hd;
            transpose(k + first, n, stride, hd, b.keys);
            transpose(v + first, n, stride, hd, b.values);
            memset(b.dk, 0, 2 * sizeof(float) * (size_t)sh.longest * (size_t)hd);
            for (int t = 0; t < n; t++)
                for (int h = g * group; h < (g + 1) * group; h++) {
                    const size_t row = (size_t)(begin + t) * (size_t)H + (size_t)h, at = row * (size_t)hd;
                    backward_row(&b, q + at, k + first, stride, doo + at, o + at, lse[row], t + 1, hd, scale, dq + at);
                }
            for (int t = 0; t < n; t++) {
                memcpy(dk + first + (size_t)t * stride, b.dk + (size_t)t * (size_t)hd, sizeof(float) * (size_t)hd);
                memcpy(dv + first + (size_t)t * stride, b.dv + (size_t)t * (size_t)hd, sizeof(float) * (size_t)hd);
            }
        }
}
