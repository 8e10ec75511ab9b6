/* SPDX-License-Identifier: MIT */
/* attention - what packed attention's forward and backward kernels share: where a tile lies, and how 64 rows of a head
 * come into shared memory as bf16. */
#pragma once

#include <math.h>

#include "kernels/cuda/softcap.cuh"

enum { TILE = 64, TILE_WARPS = 4, TILE_THREADS = TILE_WARPS * WARP, PAD = 8, TURNED = TILE + PAD, MAX_DIMS = 8 };

struct packed {
    const float *q, *k, *v, *o, *doo, *lse_in;
    const int32_t *starts, *prefix; /* prefix NULL: no sequence has one */
    int S, H, Hkv, hd, window;
    float cap;           /* of the scores; 0: none */
    float *out, *lse;    /* forward */
    float *dq, *dk, *dv; /* backward */
    float *delta;        /* [T, H] */
};

static inline packed packed_of(const float *q, const float *k, const float *v, const int32_t *starts,
                               const int32_t *prefix, int S, int H, int Hkv, int hd, int window, float cap)
{
    packed p = {};
    p.q = q;
    p.k = k;
    p.v = v;
    p.starts = starts;
    p.prefix = prefix;
    p.S = S;
    p.H = H;
    p.Hkv = Hkv;
    p.hd = hd;
    p.window = window;
    p.cap = cap;
    return p;
}

/* T, the rows of all sequences, stands on the device only. */
static inline int rows_of(device *dev, const int32_t *starts, int S)
{
    int32_t T = 0;
    dev->backend->copy_out(dev, &T, starts + S, sizeof T);
    return T;
}

/* Positions [0, before) are the prefix's rows from `prefix` on, [before, n) the sequence's own from `start` on. */
struct sequence {
    int index, prefix, before, start, n;
};

GPU_DEVICE sequence sequence_at(const packed &p, int s)
{
    const int of = p.prefix ? p.prefix[s] : -1, start = p.starts[s];
    const int prefix = of < 0 ? 0 : p.starts[of], before = of < 0 ? 0 : p.starts[of + 1] - prefix;
    const sequence found = { s, prefix, before, start, before + p.starts[s + 1] - start };
    return found;
}

GPU_DEVICE sequence sequence_of(const packed &p, int row)
{
    int s = 0;
    while (row >= p.starts[s + 1]) s++;
    return sequence_at(p, s);
}

GPU_DEVICE size_t row_at(const sequence &s, int position)
{
    return (size_t)(position < s.before ? s.prefix + position : s.start + position - s.before);
}

/* Whether sequence i sees keys of s: its own, or those of its prefix. Who shares one stands after it without a gap. */
GPU_DEVICE bool reads(const packed &p, int i, const sequence &s)
{
    return i == s.index || (i < p.S && p.prefix && p.prefix[i] == s.index);
}

/* A tile of up to 64 rows of one sequence. A block without one has 0 rows: more blocks than tiles are started. */
struct tile_place {
    sequence of;
    int first, rows; /* the first one's position */
};

GPU_DEVICE tile_place tile_at(const packed &p, int tile)
{
    tile_place found = { { 0, 0, 0, 0, 0 }, 0, 0 };

    for (int s = 0; s < p.S; s++) { /* tiles of one sequence after the other; none spans two */
        const int length = p.starts[s + 1] - p.starts[s], tiles = (length + TILE - 1) / TILE;
        if (tile < tiles) {
            found.of = sequence_at(p, s);
            found.first = found.of.before + tile * TILE;
            found.rows = found.of.n - found.first < TILE ? found.of.n - found.first : TILE;
            return found;
        }
        tile -= tiles;
    }

    return found;
}

/* Tiles of all sequences, at most. */
static inline unsigned max_tiles(int T, int S) { return (unsigned)(T / TILE + S); }

GPU_DEVICE bool sees(int t, int j, int window) { return j <= t && (window <= 0 || t - j < window); }

GPU_DEVICE __nv_bfloat16 rounded(float f) { return __float2bfloat16(f); }

/* A sequence's rows at positions [first, first + 64) of one head, `stride` apart -> shared [64][HD + PAD] (and turned
 * [HD][TURNED]), zeros after its last. */
