/* SPDX-License-Identifier: MIT */
/* Packed causal attention, backward (Dao et al. 2022, FlashAttention, section 3.1): probabilities are made again from
 * the scores and the kept log-sum-exp; ds = p (dp - delta), delta = sum_d do[d] o[d].
 *
 * What the runs after a prefix add to its dk and dv is kept apart until all are done, and then added in their order:
 * which thread was first doesn't show in the bits. */
#include "kernels/cpu/attention.h"

typedef struct backward {
    packed_shape s;
    const float *doo, *q, *k, *v, *o, *lse;
    float *dq, *dk, *dv;
    float *buffers; /* [threads, room] */
    size_t room;
    float **for_prefix; /* [n_runs] what a run adds to its prefix's dk and dv, [2, before, Hkv, hd]; NULL: no prefix */
} backward;

typedef struct buffers {
    float *keys_t, *values_t; /* transposed blocks */
    float *keys;              /* [longest, wide] */
    float *dk, *dv;           /* [longest, wide] sums of this head */
    float *p, *ds;            /* [QUERY_ROWS, longest] */
    float *q, *doo, *dq;      /* [QUERY_ROWS, wide] of the tile */
} buffers;

static size_t room_of(const packed_shape *s)
{
    return (size_t)s->longest * (size_t)(2 * s->hd + 3 * s->wide + 2 * QUERY_ROWS) + (size_t)(3 * QUERY_ROWS * s->wide);
}

static buffers buffers_at(float *base, const packed_shape *s)
{
    const size_t longest = (size_t)s->longest;
    const size_t narrow = longest * (size_t)s->hd, wide = longest * (size_t)s->wide, rows = longest * QUERY_ROWS;
    const size_t tile = (size_t)(QUERY_ROWS * s->wide);

    buffers b = { .keys_t = base };
    b.values_t = b.keys_t + narrow;
    b.keys = b.values_t + narrow;
    b.dk = b.keys + wide;
    b.dv = b.dk + wide;
    b.p = b.dv + wide;
    b.ds = b.p + rows;
    b.q = b.ds + rows;
    b.doo = b.q + tile;
    b.dq = b.doo + tile;
    return b;
}

/* Sixteen raw scores become probabilities, and gradients of probabilities those of raw scores. */
static void capped_gradients(float *p, float *ds, score_form form, float lse, float delta)
{
    const v16 score = v16_score(v16_load(p), form), e = v16_exp(score - v16_set(lse));
    const v16 raw = e * (v16_load(ds) - v16_set(delta)) * v16_set(form.scale);
    v16_store(p, e);
    v16_store(ds, raw * v16_softcap_derivative(score, form.cap));
}

/* Scores and dp become p and ds, zeros where a row doesn't see. */
static void tile_gradients(const backward *bw, const query_tile *q, size_t row, const buffers *b)
{
    const packed_shape *s = &bw->s;
    const score_form form = score_form_of(s->hd, s->cap);
    const v16 scale = v16_set(form.scale);

    for (int r = 0; r < q->rows; r++) {
        const size_t at = row + (size_t)r * (size_t)s->H;
        const float *doo = bw->doo + at * (size_t)s->hd, *o = bw->o + at * (size_t)s->hd;
        float *p = b->p + (size_t)r * (size_t)s->longest, *ds = b->ds + (size_t)r * (size_t)s->longest;
        const int t = q->t + r, first = first_key(t, s->window);

        float delta = 0;
        for (int d = 0; d < s->hd; d++) delta += doo[d] * o[d];

        for (int j = q->first; j < q->n; j += 16) {
            if (s->cap > 0) { /* apart: without a cap scale and lse are one rounding */
                capped_gradients(p + j, ds + j, form, bw->lse[at], delta);
                continue;
            }
            const v16 e = v16_exp(v16_load(p + j) * scale - v16_set(bw->lse[at]));
            v16_store(p + j, e);
            v16_store(ds + j, e * (v16_load(ds + j) - v16_set(delta)) * scale);
        }

        /* What the row doesn't see: the window's past and the future. */
        for (int j = q->first; j < first; j++) p[j] = ds[j] = 0;
        for (int j = t + 1; j < q->n; j++) p[j] = ds[j] = 0;
    }
}

