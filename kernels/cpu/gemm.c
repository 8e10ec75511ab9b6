/* SPDX-License-Identifier: MIT */
/* Matrix products in fp32. Every element of a result is the sum of blocks of 256 along K, each one accumulator that
 * runs in ascending order and is then added to what is there (the residual, the bias, the blocks before), whatever the
 * number of rows, the tile it falls into or the thread that computes it: actor (M = 1) and learner (M = 4096) agree to
 * the bit, which no BLAS promises.
 *
 * Weights are packed into panels of 32 columns of W^T: panel[k][32]. Few rows go through two panels at a time (enough
 * accumulators to hide the latency of an FMA, two streams for the prefetcher); many rows go by blocks of K, so that a
 * block of a panel stays in the first-level cache for all of them. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/tile.h"

enum {
    PANEL = 32,
    X_FLOATS = 192 << 10,
    MIN_ROWS = 96,
    MAX_ROWS = 128,
    K_BLOCK = 256,
    K_SLICE = 3072,
    DW_BLOCK = 192,
    DW_ROWS = 512, /* the widest cut of dW's rows that a task takes, and the narrowest worth one */
    DW_MIN = 64,
    DW_PANELS = 16, /* of x at a time: 2 KB of each row */
    PACK_BLOCK = 16,
    AHEAD = 4096 /* 8 KB further on: what memory delivers while that much is worked through */
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

        /* Sixteen k of every column before the next sixteen: a column's cache line is used up while it is there. */
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

/* ---- y = start + x W^T: start is what is to be added, or the bias, or nothing ---- */

typedef struct product {
    const float *x;
    int M, K;
    const linear_part *parts;
    int n, panels; /* parts, and the panels of all of them */
    int rows;      /* a task */
    int k, k_end;  /* the slice of K under way */
} product;

static tile_args tile_of(const product *p, const linear_part *t, int row, int panel)
{
    const int column = panel * PANEL;
    const float *b = (const float *)t->packed + (size_t)panel * PANEL * (size_t)p->K;
    const size_t at = (size_t)row * (size_t)t->N + (size_t)column;

    const float *start = NULL;
    if (t->add)
        start = t->add + at;
    else if (t->bias)
        start = t->bias + column;

    return (tile_args){ .a = p->x + (size_t)row * (size_t)p->K,
                        .a_row = (size_t)p->K,
                        .a_k = 1,
                        .b = { b, b + 16 },
                        .b_k = PANEL,
                        .K = p->K,
                        .start = start,
                        .start_row = t->add ? (size_t)t->N : 0, /* every row starts from the one bias */
                        .sum_apart = true,
                        .y = t->y + at,
                        .y_row = (size_t)t->N,
                        .columns = smaller(t->N - column, PANEL) };
}

/* A bias beside something to be added: the one case of two. */
static void add_bias(const linear_part *t, int row, int rows, int panel)
{
    if (!t->add || !t->bias) return;
    for (int r = row; r < row + rows; r++)
        for (int n = panel * PANEL; n < smaller((panel + 1) * PANEL, t->N); n++)
            t->y[(size_t)r * (size_t)t->N + (size_t)n] += t->bias[n];
}

/* Rows [row, row + rows) of the columns of one panel, block by block of p's slice of K. */
static void panel_rows(const product *p, const linear_part *part, int row, int rows, int panel)
{
    tile_args t = tile_of(p, part, row, panel);
    t.a += p->k;
    t.b[0] += (size_t)p->k * PANEL;
    t.b[1] += (size_t)p->k * PANEL;

    /* A later slice of K, or a later block, continues from the sums that lie in y. */
    if (p->k > 0) {
        t.start = t.y;
        t.start_row = t.y_row;
    }

    for (int k = p->k; k < p->k_end; k += K_BLOCK) {
        t.K = smaller(p->k_end - k, K_BLOCK);
        t.soon = t.b[0] + K_BLOCK * PANEL; /* the panel's next block, or the next panel: they follow each other */
        tile_rows(t, rows);

        t.a += K_BLOCK;
        t.b[0] += K_BLOCK * PANEL;
        t.b[1] += K_BLOCK * PANEL;
        t.start = t.y;
        t.start_row = t.y_row;
    }

    if (p->k_end == p->K) add_bias(part, row, rows, panel);
}

/* Rows that a task takes through a panel: as many as stay in the second-level cache, so that W comes from memory seldom
 * and x from nearby. */
static int rows_a_task(int K)
{
    const int rows = X_FLOATS / K / TILE_ROWS * TILE_ROWS;
    if (rows < MIN_ROWS) return MIN_ROWS;
    return rows > MAX_ROWS ? MAX_ROWS : rows;
}

