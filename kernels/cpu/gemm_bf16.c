/* SPDX-License-Identifier: MIT */
/* Matrix products of bf16 factors: y = start + A B^T, A [M, K] converted row by row, B packed in panels of 32 columns.
 *
 * A panel is a run of blocks of 32 k: two tiles of 16 rows (pairs of k) by 16 columns, [2][16][16][2] numbers, which is
 * what a tile register and a dot-product instruction want. K is padded with zeros.
 *
 * The order of a sum is AMX's (Intel SDM, TDPBF16PS): in a block of 32 the even and the odd k are summed apart, each
 * from zero, then added to each other and to what is there. The portable loop does the same, product by product:
 * products of bf16 numbers are exact in fp32. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"

#if defined __AMX_BF16__ || defined __AVX512BF16__
#include <immintrin.h>
#endif

enum { PANEL = 32, BLOCK_K = 32, TILE = 16, BLOCK_NUMBERS = PANEL * BLOCK_K, ROWS = 32, ROWS_A_TASK = 128 };

typedef uint16_t bf16;

static int blocks_of(int K) { return (K + BLOCK_K - 1) / BLOCK_K; }
static int panels_of(int N) { return (N + PANEL - 1) / PANEL; }
static int smaller(int a, int b) { return a < b ? a : b; }

size_t bf16_packed_bytes(int N, int K)
{
    return sizeof(bf16) * (size_t)panels_of(N) * (size_t)blocks_of(K) * BLOCK_NUMBERS;
}

typedef uint32_t v16u __attribute__((vector_size(64)));
typedef uint16_t v16h __attribute__((vector_size(32)));

/* The upper halves hold the numbers rounded to bf16: to nearest, ties to even; a NaN stays one. */
static inline v16u round_bits(v16 f)
{
    const v16u u = (v16u)f;
    const v16u nan = (v16u)((u & 0x7fffffff) > 0x7f800000);
    return ((u + 0x7fff + ((u >> 16) & 1)) & ~nan) | ((u | 0x400000) & nan);
}

/* Pairs as a tile wants them: the even k's number below, the odd one's above. */
static inline v16u pair_bits(v16 even, v16 odd) { return (round_bits(even) >> 16) | (round_bits(odd) & 0xffff0000); }

static inline void store_bf16(bf16 *to, v16 f, int n)
{
    const v16h h = __builtin_convertvector(round_bits(f) >> 16, v16h);
    memcpy(to, &h, sizeof(bf16) * (size_t)n);
}

/* ---- packing B: the two numbers of a pair stand next to each other ---- */

typedef struct pack_job {
    const float *w;
    int N, K;
    size_t row, column;
    bf16 *packed;
} pack_job;

/* Rows of W^T lie side by side (the transpose of a checkpoint's matrix, or a batch): sixteen columns at a time. */
static void pack_rows(const float *w, size_t column, int depth, int columns, bf16 *to)
{
    for (int n = 0; n < PANEL; n += TILE)
        for (int k = 0; k < BLOCK_K; k += 2) {
            const float *p = w + (size_t)k * column + n;
            const v16 even = v16_load_some(p, k < depth ? columns - n : 0);
            const v16 odd = k + 1 < depth ? v16_load_some(p + column, columns - n) : v16_set(0);
            const v16u pairs = pair_bits(even, odd);
            memcpy(to + (n + k / 2) * PANEL, &pairs, sizeof pairs);
        }
}

/* Columns of W^T lie side by side (a checkpoint's matrix): sixteen by sixteen, turned. */
static void pack_columns(const float *w, size_t row, int depth, int columns, bf16 *to)
{
    for (int n = 0; n < PANEL; n += TILE)
        for (int k = 0; k < BLOCK_K; k += TILE) {
            v16 r[TILE];
            for (int i = 0; i < TILE; i++)
                r[i] = n + i < columns ? v16_load_some(w + (size_t)(n + i) * row + k, depth - k) : v16_set(0);

            v16_transpose(r);
            for (int i = 0; i < TILE; i += 2) {
                const v16u pairs = pair_bits(r[i], r[i + 1]);
                memcpy(to + (n + (k + i) / 2) * PANEL, &pairs, sizeof pairs);
            }
        }
}

static void pack_panels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const pack_job *j = ctx;
    const int blocks = blocks_of(j->K);
    (void)thread;

    for (int64_t p = begin; p < end; p++)
        for (int b = 0; b < blocks; b++) {
            bf16 *to = j->packed + ((size_t)p * (size_t)blocks + (size_t)b) * BLOCK_NUMBERS;
            const int columns = smaller(j->N - (int)p * PANEL, PANEL);
            const int depth = smaller(j->K - b * BLOCK_K, BLOCK_K);
            const float *w = j->w + (size_t)p * PANEL * j->row + (size_t)b * BLOCK_K * j->column;

            if (j->row == 1)
                pack_rows(w, j->column, depth, columns, to);
            else
                pack_columns(w, j->row, depth, columns, to);
        }
}

