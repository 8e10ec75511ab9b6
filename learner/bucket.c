/* SPDX-License-Identifier: MIT */
#include "learner/bucket.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "kernels/ops.h"

enum { FEW_BUCKETS = 64 };
static const double KEEP = 0.9, MAX_RESCALE = 10;

/* What is remembered: bucket_state names each of these. */
typedef struct bucket_memory {
    double steps[MOO_MAX];             /* in which the objective had a gradient here */
    double mean[MOO_MAX][SKETCH_BINS]; /* running mean of its sketch, not yet divided by 1 - 0.9^steps */
    double square[MOO_MAX];            /* of its squared length */
    double w[MOO_MAX];                 /* the weights last solved */
    double solved;                     /* for whom: 1 + the sum of 2^i of those active; 0: there are none */
    moo_state moo;
} bucket_memory;

typedef struct bucket {
    char name[96];
    int64_t begin, count; /* floats of the table */
    int params, left;     /* parameters; those not yet ready */
    float *slab;          /* [K + extra, count] while its gradients come in */
    double G[MOO_MAX * MOO_MAX], w[2 * MOO_MAX], snr[MOO_MAX];
    double sketch[MOO_MAX][SKETCH_BINS];
    bool active[MOO_MAX];
    double norm_average, norm_after;
    bucket_memory memory;
} bucket;

typedef struct slab {
    float *data;
    int64_t floats;
    bool used;
} slab;

struct bucket_set {
    bucket_config config;
    const param_table *table;
    device *dev;
    int K, rows; /* rows = K + extra */
    bucket *buckets;
    int n;
    int *of_param; /* [table->n] */
    slab *slabs;   /* [n] */
    size_t bytes, peak;
    int64_t step, us;
    uint64_t seed;
    float *combined;
    bool last, first; /* of the step's micro-batches */
    grad_sink sink;
    error failure;
    shard *shard; /* of several learners; NULL: one */
    reduce_scatter *reduce_scatter;
    bucket *under_way; /* its gradients are being exchanged */
};

/* ---- the runs ---- */

static const char *name_of(const bucket_config *c, const param *p, int index, char *out, size_t size)
{
    if (c->scope == BUCKET_TENSOR)
        snprintf(out, size, "%s", p->name);
    else if (c->scope == BUCKET_GLOBAL)
        snprintf(out, size, "all");
    else if (c->scope == BUCKET_BYTES)
        snprintf(out, size, "bucket.%d", index);
    else if (p->layer >= 0)
        snprintf(out, size, "layer.%d", p->layer);
    else
        snprintf(out, size, "%s", p->kind == PARAM_EMBED ? "embed" : "top");
    return out;
}

/* Whether a bucket ends before parameter p: buckets are filled from the back of the table, as backward goes. */
static bool ends_before(const bucket_config *c, const bucket *b, const param *last, const param *p)
{
    switch (c->scope) {
    case BUCKET_LAYER:
        return p->layer != last->layer || (p->layer < 0 && p->kind == PARAM_EMBED);
    case BUCKET_TENSOR:
        return true;
    case BUCKET_GLOBAL:
        return false;
    case BUCKET_BYTES:
        return b->count * (int64_t)sizeof(float) >= c->bytes;
    }
    return true;
}

static void cut(bucket_set *s)
{
    const param_table *t = s->table;
    for (int i = t->n - 1; i >= 0; i--) {
        const param *p = &t->items[i];
        bucket *b = s->n > 0 ? &s->buckets[s->n - 1] : NULL;
        const int64_t end = i + 1 < t->n ? t->items[i + 1].offset : t->total;

        if (!b || ends_before(&s->config, b, &t->items[i + 1], p)) {
            b = &s->buckets[s->n++];
            *b = (bucket){ .begin = end };
            name_of(&s->config, p, s->n - 1, b->name, sizeof b->name);
        }

        b->count += b->begin - p->offset;
        b->begin = p->offset;
        b->params++;
        s->of_param[i] = s->n - 1;
    }
}

bucket_set *bucket_set_new(const bucket_config *config, const param_table *table, device *dev, int K, int extra)
{
    assert(K >= 1 && K <= MOO_MAX && extra >= 0 && extra <= MOO_MAX);
    bucket_set *s = xcalloc(1, sizeof *s);
    *s = (bucket_set){ .config = *config, .table = table, .dev = dev, .K = K, .rows = K + extra };
    if (s->config.refresh < 1) s->config.refresh = 1;
    s->buckets = xcalloc((size_t)table->n, sizeof *s->buckets);
    s->of_param = xcalloc((size_t)table->n, sizeof *s->of_param);
    cut(s);
    s->slabs = xcalloc((size_t)s->n, sizeof *s->slabs);
    return s;
}

