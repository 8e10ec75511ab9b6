/* Matrix products in fp32. Every element of a result is one accumulator that runs over K in ascending order, whatever
 * the number of rows, the tile it falls into or the thread that computes it: actor (M = 1) and learner (M = 4096) agree
 * to the bit, which no BLAS promises.
 *
 * Weights are packed into panels of 32 columns of W^T: panel[k][32]. Few rows go through two panels at a time (enough
 * accumulators to hide the latency of an FMA, two streams for the prefetcher); many rows go by blocks of K, so that a
 * block of a panel stays in the first-level cache for all of them. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/tile.h"

enum { PANEL = 32, ROWS_A_TASK = 128, K_BLOCK = 256, DW_BLOCK = 256, PACK_BLOCK = 16 };

static int panels_of(int N) { return (N + PANEL - 1) / PANEL; }
static int smaller(int a, int b) { return a < b ? a : b; }
static size_t packed_floats(int N, int K) { return (size_t)panels_of(N) * PANEL * (size_t)K; }

size_t cpu_linear_packed_bytes(const device *dev, int N, int K)
{
    return dev->precision == PRECISION_BF16 ? bf16_packed_bytes(N, K) : sizeof(float) * packed_floats(N, K);
}

/* ---- packing: element (n, k) of W lies at w[n * row + k * column], so the transpose packs as easily ---- */

typedef struct pack_job {
    const float *w;
    int N, K;
    size_t row, column;
    float *packed;
} pack_job;

static void pack_panels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const pack_job *j = ctx;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        const int columns = smaller(j->N - (int)p * PANEL, PANEL);
        const float *w = j->w + (size_t)p * PANEL * j->row;
        float *panel = j->packed + (size_t)p * PANEL * (size_t)j->K;
        if (columns < PANEL) memset(panel, 0, sizeof(float) * PANEL * (size_t)j->K);
        for (int kb = 0; kb < j->K; kb += PACK_BLOCK)
            for (int n = 0; n < columns; n++)
                for (int k = kb; k < smaller(kb + PACK_BLOCK, j->K); k++)
                    panel[(size_t)k * PANEL + (size_t)n] = w[(size_t)n * j->row + (size_t)k * j->column];
    }
}

static void pack(device *dev, const float *w, int N, int K, size_t row, size_t column, float *packed)
{
    pack_job job = { w, N, K, row, column, packed };
    cpu_parallel(dev, 8.0 * N * K, panels_of(N), 0, pack_panels, &job);
}

void cpu_linear_pack(device *dev, const float *w, int N, int K, void *packed)
{
    if (dev->precision == PRECISION_BF16)
        bf16_pack(dev, w, N, K, (size_t)K, 1, packed);
    else
        pack(dev, w, N, K, (size_t)K, 1, packed);
}

/* ---- y = start + x W^T ---- */

typedef struct product {
    const float *x, *packed, *start;
    size_t start_row; /* 0: a bias */
    float *y;
    int M, N, K, panels;
} product;

static const float *start_at(const product *p, int row, int column)
{
    return p->start ? p->start + (size_t)row * p->start_row + column : NULL;
}

/* Rows [row, row + rows) of the columns of one panel, block by block of K. */
static void panel_rows(const product *p, int row, int rows, int panel)
{
    const int column = panel * PANEL;
    for (int k = 0; k < p->K; k += K_BLOCK) {
        const float *b = p->packed + (size_t)panel * PANEL * (size_t)p->K + (size_t)k * PANEL;
        float *y = p->y + (size_t)row * (size_t)p->N + column;
        tile_rows((tile_args){ .a = p->x + (size_t)row * (size_t)p->K + k,
                               .a_row = (size_t)p->K,
                               .a_k = 1,
                               .b = { b, b + 16 },
                               .b_k = PANEL,
                               .K = smaller(p->K - k, K_BLOCK),
                               .start = k > 0 ? y : start_at(p, row, column),
                               .start_row = k > 0 ? (size_t)p->N : p->start_row,
                               .y = y,
                               .y_row = (size_t)p->N,
                               .columns = smaller(p->N - column, PANEL) },
                  rows);
    }
}

/* Few rows, two panels at a time. */
static void panel_pair(const product *p, int first)
{
    const float *b0 = p->packed + (size_t)first * PANEL * (size_t)p->K, *b1 = b0 + (size_t)PANEL * (size_t)p->K;
    const tile_args t = { .a = p->x,
                          .a_row = (size_t)p->K,
                          .a_k = 1,
                          .b = { b0, b0 + 16, b1, b1 + 16 },
                          .b_k = PANEL,
                          .K = p->K,
                          .start = start_at(p, 0, first * PANEL),
                          .start_row = p->start_row,
                          .y = p->y + (size_t)first * PANEL,
                          .y_row = (size_t)p->N,
                          .columns = smaller(p->N - first * PANEL, 2 * PANEL) };
    if (p->M == 1) tile(1, 4, &t);
#if defined __AVX512F__
    if (p->M == 2) tile(2, 4, &t);
    if (p->M == 3) tile(3, 4, &t);
    if (p->M == 4) tile(4, 4, &t);
#endif
}

static void few_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product *p = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int first = 2 * (int)i;
        if (first + 1 < p->panels)
            panel_pair(p, first);
        else
            panel_rows(p, 0, p->M, first);
    }
}

