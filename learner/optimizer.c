/* SPDX-License-Identifier: MIT */
#include "learner/optimizer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "learner/finite.h"

static const float EPS = 1e-8F; /* Adam's (arXiv 1412.6980), and PyTorch's default */

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* The parameters' runs within the piece, whose moments lie from `place` on. */
static void add_runs(optimizer *o, const param_table *t, slice piece, int64_t place)
{
    for (int i = 0; i < t->n; i++) {
        const param *p = &t->items[i];
        const int64_t begin = larger(p->offset, piece.begin);
        const int64_t end = smaller(p->offset + p->count, piece.begin + piece.count);
        if (begin >= end) continue;
        o->runs[o->n++] =
            (optim_run){ .at = begin, .count = end - begin, .place = place + begin - piece.begin, .param = i };
    }
}

static void cut_into_runs(optimizer *o, const param_table *t, const shard *sh)
{
    o->runs = xcalloc((size_t)t->n + (size_t)(sh ? 2 * sh->n : 0), sizeof *o->runs);
    if (!sh) {
        o->total = t->total;
        add_runs(o, t, (slice){ 0, o->total }, 0);
        return;
    }
    for (int i = 0; i < sh->n; i++) {
        const slice piece = shard_piece(sh, i, sh->comm->rank);
        add_runs(o, t, piece, o->total);
        o->total += piece.count;
    }
}

optimizer *optimizer_new(const optim_config *config, const weights *w, const shard *sh, error *err)
{
    optimizer *o = xcalloc(1, sizeof *o);
    o->config = *config;
    o->shard = sh;
    cut_into_runs(o, w->table, sh);

    const size_t bytes = sizeof(float) * (size_t)(o->total + 1); /* a rank's piece may be empty, its memory not */
    o->m = device_try(w->dev, bytes, err);
    o->v = o->m ? device_try(w->dev, bytes, err) : NULL;
    if (!o->v) {
        optimizer_free(o, w->dev);
        return NULL;
    }

    device_ops(w->dev)->zero(w->dev, o->m, o->total);
    device_ops(w->dev)->zero(w->dev, o->v, o->total);
    return o;
}

/* Blocks and runs are in order, and no block spans two parameters: each run is cut where blocks begin. */
void optimizer_cut(optimizer *o, const slice *blocks, int n)
{
    optim_run *cut = xcalloc((size_t)o->n + (size_t)n, sizeof *cut);
    int made = 0;

    for (int i = 0, b = 0; i < o->n; i++) {
        const optim_run *whole = &o->runs[i];
        const int64_t end = whole->at + whole->count;
        for (int64_t at = whole->at; at < end; made++) {
            while (b + 1 < n && blocks[b + 1].begin <= at) b++;
            const int64_t border = smaller(blocks[b].begin + blocks[b].count, end);

            cut[made] = *whole;
            cut[made].place += at - whole->at;
            cut[made].at = at;
            cut[made].count = border - at;
            cut[made].block = b;
            at = border;
        }
        if (o->shard) b = 0; /* pieces of buckets come from the back of the table to its front */
    }

    free(o->runs);
    o->runs = cut;
    o->n = made;
}

void optimizer_freeze(optimizer *o, const bool *mask)
{
    for (int i = 0; i < o->n; i++) o->runs[i].frozen = mask && mask[o->runs[i].block];
}

void optimizer_free(optimizer *o, device *dev)
{
    if (!o) return;
    device_free(dev, o->m);
    device_free(dev, o->v);
    free(o->runs);
    free(o);
}

/* The share of lr that the schedule leaves in a step. */
static double share_left(const optim_config *c, int64_t step)
{
    if (c->schedule == LR_CONSTANT || step <= c->warmup || c->total_steps <= c->warmup) return 1;

    const double done = fmin(1, (double)(step - c->warmup) / (double)(c->total_steps - c->warmup));
    const double falling = c->schedule == LR_LINEAR ? 2 * (1 - done) : 1 + cos(M_PI * done); /* from 2 to 0 */
    return c->min_lr_ratio + (1 - c->min_lr_ratio) * 0.5 * falling;
}