uint64_t bucket_slab_bytes(const bucket_config *config, const param_table *table)
{
    int64_t first = 0, second = 0;
    if (!config->by_micro_batch || config->scope == BUCKET_GLOBAL) return sizeof(float) * (uint64_t)table->total;
    bucket_set *s = bucket_set_new(config, table, NULL, 1, 0);
    for (int i = 0; i < s->n; i++) {
        const int64_t count = s->buckets[i].count;
        if (count > first) {
            second = first;
            first = count;
        } else if (count > second) {
            second = count;
        }
    }
    bucket_set_free(s);
    return sizeof(float) * (uint64_t)(first + second);
}

void bucket_set_free(bucket_set *s)
{
    if (!s) return;
    reduce_scatter_free(s->reduce_scatter);
    for (int i = 0; i < s->n; i++) device_free(s->dev, s->slabs[i].data);
    free(s->slabs);
    free(s->of_param);
    free(s->buckets);
    free(s);
}

/* ---- slabs: memory that buckets take turns on ---- */

static void drop_unused(bucket_set *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->slabs[i].data && !s->slabs[i].used) {
            device_free(s->dev, s->slabs[i].data);
            s->bytes -= sizeof(float) * (size_t)s->slabs[i].floats;
            s->slabs[i] = (slab){ 0 };
        }
}

static slab *fitting(bucket_set *s, int64_t floats)
{
    slab *best = NULL;
    for (int i = 0; i < s->n; i++) {
        slab *b = &s->slabs[i];
        if (b->data && !b->used && b->floats >= floats && (!best || b->floats < best->floats)) best = b;
    }
    return best;
}

static slab *slab_take(bucket_set *s, int64_t floats)
{
    slab *b = fitting(s, floats);
    if (!b) {
        drop_unused(s); /* before the new one: they would add up to a peak */
        for (b = s->slabs; b->data; b++) {
        }
        *b = (slab){ .data = device_alloc(s->dev, sizeof(float) * (size_t)floats), .floats = floats };
        s->bytes += sizeof(float) * (size_t)floats;
        if (s->bytes > s->peak) s->peak = s->bytes;
    }

    b->used = true;
    device_ops(s->dev)->zero(s->dev, b->data, floats);
    return b;
}

static void slab_give_back(bucket_set *s, bucket *b)
{
    for (int i = 0; i < s->n; i++)
        if (s->slabs[i].data == b->slab) s->slabs[i].used = false;
    b->slab = NULL;
}

/* ---- a complete bucket ---- */

/* Gram matrix and sketches of gradients [K, at.count] that are the bucket's piece `at`; of several learners, the sums
 * over their pieces. */
static void measure(bucket_set *s, bucket *b, const float *gradients, slice at)
{
    const struct ops *ops = device_ops(s->dev);
    const bool sketched = s->config.gate > 0;
    memset(b->G, 0, sizeof b->G);
    memset(b->sketch, 0, sizeof b->sketch);

    if (at.count > 0) ops->gram(s->dev, gradients, s->K, at.count, at.count, b->G);
    if (at.count > 0 && sketched) {
        /* The signs of a piece are those it has in the whole (kernels/sketch.h). */
        const int64_t before = at.begin - b->begin;
        const uint64_t seed = (uint64_t)b->begin + UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(before / SKETCH_BINS);
        ops->sketch(s->dev, gradients, s->K, at.count, at.count, seed, b->sketch[0]);
    }

    if (!s->shard) return;
    comm_sum(s->shard->comm, b->G, s->K * s->K);
    if (sketched) comm_sum(s->shard->comm, b->sketch[0], s->K * SKETCH_BINS);
}

/* This step's gradient of objective i joins its running means. */
static void remember_gradient(bucket_memory *m, int i, const double sketch[SKETCH_BINS])
{
    double square = 0;
    m->steps[i]++;
    for (int j = 0; j < SKETCH_BINS; j++) {
        m->mean[i][j] = KEEP * m->mean[i][j] + (1 - KEEP) * sketch[j];
        square += sketch[j] * sketch[j];
    }
    m->square[i] = KEEP * m->square[i] + (1 - KEEP) * square;
}

