/* SPDX-License-Identifier: MIT */
/* attention - what packed attention's forward and backward share: tiles of query rows against the keys of one
 * (sequence, key/value head). Internal to the CPU backend.
 *
 * A thread owns such a pair: the transposed keys are made once for all query heads that share them, and sums over rows
 * keep their order. Every product is a tile of tile.h. */
#pragma once

#include <math.h>

#include "kernels/cpu/attention_inner.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/tile.h"

enum { QUERY_ROWS = 32, KEY_PAIR = 2 * KV_PAGE };

typedef struct packed_shape {
    const int32_t *starts;
    int S, H, Hkv, hd, window;
    int wide;    /* hd rounded up to whole pairs of vectors */
    int longest; /* tokens of the longest sequence, rounded up to whole pairs of blocks */
    double flops;
} packed_shape;

static inline packed_shape packed_shape_of(const int32_t *starts, int S, int H, int Hkv, int hd, int window)
{
    packed_shape s = { .starts = starts, .S = S, .H = H, .Hkv = Hkv, .hd = hd, .window = window };
    for (int i = 0; i < S; i++) {
        const int n = starts[i + 1] - starts[i];
        s.longest = n > s.longest ? n : s.longest;
        s.flops += 2.0 * n * n * H * hd;
    }
    s.longest = (s.longest + KEY_PAIR - 1) / KEY_PAIR * KEY_PAIR;
    s.wide = (hd + KEY_PAIR - 1) / KEY_PAIR * KEY_PAIR;
    return s;
}

/* Sixteen rows, at most `columns` of each (16 or fewer), turned: out[d][16]. */
static inline void transpose_16(const float *x, size_t stride, int rows, int columns, float *out)
{
    v16 r[16];
    for (int i = 0; i < 16; i++) {
        r[i] = v16_set(0);
        if (i < rows) r[i] = v16_load_some(x + (size_t)i * stride, columns);
    }
    v16_transpose(r);
    for (int d = 0; d < columns; d++) v16_store(out + d * KV_PAGE, r[d]);
}

/* x [n rows, hd] of one head, rows `stride` apart -> blocks [hd][KV_PAGE], zeros behind the last row. */
static inline void transpose_blocks(const float *x, int n, size_t stride, int hd, float *out)
{
    const int blocks = (n + KEY_PAIR - 1) / KEY_PAIR * 2;
    for (int b = 0; b < blocks; b++, out += (size_t)hd * KV_PAGE)
        for (int d = 0; d < hd; d += 16) {
            const int columns = hd - d < 16 ? hd - d : 16;
            const float *from = x + (size_t)(b * KV_PAGE) * stride + d;
            transpose_16(from, stride, n - b * KV_PAGE, columns, out + d * KV_PAGE);
        }
}

/* The same rows, side by side, padded with zeros to `wide`. */
static inline void copy_rows(const float *x, int n, size_t stride, int hd, int wide, float *out)
{
    for (int t = 0; t < n; t++, x += stride, out += wide) {
        memcpy(out, x, sizeof(float) * (size_t)hd);
        memset(out + hd, 0, sizeof(float) * (size_t)(wide - hd));
    }
}

/* The tile of query rows [t, t + rows) sees keys [first, n); `first` at a pair of blocks' beginning. */
typedef struct query_tile {
    int t, rows, first, n;
} query_tile;

static inline query_tile query_tile_at(const packed_shape *s, int t, int length)
{
    const int rows = length - t < QUERY_ROWS ? length - t : QUERY_ROWS;
    return (query_tile){ .t = t, .rows = rows, .first = first_key(t, s->window) / KEY_PAIR * KEY_PAIR, .n = t + rows };
}

/* out [rows, longest] = x [rows, hd] . columns of the transposed blocks, for the tile's keys. */
static inline void tile_scores(const packed_shape *s, const query_tile *q, const float *x, size_t stride,
                               const float *blocks, float *out)
{
    for (int j = q->first; j < q->n; j += KEY_PAIR) {
        const float *b = blocks + (size_t)j * (size_t)s->hd;
        tile_rows((tile_args){ .a = x,
                               .a_row = stride,
                               .a_k = 1,
                               .b = { b, b + (size_t)s->hd * KV_PAGE },
                               .b_k = KV_PAGE,
                               .K = s->hd,
                               .y = out + j,
                               .y_row = (size_t)s->longest,
                               .columns = KEY_PAIR },
                  q->rows);
    }
}

/* out [rows, wide] = p [rows, longest] over the tile's keys . x [keys, wide]. */
static inline void tile_mix(const packed_shape *s, const query_tile *q, const float *p, const float *x, float *out)
{
    for (int c = 0; c < s->wide; c += KEY_PAIR) {
        const float *b = x + (size_t)q->first * (size_t)s->wide + c;
        tile_rows((tile_args){ .a = p + q->first,
                               .a_row = (size_t)s->longest,
                               .a_k = 1,
                               .b = { b, b + 16 },
                               .b_k = (size_t)s->wide,
                               .K = q->n - q->first,
                               .y = out + c,
                               .y_row = (size_t)s->wide,
                               .columns = KEY_PAIR },
                  q->rows);
    }
}
