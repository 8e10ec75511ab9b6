/* Matrix products. Every element of a result is one accumulator that runs over K in ascending order, whatever the
 * number of rows, the tile it falls into or the thread that computes it: actor (M = 1) and learner (M = 4096) agree to
 * the bit, which no BLAS promises.
 *
 * Weights are packed into panels of 32 rows: panel[k][32]. A tile is up to 8 rows of x by 32 or 64 columns, its
 * accumulators in registers. The backward products go through the same tiles or the same order. */
#include <stdlib.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum { PANEL = 32, TILE_ROWS = 8, ROWS_A_TASK = 64, DW_BLOCK = 256 };

static int panels_of(int N) { return (N + PANEL - 1) / PANEL; }

size_t cpu_linear_packed_bytes(int N, int K) { return sizeof(float) * (size_t)panels_of(N) * PANEL * (size_t)K; }

/* w [N, K], element (n, k) at w[n * row + k * column]: the transpose packs as easily. */
static void pack(device *dev, const float *w, int N, int K, int64_t row, int64_t column, float *packed)
{
#pragma omp parallel for num_threads(threads_for(dev, 8.0 * N * K))
    for (int p = 0; p < panels_of(N); p++) {
        float *panel = packed + (size_t)p * PANEL * (size_t)K;
        for (int j = 0; j < PANEL; j++) {
            const int n = p * PANEL + j;
            for (int k = 0; k < K; k++) panel[(size_t)k * PANEL + (size_t)j] = n < N ? w[n * row + k * column] : 0;
        }
    }
}

void cpu_linear_pack(device *dev, const float *w, int N, int K, void *packed) { pack(dev, w, N, K, K, 1, packed); }

/* acc[r][0..1] over k ascending. ROWS is a constant where this is called: the loops unroll into registers. */
#define TILE(ROWS)                                                                                                     \
    static inline __attribute__((always_inline)) void tile_##ROWS(                                                     \
        const float *x, int64_t ldx, const float *panel, int K, float *y, int64_t ldy, int columns, int accumulate)    \
    {                                                                                                                  \
        v16 acc[ROWS][2];                                                                                              \
        for (int r = 0; r < (ROWS); r++) acc[r][0] = acc[r][1] = v16_set(0);                                           \
        for (int k = 0; k < K; k++) {                                                                                  \
            const v16 b0 = v16_load(panel + (size_t)k * PANEL), b1 = v16_load(panel + (size_t)k * PANEL + 16);         \
            for (int r = 0; r < (ROWS); r++) {                                                                         \
                const v16 a = v16_set(x[r * ldx + k]);                                                                 \
                acc[r][0] = a * b0 + acc[r][0];                                                                        \
                acc[r][1] = a * b1 + acc[r][1];                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        for (int r = 0; r < (ROWS); r++) store_row(y + r * ldy, acc[r], columns, accumulate);                          \
    }

static inline void store_row(float *y, const v16 *acc, int columns, int accumulate)
{
    if (columns == PANEL) {
        v16_store(y, accumulate ? v16_load(y) + acc[0] : acc[0]);
        v16_store(y + 16, accumulate ? v16_load(y + 16) + acc[1] : acc[1]);
        return;
    }
    float row[PANEL];
    v16_store(row, acc[0]);
    v16_store(row + 16, acc[1]);
    for (int j = 0; j < columns; j++) y[j] = accumulate ? y[j] + row[j] : row[j];
}

TILE(1)
TILE(2)
TILE(4)
TILE(8)

/* Rows [begin, end) of y = x panel, columns of one panel. */
static void rows_by_panel(const float *x, int begin, int end, const float *panel, int N, int K, int p, float *y,
                          int accumulate)
{
    const int columns = N - p * PANEL < PANEL ? N - p * PANEL : PANEL;
    const float *xr = x + (size_t)begin * (size_t)K;
    float *yr = y + (size_t)begin * (size_t)N + (size_t)p * PANEL;
    int left = end - begin;
    for (; left >= 8; left -= 8, xr += 8 * (size_t)K, yr += 8 * (size_t)N)
        tile_8(xr, K, panel, K, yr, N, columns, accumulate);
    if (left & 4) tile_4(xr, K, panel, K, yr, N, columns, accumulate), xr += 4 * (size_t)K, yr += 4 * (size_t)N;
    if (left & 2) tile_2(xr, K, panel, K, yr, N, columns, accumulate), xr += 2 * (size_t)K, yr += 2 * (size_t)N;
    if (left & 1) tile_1(xr, K, panel, K, yr, N, columns, accumulate);
}

static void multiply(device *dev, const float *x, int M, const float *packed, int N, int K, float *y, int accumulate)
{
    const int blocks = (M + ROWS_A_TASK - 1) / ROWS_A_TASK, panels = panels_of(N);
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads_for(dev, 2.0 * M * N * K))
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < panels; p++) {
            const int begin = b * ROWS_A_TASK, end = begin + ROWS_A_TASK < M ? begin + ROWS_A_TASK : M;
            rows_by_panel(x, begin, end, packed + (size_t)p * PANEL * (size_t)K, N, K, p, y, accumulate);
        }
}