/* ||mean g||^2 / mean ||g||^2: 1 where all steps agree, near 0 where they have nothing in common. */
static double signal_to_noise(const bucket_memory *m, int i)
{
    if (!(m->square[i] > 0)) return 0;
    double signal = 0;
    for (int j = 0; j < SKETCH_BINS; j++) signal += m->mean[i][j] * m->mean[i][j];
    const double weight = 1 - pow(KEEP, m->steps[i]); /* both began at 0: as Adam's bias correction */
    return signal / (weight * m->square[i]);
}

/* Who takes part: objectives with a gradient and a weight; with a gate, those whose gradient is more than noise. Where
 * none passes, the step would be lost: then all do. */
static void gate(bucket_set *s, bucket *b)
{
    for (int i = 0; i < s->K; i++) {
        b->snr[i] = 1;
        b->active[i] = b->G[i * s->K + i] > 0 && moo_has_say(&s->config.moo, s->K, i);
    }
    if (s->config.gate <= 0) return;

    int passing = 0;
    for (int i = 0; i < s->K; i++) {
        if (b->G[i * s->K + i] > 0) remember_gradient(&b->memory, i, b->sketch[i]);
        b->snr[i] = signal_to_noise(&b->memory, i);
        passing += b->active[i] && b->snr[i] >= s->config.gate;
    }
    if (passing == 0) return;
    for (int i = 0; i < s->K; i++) b->active[i] &= b->snr[i] >= s->config.gate;
}

static bool in_conflict(const bucket_set *s, const bucket *b)
{
    for (int i = 0; i < s->K; i++)
        for (int j = 0; j < i; j++)
            if (b->active[i] && b->active[j] && b->G[i * s->K + j] < 0) return true;
    return false;
}

/* The average by preference of all objectives with a gradient: what the direction is measured by. */
static double average_norm(const bucket_set *s, const bucket *b)
{
    moo_config plain = s->config.moo;
    double w[MOO_MAX];
    plain.method = MOO_PREF;
    const int rc = moo_solve(&plain, b->G, s->K, NULL, (rng_key){ 0 }, NULL, w, NULL);
    return rc == OK ? moo_norm(b->G, s->K, w) : 0;
}

/* As one number, which a checkpoint can hold. */
static double active_set(const bucket_set *s, const bucket *b)
{
    double sum = 1;
    for (int i = 0; i < s->K; i++) sum += b->active[i] ? ldexp(1, i) : 0;
    return sum;
}

static int solve(bucket_set *s, bucket *b, error *err)
{
    moo_config c = s->config.moo;
    bucket_memory *m = &b->memory;
    if (s->config.only_conflicts && !in_conflict(s, b)) c.method = moo_adds_up(c.method) ? MOO_SUM : MOO_PREF;

    /* Weights are for those they were solved for: one who was silent then has none, and would stay without. */
    if (s->step % s->config.refresh != 0 && m->solved == active_set(s, b)) {
        memcpy(b->w, m->w, sizeof *b->w * (size_t)s->K);
        return OK;
    }

    const rng_key order = { s->seed, (uint64_t)s->step * (uint64_t)s->n + (uint64_t)(b - s->buckets) };
    if (moo_solve(&c, b->G, s->K, b->active, order, &m->moo, b->w, err) != OK) return error_within(err, "%s", b->name);
    memcpy(m->w, b->w, sizeof *m->w * (size_t)s->K);
    m->solved = active_set(s, b);
    return OK;
}

static void rescale(const bucket_set *s, bucket *b)
{
    if (!s->config.keep_norm || b->norm_after <= 0) return;
    const double by = fmin(MAX_RESCALE, b->norm_average / b->norm_after);
    for (int i = 0; i < s->K; i++) b->w[i] *= by;
    b->norm_after *= by;
}

/* gradients [K + extra, at.count] of the piece `at` become one, added to `combined` there. */
static void reconcile(bucket_set *s, bucket *b, float *gradients, slice at)
{
    const struct ops *ops = device_ops(s->dev);
    float *out = s->combined + at.begin;
    measure(s, b, gradients, at);
    gate(s, b);
    if (solve(s, b, s->failure.code ? NULL : &s->failure) != OK) return; /* the first failure is the one to tell */

    b->norm_average = average_norm(s, b);
    b->norm_after = moo_norm(b->G, s->K, b->w);
    rescale(s, b);
    for (int i = s->K; i < s->rows; i++) b->w[i] = 1; /* a KL's, beside the objectives */

    if (at.count == 0) return;
    if (!s->config.by_micro_batch || (s->first && s->last)) {
        ops->combine(s->dev, gradients, b->w, s->rows, at.count, at.count, out);
    } else {
        ops->combine(s->dev, gradients, b->w, s->rows, at.count, at.count, gradients);
        ops->add(s->dev, out, gradients, at.count);
    }
}