void bf16_pack(device *dev, const float *w, int N, int K, size_t row, size_t column, void *packed)
{
    pack_job job = { w, N, K, row, column, packed };
    cpu_parallel(dev, 8.0 * N * K, panels_of(N), 0, pack_panels, &job);
}

/* ---- A: rows of bf16, padded to whole blocks of K and whole tiles of rows. Two cache lines more a row keep rows of a
 * power of two from falling into the same cache sets. ---- */

typedef struct rows_job {
    const float *x; /* element (m, k) at x[m * row + k * column] */
    int M, K;
    size_t row, column, stride;
    bf16 *out;
} rows_job;

static size_t row_stride(int K) { return (size_t)blocks_of(K) * BLOCK_K + 64; }

static void convert_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rows_job *j = ctx;
    (void)thread;

    for (int64_t m = begin; m < end; m++) {
        bf16 *to = j->out + (size_t)m * j->stride;
        const float *x = j->x + (size_t)m * j->row;
        const int K = m < j->M ? j->K : 0; /* rows after the last one are padding */
        int k = 0;

        for (; k + 16 <= K; k += 16) store_bf16(to + k, v16_load(x + k), 16);
        if (k < K) store_bf16(to + k, v16_load_n(x + k, K - k), K - k);
        memset(to + K, 0, sizeof(bf16) * (j->stride - (size_t)K));
    }
}

/* The transpose: sixteen rows of out at a time. */
static void convert_columns(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rows_job *j = ctx;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        const int first = (int)b * TILE, n = smaller(j->M - first, TILE);
        bf16 *to = j->out + (size_t)first * j->stride;
        for (int k = 0; k < j->K; k += TILE) {
            v16 r[TILE];
            for (int i = 0; i < TILE; i++)
                r[i] = k + i < j->K ? v16_load_some(j->x + (size_t)first + (size_t)(k + i) * j->column, n) : v16_set(0);

            v16_transpose(r);
            for (int m = 0; m < TILE; m++) store_bf16(to + (size_t)m * j->stride + k, r[m], TILE);
        }

        const int done = (j->K + TILE - 1) / TILE * TILE;
        for (int m = 0; m < TILE; m++)
            memset(to + (size_t)m * j->stride + done, 0, sizeof(bf16) * (j->stride - (size_t)done));
    }
}

static const bf16 *bf16_rows(device *dev, const float *x, int M, int K, size_t row, size_t column)
{
    const int tiles = (M + TILE - 1) / TILE;
    rows_job job = { x, M, K, row, column, row_stride(K), NULL };
    job.out = device_scratch(dev, sizeof(bf16) * (size_t)tiles * TILE * job.stride);
    if (column == 1)
        cpu_parallel(dev, 4.0 * M * K, (int64_t)tiles * TILE, 0, convert_rows, &job);
    else
        cpu_parallel(dev, 8.0 * M * K, tiles, 1, convert_columns, &job);
    return job.out;
}

/* ---- 32 rows by 32 columns: sums [32][32] = A B^T over all blocks ---- */

#if defined __AMX_BF16__

static void tiles_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } config = { .palette = 1 }; /* Intel SDM, LDTILECFG */

    for (int i = 0; i < 8; i++) {
        config.column_bytes[i] = 64;
        config.rows[i] = TILE;
    }
    _tile_loadconfig(&config);
}
static void tiles_end(void) { _tile_release(); }

