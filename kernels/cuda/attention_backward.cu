/* SPDX-License-Identifier: MIT */
/* Packed causal attention, backward: p is made again from the scores and the kept log-sum-exp; with delta = do . o,
 * ds = p (dp - delta) / sqrt(hd); dq = ds k, dk = ds^T q, dv = p^T do. Two passes, one that owns queries and one that
 * owns keys: nothing is added by two blocks, so the bits are the same every time. A prefix's keys are read by all the
 * sequences that share it, one after the other. */
#include "kernels/cuda/attention.cuh"

GPU_KERNEL void row_deltas(packed p)
{
    const int row = (int)blockIdx.x, h = (int)(blockIdx.y * TILE_WARPS + threadIdx.x / WARP);
    const int lane = (int)threadIdx.x % WARP;
    if (h >= p.H) return;

    const size_t at = (size_t)row * (size_t)p.H + (size_t)h;
    float sum = 0;
    for (int d = lane; d < p.hd; d += WARP)
        sum += p.doo[at * (size_t)p.hd + (size_t)d] * p.o[at * (size_t)p.hd + (size_t)d];
    sum = warp_sum(sum);
    if (lane == 0) p.delta[at] = sum;
}

/* ---- fp32: a warp a row ---- */

/* p and ds of one query row and one key. */
GPU_DEVICE void pair_gradients(const packed &p, size_t query, size_t key, float scale, float *prob, float *ds)
{
    const int lane = (int)threadIdx.x % WARP;
    const float *q = p.q + query * (size_t)p.hd, *doo = p.doo + query * (size_t)p.hd;
    float score = 0, dp = 0;
    for (int d = lane; d < p.hd; d += WARP) {
        score += q[d] * p.k[key + (size_t)d];
        dp += doo[d] * p.v[key + (size_t)d];
    }

    score = capped(warp_sum(score) * scale, p.cap);
    dp = warp_sum(dp);
    *prob = expf(score - p.lse_in[query]);
    *ds = *prob * (dp - p.delta[query]) * scale * cap_derivative(score, p.cap);
}

GPU_KERNEL void query_rows(packed p)
{
    const int row = (int)blockIdx.x, h = (int)(blockIdx.y * TILE_WARPS + threadIdx.x / WARP);
    const int lane = (int)threadIdx.x % WARP;
    if (h >= p.H) return;

    const sequence s = sequence_of(p, row);
    const int t = s.before + row - s.start;
    const size_t kv = (size_t)p.Hkv * (size_t)p.hd, query = (size_t)row * (size_t)p.H + (size_t)h;
    const size_t head = (size_t)(h / (p.H / p.Hkv)) * (size_t)p.hd;
    const float scale = 1.0f / sqrtf((float)p.hd);
    float acc[MAX_DIMS] = { 0 }, prob, ds;

    for (int j = first_key(t, p.window); j <= t; j++) {
        const size_t key = head + row_at(s, j) * kv;
        pair_gradients(p, query, key, scale, &prob, &ds);
        for (int i = 0; i * WARP + lane < p.hd; i++) acc[i] += ds * p.k[key + (size_t)(i * WARP + lane)];
    }

    for (int i = 0; i * WARP + lane < p.hd; i++) p.dq[query * (size_t)p.hd + (size_t)(i * WARP + lane)] = acc[i];
}

/* What one query row adds to a key's dk and dv; lane l has dimensions l, l + 32, ... */
GPU_DEVICE void add_pair(const packed &p, size_t query, size_t key, float scale, float dk[MAX_DIMS], float dv[MAX_DIMS])
{
    const int lane = (int)threadIdx.x % WARP;
    float prob, ds;
    pair_gradients(p, query, key, scale, &prob, &ds);
    for (int i = 0; i * WARP + lane < p.hd; i++) {
        const size_t at = query * (size_t)p.hd + (size_t)(i * WARP + lane);
        dk[i] += ds * p.q[at];
        dv[i] += prob * p.doo[at];
    }
}

