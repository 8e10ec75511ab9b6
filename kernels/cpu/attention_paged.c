/* SPDX-License-Identifier: MIT */
/* Decode attention over pages. Keys lie transposed in their page, [Hkv][hd][KV_PAGE], values by head,
 * [Hkv][KV_PAGE][hd]: only kv_write and attention_paged look inside. */
#include <math.h>

#include "kernels/cpu/attention_inner.h"
#include "kernels/cpu/cpu.h"

typedef struct kv_rows {
    const float *k, *v;
    const int32_t *row_seq, *positions, *table;
    size_t max_pages, Hkv, hd;
    float *k_pages, *v_pages;
} kv_rows;

static void write_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const kv_rows *w = ctx;
    const size_t hd = w->hd, width = w->Hkv * hd, page_floats = width * KV_PAGE;
    (void)thread;

    for (int64_t t = begin; t < end; t++) {
        const size_t slot = (size_t)(w->positions[t] % KV_PAGE), block = (size_t)(w->positions[t] / KV_PAGE);
        const size_t page = (size_t)w->table[(size_t)w->row_seq[t] * w->max_pages + block];
        const float *k = w->k + (size_t)t * width, *v = w->v + (size_t)t * width;
        float *keys = w->k_pages + page * page_floats, *values = w->v_pages + page * page_floats;

        /* A key is a column of its page: sixteen keys' scores are then one vector's FMAs (page_scores). */
        for (size_t c = 0; c < width; c++) keys[c * KV_PAGE + slot] = k[c];
        for (size_t g = 0; g < w->Hkv; g++) memcpy(values + (g * KV_PAGE + slot) * hd, v + g * hd, sizeof(float) * hd);
    }
}

void cpu_kv_write(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                  const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages)
{
    enum { FLOAT_COST = 32 }; /* each key goes to a line of its own */
    kv_rows rows = { .k = k,
                     .v = v,
                     .row_seq = row_seq,
                     .positions = positions,
                     .table = table,
                     .max_pages = (size_t)max_pages,
                     .Hkv = (size_t)Hkv,
                     .hd = (size_t)hd,
                     .k_pages = k_pages,
                     .v_pages = v_pages };
    cpu_parallel(dev, (double)FLOAT_COST * T * Hkv * hd, T, 0, write_rows, &rows);
}

typedef struct paged {
    const float *q, *k_pages, *v_pages;
    const int32_t *row_seq, *positions, *table;
    int max_pages, H, Hkv, hd, window;
    float cap;
    float *o;
    float *buffers; /* [threads, max_pages * KV_PAGE] */
} paged;

/* One dimension's part of sixteen keys' scores. */
static inline __attribute__((always_inline)) void add_scores(reg s[REGS], float q, const float *keys)
{
#pragma GCC unroll 4
    for (int i = 0; i < REGS; i++) s[i] = reg_set(q) * reg_load(keys + i * REG) + s[i];
}

/* Scores of keys [first & ~15, n) of one head. Four pages at a time: four sums hide an FMA's latency. */
static void page_scores(const paged *p, const float *q, const int32_t *pages, size_t head, int first, int n,
                        float *scores)
{
    const size_t page_floats = (size_t)p->Hkv * (size_t)p->hd * KV_PAGE;
    const float *keys = p->k_pages + head * (size_t)p->hd * KV_PAGE;
    const int end = (n + KV_PAGE - 1) / KV_PAGE;
    int b = first / KV_PAGE;

    for (; b + 4 <= end; b += 4) {
        const float *k[4];
        reg s[4][REGS];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            k[i] = keys + (size_t)pages[b + i] * page_floats;
            regs_zero(s[i]);
        }
        for (int d = 0; d < p->hd; d++)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) add_scores(s[i], q[d], k[i] + d * KV_PAGE);
        for (int i = 0; i < 4; i++) regs_store(scores + (b + i) * KV_PAGE, s[i], KV_PAGE);
    }

    /* What is left, page by page: a key's sum has the same order as among four, so its bits don't depend on n. */
    for (; b < end; b++) {
        const float *k = keys + (size_t)pages[b] * page_floats;
        reg s[REGS];
        regs_zero(s);
        for (int d = 0; d < p->hd; d++) add_scores(s, q[d], k + d * KV_PAGE);
        regs_store(scores + b * KV_PAGE, s, KV_PAGE);
    }
}