/* Registers 0 to 3 hold the sums, [2 tiles of rows][2 halves of the panel]; 4 and 5 are A's tiles, 6 and 7 B's. */
static void sums_of(const bf16 *a, size_t stride, int row_tiles, const bf16 *panel, int blocks, float *sums)
{
    const size_t bytes = stride * sizeof(bf16), half = BLOCK_NUMBERS / 2;
    const bf16 *a1 = row_tiles > 1 ? a + TILE * stride : a;

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);

    for (int b = 0; b < blocks; b++, a += BLOCK_K, a1 += BLOCK_K, panel += BLOCK_NUMBERS) {
        _tile_loadd(4, a, bytes);
        _tile_loadd(6, panel, 64);
        _tile_loadd(7, panel + half, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (row_tiles == 1) continue;

        _tile_loadd(5, a1, bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }

    _tile_stored(0, sums, PANEL * sizeof(float));
    _tile_stored(1, sums + TILE, PANEL * sizeof(float));
    _tile_stored(2, sums + TILE * PANEL, PANEL * sizeof(float));
    _tile_stored(3, sums + TILE * PANEL + TILE, PANEL * sizeof(float));
}

#else

static void tiles_begin(void) {}
static void tiles_end(void) {}

#if defined __AVX512BF16__

/* R rows: one accumulator an element, the dot product's own order. */
static inline __attribute__((always_inline)) void row_sums(const int R, const bf16 *a, size_t stride, const bf16 *panel,
                                                           int blocks, float *sums)
{
    __m512 acc[8][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();

    for (int b = 0; b < blocks; b++, panel += BLOCK_NUMBERS)
        for (int pair = 0; pair < TILE; pair++) {
            const __m512bh b0 = (__m512bh)_mm512_loadu_si512(panel + pair * PANEL);
            const __m512bh b1 = (__m512bh)_mm512_loadu_si512(panel + BLOCK_NUMBERS / 2 + pair * PANEL);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                int32_t two;
                memcpy(&two, a + (size_t)r * stride + b * BLOCK_K + 2 * pair, sizeof two);
                const __m512bh av = (__m512bh)_mm512_set1_epi32(two);
                acc[r][0] = _mm512_dpbf16_ps(acc[r][0], av, b0);
                acc[r][1] = _mm512_dpbf16_ps(acc[r][1], av, b1);
            }
        }

#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        _mm512_storeu_ps(sums + r * PANEL, acc[r][0]);
        _mm512_storeu_ps(sums + r * PANEL + TILE, acc[r][1]);
    }
}

#else

/* The numbers of a block of A in fp32: the even k's apart from the odd ones'. */
typedef struct wide_block {
    float even[4][TILE], odd[4][TILE];
} wide_block;

static inline __attribute__((always_inline)) void widen_block(const int R, const bf16 *a, size_t stride, wide_block *w)
{
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        for (int i = 0; i < REGS; i++) {
            regi pairs;
            memcpy(&pairs, a + (size_t)r * stride + i * REG * 2, sizeof pairs);
            reg_store(w->even[r] + i * REG, (reg)(pairs << 16));
            reg_store(w->odd[r] + i * REG, (reg)(pairs & (int32_t)0xffff0000));
        }
    }
}

/* The even or the odd k of a block, by 16 columns. */
static inline __attribute__((always_inline)) void block_sums(const int R, const float (*a)[TILE], const bf16 *half,
                                                             const bool odd, reg (*sums)[REGS])
{
#pragma GCC unroll 16
    for (int i = 0; i < R * REGS; i++) sums[i / REGS][i % REGS] = reg_set(0);

    for (int pair = 0; pair < TILE; pair++) {
        reg b[REGS];
#pragma GCC unroll 4
        for (int i = 0; i < REGS; i++) {
            regi both;
            memcpy(&both, half + pair * PANEL + i * REG * 2, sizeof both);
            b[i] = (reg)(odd ? both & (int32_t)0xffff0000 : both << 16); /* widened */
        }
#pragma GCC unroll 16
        for (int i = 0; i < R * REGS; i++)
            sums[i / REGS][i % REGS] = reg_set(a[i / REGS][pair]) * b[i % REGS] + sums[i / REGS][i % REGS];
    }
}

/* R rows of 16 columns at a time: the even k of a block, then its odd ones, so that 4 rows' sums stay in registers. */
static inline __attribute__((always_inline)) void half_sums(const int R, const bf16 *a, size_t stride, const bf16 *half,
                                                            int blocks, float *sums)
{
    reg acc[4][REGS];
#pragma GCC unroll 16
    for (int i = 0; i < R * REGS; i++) acc[i / REGS][i % REGS] = reg_set(0);

    for (int b = 0; b < blocks; b++, half += BLOCK_NUMBERS) {
        wide_block w;
        reg even[4][REGS], odd[4][REGS];
        widen_block(R, a + b * BLOCK_K, stride, &w);
        block_sums(R, w.even, half, false, even);
        block_sums(R, w.odd, half, true, odd);
#pragma GCC unroll 16
        for (int i = 0; i < R * REGS; i++)
            acc[i / REGS][i % REGS] += even[i / REGS][i % REGS] + odd[i / REGS][i % REGS];
    }

#pragma GCC unroll 16
    for (int i = 0; i < R * REGS; i++) reg_store(sums + i / REGS * PANEL + i % REGS * REG, acc[i / REGS][i % REGS]);
}