GPU_KERNEL void key_rows(packed p)
{
    const int row = (int)blockIdx.x, g = (int)(blockIdx.y * TILE_WARPS + threadIdx.x / WARP);
    const int lane = (int)threadIdx.x % WARP, group = p.H / p.Hkv;
    if (g >= p.Hkv) return;

    const sequence own = sequence_of(p, row);
    const int position = own.before + row - own.start;
    const size_t key = ((size_t)row * (size_t)p.Hkv + (size_t)g) * (size_t)p.hd;
    const float scale = 1.0f / sqrtf((float)p.hd);
    float dk[MAX_DIMS] = { 0 }, dv[MAX_DIMS] = { 0 };

    /* Every row that sees this key, and every query head that shares it. */
    for (int i = own.index; reads(p, i, own); i++) {
        const sequence s = sequence_at(p, i);
        const int begin = position > s.before ? position : s.before;
        for (int t = begin; t < s.n && (p.window <= 0 || t - position < p.window); t++)
            for (int h = g * group; h < (g + 1) * group; h++)
                add_pair(p, row_at(s, t) * (size_t)p.H + (size_t)h, key, scale, dk, dv);
    }

    for (int i = 0; i * WARP + lane < p.hd; i++) {
        p.dk[key + (size_t)(i * WARP + lane)] = dk[i];
        p.dv[key + (size_t)(i * WARP + lane)] = dv[i];
    }
}

/* ---- bf16: tiles of 64 ---- */

template <int HD> GPU_KERNEL void query_tiles(packed p)
{
    GPU_DYNAMIC(__nv_bfloat16, keys);
    __nv_bfloat16 *values = keys + TILE * (HD + PAD), *turned = values + TILE * (HD + PAD);
    const tile_place at = tile_at(p, (int)blockIdx.x);
    const int h = (int)blockIdx.y, warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    if (at.rows == 0) return;

    const size_t stride = (size_t)p.H * HD, kv = (size_t)p.Hkv * HD, row0 = row_at(at.of, at.first);
    const size_t head = (size_t)(h / (p.H / p.Hkv)) * HD;
    const float scale = 1.0f / sqrtf((float)HD);
    uint32_t q[HD / 16][4], doo[HD / 16][4];
    float dq[HD / 8][4] = { { 0 } }, lse[2], delta[2];
    load_rows<HD>(p.q + row0 * stride + (size_t)h * HD, warp * 16, at.rows, stride, q);
    load_rows<HD>(p.doo + row0 * stride + (size_t)h * HD, warp * 16, at.rows, stride, doo);
    for (int r = 0; r < 2; r++) {
        const int row = warp * 16 + lane / 4 + r * 8;
        const size_t query = (row0 + (size_t)(row < at.rows ? row : 0)) * (size_t)p.H + (size_t)h;
        lse[r] = p.lse_in[query];
        delta[r] = p.delta[query];
    }

    const int last = at.first + at.rows - 1, seen = first_key(at.first, p.window);
    for (int j = seen / TILE * TILE; j <= last; j += TILE) {
        float s[8][4], dp[8][4];
        __syncthreads(); /* every warp is through with the tile before */
        load_tile<HD>(p.k + head, at.of, j, kv, keys, turned);
        load_tile<HD>(p.v + head, at.of, j, kv, values, NULL);
        __syncthreads();

        /* s = q k^T and dp = do v^T; s becomes ds where it stands. */
        scores<HD>(q, keys, s);
        scores<HD>(doo, values, dp);
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < 4; i++) {
                const int t = at.first + warp * 16 + lane / 4 + (i / 2) * 8, key = j + n * 8 + 2 * (lane % 4) + i % 2;
                const float score = capped(s[n][i] * scale, p.cap);
                const float prob = sees(t, key, p.window) ? expf(score - lse[i / 2]) : 0.0f;
                s[n][i] = prob * (dp[n][i] - delta[i / 2]) * scale * cap_derivative(score, p.cap);
            }

        mix<HD>(s, turned, dq); /* dq += ds k */
    }

    const float factor[2] = { 1, 1 };
    store_rows<HD>(dq, factor, warp * 16, at.rows, stride, p.dq + row0 * stride + (size_t)h * HD);
}

