/* attend - one query row over blocks of KV_PAGE keys: the inner loop that packed and paged attention share, so that an
 * actor over pages and a learner over a batch get the same bits.
 *
 * Keys of a block lie transposed, [hd][KV_PAGE]: sixteen scores at a time, one multiply-add a dimension. Values lie as
 * they come, [KV_PAGE] rows `value_stride` floats apart. */
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/ops.h"

typedef struct key_blocks {
    const float *keys, *values;    /* of block 0, or of page 0 */
    const int32_t *table;          /* block -> page; NULL: blocks follow each other */
    size_t key_block, value_block; /* floats from one block (page) to the next */
    size_t value_stride;
} key_blocks;

static inline size_t block_index(const key_blocks *kb, int b) { return kb->table ? (size_t)kb->table[b] : (size_t)b; }

/* scores[0..blocks*16) = q . k * scale for keys 0..n-1, -inf behind; returns their maximum. */
static inline float attend_scores(const float *q, const key_blocks *kb, int n, int hd, float scale, float *scores)
{
    const int blocks = (n + KV_PAGE - 1) / KV_PAGE;
    float most = -INFINITY;
    for (int b = 0; b < blocks; b++) {
        const float *keys = kb->keys + block_index(kb, b) * kb->key_block;
        v16 s = v16_set(0);
        for (int d = 0; d < hd; d++) s = v16_set(q[d]) * v16_load(keys + (size_t)d * KV_PAGE) + s;
        v16_store(scores + b * KV_PAGE, s * v16_set(scale));
    }
    for (int j = n; j < blocks * KV_PAGE; j++) scores[j] = -INFINITY;
    for (int j = 0; j < n; j++) most = scores[j] > most ? scores[j] : most;
    return most;
}

/* o [hd] = softmax(scores) v; returns the log of the sum of exponentials. `scores` is overwritten. */
static inline float attend_row(const float *q, const key_blocks *kb, int n, int hd, float scale, float *scores,
                               float *o)
{
    const int blocks = (n + KV_PAGE - 1) / KV_PAGE;
    const float most = attend_scores(q, kb, n, hd, scale, scores);
    v16 total = v16_set(0);
    for (int b = 0; b < blocks; b++) {
        const v16 p = v16_exp(v16_load(scores + b * KV_PAGE) - v16_set(most));
        v16_store(scores + b * KV_PAGE, p);
        total += p;
    }
    const float sum = v16_sum(total), inverse = 1.0f / sum;
    for (int d = 0; d < hd; d += 16) {
        const int width = hd - d < 16 ? hd - d : 16;
        v16 acc = v16_set(0);
        for (int j = 0; j < n; j++) {
            const float *v = kb->values + block_index(kb, j / KV_PAGE) * kb->value_block +
                             (size_t)(j % KV_PAGE) * kb->value_stride + d;
            acc = v16_set(scores[j]) * (width == 16 ? v16_load(v) : v16_load_n(v, width)) + acc;
        }
        acc = acc * v16_set(inverse);
        memcpy(o + d, &acc, sizeof(float) * (size_t)width);
    }
    return most + logf(sum);
}
