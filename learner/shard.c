/* SPDX-License-Identifier: MIT */
#include "learner/shard.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { WHOLE_SKETCH_ROWS = 64 };

shard *shard_new(comm *c, const slice *buckets, int n)
{
    shard *s = xcalloc(1, sizeof *s);
    *s = (shard){ .comm = c, .buckets = xcalloc((size_t)n, sizeof *s->buckets), .n = n };
    memcpy(s->buckets, buckets, sizeof *buckets * (size_t)n);
    return s;
}

void shard_free(shard *s)
{
    if (!s) return;
    free(s->buckets);
    free(s);
}

slice shard_piece(const shard *s, int bucket, int rank)
{
    const slice *b = &s->buckets[bucket];
    const int64_t each = (b->count / s->comm->size / WHOLE_SKETCH_ROWS + 1) * WHOLE_SKETCH_ROWS;
    const int64_t begin = each * rank < b->count ? each * rank : b->count;
    const int64_t end = begin + each < b->count ? begin + each : b->count;
    return (slice){ b->begin + begin, end - begin };
}

static void gather_bucket(const shard *s, device *dev, int bucket, float *x, float *host, int64_t *begins)
{
    const slice b = s->buckets[bucket], mine = shard_piece(s, bucket, s->comm->rank);
    for (int r = 0; r < s->comm->size; r++) begins[r] = shard_piece(s, bucket, r).begin - b.begin;
    begins[s->comm->size] = b.count;
    if (s->comm->on_device) {
        comm_gather_pieces(s->comm, x + b.begin, begins);
        return;
    }
    device_copy_out(dev, host + (mine.begin - b.begin), x + mine.begin, sizeof *x * (size_t)mine.count);
    comm_gather_pieces(s->comm, host, begins);
    device_copy_in(dev, x + b.begin, host, sizeof *x * (size_t)b.count);
}

void shard_gather(const shard *s, device *dev, float *x)
{
    int64_t max = 0, *begins = xcalloc((size_t)s->comm->size + 1, sizeof *begins);
    for (int i = 0; i < s->n; i++) max = s->buckets[i].count > max ? s->buckets[i].count : max;
    float *host = xmalloc(sizeof *host * (size_t)max);
    for (int i = 0; i < s->n; i++) gather_bucket(s, dev, i, x, host, begins);
    free(host);
    free(begins);
}