/* 64 queries of a head with their do, both ways, lse and delta, in shared memory. */
struct query_block {
    __nv_bfloat16 *queries, *doos, *queries_t, *doos_t;
    float *lse, *delta;
};

template <int HD> GPU_DEVICE query_block query_block_at(__nv_bfloat16 *shared)
{
    query_block b;
    b.queries = shared;
    b.doos = b.queries + TILE * (HD + PAD);
    b.queries_t = b.doos + TILE * (HD + PAD);
    b.doos_t = b.queries_t + HD * TURNED;
    b.lse = (float *)(b.doos_t + HD * TURNED);
    b.delta = b.lse + TILE;
    return b;
}

/* The queries of head h at positions [t0, t0 + 64) of s; called by all threads of the block. */
template <int HD> GPU_DEVICE void load_queries(const packed &p, const sequence &s, int t0, int h, const query_block &b)
{
    const size_t stride = (size_t)p.H * HD, head = (size_t)h * HD;
    __syncthreads(); /* every warp is through with the block before */
    load_tile<HD>(p.q + head, s, t0, stride, b.queries, b.queries_t);
    load_tile<HD>(p.doo + head, s, t0, stride, b.doos, b.doos_t);
    for (int i = (int)threadIdx.x; i < TILE; i += TILE_THREADS) {
        const size_t query = row_at(s, t0 + i < s.n ? t0 + i : t0) * (size_t)p.H + (size_t)h;
        b.lse[i] = p.lse_in[query];
        b.delta[i] = p.delta[query];
    }
    __syncthreads();
}

/* Scores turned over: this warp's rows are 16 keys from position key0 on, the columns the block's queries of s. */
template <int HD>
GPU_DEVICE void add_queries(const packed &p, const sequence &s, int t0, int key0, const uint32_t k[HD / 16][4],
                            const uint32_t v[HD / 16][4], const query_block &b, float dk[HD / 8][4],
                            float dv[HD / 8][4])
{
    const int lane = (int)threadIdx.x % WARP;
    const float scale = 1.0f / sqrtf((float)HD);
    float prob[8][4], ds[8][4];

    /* k q^T and v do^T; they become p^T and ds^T where they stand. */
    scores<HD>(k, b.queries, prob);
    scores<HD>(v, b.doos, ds);
    for (int n = 0; n < 8; n++)
        for (int i = 0; i < 4; i++) {
            const int column = n * 8 + 2 * (lane % 4) + i % 2, t = t0 + column, key = key0 + lane / 4 + (i / 2) * 8;
            const bool there = t < s.n && sees(t, key, p.window);
            const float score = capped(prob[n][i] * scale, p.cap);
            prob[n][i] = there ? expf(score - b.lse[column]) : 0.0f;
            ds[n][i] = prob[n][i] * (ds[n][i] - b.delta[column]) * scale * cap_derivative(score, p.cap);
        }

    mix<HD>(prob, b.doos_t, dv);  /* dv += p^T do */
    mix<HD>(ds, b.queries_t, dk); /* dk += ds^T q */
}

