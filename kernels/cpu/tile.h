/* SPDX-License-Identifier: MIT */
/* tile - the inner loop of every fp32 product: R rows by 16 C columns, accumulators in registers.
 *
 *   y[r][c] = start[r][c] + sum over k ascending of a[r][k] b[k][c]
 *
 * One accumulator an element, k in ascending order, one rounding a step (where the CPU has FMA): so an element's bits
 * don't depend on the tile it falls into, and cutting K into blocks (start = what is there) changes nothing; with
 * sum_apart the blocks must be the same everywhere. */
#pragma once

#include <stdbool.h>

#include "kernels/cpu/simd.h"

enum { TILE_ROWS = 8, TILE_VECTORS = 4, SOON_EVERY = 8 };
/* The largest tile whose accumulators stay in registers: 32 of 64 bytes, or 16 of 32 (two a vector of ours), or of
 * 16. */
#if defined __AVX512F__
enum { FULL_ROWS = 8, FULL_VECTORS = 2, FEW_ROWS = 4 };
#elif defined __AVX__
enum { FULL_ROWS = 6, FULL_VECTORS = 1, FEW_ROWS = 1 };
#else
enum { FULL_ROWS = 2, FULL_VECTORS = 1, FEW_ROWS = 1 };
#endif

typedef struct tile_args {
    const float *a; /* element (r, k) at a[r * a_row + k * a_k] */
    size_t a_row, a_k;
    size_t a_next;                /* from one full tile's rows to the next's; 0: FULL_ROWS a_row */
    const float *b[TILE_VECTORS]; /* vector c of row k at b[c] + k * b_k */
    size_t b_k;
    int K;
    const float *start; /* NULL: zeros; rows start_row floats apart (0: a bias) */
    size_t start_row;
    bool sum_apart; /* start is added to the finished sum: terms added to a large start would lose their last bits */
    float *y;
    size_t y_row;
    int columns;       /* of y and start that exist, at most 16 C */
    const float *soon; /* what is needed after these rows: a line is asked for now and then; NULL: nothing */
} tile_args;

/* R, C and `ahead` are constants wherever this is called: everything unrolls. `ahead` floats further on, b is asked for
 * early: where it comes from memory and is used once. */
static inline __attribute__((always_inline)) void tile_ahead(const int R, const int C, const int ahead,
                                                             const tile_args *t)
{
    reg acc[TILE_ROWS][TILE_VECTORS * REGS];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            regs_zero(acc[r] + c * REGS);
            if (t->start && !t->sum_apart)
                regs_load(acc[r] + c * REGS, t->start + (size_t)r * t->start_row + 16 * c, t->columns - 16 * c);
        }

#pragma GCC unroll 8
    for (int r = 0; r < R; r++) /* the result's lines arrive while the sums are made */
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) __builtin_prefetch(t->y + (size_t)r * t->y_row + 16 * c, 1);

    const float *a = t->a, *b[TILE_VECTORS] = { t->b[0], t->b[1], t->b[2], t->b[3] };
    const size_t a_row = t->a_row, a_k = t->a_k, b_k = t->b_k;
    const float *soon = t->soon ? t->soon : a;
    for (int k = t->K; k > 0; k--) {
        if (!ahead && k % SOON_EVERY == 0) {
            __builtin_prefetch(soon, 0, 2); /* to the second-level cache */
            soon += 16;
        }

        reg bv[TILE_VECTORS * REGS];
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            if (ahead) __builtin_prefetch(b[c] + ahead, 0, 3);
#pragma GCC unroll 4
            for (int i = 0; i < REGS; i++) bv[c * REGS + i] = reg_load(b[c] + i * REG);
            b[c] += b_k;
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const reg av = reg_set(a[(size_t)r * a_row]);
#pragma GCC unroll 16
            for (int c = 0; c < C * REGS; c++) acc[r][c] = av * bv[c] + acc[r][c];
        }
        a += a_k;
    }

    if (t->start && t->sum_apart) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) {
                reg start[REGS];
                regs_load(start, t->start + (size_t)r * t->start_row + 16 * c, t->columns - 16 * c);
#pragma GCC unroll 4
                for (int i = 0; i < REGS; i++) acc[r][c * REGS + i] += start[i];
            }
    }

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++)
            regs_store(t->y + (size_t)r * t->y_row + 16 * c, acc[r] + c * REGS, t->columns - 16 * c);
}

static inline __attribute__((always_inline)) void tile(const int R, const int C, const tile_args *t)
{
    tile_ahead(R, C, 0, t);
}

/* The highest tile that `rows` fill. */
static inline int tile_step(int rows)
{
    if (rows >= FULL_ROWS) return FULL_ROWS;
    if (rows >= 4) return 4;
    return rows >= 2 ? 2 : 1;
}

/* Any number of rows by 16 FULL_VECTORS columns. */
static inline void tile_strip(tile_args t, int rows)
{
    while (rows > 0) {
        const int step = tile_step(rows);
        if (step == FULL_ROWS)
            tile(FULL_ROWS, FULL_VECTORS, &t);
        else if (step == 4)
            tile(4, FULL_VECTORS, &t);
        else if (step == 2)
            tile(2, FULL_VECTORS, &t);
        else
            tile(1, FULL_VECTORS, &t);

        t.a += t.a_next && step == FULL_ROWS ? t.a_next : (size_t)step * t.a_row;
        t.y += (size_t)step * t.y_row;
        if (t.start) t.start += (size_t)step * t.start_row;
        if (t.soon) t.soon += t.K / SOON_EVERY * 16;
        rows -= step;
    }
}

/* Any number of rows by 32 columns. */
static inline void tile_rows(tile_args t, int rows)
{
    for (int c = 0; c < 2 && t.columns > 0; c += FULL_VECTORS) {
        tile_strip(t, rows);
        t.b[0] = t.b[1];
        t.y += 16 * FULL_VECTORS;
        if (t.start) t.start += 16 * FULL_VECTORS;
        t.columns -= 16 * FULL_VECTORS;
    }
}
