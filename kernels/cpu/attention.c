/* SPDX-License-Identifier: MIT */
/* Packed causal attention, forward: see ops.h. */
#include "kernels/cpu/attention.h"

typedef struct forward {
    packed_shape s;
    const float *q, *k, *v;
    float *o, *lse;
    float *buffers; /* [threads, room] */
    size_t room;
} forward;

/* Scores become probabilities; what a row doesn't see within the tile's keys is 0. inverse [rows] of the sums. */
static void tile_softmax(const forward *f, const query_tile *q, float *scores, float *lse, float *inverse)
{
    const score_form form = score_form_of(f->s.hd, f->s.cap);
    for (int r = 0; r < q->rows; r++) {
        float *row = scores + (size_t)r * (size_t)f->s.longest;
        const int t = q->t + r, first = first_key(t, f->s.window);
        lse[(size_t)r * (size_t)f->s.H] = softmax_row(row, first, t + 1, form, inverse + r);

        /* softmax_row cleared whole blocks; the tile's keys begin and end where its other rows need it. */
        const int seen = first / KV_PAGE * KV_PAGE, seen_end = (t + KV_PAGE) / KV_PAGE * KV_PAGE;
        for (int j = q->first; j < seen; j++) row[j] = 0;
        for (int j = seen_end; j < q->n; j++) row[j] = 0;
    }
}

/* One tile of query rows of one head; `row` is its first row in [T, H]. */
static void attend_tile(const forward *f, const query_tile *q, size_t row, const float *keys, const float *values,
                        float *scores, float *mixed)
{
    const size_t hd = (size_t)f->s.hd, stride = (size_t)f->s.H * hd;
    float inverse[QUERY_ROWS];
    tile_scores(&f->s, q, f->q + row * hd, stride, keys, scores);
    tile_softmax(f, q, scores, f->lse + row, inverse);
    tile_mix(&f->s, q, scores, values, mixed);

    for (int r = 0; r < q->rows; r++) {
        float *o = f->o + row * hd + (size_t)r * stride;
        for (int d = 0; d < f->s.hd; d++) o[d] = mixed[r * f->s.wide + d] * inverse[r];
    }
}

/* A sequence's query rows against one key/value head, whose prefix the thread may have at hand. */
static void attend_sequence(const forward *f, const sequence *seq, int g, bool prefix_there, float *buffer)
{
    const packed_shape *s = &f->s;
    const int group = s->H / s->Hkv;
    const size_t stride = (size_t)s->Hkv * (size_t)s->hd, longest = (size_t)s->longest;
    const size_t head = (size_t)g * (size_t)s->hd;
    float *keys = buffer;
    float *values = keys + longest * (size_t)s->hd;
    float *scores = values + longest * (size_t)s->wide;
    float *mixed = scores + longest * QUERY_ROWS;
    transpose_blocks(f->k + head, seq, stride, s->hd, prefix_there, keys);
    copy_sequence(f->v + head, seq, stride, s->hd, s->wide, prefix_there, values);

    for (int t = seq->before; t < seq->n; t += QUERY_ROWS) {
        const query_tile q = query_tile_at(s, t, seq->n);
        for (int h = g * group; h < (g + 1) * group; h++) /* query heads that share these keys */
            attend_tile(f, &q, row_at(seq, t) * (size_t)s->H + (size_t)h, keys, values, scores, mixed);
    }
}

static void attend_runs(void *ctx, int64_t begin, int64_t end, int thread)
{
    const forward *f = ctx;
    const packed_shape *s = &f->s;
    for (int64_t i = begin; i < end; i++) {
        const int64_t run = i / s->Hkv;
        for (int j = s->runs[run]; j < s->runs[run + 1]; j++) {
            const sequence seq = sequence_at(s, j);
            attend_sequence(f, &seq, (int)(i % s->Hkv), j > s->runs[run], f->buffers + f->room * (size_t)thread);
        }
    }
}

void cpu_attention(device *dev, const float *q, const float *k, const float *v, const int32_t *starts,
                   const int32_t *prefix, int S, int H, int Hkv, int hd, int window, float cap, float *o, float *lse)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    forward f = { .q = q, .k = k, .v = v, .o = o, .lse = lse };
    f.s = packed_shape_of(dev, starts, prefix, S, H, Hkv, hd, window);
    f.s.cap = cap;
    f.room = (size_t)f.s.longest * (size_t)(hd + f.s.wide + QUERY_ROWS) + (size_t)(QUERY_ROWS * f.s.wide);
    f.buffers = device_scratch(dev, sizeof(float) * f.room * (size_t)device_threads(dev));
    cpu_parallel(dev, f.s.flops, (int64_t)f.s.n_runs * Hkv, 1, attend_runs, &f);
    cpu_scratch_rewind(dev, mark);
}