/* Few rows, two panels at a time. */
static void panel_pair(const product *p, const linear_part *part, int first)
{
    tile_args t = tile_of(p, part, 0, first);
    t.b[2] = t.b[0] + (size_t)PANEL * (size_t)p->K;
    t.b[3] = t.b[2] + 16;
    t.columns = smaller(part->N - first * PANEL, 2 * PANEL);

    for (int k = 0; k < p->K; k += K_BLOCK) {
        t.K = smaller(p->K - k, K_BLOCK);
        /* A call for each number of rows: it must be a constant for the tile to unroll. */
        if (p->M == 1) tile_ahead(1, 4, AHEAD, &t);
#if defined __AVX512F__
        if (p->M == 2) tile_ahead(2, 4, AHEAD, &t);
        if (p->M == 3) tile_ahead(3, 4, AHEAD, &t);
        if (p->M == 4) tile_ahead(4, 4, AHEAD, &t);
#endif

        t.a += K_BLOCK;
        for (int i = 0; i < 4; i++) t.b[i] += (size_t)K_BLOCK * PANEL;
        t.start = t.y;
        t.start_row = t.y_row;
    }

    add_bias(part, 0, p->M, first);
    add_bias(part, 0, p->M, first + 1);
}

static void few_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product *p = ctx;
    (void)thread;

    for (int64_t i = begin; i < end; i++) {
        int pair = (int)i;
        const linear_part *part = part_of_panel(p->parts, p->n, 2 * PANEL, &pair);
        const bool has_second = (2 * pair + 1) * PANEL < part->N;
        if (has_second)
            panel_pair(p, part, 2 * pair);
        else
            panel_rows(p, part, 0, p->M, 2 * pair);
    }
}

static void many_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product *p = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int row = (int)(i / p->panels) * p->rows;
        int panel = (int)(i % p->panels);
        const linear_part *part = part_of_panel(p->parts, p->n, PANEL, &panel);
        panel_rows(p, part, row, smaller(p->M - row, p->rows), panel);
    }
}

void cpu_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n)
{
    if (M == 0) return;
    if (dev->precision == PRECISION_BF16) {
        bf16_linears(dev, x, M, K, parts, n);
        return;
    }

    product p = { x, M, K, parts, n, panels_of_parts(parts, n, PANEL), .k_end = K };
    if (M <= FEW_ROWS) {
        cpu_parallel(dev, 2.0 * M * K * p.panels * PANEL, panels_of_parts(parts, n, 2 * PANEL), 0, few_rows, &p);
        return;
    }

    /* K by slices: the rows' slice of x stays in cache for all panels, however large K is. */
    p.rows = rows_a_task(smaller(K, K_SLICE));
    const int64_t row_tasks = (M + p.rows - 1) / p.rows;
    for (; p.k < K; p.k = p.k_end) {
        p.k_end = smaller(K, p.k + K_SLICE);
        const double flops = 2.0 * M * (p.k_end - p.k) * p.panels * PANEL;
        cpu_parallel(dev, flops, row_tasks * p.panels, 0, many_rows, &p);
    }
}

void cpu_linear(device *dev, const float *x, int M, const void *packed, const float *bias, int N, int K, float *y)
{
    cpu_linears(dev, x, M, K, &(linear_part){ .packed = packed, .bias = bias, .N = N, .y = y }, 1);
}

/* dx [M, K] += dy [M, N] (W^T)^T: the panels of W^T; packing costs N K, the product M N K. */
size_t cpu_linear_transposed_bytes(const device *dev, int N, int K) { return cpu_linear_packed_bytes(dev, K, N); }

void cpu_linear_transpose(device *dev, const float *w, int N, int K, void *transposed)
{
    if (dev->precision == PRECISION_BF16)
        bf16_pack(dev, w, K, N, 1, (size_t)K, transposed);
    else
        pack(dev, w, K, N, 1, (size_t)K, transposed);
}

void gemm_dx(device *dev, const float *dy, int M, const void *packed, int N, int K, float *dx)
{
    cpu_linears(dev, dy, M, N, &(linear_part){ .packed = packed, .add = dx, .N = K, .y = dx }, 1);
}

