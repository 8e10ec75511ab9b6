/* SPDX-License-Identifier: MIT */
/* attention - what packed attention's forward and backward share: tiles of query rows against the keys of one
 * (sequence, key/value head). Internal to the CPU backend.
 *
 * A thread owns such a pair: the transposed keys are made once for all query heads that share them, and sums over rows
 * keep their order. Every product is a tile of tile.h.
 *
 * Keys lie by position, those of a prefix first: what a row meets is the same whether its prefix is shared or not. Of
 * the sequences that share one, a thread takes a few in a row, for which the prefix's keys are turned once. */
#pragma once

#include <math.h>

#include "kernels/cpu/attention_inner.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/tile.h"

enum { QUERY_ROWS = 32, KEY_PAIR = 2 * KV_PAGE, MAX_RUN = 4 };

typedef struct packed_shape {
    const int32_t *starts, *prefix; /* prefix NULL: no sequence has one */
    int S, H, Hkv, hd, window;
    float cap;           /* of the scores; 0: none */
    const int32_t *runs; /* [n_runs + 1] the first sequence of each run: of one, or of up to MAX_RUN with one prefix */
    int n_runs;
    int wide;    /* hd rounded up to whole pairs of vectors */
    int longest; /* keys of the longest sequence, rounded up to whole pairs of blocks */
    double flops;
} packed_shape;

/* Positions [0, before) are the prefix's rows from `prefix` on, [before, n) the sequence's own from `start` on. */
typedef struct sequence {
    int prefix, before, start, n;
} sequence;

static inline sequence sequence_at(const packed_shape *s, int64_t i)
{
    const int p = s->prefix ? s->prefix[i] : -1;
    sequence q = { .start = s->starts[i] };
    if (p >= 0) {
        q.prefix = s->starts[p];
        q.before = s->starts[p + 1] - q.prefix;
    }
    q.n = q.before + s->starts[i + 1] - q.start;
    return q;
}

static inline size_t row_at(const sequence *q, int position)
{
    return (size_t)(position < q->before ? q->prefix + position : q->start + position - q->before);
}

static inline bool continues(const packed_shape *s, int first, int i)
{
    return s->prefix && s->prefix[i] >= 0 && s->prefix[i] == s->prefix[first] && i - first < MAX_RUN;
}

static inline void find_runs(device *dev, packed_shape *s)
{
    int32_t *runs = device_scratch(dev, sizeof *runs * (size_t)(s->S + 1));
    for (int i = 0; i < s->S; i++)
        if (i == 0 || !continues(s, runs[s->n_runs - 1], i)) runs[s->n_runs++] = i;
    runs[s->n_runs] = s->S;
    s->runs = runs;
}

static inline packed_shape packed_shape_of(device *dev, const int32_t *starts, const int32_t *prefix, int S, int H,
                                           int Hkv, int hd, int window)
{
    packed_shape s = { .starts = starts, .prefix = prefix, .S = S, .H = H, .Hkv = Hkv, .hd = hd, .window = window };
    for (int i = 0; i < S; i++) {
        const sequence q = sequence_at(&s, i);
        s.longest = q.n > s.longest ? q.n : s.longest;
        s.flops += 2.0 * (q.n - q.before) * (q.n + q.before) * H * hd;
    }
    s.longest = (s.longest + KEY_PAIR - 1) / KEY_PAIR * KEY_PAIR;
    s.wide = (hd + KEY_PAIR - 1) / KEY_PAIR * KEY_PAIR;
    find_runs(dev, &s);
    return s;
}

/* Sixteen rows (NULL: zeros), at most `columns` of each (16 or fewer) from d on, turned: out[d][16]. */
static inline void transpose_16(const float *const rows[16], int d, int columns, float *out)
{
    v16 r[16];
    for (int i = 0; i < 16; i++) {
        r[i] = v16_set(0);
        if (rows[i]) r[i] = v16_load_some(rows[i] + d, columns);
    }
    v16_transpose(r);
    for (int i = 0; i < columns; i++) v16_store(out + (d + i) * KV_PAGE, r[i]);
}

/* The sequence's rows of x, `stride` apart -> blocks [hd][KV_PAGE] by position, zeros after the last row. Where the
 * prefix's rows are there already, only the others. */
static inline void transpose_blocks(const float *x, const sequence *q, size_t stride, int hd, bool prefix_there,
                                    float *out)
{
    const int begin = prefix_there ? q->before / KV_PAGE * KV_PAGE : 0;
    const int end = (q->n + KEY_PAIR - 1) / KEY_PAIR * KEY_PAIR;
    for (int j = begin; j < end; j += KV_PAGE) {
        const float *rows[16];
        for (int i = 0; i < 16; i++) rows[i] = j + i < q->n ? x + row_at(q, j + i) * stride : NULL;
        for (int d = 0; d < hd; d += 16) transpose_16(rows, d, hd - d < 16 ? hd - d : 16, out + (size_t)j * (size_t)hd);
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

/* The sequence's rows, by position; as transpose_blocks. */
static inline void copy_sequence(const float *x, const sequence *q, size_t stride, int hd, int wide, bool prefix_there,
                                 float *out)
{
    if (!prefix_there) copy_rows(x + (size_t)q->prefix * stride, q->before, stride, hd, wide, out);
    copy_rows(x + (size_t)q->start * stride, q->n - q->before, stride, hd, wide,
              out + (size_t)q->before * (size_t)wide);
}

/* The tile of queries at positions [t, t + rows) sees keys [first, n); `first` at a pair of blocks' beginning. */
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