template <int HD> GPU_KERNEL void key_tiles(packed p)
{
    GPU_DYNAMIC(__nv_bfloat16, shared);
    const query_block block = query_block_at<HD>(shared);
    const tile_place at = tile_at(p, (int)blockIdx.x);
    const int g = (int)blockIdx.y, warp = (int)threadIdx.x / WARP, group = p.H / p.Hkv;
    if (at.rows == 0) return;

    const size_t kv = (size_t)p.Hkv * HD, head = row_at(at.of, at.first) * kv + (size_t)g * HD;
    uint32_t k[HD / 16][4], v[HD / 16][4];
    float dk[HD / 8][4] = { { 0 } }, dv[HD / 8][4] = { { 0 } };
    load_rows<HD>(p.k + head, warp * 16, at.rows, kv, k);
    load_rows<HD>(p.v + head, warp * 16, at.rows, kv, v);

    const int last = at.first + at.rows - 1; /* the last key: a query beyond its window sees none of the tile */
    for (int i = at.of.index; reads(p, i, at.of); i++) {
        const sequence s = sequence_at(p, i);
        const int begin = at.first > s.before ? at.first : s.before;
        for (int t0 = begin; t0 < s.n && (p.window <= 0 || t0 - last < p.window); t0 += TILE)
            for (int h = g * group; h < (g + 1) * group; h++) {
                load_queries<HD>(p, s, t0, h, block);
                add_queries<HD>(p, s, t0, at.first + warp * 16, k, v, block, dk, dv);
            }
    }

    const float factor[2] = { 1, 1 };
    store_rows<HD>(dk, factor, warp * 16, at.rows, kv, p.dk + head);
    store_rows<HD>(dv, factor, warp * 16, at.rows, kv, p.dv + head);
}

template <int HD> static void run_tiles(device *dev, const packed &p, int T)
{
    const size_t straight = sizeof(__nv_bfloat16) * TILE * (HD + PAD), turned = sizeof(__nv_bfloat16) * HD * TURNED;
    const unsigned tiles = max_tiles(T, p.S);

    /* Shared memory: keys, values, keys turned; then queries and do, both ways, with lse and delta. */
    const size_t for_queries = 2 * straight + turned, for_keys = 2 * straight + 2 * turned + 2 * sizeof(float) * TILE;
    GPU_LAUNCH(dev, query_tiles<HD>, dim3(tiles, (unsigned)p.H), TILE_THREADS, for_queries, p);
    GPU_LAUNCH(dev, key_tiles<HD>, dim3(tiles, (unsigned)p.Hkv), TILE_THREADS, for_keys, p);
}

static void run_rows(device *dev, const packed &p, unsigned rows)
{
    GPU_LAUNCH(dev, query_rows, dim3(rows, gpu_blocks(p.H, TILE_WARPS)), TILE_THREADS, 0, p);
    GPU_LAUNCH(dev, key_rows, dim3(rows, gpu_blocks(p.Hkv, TILE_WARPS)), TILE_THREADS, 0, p);
}

void cuda_attention_backward(device *dev, const float *doo, const float *q, const float *k, const float *v,
                             const float *o, const float *lse, const int32_t *starts, const int32_t *prefix, int S,
                             int H, int Hkv, int hd, int window, float cap, float *dq, float *dk, float *dv)
{
    if (hd > MAX_DIMS * WARP) {
        gpu_note(dev, 1, "attention_backward (head_dim above 256)");
        return;
    }

    packed p = packed_of(q, k, v, starts, prefix, S, H, Hkv, hd, window, cap);
    p.o = o;
    p.doo = doo;
    p.lse_in = lse;
    p.dq = dq;
    p.dk = dk;
    p.dv = dv;

    const gpu_mark mark = gpu_mark_here(dev);
    const int T = rows_of(dev, starts, S);
    p.delta = gpu_scratch<float>(dev, (size_t)T * (size_t)H);
    GPU_LAUNCH(dev, row_deltas, dim3((unsigned)T, gpu_blocks(H, TILE_WARPS)), TILE_THREADS, 0, p);

    if (!on_tensor_cores(dev, hd))
        run_rows(dev, p, (unsigned)T);
    else if (hd == 32)
        run_tiles<32>(dev, p, T);
    else if (hd == 64)
        run_tiles<64>(dev, p, T);
    else
        run_tiles<128>(dev, p, T);
    gpu_rewind(dev, mark);
}
