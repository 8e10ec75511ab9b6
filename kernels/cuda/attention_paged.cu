/* SPDX-License-Identifier: MIT */
/* Decode attention over pages. Keys and values lie by head, [Hkv][KV_PAGE][hd]: only kv_write and attention_paged
 * look inside.
 *
 * A warp takes SPLIT keys of one row and one query head; a second kernel adds the splits in order. The cuts depend on
 * the position alone, so a row's bits don't depend on the batch. The heads that share keys read them from the cache. */
#include <math.h>

#include "kernels/cuda/softcap.cuh"

enum { THREADS = 128, WARPS = THREADS / WARP, SPLIT = 128, MAX_DIMS = 8 }; /* 8 x 32 dimensions a warp */

GPU_KERNEL void write_rows(const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                           const int32_t *table, int max_pages, int Hkv, int hd, float *k_pages, float *v_pages)
{
    const int t = (int)blockIdx.x, slot = positions[t] % KV_PAGE;
    const size_t page = (size_t)table[(size_t)row_seq[t] * (size_t)max_pages + (size_t)(positions[t] / KV_PAGE)];

    for (int c = (int)threadIdx.x; c < Hkv * hd; c += THREADS) {
        const size_t head = page * (size_t)Hkv + (size_t)(c / hd);
        const size_t to = (head * KV_PAGE + (size_t)slot) * (size_t)hd + (size_t)(c % hd);
        const size_t from = (size_t)t * (size_t)(Hkv * hd) + (size_t)c;
        k_pages[to] = k[from];
        v_pages[to] = v[from];
    }
}

void cuda_kv_write(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                   const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages)
{
    if (T > 0)
        GPU_LAUNCH(dev, write_rows, (unsigned)T, THREADS, 0, k, v, row_seq, positions, table, max_pages, Hkv, hd,
                   k_pages, v_pages);
}

struct paged {
    const float *q, *k_pages, *v_pages;
    const int32_t *row_seq, *positions, *table;
    int max_pages, H, Hkv, hd, window, splits;
    float cap;
    float *parts; /* [T, H, splits, hd + 2]: sum of p v, the largest score, the sum of p */
    float *o;
};

GPU_DEVICE float *part_of(const paged &p, int t, int h, int split)
{
    return p.parts + (((size_t)t * (size_t)p.H + (size_t)h) * (size_t)p.splits + (size_t)split) * (size_t)(p.hd + 2);
}

/* Running softmax over keys [begin, end): lane l has dimensions l, l + 32, ... */
GPU_KERNEL void attend_splits(paged p)
{
    const int t = (int)blockIdx.x, h = (int)(blockIdx.y * WARPS + threadIdx.x / WARP), lane = (int)threadIdx.x % WARP;
    const int split = (int)blockIdx.z, n = p.positions[t] + 1, first = first_key(n - 1, p.window);
    if (h >= p.H) return;

    const int begin = split * SPLIT > first ? split * SPLIT : first;
    const int end = (split + 1) * SPLIT < n ? (split + 1) * SPLIT : n;
    const float scale = 1.0f / sqrtf((float)p.hd), *q = p.q + ((size_t)t * (size_t)p.H + (size_t)h) * (size_t)p.hd;
    const size_t head = (size_t)(h / (p.H / p.Hkv));
    float mixed[MAX_DIMS] = { 0 }, largest = -INFINITY, sum = 0;

    for (int j = begin; j < end; j++) {
        const size_t page = (size_t)p.table[(size_t)p.row_seq[t] * (size_t)p.max_pages + (size_t)(j / KV_PAGE)];
        const size_t at = ((page * (size_t)p.Hkv + head) * KV_PAGE + (size_t)(j % KV_PAGE)) * (size_t)p.hd;
        float score = 0;
        for (int d = lane; d < p.hd; d += WARP) score += q[d] * p.k_pages[at + (size_t)d];
        score = capped(warp_sum(score) * scale, p.cap);

        /* A higher score than all before it: what was mixed under the old maximum shrinks by `keep`. */
        const float top = fmaxf(largest, score), keep = expf(largest - top), e = expf(score - top);
        for (int i = 0; i * WARP + lane < p.hd; i++)
            mixed[i] = mixed[i] * keep + e * p.v_pages[at + (size_t)(i * WARP + lane)];
        sum = sum * keep + e;
        largest = top;
    }

    /* Unnormalised, with what join_splits needs to bring the splits to one maximum. */
    float *part = part_of(p, t, h, split);
    for (int i = 0; i * WARP + lane < p.hd; i++) part[i * WARP + lane] = mixed[i];
    if (lane == 0) {
        part[p.hd] = largest;
        part[p.hd + 1] = sum;
    }
}

/* The splits of a row and head, each brought to the largest maximum. A split that saw no key has -inf and adds 0. */
GPU_KERNEL void join_splits(paged p)
{
    const int t = (int)blockIdx.x, h = (int)(blockIdx.y * WARPS + threadIdx.x / WARP), lane = (int)threadIdx.x % WARP;
    if (h >= p.H) return;

    float largest = -INFINITY, sum = 0;
    for (int s = 0; s < p.splits; s++) largest = fmaxf(largest, part_of(p, t, h, s)[p.hd]);
    for (int s = 0; s < p.splits; s++) {
        const float *part = part_of(p, t, h, s);
        sum += part[p.hd + 1] * expf(part[p.hd] - largest);
    }

    float *o = p.o + ((size_t)t * (size_t)p.H + (size_t)h) * (size_t)p.hd;
    for (int d = lane; d < p.hd; d += WARP) {
        float v = 0;
        for (int s = 0; s < p.splits; s++) {
            const float *part = part_of(p, t, h, s);
            v += part[d] * expf(part[p.hd] - largest);
        }
        o[d] = v / sum;
    }
}

void cuda_attention_paged(device *dev, const float *q, const float *k_pages, const float *v_pages,
                          const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages, int T,
                          int H, int Hkv, int hd, int window, float cap, float *o)
{
    if (T == 0) return;
    if (hd > MAX_DIMS * WARP) {
        gpu_note(dev, 1, "attention_paged (head_dim above 256)");
        return;
    }

    const gpu_mark mark = gpu_mark_here(dev);
    const int splits = (max_pages * KV_PAGE + SPLIT - 1) / SPLIT;
    paged p = {};
    p.q = q;
    p.k_pages = k_pages;
    p.v_pages = v_pages;
    p.row_seq = row_seq;
    p.positions = positions;
    p.table = table;
    p.max_pages = max_pages;
    p.H = H;
    p.Hkv = Hkv;
    p.hd = hd;
    p.window = window;
    p.cap = cap;
    p.splits = splits;
    p.parts = gpu_scratch<float>(dev, (size_t)T * (size_t)H * (size_t)splits * (size_t)(hd + 2));
    p.o = o;

    const unsigned heads = gpu_blocks(H, WARPS);
    GPU_LAUNCH(dev, attend_splits, dim3((unsigned)T, heads, (unsigned)splits), THREADS, 0, p);
    GPU_LAUNCH(dev, join_splits, dim3((unsigned)T, heads), THREADS, 0, p);
    gpu_rewind(dev, mark);
}