/* sums [keys, wide] += weights^T [keys, rows] x [rows, wide], weights [rows, longest]. */
static void tile_scatter(const packed_shape *s, const query_tile *q, const float *weights, const float *x, float *sums)
{
    for (int c = 0; c < s->wide; c += KEY_PAIR) {
        float *to = sums + (size_t)q->first * (size_t)s->wide + c;
        tile_rows((tile_args){ .a = weights + q->first,
                               .a_row = 1,
                               .a_k = (size_t)s->longest,
                               .b = { x + c, x + c + 16 },
                               .b_k = (size_t)s->wide,
                               .K = q->rows,
                               .start = to,
                               .start_row = (size_t)s->wide,
                               .y = to,
                               .y_row = (size_t)s->wide,
                               .columns = KEY_PAIR },
                  q->n - q->first);
    }
}

static void backward_tile(const backward *bw, const query_tile *q, size_t row, const buffers *b)
{
    const packed_shape *s = &bw->s;
    const size_t hd = (size_t)s->hd, stride = (size_t)s->H * hd;

    /* s = q k^T and dp = do v^T, which become p and ds in place */
    copy_rows(bw->q + row * hd, q->rows, stride, s->hd, s->wide, b->q);
    copy_rows(bw->doo + row * hd, q->rows, stride, s->hd, s->wide, b->doo);
    tile_scores(s, q, b->q, (size_t)s->wide, b->keys_t, b->p);
    tile_scores(s, q, b->doo, (size_t)s->wide, b->values_t, b->ds);
    tile_gradients(bw, q, row, b);

    /* dq = ds k */
    tile_mix(s, q, b->ds, b->keys, b->dq);
    for (int r = 0; r < q->rows; r++)
        memcpy(bw->dq + row * hd + (size_t)r * stride, b->dq + (size_t)(r * s->wide), sizeof(float) * hd);

    /* dk += ds^T q, dv += p^T do */
    tile_scatter(s, q, b->ds, b->q, b->dk);
    tile_scatter(s, q, b->p, b->doo, b->dv);
}

/* One head's rows [n, wide] -> to [n, hd], `stride` apart. */
static void put_rows(const packed_shape *s, const float *rows, int n, float *to, size_t stride)
{
    for (int t = 0; t < n; t++, rows += s->wide, to += stride) memcpy(to, rows, sizeof(float) * (size_t)s->hd);
}

/* A sequence's query rows against one key/value head, whose prefix may be at hand; then its prefix's dk and dv are
 * those of the sequences before it, too. */
static void backward_sequence(const backward *bw, const sequence *seq, int g, bool prefix_there, const buffers *b)
{
    const packed_shape *s = &bw->s;
    const int group = s->H / s->Hkv, own = seq->n - seq->before;
    const size_t stride = (size_t)s->Hkv * (size_t)s->hd, head = (size_t)g * (size_t)s->hd;
    const size_t before = (size_t)seq->before * (size_t)s->wide, kept = prefix_there ? before : 0;
    const size_t cleared = sizeof(float) * ((size_t)seq->n * (size_t)s->wide - kept);

    transpose_blocks(bw->k + head, seq, stride, s->hd, prefix_there, b->keys_t);
    transpose_blocks(bw->v + head, seq, stride, s->hd, prefix_there, b->values_t);
    copy_sequence(bw->k + head, seq, stride, s->hd, s->wide, prefix_there, b->keys);
    memset(b->dk + kept, 0, cleared);
    memset(b->dv + kept, 0, cleared);

    /* Tile by tile, in one order: dk and dv add up over all rows and all query heads of the group. */
    for (int t = seq->before; t < seq->n; t += QUERY_ROWS) {
        const query_tile q = query_tile_at(s, t, seq->n);
        for (int h = g * group; h < (g + 1) * group; h++)
            backward_tile(bw, &q, row_at(seq, t) * (size_t)s->H + (size_t)h, b);
    }

    put_rows(s, b->dk + before, own, bw->dk + (size_t)seq->start * stride + head, stride);
    put_rows(s, b->dv + before, own, bw->dv + (size_t)seq->start * stride + head, stride);
}