static void many_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product *p = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int row = (int)(i / p->panels) * ROWS_A_TASK;
        panel_rows(p, row, smaller(p->M - row, ROWS_A_TASK), (int)(i % p->panels));
    }
}

static void multiply(device *dev, product *p)
{
    const double flops = 2.0 * p->M * p->N * p->K;
    p->panels = panels_of(p->N);
    if (p->M <= FEW_ROWS)
        cpu_parallel(dev, flops, (p->panels + 1) / 2, 0, few_rows, p);
    else
        cpu_parallel(dev, flops, (int64_t)(p->M + ROWS_A_TASK - 1) / ROWS_A_TASK * p->panels, 0, many_rows, p);
}

void cpu_linear(device *dev, const float *x, int M, const void *packed, const float *bias, int N, int K, float *y)
{
    if (M == 0) return;
    if (dev->precision == PRECISION_BF16)
        bf16_linear(dev, x, M, packed, bias, N, K, y);
    else
        multiply(dev, &(product){ .x = x, .packed = packed, .start = bias, .y = y, .M = M, .N = N, .K = K });
}

/* dx [M, K] += dy [M, N] (W^T)^T: the panels of W^T, in scratch; packing costs N K, the product M N K. */
void cpu_linear_dx(device *dev, const float *dy, int M, const float *w, int N, int K, float *dx)
{
    if (M == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    if (dev->precision == PRECISION_BF16) {
        bf16_linear_dx(dev, dy, M, w, N, K, dx);
    } else {
        float *packed = device_scratch(dev, sizeof(float) * packed_floats(K, N));
        pack(dev, w, K, N, 1, (size_t)K, packed);
        multiply(dev,
                 &(product){
                     .x = dy, .packed = packed, .start = dx, .start_row = (size_t)K, .y = dx, .M = M, .N = K, .K = N });
    }
    cpu_scratch_rewind(dev, mark);
}

/* ---- dW += dy^T x: a task is a panel of 32 columns of x and a share of dW's rows. The batch is visited in blocks, its
 * panel copied once into a buffer that stays in cache: a sum's order is the batch's order. ---- */

typedef struct dw_job {
    const float *dy, *x;
    int M, N, K;
    int shares; /* of the N rows, for each panel */
    float *dw;
    float *buffers; /* [threads, DW_BLOCK, PANEL] */
} dw_job;

static void copy_panel(const float *x, int rows, size_t stride, int columns, float *out)
{
    for (int m = 0; m < rows; m++, x += stride, out += PANEL) {
        memcpy(out, x, sizeof(float) * (size_t)columns);
        if (columns < PANEL) memset(out + columns, 0, sizeof(float) * (size_t)(PANEL - columns));
    }
}

static void dw_panel(const dw_job *j, int panel, int first, int last, float *buffer)
{
    const int k = panel * PANEL, columns = smaller(j->K - k, PANEL);
    float *dw = j->dw + (size_t)first * (size_t)j->K + k;
    for (int m = 0; m < j->M; m += DW_BLOCK) {
        const int rows = smaller(j->M - m, DW_BLOCK);
        copy_panel(j->x + (size_t)m * (size_t)j->K + k, rows, (size_t)j->K, columns, buffer);
        tile_rows((tile_args){ .a = j->dy + (size_t)m * (size_t)j->N + first,
                               .a_row = 1,
                               .a_k = (size_t)j->N,
                               .b = { buffer, buffer + 16 },
                               .b_k = PANEL,
                               .K = rows,
                               .start = dw,
                               .start_row = (size_t)j->K,
                               .y = dw,
                               .y_row = (size_t)j->K,
                               .columns = columns },
                  last - first);
    }
}

static void dw_panels(void *ctx, int64_t begin, int64_t end, int thread)
{
    const dw_job *j = ctx;
    const int share = (j->N + j->shares - 1) / j->shares;
    for (int64_t i = begin; i < end; i++) {
        const int first = (int)(i % j->shares) * share, last = smaller(first + share, j->N);
        if (first < last)
            dw_panel(j, (int)(i / j->shares), first, last, j->buffers + (size_t)thread * DW_BLOCK * PANEL);
    }
}

void cpu_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    if (M == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int panels = panels_of(K), threads = device_threads(dev), shares = (4 * threads + panels - 1) / panels;
    if (dev->precision == PRECISION_BF16)
        bf16_linear_dw(dev, dy, x, M, N, K, dw);
    else
        cpu_parallel(dev, 2.0 * M * N * K, (int64_t)panels * shares, 1, dw_panels,
                     &(dw_job){ dy, x, M, N, K, shares, dw,
                                device_scratch(dev, sizeof(float) * DW_BLOCK * PANEL * (size_t)threads) });
    cpu_scratch_rewind(dev, mark);
}

/* ---- db += the sum of dy's rows: a task owns columns, so a sum's order is the batch's order ---- */

typedef struct bias_job {
    const float *dy;
    int M, N;
    float *db;
} bias_job;

static void bias_columns(void *ctx, int64_t begin, int64_t end, int thread)
{
    const bias_job *j = ctx;
    (void)thread;
    for (int m = 0; m < j->M; m++)
        for (int64_t n = begin; n < end; n++) j->db[n] += j->dy[(size_t)m * (size_t)j->N + (size_t)n];
}

void cpu_bias_backward(device *dev, const float *dy, int M, int N, float *db)
{
    cpu_parallel(dev, 1.0 * M * N, N, 64, bias_columns, &(bias_job){ dy, M, N, db });
}