/* ---- several learners: a bucket is exchanged while the next one fills ---- */

static void take_in(bucket_set *s)
{
    bucket *b = s->under_way;
    s->under_way = NULL;
    if (!b) return;
    const slice mine = shard_piece(s->shard, (int)(b - s->buckets), s->shard->comm->rank);
    reconcile(s, b, reduce_scatter_receive(s->reduce_scatter), mine);
}

static void exchange_bucket(bucket_set *s, bucket *b)
{
    take_in(s);
    reduce_scatter_send(s->reduce_scatter, (int)(b - s->buckets), b->slab, b->count);
    s->under_way = b;
}

shard *bucket_set_shard(bucket_set *s, comm *c)
{
    assert(!s->config.by_micro_batch);
    slice *all = xcalloc((size_t)s->n, sizeof *all);
    for (int i = 0; i < s->n; i++) all[i] = (slice){ s->buckets[i].begin, s->buckets[i].count };
    s->shard = shard_new(c, all, s->n);
    s->reduce_scatter = reduce_scatter_new(s->shard, s->dev, s->rows);
    free(all);
    return s->shard;
}

void bucket_contributions(bucket_set *s, const bool *has) { reduce_scatter_begin(s->reduce_scatter, has); }

void bucket_nothing(bucket_set *s)
{
    for (int i = 0; i < s->n; i++) exchange_bucket(s, &s->buckets[i]);
}

static void close_bucket(bucket_set *s, bucket *b)
{
    const int64_t began = clock_us();
    if (s->reduce_scatter)
        exchange_bucket(s, b);
    else
        reconcile(s, b, b->slab, (slice){ b->begin, b->count });
    slab_give_back(s, b);
    s->us += clock_us() - began; /* Gram matrices reach the host: on a GPU this waits for the layer's backward too */
}

/* ---- the sink ---- */

static float *place(void *ctx, const param *p, int64_t *stride)
{
    bucket_set *s = ctx;
    bucket *b = &s->buckets[s->of_param[p - s->table->items]];
    if (!b->slab) b->slab = slab_take(s, s->rows * b->count)->data;
    *stride = b->count;
    return b->slab + (p->offset - b->begin);
}

static void ready(void *ctx, const param *p, const float *g, int K, int64_t stride)
{
    bucket_set *s = ctx;
    bucket *b = &s->buckets[s->of_param[p - s->table->items]];
    (void)g, (void)K, (void)stride;
    if (s->reduce_scatter) reduce_scatter_poll(s->reduce_scatter);
    if (--b->left == 0 && (s->last || s->config.by_micro_batch)) close_bucket(s, b);
}

void bucket_begin(bucket_set *s, int64_t step, uint64_t seed, float *combined)
{
    s->step = step;
    s->seed = seed;
    s->combined = combined;
    s->us = 0;
    s->last = false;
    s->first = true;
    s->sink = (grad_sink){ 0 };
    s->failure = (error){ 0 };
}

const grad_sink *bucket_sink(bucket_set *s, bool last)
{
    s->first = s->sink.ctx == NULL;
    s->last = last;
    s->sink = (grad_sink){ .ctx = s, .place = place, .ready = ready };
    for (int i = 0; i < s->n; i++) s->buckets[i].left = s->buckets[i].params;
    return &s->sink;
}

int bucket_finish(bucket_set *s, error *err)
{
    const int64_t began = clock_us();
    take_in(s);
    s->us += clock_us() - began;
    return s->failure.code ? error_set(err, s->failure.code, "%s", s->failure.text) : OK;
}

/* ---- statistics ---- */

int bucket_count(const bucket_set *s) { return s->n; }
int bucket_rows(const bucket_set *s) { return s->rows; }

bucket_view bucket_at(const bucket_set *s, int i)
{
    const bucket *b = &s->buckets[i];
    return (bucket_view){ b->name, b->count, b->G, b->w, b->snr, b->active, b->norm_average, b->norm_after };
}

size_t bucket_peak_bytes(const bucket_set *s) { return s->peak; }
int64_t bucket_step_us(const bucket_set *s) { return s->us; }

static void __attribute__((format(printf, 3, 4))) tell(metrics *out, double value, const char *name, ...)
{
    char key[320];
    va_list args;
    va_start(args, name);
    vsnprintf(key, sizeof key, name, args);
    va_end(args);
    metrics_set(out, key, value);
}

/* Of objectives i and j: how often they oppose each other bucket by bucket, and whether the sum over buckets hides
 * it. */