static inline __attribute__((always_inline)) void row_sums(const int R, const bf16 *a, size_t stride, const bf16 *panel,
                                                           int blocks, float *sums)
{
    for (int r = 0; r < R; r += 4)
        for (int half = 0; half < 2; half++) {
            const bf16 *from = panel + half * (BLOCK_NUMBERS / 2);
            float *to = sums + r * PANEL + half * TILE;

            if (R - r >= 4)
                half_sums(4, a + (size_t)r * stride, stride, from, blocks, to);
            else
                half_sums(R < 4 ? R : 1, a + (size_t)r * stride, stride, from, blocks, to);
        }
}

#endif

/* The largest number of rows, of those row_sums is called with, that `rows` fill. */
static int row_step(int rows)
{
    if (rows >= 8) return 8;
    if (rows >= 4) return 4;
    return rows >= 2 ? 2 : 1;
}

/* `rows` up to 32 by whole tiles of rows; the padding rows of the last one are only computed where that is easier. */
static void rows_by_panel(const bf16 *a, size_t stride, int rows, const bf16 *panel, int blocks, float *sums)
{
    for (int r = 0; r < rows;) {
        const int step = row_step(rows - r);
        const bf16 *from = a + (size_t)r * stride;

        if (step == 8) /* a constant each, so that the compiler keeps the sums in registers */
            row_sums(8, from, stride, panel, blocks, sums + r * PANEL);
        else if (step == 4)
            row_sums(4, from, stride, panel, blocks, sums + r * PANEL);
        else if (step == 2)
            row_sums(2, from, stride, panel, blocks, sums + r * PANEL);
        else
            row_sums(1, from, stride, panel, blocks, sums + r * PANEL);
        r += step;
    }
}

#endif

/* ---- the product ---- */

typedef struct product {
    const bf16 *a;
    size_t stride;
    int M, blocks;
    const linear_part *parts;
    int n, panels; /* parts, and the panels of all of them */
} product;

static void write_rows(const linear_part *t, int row, int rows, int column, const float *sums)
{
    const int columns = smaller(t->N - column, PANEL);
    for (int r = 0; r < rows; r++, sums += PANEL) {
        const size_t at = (size_t)(row + r) * (size_t)t->N + (size_t)column;
        float *y = t->y + at;

        if (t->add)
            for (int c = 0; c < columns; c++) y[c] = t->add[at + (size_t)c] + sums[c];
        else
            memcpy(y, sums, sizeof(float) * (size_t)columns);
        if (t->bias)
            for (int c = 0; c < columns; c++) y[c] += t->bias[column + c];
    }
}

static void panel_rows(const product *p, const linear_part *t, int row, int rows, int panel)
{
    _Alignas(64) float sums[ROWS * PANEL];
    const bf16 *b = (const bf16 *)t->packed + (size_t)panel * (size_t)p->blocks * BLOCK_NUMBERS;
    for (int end = row + rows; row < end; row += ROWS) {
        const int n = smaller(end - row, ROWS);
        const bf16 *a = p->a + (size_t)row * p->stride;

#if defined __AMX_BF16__
        sums_of(a, p->stride, (n + TILE - 1) / TILE, b, p->blocks, sums);
#else
        rows_by_panel(a, p->stride, n, b, p->blocks, sums);
#endif
        write_rows(t, row, n, panel * PANEL, sums);
    }
}

static void some_panels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product *p = ctx;
    (void)thread;

    tiles_begin();
    for (int64_t i = begin; i < end; i++) {
        const int row = (int)(i / p->panels) * ROWS_A_TASK;
        int panel = (int)(i % p->panels);
        const linear_part *part = part_of_panel(p->parts, p->n, PANEL, &panel);
        panel_rows(p, part, row, smaller(p->M - row, ROWS_A_TASK), panel);
    }

    tiles_end();
}

static void multiply(device *dev, const bf16 *a, int M, int K, const linear_part *parts, int n)
{
    product p = { a, row_stride(K), M, blocks_of(K), parts, n, panels_of_parts(parts, n, PANEL) };
    const int64_t tasks = (int64_t)((M + ROWS_A_TASK - 1) / ROWS_A_TASK) * p.panels;
    cpu_parallel(dev, 2.0 * M * K * p.panels * PANEL, tasks, 0, some_panels, &p);
}

void bf16_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    multiply(dev, bf16_rows(dev, x, M, K, (size_t)K, 1), M, K, parts, n);
    cpu_scratch_rewind(dev, mark);
}

/* dW [N, K] += dy^T x: A is dy's transpose, B x's columns, and the batch what is summed over. */
void bf16_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    bf16 *packed = device_scratch(dev, bf16_packed_bytes(K, M));
    bf16_pack(dev, x, K, M, 1, (size_t)K, packed);
    const bf16 *rows = bf16_rows(dev, dy, N, M, 1, (size_t)N);
    multiply(dev, rows, N, M, &(linear_part){ .packed = packed, .add = dw, .N = K, .y = dw }, 1);
}