void cpu_linear(device *dev, const float *x, int M, const void *packed, int N, int K, float *y)
{
    multiply(dev, x, M, packed, N, K, y, 0);
}

void cpu_linear_dx(device *dev, const float *dy, int M, const float *w, int N, int K, float *dx)
{
    /* dx [M, K] = dy [M, N] (W^T)^T: the panels of W^T, in scratch; packing costs N K, the product M N K. */
    float *packed = device_scratch(dev, cpu_linear_packed_bytes(K, N));
    pack(dev, w, K, N, 1, K, packed);
    multiply(dev, dy, M, packed, K, N, dx, 1);
}

/* dW tile: rows n..n+8 of dW, 32 columns of k, over the rows [begin, end) of the batch. */
static inline void dw_tile(const float *dy, const float *x, int begin, int end, int N, int K, int rows, int columns,
                           float *dw)
{
    v16 acc[TILE_ROWS][2];
    float row[PANEL];
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < PANEL; j++) row[j] = j < columns ? dw[(size_t)r * (size_t)K + (size_t)j] : 0;
        acc[r][0] = v16_load(row), acc[r][1] = v16_load(row + 16);
    }
    for (int m = begin; m < end; m++) {
        const float *xm = x + (size_t)m * (size_t)K, *dym = dy + (size_t)m * (size_t)N;
        const v16 b0 = columns >= 16 ? v16_load(xm) : v16_load_n(xm, columns);
        const v16 b1 = columns == PANEL ? v16_load(xm + 16)
                       : columns > 16   ? v16_load_n(xm + 16, columns - 16)
                                        : v16_set(0);
        for (int r = 0; r < rows; r++) {
            const v16 a = v16_set(dym[r]);
            acc[r][0] = a * b0 + acc[r][0];
            acc[r][1] = a * b1 + acc[r][1];
        }
    }
    for (int r = 0; r < rows; r++) {
        v16_store(row, acc[r][0]), v16_store(row + 16, acc[r][1]);
        for (int j = 0; j < columns; j++) dw[(size_t)r * (size_t)K + (size_t)j] = row[j];
    }
}

/* The same with everything constant: eight full rows, a full panel. This is nearly all of the work. */
static void dw_tile_full(const float *dy, const float *x, int begin, int end, int N, int K, float *dw)
{
    v16 acc[TILE_ROWS][2];
    for (int r = 0; r < TILE_ROWS; r++) {
        acc[r][0] = v16_load(dw + (size_t)r * (size_t)K);
        acc[r][1] = v16_load(dw + (size_t)r * (size_t)K + 16);
    }
    for (int m = begin; m < end; m++) {
        const float *xm = x + (size_t)m * (size_t)K, *dym = dy + (size_t)m * (size_t)N;
        const v16 b0 = v16_load(xm), b1 = v16_load(xm + 16);
        for (int r = 0; r < TILE_ROWS; r++) {
            const v16 a = v16_set(dym[r]);
            acc[r][0] = a * b0 + acc[r][0];
            acc[r][1] = a * b1 + acc[r][1];
        }
    }
    for (int r = 0; r < TILE_ROWS; r++) {
        v16_store(dw + (size_t)r * (size_t)K, acc[r][0]);
        v16_store(dw + (size_t)r * (size_t)K + 16, acc[r][1]);
    }
}

void cpu_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    const int row_tiles = (N + TILE_ROWS - 1) / TILE_ROWS, panels = panels_of(K);
    /* A thread owns whole tiles and visits the batch in blocks that stay in cache: a sum's order is the batch's order.
     */
#pragma omp parallel num_threads(threads_for(dev, 2.0 * M * N * K))
    for (int begin = 0; begin < M; begin += DW_BLOCK) {
        const int end = begin + DW_BLOCK < M ? begin + DW_BLOCK : M;
#pragma omp for collapse(2) schedule(static) nowait
        for (int p = 0; p < panels; p++)
            for (int t = 0; t < row_tiles; t++) {
                const int n = t * TILE_ROWS, k = p * PANEL;
                const int rows = N - n < TILE_ROWS ? N - n : TILE_ROWS, columns = K - k < PANEL ? K - k : PANEL;
                float *to = dw + (size_t)n * (size_t)K + (size_t)k;
                if (rows == TILE_ROWS && columns == PANEL)
                    dw_tile_full(dy + n, x + k, begin, end, N, K, to);
                else
                    dw_tile(dy + n, x + k, begin, end, N, K, rows, columns, to);
            }
    }
}