/* o [left columns, at most 16 C] = sum of p v over keys [first, n), page by page. */
static inline __attribute__((always_inline)) void mix_columns(const int C, const paged *p, const int32_t *pages,
                                                              const float *values, int first, int n, const float *prob,
                                                              float inverse, int left, float *o)
{
    const size_t page_floats = (size_t)p->Hkv * (size_t)p->hd * KV_PAGE, hd = (size_t)p->hd;
    reg acc[4][REGS];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) regs_zero(acc[c]);

    for (int j = first; j < n;) {
        const int page_end = (j / KV_PAGE + 1) * KV_PAGE, end = page_end < n ? page_end : n;
        const float *v = values + (size_t)pages[j / KV_PAGE] * page_floats + (size_t)(j % KV_PAGE) * hd;
        for (; j < end; j++, v += hd) {
            const reg w = reg_set(prob[j]);
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) {
                reg some[REGS];
                regs_load(some, v + 16 * c, left - 16 * c);
#pragma GCC unroll 4
                for (int i = 0; i < REGS; i++) acc[c][i] = w * some[i] + acc[c][i];
            }
        }
    }

#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
#pragma GCC unroll 4
        for (int i = 0; i < REGS; i++) acc[c][i] *= reg_set(inverse);
        regs_store(o + 16 * c, acc[c], left - 16 * c);
    }
}

static void attend_head(const paged *p, int t, size_t head, int h, float *scores)
{
    const int n = p->positions[t] + 1, first = first_key(n - 1, p->window), hd = p->hd;
    const int32_t *pages = p->table + (size_t)p->row_seq[t] * (size_t)p->max_pages;
    const float *values = p->v_pages + head * (size_t)hd * KV_PAGE;
    const size_t at = ((size_t)t * (size_t)p->H + (size_t)h) * (size_t)hd;
    float inverse;

    page_scores(p, p->q + at, pages, head, first, n, scores);
    softmax_row(scores, first, n, score_form_of(hd, p->cap), &inverse);

    /* By 64 columns while there are so many: four sums hide an FMA's latency. */
    float *o = p->o + at;
    int d = 0;
    for (; d + 64 <= hd; d += 64) mix_columns(4, p, pages, values + d, first, n, scores, inverse, 64, o + d);
    for (; d + 32 <= hd; d += 32) mix_columns(2, p, pages, values + d, first, n, scores, inverse, 32, o + d);
    for (; d < hd; d += 16)
        mix_columns(1, p, pages, values + d, first, n, scores, inverse, hd - d < 16 ? hd - d : 16, o + d);
}

static void attend_heads(void *ctx, int64_t begin, int64_t end, int thread)
{
    const paged *p = ctx;
    const int group = p->H / p->Hkv;
    float *scores = p->buffers + (size_t)p->max_pages * KV_PAGE * (size_t)thread;
    for (int64_t i = begin; i < end; i++) {
        const int t = (int)(i / p->Hkv), g = (int)(i % p->Hkv);
        for (int h = g * group; h < (g + 1) * group; h++) attend_head(p, t, (size_t)g, h, scores);
    }
}

void cpu_attention_paged(device *dev, const float *q, const float *k_pages, const float *v_pages,
                         const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages, int T,
                         int H, int Hkv, int hd, int window, float cap, float *o)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    paged p = { .q = q,
                .k_pages = k_pages,
                .v_pages = v_pages,
                .row_seq = row_seq,
                .positions = positions,
                .table = table,
                .max_pages = max_pages,
                .H = H,
                .Hkv = Hkv,
                .hd = hd,
                .window = window,
                .cap = cap,
                .o = o };
    p.buffers = device_scratch(dev, sizeof(float) * (size_t)max_pages * KV_PAGE * (size_t)device_threads(dev));

    double flops = 0;
    for (int t = 0; t < T; t++) flops += 4.0 * (positions[t] + 1) * H * hd;
    cpu_parallel(dev, flops, (int64_t)T * Hkv, 0, attend_heads, &p);
    cpu_scratch_rewind(dev, mark);
}
