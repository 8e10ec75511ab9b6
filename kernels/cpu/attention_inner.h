/* SPDX-License-Identifier: MIT */
/* attention_inner - what packed and paged attention share, so that an actor over pages and a learner over a batch get
 * the same bits: the softmax of a row of scores, and the order of every sum.
 *
 *   score[j] = (sum over d ascending of q[d] k[j][d]) / sqrt(hd), sixteen keys side by side (KV_PAGE), capped
 *   p[j] = exp(score[j] - max); the sum of p lane by lane over blocks of sixteen keys, then a tree over the lanes
 *   o[d] = (sum over j ascending of p[j] v[j][d]) / sum
 *
 * A key that a row doesn't see has p = 0 exactly, and adding 0 v changes nothing: rows may share tiles. */
#pragma once

#include "kernels/cpu/softcap.h"
#include "kernels/ops.h"

/* The first key that row t sees. */
static inline int first_key(int t, int window) { return window > 0 && t >= window ? t - window + 1 : 0; }

/* How a raw score becomes one: scaled, and where cap > 0 capped. */
typedef struct score_form {
    float scale, cap;
} score_form;

static inline score_form score_form_of(int hd, float cap) { return (score_form){ 1.0f / sqrtf((float)hd), cap }; }

static inline v16 v16_score(v16 raw, score_form form)
{
    const v16 s = raw * v16_set(form.scale);
    return form.cap > 0 ? v16_softcap(s, form.cap) : s;
}

/* raw scores[first & ~15 .. n) -> p, zeros outside [first, n) up to whole blocks; returns the log of the sum of
 * exponentials, and 1 / sum in *inverse. */
static inline float softmax_row(float *scores, int first, int n, score_form form, float *inverse)
{
    const int begin = first / KV_PAGE, end = (n + KV_PAGE - 1) / KV_PAGE;
    if (form.cap > 0) { /* before what is not seen is taken out: a cap would bring it back from -inf */
        for (int b = begin; b < end; b++)
            v16_store(scores + b * KV_PAGE, v16_score(v16_load(scores + b * KV_PAGE), form));
        form.scale = 1;
    }
    for (int j = begin * KV_PAGE; j < first; j++) scores[j] = -INFINITY;
    for (int j = n; j < end * KV_PAGE; j++) scores[j] = -INFINITY;

    /* The scaled scores and the highest of them: exp(score - max) can't overflow. */
    v16 highest = v16_set(-INFINITY);
    for (int b = begin; b < end; b++) {
        const v16 s = v16_load(scores + b * KV_PAGE) * v16_set(form.scale);
        v16_store(scores + b * KV_PAGE, s);
        highest = v16_max(highest, s);
    }
    const float largest = v16_highest(highest);

    v16 total = v16_set(0);
    for (int b = begin; b < end; b++) {
        const v16 p = v16_exp(v16_load(scores + b * KV_PAGE) - v16_set(largest));
        v16_store(scores + b * KV_PAGE, p);
        total += p;
    }

    const float sum = v16_sum(total);
    *inverse = 1.0f / sum;
    return largest + logf(sum);
}
