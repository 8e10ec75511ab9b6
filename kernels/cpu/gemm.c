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

enum {
    PANEL = 32,
    ROWS_A_TASK = 128,
    K_BLOCK = 256,
    DW_BLOCK = 192,
    DW_ROWS = 512,
    DW_LEAST = 64,
    PACK_BLOCK = 16,
    LINE_FLOATS = 16
};

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
        if (j->row == 1) { /* the transpose: rows of the panel lie side by side already */
            for (int k = 0; k < j->K; k++)
                memcpy(panel + (size_t)k * PANEL, w + (size_t)k * j->column, sizeof(float) * (size_t)columns);
            continue;
        }
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

/* Asks for share i of n of rows [row, row + rows) of a matrix: what the next block of work reads first. */
static void fetch_share(const float *x, int row, int rows, int width, size_t stride, int i, int n)
{
    const int begin = row + (int)((int64_t)rows * i / n), end = row + (int)((int64_t)rows * (i + 1) / n);
    for (int r = begin; r < end; r++)
        for (int k = 0; k < width; k += LINE_FLOATS) __builtin_prefetch(x + (size_t)r * stride + k, 0, 2);
}

static void many_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product *p = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int row = (int)(i / p->panels) * ROWS_A_TASK, next = row + ROWS_A_TASK, panel = (int)(i % p->panels);
        if (next < p->M)
            fetch_share(p->x, next, smaller(p->M - next, ROWS_A_TASK), p->K, (size_t)p->K, panel, p->panels);
        panel_rows(p, row, smaller(p->M - row, ROWS_A_TASK), panel);
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
void *gemm_pack_transposed(device *dev, const float *w, int N, int K)
{
    void *packed = device_scratch(dev, cpu_linear_packed_bytes(dev, K, N));
    if (dev->precision == PRECISION_BF16)
        bf16_pack(dev, w, K, N, 1, (size_t)K, packed);
    else
        pack(dev, w, K, N, 1, (size_t)K, packed);
    return packed;
}

void gemm_dx(device *dev, const float *dy, int M, const void *packed, int N, int K, float *dx)
{
    if (dev->precision == PRECISION_BF16)
        bf16_dx(dev, dy, M, packed, N, K, dx);
    else
        multiply(dev,
                 &(product){
                     .x = dy, .packed = packed, .start = dx, .start_row = (size_t)K, .y = dx, .M = M, .N = K, .K = N });
}

void cpu_linear_dx(device *dev, const float *dy, int M, const float *w, int N, int K, float *dx)
{
    if (M == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    gemm_dx(dev, dy, M, gemm_pack_transposed(dev, w, N, K), N, K, dx);
    cpu_scratch_rewind(dev, mark);
}

/* ---- dW += dy^T x: a task owns a rectangle of dW and visits the batch in blocks. A block of dy is copied once into
 * strips of FULL_ROWS columns, and x into panels: both stay in cache and are read in order, however wide the matrices
 * are. A sum's order is the batch's order. ---- */

typedef struct dw_job {
    const float *dy, *x;
    int M, N, K;
    int n_shares, k_shares;
    float *dw;
    float *buffers; /* [threads, room] */
    size_t room;
} dw_job;

/* [rows, columns] -> [rows][width], zeros behind the last column. `width` is a constant where this is called. */
static inline __attribute__((always_inline)) void copy_strip(const float *x, int rows, size_t stride, int columns,
                                                             const int width, float *out)
{
    if (columns == width) {
        for (int m = 0; m < rows; m++, x += stride, out += width) memcpy(out, x, sizeof(float) * (size_t)width);
        return;
    }
    for (int m = 0; m < rows; m++, x += stride, out += width) {
        memcpy(out, x, sizeof(float) * (size_t)columns);
        memset(out + columns, 0, sizeof(float) * (size_t)(width - columns));
    }
}

/* dW's rows [first, last) by the panel's columns, over `rows` rows of the batch: strips of dy, the panel of x. */
static void dw_panel(const dw_job *j, int panel, int first, int last, int rows, const float *strips, const float *x)
{
    const int k = panel * PANEL;
    for (int n = first; n < last; n += FULL_ROWS, strips += DW_BLOCK * FULL_ROWS) {
        float *dw = j->dw + (size_t)n * (size_t)j->K + k;
        tile_rows((tile_args){ .a = strips,
                               .a_row = 1,
                               .a_k = FULL_ROWS,
                               .b = { x, x + 16 },
                               .b_k = PANEL,
                               .K = rows,
                               .start = dw,
                               .start_row = (size_t)j->K,
                               .y = dw,
                               .y_row = (size_t)j->K,
                               .columns = smaller(j->K - k, PANEL) },
                  smaller(last - n, FULL_ROWS));
    }
}

/* The i-th of n nearly equal parts of `whole`, cut at multiples of `unit`. */
static int share_begin(int whole, int unit, int i, int n)
{
    const int units = (whole + unit - 1) / unit;
    return smaller((int)((int64_t)units * i / n) * unit, whole);
}

static void dw_rectangle(const dw_job *j, int first, int last, int from, int to, float *buffer)
{
    float *strips = buffer + DW_BLOCK * PANEL;
    for (int m = 0; m < j->M; m += DW_BLOCK) {
        const int rows = smaller(j->M - m, DW_BLOCK);
        for (int n = first; n < last; n += FULL_ROWS)
            copy_strip(j->dy + (size_t)m * (size_t)j->N + n, rows, (size_t)j->N, smaller(last - n, FULL_ROWS),
                       FULL_ROWS, strips + (size_t)(n - first) * DW_BLOCK);
        for (int p = from; p < to; p++) {
            const float *x = j->x + (size_t)m * (size_t)j->K + (size_t)p * PANEL;
            copy_strip(x, rows, (size_t)j->K, smaller(j->K - p * PANEL, PANEL), PANEL, buffer);
            dw_panel(j, p, first, last, rows, strips, buffer);
        }
    }
}

static void dw_rectangles(void *ctx, int64_t begin, int64_t end, int thread)
{
    const dw_job *j = ctx;
    const int panels = panels_of(j->K);
    for (int64_t i = begin; i < end; i++) {
        const int n = (int)(i % j->n_shares), k = (int)(i / j->n_shares);
        dw_rectangle(j, share_begin(j->N, FULL_ROWS, n, j->n_shares), share_begin(j->N, FULL_ROWS, n + 1, j->n_shares),
                     share_begin(panels, 1, k, j->k_shares), share_begin(panels, 1, k + 1, j->k_shares),
                     j->buffers + (size_t)thread * j->room);
    }
}

void cpu_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    if (M == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int threads = device_threads(dev), tasks = threads * 4, widest = (N + DW_ROWS - 1) / DW_ROWS;
    dw_job j = { .dy = dy, .x = x, .M = M, .N = N, .K = K, .dw = dw };
    j.n_shares = widest > tasks ? widest : smaller((N + DW_LEAST - 1) / DW_LEAST, tasks);
    j.k_shares = smaller((tasks + j.n_shares - 1) / j.n_shares, panels_of(K));
    j.room = (size_t)DW_BLOCK * (PANEL + DW_ROWS + 2 * TILE_ROWS);
    if (dev->precision == PRECISION_BF16) {
        bf16_linear_dw(dev, dy, x, M, N, K, dw);
    } else {
        j.buffers = device_scratch(dev, sizeof(float) * j.room * (size_t)threads);
        cpu_parallel(dev, 2.0 * M * N * K, (int64_t)j.n_shares * j.k_shares, 1, dw_rectangles, &j);
    }
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
