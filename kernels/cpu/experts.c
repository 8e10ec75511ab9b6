/* SPDX-License-Identifier: MIT */
/* A router over experts, and rows that are weighted and added up. A row is one thread's, and its sums have one order,
 * so it has the same bits in any batch. */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

/* ---- the router ---- */

typedef struct routes {
    float *z;                      /* [T, E] logits, then p */
    const float *dweight, *weight; /* backward */
    int E, k;
    bool sum_to_one;
    int32_t *chosen;
    float *out; /* [T, k] weights; backward: [T, E] dz */
} routes;

/* NaN counts as the smallest: what is chosen is k different experts, whatever came out of broken weights. */
static inline float rank_of(float z) { return z == z ? z : -INFINITY; }

/* Whether expert i is chosen before j. */
static inline bool before(const float *z, int i, int j)
{
    const float a = rank_of(z[i]), b = rank_of(z[j]);
    return a > b || (a == b && i < j);
}

/* The first after `last` (-1: of all) in the order of the choice. */
static inline int next_chosen(const float *z, int E, int last)
{
    int best = -1;
    for (int e = 0; e < E; e++)
        if ((last < 0 || before(z, last, e)) && (best < 0 || before(z, e, best))) best = e;
    return best;
}

/* z = softmax(z), whose largest is `max`. */
static inline void softmax(float *z, int E, float max)
{
    float sum = 0;
    for (int e = 0; e < E; e += 16) {
        const int width = E - e < 16 ? E - e : 16;
        const v16 p = v16_exp(v16_load_some(z + e, width) - v16_set(max));
        memcpy(z + e, &p, sizeof(float) * (size_t)width);
    }
    for (int e = 0; e < E; e++) sum += z[e];
    for (int e = 0; e < E; e++) z[e] /= sum;
}

static void route_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const routes *r = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        float *z = r->z + t * r->E, *weight = r->out + t * r->k, sum = 0;
        int32_t *chosen = r->chosen + t * r->k;
        for (int j = 0; j < r->k; j++) chosen[j] = next_chosen(z, r->E, j > 0 ? chosen[j - 1] : -1);

        softmax(z, r->E, z[chosen[0]]);
        for (int j = 0; j < r->k; j++) sum += weight[j] = z[chosen[j]];
        for (int j = 0; r->sum_to_one && j < r->k; j++) weight[j] /= sum;
    }
}

void cpu_route(device *dev, float *z, int T, int E, int k, bool sum_to_one, int32_t *chosen, float *weight)
{
    routes r = { .z = z, .E = E, .k = k, .sum_to_one = sum_to_one, .chosen = chosen, .out = weight };
    cpu_parallel(dev, (20.0 + 2.0 * k) * T * E, T, 0, route_rows, &r);
}

/* Weights that sum to one are the softmax over the chosen logits alone: dz_j = w_j (dw_j - sum_i w_i dw_i), and the
 * others' logits don't count. Else w_j = p_j: dz_e = p_e (dw_e - sum_j p_j dw_j), with dw_e of 0 where e isn't
 * chosen. */
static void route_gradients(void *ctx, int64_t begin, int64_t end, int thread)
{
    const routes *r = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        const float *p = r->z + t * r->E, *dw = r->dweight + t * r->k, *w = r->weight + t * r->k;
        const int32_t *chosen = r->chosen + t * r->k;
        float *dz = r->out + t * r->E, mean = 0;
        for (int j = 0; j < r->k; j++) mean += w[j] * dw[j];
        for (int e = 0; e < r->E; e++) dz[e] = r->sum_to_one ? 0 : -p[e] * mean;
        for (int j = 0; j < r->k; j++) dz[chosen[j]] = w[j] * (dw[j] - mean);
    }
}

void cpu_route_backward(device *dev, const float *dweight, const float *p, const int32_t *chosen, const float *weight,
                        int T, int E, int k, bool sum_to_one, float *dz)
{
    routes r = { .z = (float *)p,
                 .dweight = dweight,
                 .weight = weight,
                 .E = E,
                 .k = k,
                 .sum_to_one = sum_to_one,
                 .chosen = (int32_t *)chosen,
                 .out = dz };
    cpu_parallel(dev, 4.0 * T * E, T, 0, route_gradients, &r);
}

/* ---- rows ---- */

typedef struct rows {
    const float *x, *y, *s;
    const int32_t *ids;
    int D;
    float *to;
} rows;

static void weigh_some(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rows *r = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++)
        for (int d = 0; d < r->D; d++) r->to[t * r->D + d] *= r->s[t];
}

void cpu_weigh_rows(device *dev, float *x, const float *s, int T, int D)
{
    rows r = { .s = s, .D = D, .to = x };
    cpu_parallel(dev, 1.0 * T * D, T, 0, weigh_some, &r);
}

static void dot_some(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rows *r = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++) r->to[t] = v16_dot(r->x + t * r->D, r->y + t * r->D, r->D);
}

void cpu_dot_rows(device *dev, const float *x, const float *y, int T, int D, float *out)
{
    rows r = { .x = x, .y = y, .D = D, .to = out };
    cpu_parallel(dev, 2.0 * T * D, T, 0, dot_some, &r);
}

static void add_some(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rows *r = ctx;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        const float *from = r->x + t * r->D;
        float *to = r->to + (int64_t)r->ids[t] * r->D;
        for (int d = 0; d < r->D; d++) to[d] += from[d];
    }
}

void cpu_add_rows(device *dev, const float *x, const int32_t *ids, int T, int D, float *y)
{
    rows r = { .x = x, .ids = ids, .D = D, .to = y };
    cpu_parallel(dev, 1.0 * T * D, T, 0, add_some, &r);
}