static void pair_metrics(const bucket_set *s, const char *const *names, int i, int j, metrics *out)
{
    double whole[4] = { 0 }, cosine = 0, conflicts = 0; /* whole [2, 2]: the pair's Gram matrix over all buckets */

    for (int k = 0; k < s->n; k++) {
        const double *G = s->buckets[k].G, c = moo_cosine(G, s->K, i, j);
        cosine += c / s->n;
        conflicts += c < 0;
        whole[0] += G[i * s->K + i];
        whole[1] += G[i * s->K + j];
        whole[3] += G[j * s->K + j];
    }

    tell(out, cosine, "moo/cosine/%s:%s", names[i], names[j]);
    tell(out, conflicts / s->n, "moo/conflict/%s:%s", names[i], names[j]);
    tell(out, moo_cosine(whole, 2, 0, 1), "moo/cosine_global/%s:%s", names[i], names[j]);
    tell(out, whole[1] >= 0 && conflicts > 0, "moo/hidden_conflict/%s:%s", names[i], names[j]);
}

static void objective_metrics(const bucket_set *s, const char *name, int i, metrics *out)
{
    double weight = 0, square = 0, inactive = 0, snr = 0;

    for (int k = 0; k < s->n; k++) {
        const bucket *b = &s->buckets[k];
        weight += b->w[i] / s->n;
        square += b->G[i * s->K + i];
        inactive += !b->active[i];
        snr += b->snr[i] / s->n;
    }

    tell(out, weight, "moo/weight/%s", name);
    tell(out, sqrt(square), "moo/grad_norm/%s", name);
    tell(out, inactive / s->n, "moo/gated/%s", name);
    tell(out, snr, "moo/snr/%s", name);
}

static void one_bucket(const bucket_set *s, const bucket *b, const char *const *names, metrics *out)
{
    for (int i = 0; i < s->K; i++) {
        tell(out, b->w[i], "moo/%s/weight/%s", b->name, names[i]);
        tell(out, b->snr[i], "moo/%s/snr/%s", b->name, names[i]);
        for (int j = 0; j < i; j++)
            tell(out, moo_cosine(b->G, s->K, i, j), "moo/%s/cosine/%s:%s", b->name, names[j], names[i]);
    }
    tell(out, b->norm_average, "moo/%s/norm_average", b->name);
    tell(out, b->norm_after, "moo/%s/norm_after", b->name);
}

void bucket_metrics(const bucket_set *s, const char *const *names, metrics *out)
{
    double average = 0, after = 0;
    for (int i = 0; i < s->K; i++) {
        objective_metrics(s, names[i], i, out);
        for (int j = i + 1; j < s->K; j++) pair_metrics(s, names, i, j, out);
    }

    /* Buckets are orthogonal parts of the gradient: the whole's squared norm is the sum of theirs. */
    for (int k = 0; k < s->n; k++) {
        average += s->buckets[k].norm_average * s->buckets[k].norm_average;
        after += s->buckets[k].norm_after * s->buckets[k].norm_after;
        if (s->n <= FEW_BUCKETS && s->n > 1) one_bucket(s, &s->buckets[k], names, out);
    }

    metrics_set(out, "moo/norm_average", sqrt(average));
    metrics_set(out, "moo/norm_after", sqrt(after));
    metrics_set(out, "moo/slab_bytes", (double)s->peak);
    metrics_set(out, "timing_s/moo", (double)s->us * 1e-6);
}

/* ---- memory ---- */

static void numbers_of(saved_state *to, const bucket *b, const char *field, double *values, int64_t n, double min)
{
    char name[sizeof b->name + 32];
    snprintf(name, sizeof name, "%s/%s", b->name, field);
    state_numbers(to, name, values, n, min, INFINITY);
}

void bucket_state(bucket_set *s, saved_state *to)
{
    state_section(to, "buckets", 1);
    for (int i = 0; i < s->n; i++) {
        bucket *b = &s->buckets[i];
        bucket_memory *m = &b->memory;
        numbers_of(to, b, "steps", m->steps, MOO_MAX, 0);
        numbers_of(to, b, "mean", m->mean[0], MOO_MAX * SKETCH_BINS, -INFINITY);
        numbers_of(to, b, "square", m->square, MOO_MAX, 0);
        numbers_of(to, b, "w", m->w, MOO_MAX, -INFINITY);
        numbers_of(to, b, "solved", &m->solved, 1, 0);
        numbers_of(to, b, "cosines", m->moo.phi, MOO_MAX * MOO_MAX, -INFINITY);
    }
}