double optimizer_lr(const optim_config *c, int64_t update, int64_t step)
{
    const double risen = update < c->warmup ? c->lr * (double)update / (double)c->warmup : c->lr;
    return risen * share_left(c, step);
}

static void export_one(const optimizer *o, const weights *w, const float *from, float *to)
{
    const size_t bytes = sizeof(float) * (size_t)w->table->total;
    float *whole = device_alloc(w->dev, bytes);
    device_ops(w->dev)->zero(w->dev, whole, w->table->total);
    for (int i = 0; i < o->n; i++)
        device_ops(w->dev)->add(w->dev, whole + o->runs[i].at, from + o->runs[i].place, o->runs[i].count);
    if (o->shard) shard_gather(o->shard, w->dev, whole);
    device_copy_out(w->dev, to, whole, bytes);
    device_free(w->dev, whole);
}

void optimizer_export(const optimizer *o, const weights *w, float *m, float *v)
{
    export_one(o, w, o->m, m);
    export_one(o, w, o->v, v);
}

bool optimizer_view(const optimizer *o, const weights *w, const float **m, const float **v)
{
    if (o->shard || !device_view(w->dev, o->m)) return false;
    *m = o->m;
    *v = o->v;
    return true;
}

void optimizer_import(optimizer *o, const weights *w, const float *m, const float *v)
{
    for (int i = 0; i < o->n; i++) {
        const optim_run *r = &o->runs[i];
        if (m) device_copy_in(w->dev, o->m + r->place, m + r->at, sizeof *m * (size_t)r->count);
        if (v) device_copy_in(w->dev, o->v + r->place, v + r->at, sizeof *v * (size_t)r->count);
    }
}

int optimizer_norm(const optimizer *o, const weights *w, const float *grads, double *norm, error *err)
{
    const struct ops *ops = device_ops(w->dev);
    double squares = o->shard ? 0 : ops->sum_squares(w->dev, grads, w->table->total);
    for (int i = 0; o->shard && i < o->n; i++)
        squares += ops->sum_squares(w->dev, grads + o->runs[i].at, o->runs[i].count);
    if (o->shard) comm_sum(o->shard->comm, &squares, 1);
    *norm = sqrt(squares);

    /* One bad number here would be in every weight for ever: look before, not after. */
    if (isfinite(squares)) return OK;
    if (finite_check(w->dev, w->table, grads, "the gradient", err) != OK)
        return error_within(err, "update %" PRId64, o->step + 1);
    return error_set(err, ERR_STATE, "update %" PRId64 ": the gradient of another learner: not finite", o->step + 1);
}

void optimizer_squares(const optimizer *o, const weights *w, const float *grads, double *squares, int blocks)
{
    memset(squares, 0, sizeof *squares * (size_t)blocks);
    for (int i = 0; i < o->n; i++) {
        const optim_run *r = &o->runs[i];
        squares[r->block] += device_ops(w->dev)->sum_squares(w->dev, grads + r->at, r->count);
    }
    if (o->shard) comm_sum(o->shard->comm, squares, blocks);
}

/* Moments lie by runs; a parameter's name is its run's. */
static int check_moments(const optimizer *o, const weights *w, const float *moments, const char *what, error *err)
{
    const struct ops *ops = device_ops(w->dev);
    if (isfinite(ops->sum_squares(w->dev, moments, o->total))) return OK;
    for (int i = 0; i < o->n; i++)
        if (!isfinite(ops->sum_squares(w->dev, moments + o->runs[i].place, o->runs[i].count)))
            return finite_refuse(w->table, o->runs[i].param, what, err);
    return OK; /* the sum of finite squares: 1e308 is far away */
}