template <int HD>
GPU_DEVICE void load_tile(const float *x, const sequence &s, int first, size_t stride, __nv_bfloat16 *straight,
                          __nv_bfloat16 *turned)
{
    for (int i = (int)threadIdx.x; i < TILE * HD; i += TILE_THREADS) {
        const int position = first + i / HD, r = i / HD, d = i % HD;
        const bool there = position < s.n;
        const __nv_bfloat16 b = rounded(there ? x[row_at(s, position) * stride + (size_t)d] : 0.0f);
        if (straight) straight[r * (HD + PAD) + d] = b;
        if (turned) turned[d * TURNED + r] = b;
    }
}

GPU_DEVICE uint32_t pair_at(const __nv_bfloat16 *p)
{
    uint32_t both;
    memcpy(&both, p, 4);
    return both;
}

/* ---- fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"): lane = 4 g + t holds, of a [16, 16],
 * rows g and g + 8 at columns 2t, 2t + 1 and those + 8, two numbers a register; of an accumulator [16, 8], rows g and
 * g + 8 at columns 2t and 2t + 1, a float each. ---- */

/* The a-fragments of this warp's 16 rows, from fp32 rows in global memory. */
template <int HD> GPU_DEVICE void load_rows(const float *x, int first, int rows, size_t stride, uint32_t a[HD / 16][4])
{
    const int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    for (int k = 0; k < HD / 16; k++)
        for (int i = 0; i < 4; i++) {
            const int r = first + g + (i % 2) * 8, d = k * 16 + 2 * t + (i / 2) * 8;
            const float *at = x + (size_t)r * stride + (size_t)d;
            a[k][i] = r < rows ? pack_bf16(at[0], at[1]) : 0;
        }
}

/* out [16, 64] = a [16, HD] . rows^T, rows [64][HD + PAD] in shared memory. */
template <int HD> GPU_DEVICE void scores(const uint32_t a[HD / 16][4], const __nv_bfloat16 *rows, float out[8][4])
{
    const int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    for (int n = 0; n < 8; n++) {
        for (int i = 0; i < 4; i++) out[n][i] = 0;
        for (int k = 0; k < HD / 16; k++) {
            const __nv_bfloat16 *at = rows + (n * 8 + g) * (HD + PAD) + k * 16 + 2 * t;
            const uint32_t b[2] = { pair_at(at), pair_at(at + 8) };
            mma_16x8x16(out[n], a[k], b);
        }
    }
}

/* out [16, HD] += p [16, 64] . x [64, HD], x turned in shared memory; p as the scores came, rounded here. */
template <int HD> GPU_DEVICE void mix(const float p[8][4], const __nv_bfloat16 *turned, float out[HD / 8][4])
{
    const int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;

    for (int k = 0; k < 4; k++) {
        /* Two accumulators side by side lie as one a-fragment: no shuffle between the two products. */
        const float *left = p[2 * k], *right = p[2 * k + 1];
        const uint32_t a[4] = { pack_bf16(left[0], left[1]), pack_bf16(left[2], left[3]), pack_bf16(right[0], right[1]),
                                pack_bf16(right[2], right[3]) };

        for (int n = 0; n < HD / 8; n++) {
            const __nv_bfloat16 *at = turned + (n * 8 + g) * TURNED + k * 16 + 2 * t;
            const uint32_t b[2] = { pair_at(at), pair_at(at + 8) };
            mma_16x8x16(out[n], a, b);
        }
    }
}

/* A fragment's [16, HD] times `factor` of its two rows -> fp32 rows in global memory. */
template <int HD>
GPU_DEVICE void store_rows(const float acc[HD / 8][4], const float factor[2], int first, int rows, size_t stride,
                           float *y)
{
    const int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    for (int n = 0; n < HD / 8; n++)
        for (int i = 0; i < 4; i++) {
            const int r = first + g + (i / 2) * 8;
            if (r < rows) y[(size_t)r * stride + (size_t)(n * 8 + 2 * t + i % 2)] = acc[n][i] * factor[i / 2];
        }
}

/* Head dimensions that the tensor-core kernels are made for; the others, and fp32, take the plain ones. */
static inline bool on_tensor_cores(const device *dev, int hd)
{
    return dev->precision == PRECISION_BF16 && (hd == 32 || hd == 64 || hd == 128);
}