void cpu_linear_dx(device *dev, const float *dy, int M, const float *w, const void *transposed, int N, int K, float *dx)
{
    if (M == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    void *own = transposed ? NULL : device_scratch(dev, cpu_linear_transposed_bytes(dev, N, K));
    if (own) cpu_linear_transpose(dev, w, N, K, own);
    gemm_dx(dev, dy, M, transposed ? transposed : own, N, K, dx);
    cpu_scratch_rewind(dev, mark);
}

/* ---- dW += dy^T x: a task owns a rectangle of dW and visits the batch in blocks. A block of dy is copied once into
 * strips of FULL_ROWS columns, and x into panels: both stay in cache and are read in order, however wide the matrices
 * are. A sum's order is the batch's order. ---- */

typedef struct dw_job {
    const float *dy, *x;
    int M, N, K;
    int n_cuts, k_cuts; /* dW is cut into n_cuts by k_cuts rectangles, a task each */
    float *dw;
    float *buffers; /* [threads, room] */
    size_t room;
} dw_job;

/* Columns [first, last) of rows of a matrix -> strips [..][DW_BLOCK][width], zeros after the last column. By rows:
 * that is how they come from memory. `width` is a constant where this is called. */
static inline __attribute__((always_inline)) void copy_strips(const float *x, int rows, size_t stride, int first,
                                                              int last, const int width, float *out)
{
    const int whole = (last - first) / width, rest = (last - first) % width;
    const size_t strip = (size_t)(DW_BLOCK * width);
    x += first;

    for (int r = 0; r < rows; r++, x += stride, out += width) {
        for (int s = 0; s < whole; s++) memcpy(out + (size_t)s * strip, x + s * width, sizeof(float) * (size_t)width);
        float *to = out + (size_t)whole * strip;
        for (int i = 0; rest > 0 && i < width; i++) to[i] = i < rest ? x[whole * width + i] : 0;
    }
}

/* dW's rows [first, last) by the panel's columns, over `rows` rows of the batch: strips of dy, the panel of x. */
static void dw_panel(const dw_job *j, int panel, int first, int last, int rows, const float *strips, const float *x)
{
    const int k = panel * PANEL;
    float *dw = j->dw + (size_t)first * (size_t)j->K + k;

    tile_rows((tile_args){ .a = strips,
                           .a_row = 1,
                           .a_k = FULL_ROWS,
                           .a_next = DW_BLOCK * FULL_ROWS,
                           .b = { x, x + 16 },
                           .b_k = PANEL,
                           .K = rows,
                           .start = dw,
                           .start_row = (size_t)j->K,
                           .y = dw,
                           .y_row = (size_t)j->K,
                           .columns = smaller(j->K - k, PANEL) },
              last - first);
}

/* The i-th of n nearly equal parts of `whole`, cut at multiples of `unit`. */
static int cut_begin(int whole, int unit, int i, int n)
{
    const int units = (whole + unit - 1) / unit;
    return smaller((int)((int64_t)units * i / n) * unit, whole);
}

/* dW's rows [first, last) by the panels [from, to) of its columns, over the whole batch. */
static void dw_rectangle(const dw_job *j, int first, int last, int from, int to, float *panels)
{
    float *strips = panels + DW_PANELS * DW_BLOCK * PANEL;

    for (int m = 0; m < j->M; m += DW_BLOCK) {
        const int rows = smaller(j->M - m, DW_BLOCK);
        const float *dy = j->dy + (size_t)m * (size_t)j->N, *x = j->x + (size_t)m * (size_t)j->K;
        copy_strips(dy, rows, (size_t)j->N, first, last, FULL_ROWS, strips);

        for (int group = from; group < to; group += DW_PANELS) {
            const int end = smaller(group + DW_PANELS, to);
            copy_strips(x, rows, (size_t)j->K, group * PANEL, smaller(end * PANEL, j->K), PANEL, panels);
            for (int p = group; p < end; p++)
                dw_panel(j, p, first, last, rows, strips, panels + (size_t)(p - group) * DW_BLOCK * PANEL);
        }
    }
}

static void dw_rectangles(void *ctx, int64_t begin, int64_t end, int thread)
{
    const dw_job *j = ctx;
    const int panels = panels_of(j->K);

    for (int64_t i = begin; i < end; i++) {
        const int n = (int)(i % j->n_cuts), k = (int)(i / j->n_cuts);
        const int first = cut_begin(j->N, FULL_ROWS, n, j->n_cuts);
        const int last = cut_begin(j->N, FULL_ROWS, n + 1, j->n_cuts);
        const int from = cut_begin(panels, 1, k, j->k_cuts);
        const int to = cut_begin(panels, 1, k + 1, j->k_cuts);
        dw_rectangle(j, first, last, from, to, j->buffers + (size_t)thread * j->room);
    }
}

/* A rectangle a thread: N is cut first, as far as cuts stay DW_MIN rows wide, then K. */
static void fp32_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    const int threads = device_threads(dev);
    const int fewest = (N + DW_ROWS - 1) / DW_ROWS, largest = (N + DW_MIN - 1) / DW_MIN;
    dw_job j = { .dy = dy, .x = x, .M = M, .N = N, .K = K, .dw = dw };
    j.n_cuts = fewest > threads ? fewest : smaller(largest, threads);
    j.k_cuts = smaller((threads + j.n_cuts - 1) / j.n_cuts, panels_of(K));

    j.room = (size_t)DW_BLOCK * (DW_PANELS * PANEL + DW_ROWS + 2 * TILE_ROWS);
    j.buffers = device_scratch(dev, sizeof(float) * j.room * (size_t)threads);
    cpu_parallel(dev, 2.0 * M * N * K, (int64_t)j.n_cuts * j.k_cuts, 1, dw_rectangles, &j);
}

void cpu_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    if (M == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    if (dev->precision == PRECISION_BF16)
        bf16_linear_dw(dev, dy, x, M, N, K, dw);
    else
        fp32_linear_dw(dev, dy, x, M, N, K, dw);
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