int optimizer_check(const optimizer *o, const weights *w, error *err)
{
    int rc = finite_check(w->dev, w->table, w->data, "the weights", err);
    if (rc == OK) rc = check_moments(o, w, o->m, "AdamW's first moments", err);
    if (rc == OK) rc = check_moments(o, w, o->v, "AdamW's second moments", err);

    double bad = rc != OK; /* moments are each learner's own: all stop, or one would wait for the other */
    if (o->shard) comm_sum(o->shard->comm, &bad, 1);
    if (rc == OK && bad > 0) return error_set(err, ERR_STATE, "AdamW's moments of another learner: not finite");
    return rc;
}

/* The gradient's norm, what it is multiplied by for it, and the learning rate. */
static int begin_update(const optimizer *o, const weights *w, const float *grads, int64_t step, optim_report *report,
                        float *scale, error *err)
{
    const double max = o->config.clip_norm;
    double norm;
    if (optimizer_norm(o, w, grads, &norm, err) != OK) return ERR_STATE;
    *report = (optim_report){ .grad_norm = norm, .lr = optimizer_lr(&o->config, o->step + 1, step) };
    *scale = (float)(max > 0 && norm > max ? max / norm : 1);
    return OK;
}

static int end_update(const optimizer *o, weights *w, int64_t update, error *err)
{
    if (o->shard) shard_gather(o->shard, w->dev, w->data);
    return optimizer_check(o, w, err) == OK ? OK : error_within(err, "after update %" PRId64, update);
}

int optimizer_step(optimizer *o, weights *w, const float *grads, int64_t step, optim_report *report, error *err)
{
    const optim_config *c = &o->config;
    float scale;
    if (begin_update(o, w, grads, step, report, &scale, err) != OK) return ERR_STATE;
    if (!(report->grad_norm > 0)) return OK;

    o->step++;
    for (int i = 0; i < o->n; i++) {
        const optim_run *r = &o->runs[i];
        if (r->frozen) continue;
        /* Matrices decay; gains of norms and biases, which are vectors, are not drawn to 0. */
        const double decay = w->table->items[r->param].rank >= 2 ? c->weight_decay : 0;
        device_ops(w->dev)->adamw(w->dev, w->data + r->at, grads + r->at, o->m + r->place, o->v + r->place, r->count,
                                  (float)report->lr, (float)c->beta1, (float)c->beta2, EPS, (float)decay, scale,
                                  o->step);
    }
    return end_update(o, w, o->step, err);
}

/* Pieces small enough that the copies of their moments are no memory to speak of. */
enum { PULL_FLOATS = 1 << 18 };

/* An update of one run that leaves its moments as they are: without momentum, by a copy of the second moments.
 * copies [2, PULL_FLOATS]. */
static void pull_run(const optimizer *o, weights *w, const optim_run *r, const float *grads, float lr, float scale,
                     float *copies)
{
    const optim_config *c = &o->config;
    const struct ops *ops = device_ops(w->dev);
    float *m = copies, *v = copies + PULL_FLOATS;

    for (int64_t from = 0; from < r->count; from += PULL_FLOATS) {
        const int64_t n = smaller(r->count - from, PULL_FLOATS), at = r->at + from;
        ops->zero(w->dev, m, n);
        device_copy(w->dev, v, o->v + r->place + from, sizeof *v * (size_t)n);
        ops->adamw(w->dev, w->data + at, grads + at, m, v, n, lr, 0, (float)c->beta2, EPS, 0, scale, o->step + 1);
    }
}

int optimizer_pull(optimizer *o, weights *w, const float *grads, int64_t step, optim_report *report, error *err)
{
    float scale;
    if (begin_update(o, w, grads, step, report, &scale, err) != OK) return ERR_STATE;
    if (!(report->grad_norm > 0)) return OK;

    float *copies = device_alloc(w->dev, 2 * sizeof *copies * PULL_FLOATS);
    for (int i = 0; i < o->n; i++)
        if (!o->runs[i].frozen) pull_run(o, w, &o->runs[i], grads, (float)report->lr, scale, copies);
    device_free(w->dev, copies);
    return end_update(o, w, o->step + 1, err);
}