static void backward_runs(void *ctx, int64_t begin, int64_t end, int thread)
{
    const backward *bw = ctx;
    const packed_shape *s = &bw->s;
    const buffers b = buffers_at(bw->buffers + bw->room * (size_t)thread, s);
    const size_t stride = (size_t)s->Hkv * (size_t)s->hd;

    for (int64_t i = begin; i < end; i++) {
        const int64_t run = i / s->Hkv;
        const int g = (int)(i % s->Hkv);
        sequence seq = { 0 };
        for (int j = s->runs[run]; j < s->runs[run + 1]; j++) {
            seq = sequence_at(s, j);
            backward_sequence(bw, &seq, g, j > s->runs[run], &b);
        }
        if (seq.before == 0) continue;

        float *sums = bw->for_prefix[run] + (size_t)g * (size_t)s->hd;
        put_rows(s, b.dk, seq.before, sums, stride);
        put_rows(s, b.dv, seq.before, sums + (size_t)seq.before * stride, stride);
    }
}

/* dk and dv of a prefix's rows += what the runs after it add; other runs have none. */
static void add_to_prefixes(void *ctx, int64_t begin, int64_t end, int thread)
{
    const backward *bw = ctx;
    const packed_shape *s = &bw->s;
    const int64_t width = (int64_t)s->Hkv * s->hd;
    (void)thread;

    for (int64_t i = begin; i < end; i++) {
        const int p = s->runs[i];
        const int64_t first = s->starts[p] * width, n = s->starts[p + 1] * width - first;
        for (int64_t k = i + 1; k < s->n_runs && s->prefix[s->runs[k]] == p; k++)
            for (int64_t j = 0; j < n; j++) {
                bw->dk[first + j] += bw->for_prefix[k][j];
                bw->dv[first + j] += bw->for_prefix[k][n + j];
            }
    }
}

/* Room for what each run adds to its prefix; NULL where no sequence has one. */
static float **for_prefix_new(device *dev, const packed_shape *s)
{
    if (!s->prefix) return NULL;
    float **rooms = device_scratch(dev, sizeof *rooms * (size_t)s->n_runs);
    for (int i = 0; i < s->n_runs; i++) {
        const size_t width = (size_t)s->Hkv * (size_t)s->hd, rows = (size_t)sequence_at(s, s->runs[i]).before;
        rooms[i] = rows > 0 ? device_scratch(dev, 2 * sizeof(float) * rows * width) : NULL;
    }
    return rooms;
}

void cpu_attention_backward(device *dev, const float *doo, const float *q, const float *k, const float *v,
                            const float *o, const float *lse, const int32_t *starts, const int32_t *prefix, int S,
                            int H, int Hkv, int hd, int window, float cap, float *dq, float *dk, float *dv)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    backward b = { .doo = doo, .q = q, .k = k, .v = v, .o = o, .lse = lse, .dq = dq, .dk = dk, .dv = dv };
    b.s = packed_shape_of(dev, starts, prefix, S, H, Hkv, hd, window);
    b.s.cap = cap;

    b.room = room_of(&b.s);
    b.buffers = device_scratch(dev, sizeof(float) * b.room * (size_t)device_threads(dev));
    b.for_prefix = for_prefix_new(dev, &b.s);

    /* Five products of [rows, keys] by hd where the forward pass has two. */
    cpu_parallel(dev, 2.5 * b.s.flops, (int64_t)b.s.n_runs * Hkv, 1, backward_runs, &b);
    if (prefix) cpu_parallel(dev, 2.0 * starts[S] * Hkv * hd, b.s.n_runs, 1, add_to_prefixes, &b);
    cpu_scratch_rewind(dev, mark);
}
