/* SPDX-License-Identifier: MIT */
/* Packed causal attention, forward (Dao et al. 2022, 2023: FlashAttention): running softmax, [T, T] never exists.
 *
 * With bf16: a block has 64 query rows of a head, a warp 16 of them; scores and mixing are tensor-core products, the
 * scores' fragments being the second product's operand as they stand. With fp32: a warp a row, plainly. */
#include "kernels/cuda/attention.cuh"

/* ---- fp32 ---- */

GPU_KERNEL void attend_rows(packed p)
{
    const int row = (int)blockIdx.x, h = (int)(blockIdx.y * TILE_WARPS + threadIdx.x / WARP);
    const int lane = (int)threadIdx.x % WARP;
    if (h >= p.H) return;

    const sequence s = sequence_of(p, row);
    const int t = s.before + row - s.start;
    const size_t kv = (size_t)p.Hkv * (size_t)p.hd, at = ((size_t)row * (size_t)p.H + (size_t)h) * (size_t)p.hd;
    const size_t head = (size_t)(h / (p.H / p.Hkv)) * (size_t)p.hd;
    const float scale = 1.0f / sqrtf((float)p.hd);
    float mixed[MAX_DIMS] = { 0 }, largest = -INFINITY, sum = 0; /* lane l has dimensions l, l + 32, ... of `mixed` */

    for (int j = first_key(t, p.window); j <= t; j++) {
        const size_t key = head + row_at(s, j) * kv;
        float score = 0;
        for (int d = lane; d < p.hd; d += WARP) score += p.q[at + (size_t)d] * p.k[key + (size_t)d];
        score = capped(warp_sum(score) * scale, p.cap);

        /* A higher score than all before it: what was mixed under the old maximum shrinks by `keep`. */
        const float top = fmaxf(largest, score), keep = expf(largest - top), e = expf(score - top);
        for (int i = 0; i * WARP + lane < p.hd; i++)
            mixed[i] = mixed[i] * keep + e * p.v[key + (size_t)(i * WARP + lane)];
        sum = sum * keep + e;
        largest = top;
    }

    for (int i = 0; i * WARP + lane < p.hd; i++) p.out[at + (size_t)(i * WARP + lane)] = mixed[i] / sum;
    if (lane == 0) p.lse[(size_t)row * (size_t)p.H + (size_t)h] = largest + logf(sum);
}

/* ---- bf16 ---- */

/* One tile of keys into a row pair's running softmax: scores become probabilities, what was mixed before shrinks. */
template <int HD>
GPU_DEVICE void running_softmax(const packed &p, float s[8][4], int t0, int j0, float scale, float largest[2],
                                float sum[2], float mixed[HD / 8][4])
{
    const int lane = (int)threadIdx.x % WARP, t = lane % 4;
    float top[2] = { largest[0], largest[1] }, keep[2];

    /* The tile's maximum: this lane's scores first, then those of the four lanes that share a row. */
    for (int n = 0; n < 8; n++)
        for (int i = 0; i < 4; i++) {
            const bool there = sees(t0 + (i / 2) * 8, j0 + n * 8 + 2 * t + i % 2, p.window);
            s[n][i] = there ? capped(s[n][i] * scale, p.cap) : -INFINITY;
            top[i / 2] = fmaxf(top[i / 2], s[n][i]);
        }
    for (int r = 0; r < 2; r++) {
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 1));
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 2));
        keep[r] = largest[r] == -INFINITY ? 0.0f : expf(largest[r] - top[r]); /* -inf - -inf would be a NaN */
        largest[r] = top[r];
        sum[r] *= keep[r];
    }

    for (int n = 0; n < 8; n++)
        for (int i = 0; i < 4; i++) {
            s[n][i] = s[n][i] == -INFINITY ? 0.0f : expf(s[n][i] - largest[i / 2]);
            sum[i / 2] += s[n][i];
        }

    for (int n = 0; n < HD / 8; n++)
        for (int i = 0; i < 4; i++) mixed[n][i] *= keep[i / 2];
}

template <int HD> GPU_KERNEL void attend_tiles(packed p)
{
    GPU_DYNAMIC(__nv_bfloat16, keys);
    __nv_bfloat16 *values = keys + TILE * (HD + PAD);
    const tile_place at = tile_at(p, (int)blockIdx.x);
    const int h = (int)blockIdx.y, warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    if (at.rows == 0) return;

    const size_t stride = (size_t)p.H * HD, kv = (size_t)p.Hkv * HD, row0 = row_at(at.of, at.first);
    const size_t head = (size_t)(h / (p.H / p.Hkv)) * HD;
    const float scale = 1.0f / sqrtf((float)HD);
    uint32_t q[HD / 16][4];
    float mixed[HD / 8][4] = { { 0 } }, largest[2] = { -INFINITY, -INFINITY }, sum[2] = { 0, 0 };
    load_rows<HD>(p.q + row0 * stride + (size_t)h * HD, warp * 16, at.rows, stride, q);

    /* Key tiles from the first that the tile's first row sees to the last that its last row sees. */
    const int last = at.first + at.rows - 1, seen = first_key(at.first, p.window);
    for (int j = seen / TILE * TILE; j <= last; j += TILE) {
        float s[8][4];
        __syncthreads(); /* every warp is through with the tile before */
        load_tile<HD>(p.k + head, at.of, j, kv, keys, NULL);
        load_tile<HD>(p.v + head, at.of, j, kv, NULL, values);
        __syncthreads();

        scores<HD>(q, keys, s);
        running_softmax<HD>(p, s, at.first + warp * 16 + lane / 4, j, scale, largest, sum, mixed);
        mix<HD>(s, values, mixed);
    }

    /* The sums of a row's four lanes, which the running softmax kept apart. */
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
        const int row = warp * 16 + lane / 4 + r * 8;
        if (lane % 4 == 0 && row < at.rows)
            p.lse[(row0 + (size_t)row) * (size_t)p.H + (size_t)h] = largest[r] + logf(sum[r]);
    }

    const float factor[2] = { 1.0f / sum[0], 1.0f / sum[1] };
    store_rows<HD>(mixed, factor, warp * 16, at.rows, stride, p.out + row0 * stride + (size_t)h * HD);
}

template <int HD> static void run_tiles(device *dev, const packed &p, int T)
{
    const size_t bytes = sizeof(__nv_bfloat16) * (TILE * (HD + PAD) + HD * TURNED);
    GPU_LAUNCH(dev, attend_tiles<HD>, dim3(max_tiles(T, p.S), (unsigned)p.H), TILE_THREADS, bytes, p);
}

void cuda_attention(device *dev, const float *q, const float *k, const float *v, const int32_t *starts,
                    const int32_t *prefix, int S, int H, int Hkv, int hd, int window, float cap, float *o, float *lse)
{
    packed p = packed_of(q, k, v, starts, prefix, S, H, Hkv, hd, window, cap);
    p.out = o;
    p.lse = lse;

    const int T = rows_of(dev, starts, S);
    if (hd > MAX_DIMS * WARP)
        gpu_note(dev, 1, "attention (head_dim above 256)");
    else if (!on_tensor_cores(dev, hd))
        GPU_LAUNCH(dev, attend_rows, dim3((unsigned)T, gpu_blocks(H, TILE_WARPS)), TILE_THREADS, 0, p);
    else if (hd == 32)
        run_tiles<32>(dev, p, T);
    else if (hd == 64)
        run_tiles<64>(dev, p, T);
    else
        run_tiles<128>(dev, p, T);
}
