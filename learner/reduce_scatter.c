/* SPDX-License-Identifier: MIT */
#include "learner/reduce_scatter.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "kernels/ops.h"

struct reduce_scatter {
    const shard *shard;
    device *dev;
    int rows;
    bool *has;             /* [size, rows] */
    float *out, *in;       /* where the comm wants them: host memory or the device's */
    int64_t *n_out, *n_in; /* [size] */
    int64_t out_room, in_room;
    float *piece, *one; /* [rows, piece], [piece] on the device */
    int64_t piece_room;
    int bucket;
    void *pending;
};

static void drop(const reduce_scatter *s, float *array)
{
    if (s->shard->comm->on_device)
        device_free(s->dev, array);
    else
        free(array);
}

static int64_t grown(const reduce_scatter *s, float **array, int64_t room, int64_t need)
{
    const size_t bytes = sizeof **array * (size_t)need;
    if (need <= room) return room;
    drop(s, *array);
    *array = NULL; /* the next line may leave by the device's guard */
    *array = s->shard->comm->on_device ? device_alloc(s->dev, bytes) : xmalloc(bytes);
    return need;
}

reduce_scatter *reduce_scatter_new(const shard *sh, device *dev, int rows)
{
    const size_t size = (size_t)sh->comm->size;
    reduce_scatter *s = xcalloc(1, sizeof *s);
    *s = (reduce_scatter){ .shard = sh, .dev = dev, .rows = rows };
    s->has = xcalloc(size * (size_t)rows, sizeof *s->has);
    s->n_out = xcalloc(size, sizeof *s->n_out);
    s->n_in = xcalloc(size, sizeof *s->n_in);

    for (int i = 0; i < sh->n; i++) {
        const int64_t n = shard_piece(sh, i, sh->comm->rank).count;
        s->piece_room = n > s->piece_room ? n : s->piece_room;
    }
    /* One float more: a piece may be empty, its memory not. */
    s->piece = device_alloc(dev, sizeof(float) * (size_t)(rows * s->piece_room + 1));
    s->one = device_alloc(dev, sizeof(float) * (size_t)(s->piece_room + 1));
    return s;
}

void reduce_scatter_free(reduce_scatter *s)
{
    if (!s) return;
    if (s->pending) comm_exchanged(s->shard->comm, s->pending, true);
    device_free(s->dev, s->piece);
    device_free(s->dev, s->one);
    free(s->has);
    drop(s, s->out);
    drop(s, s->in);
    free(s->n_out);
    free(s->n_in);
    free(s);
}

void reduce_scatter_begin(reduce_scatter *s, const bool *has)
{
    memcpy(s->has, has, sizeof *has * (size_t)s->shard->comm->size * (size_t)s->rows);
}

static int rows_of(const reduce_scatter *s, int rank)
{
    int n = 0;
    for (int k = 0; k < s->rows; k++) n += s->has[rank * s->rows + k];
    return n;
}

/* What goes to rank r: its piece of each row that this rank has, row by row. Returns where the next one's begins. */
static float *pack_for(reduce_scatter *s, int bucket, int r, const float *gradients, int64_t stride, float *to)
{
    const slice p = shard_piece(s->shard, bucket, r);
    const int64_t from = p.begin - s->shard->buckets[bucket].begin;

    for (int k = 0; k < s->rows; k++) {
        if (!s->has[s->shard->comm->rank * s->rows + k]) continue;
        const size_t bytes = sizeof *to * (size_t)p.count;
        if (s->shard->comm->on_device)
            device_copy(s->dev, to, gradients + k * stride + from, bytes);
        else
            device_copy_out(s->dev, to, gradients + k * stride + from, bytes);
        to += p.count;
    }

    return to;
}

void reduce_scatter_send(reduce_scatter *s, int bucket, const float *gradients, int64_t stride)
{
    comm *c = s->shard->comm;
    const int64_t mine = shard_piece(s->shard, bucket, c->rank).count;
    int64_t out = 0, in = 0;

    for (int r = 0; r < c->size; r++) {
        s->n_out[r] = rows_of(s, c->rank) * shard_piece(s->shard, bucket, r).count;
        s->n_in[r] = rows_of(s, r) * mine;
        out += s->n_out[r];
        in += s->n_in[r];
    }
    s->out_room = grown(s, &s->out, s->out_room, out);
    s->in_room = grown(s, &s->in, s->in_room, in);

    float *to = s->out;
    for (int r = 0; r < c->size; r++) to = pack_for(s, bucket, r, gradients, stride, to);
    s->bucket = bucket;
    s->pending = comm_exchange_begin(c, &(comm_exchange){ s->out, s->n_out, s->in, s->n_in });
}

void reduce_scatter_poll(reduce_scatter *s)
{
    if (s->pending && comm_exchanged(s->shard->comm, s->pending, false)) s->pending = NULL;
}

float *reduce_scatter_receive(reduce_scatter *s)
{
    comm *c = s->shard->comm;
    const int64_t n = shard_piece(s->shard, s->bucket, c->rank).count;
    const float *from = s->in;
    if (s->pending) comm_exchanged(c, s->pending, true);
    s->pending = NULL;

    /* Rank by rank: a sum of floats depends on its order, and must not on who came first. */
    device_ops(s->dev)->zero(s->dev, s->piece, s->rows * n);
    for (int r = 0; r < c->size; r++)
        for (int k = 0; k < s->rows; k++) {
            if (!s->has[r * s->rows + k]) continue;
            if (!c->on_device) device_copy_in(s->dev, s->one, from, sizeof *from * (size_t)n);
            device_ops(s->dev)->add(s->dev, s->piece + k * n, c->on_device ? from : s->one, n);
            from += n;
        }
    return s->piece;
}
