/* SPDX-License-Identifier: MIT */
/* Single operations at a model's shapes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"
#include "bench/bench.h"
#include "kernels/ops.h"

enum { ROWS = 4096, BACKWARD_ROWS = 512, SEQUENCES = 4 };

typedef struct table {
    device *dev;
    const struct ops *ops;
    double seconds; /* for each */
    bench_op *out;
    int n;
} table;

typedef struct call {
    const float *x, *w, *aux;
    const void *packed;
    float *y, *z;
    const int32_t *starts;
    int M, N, K, H, hd;
} call;
typedef void (*call_fn)(device *dev, const struct ops *ops, const call *c);

/* -1 to 1, in no order that a cache or a branch could learn. */
static float *numbers(device *dev, int rows, int columns)
{
    const size_t n = (size_t)rows * (size_t)columns;
    float *host = xmalloc(sizeof *host * n), *p = device_alloc(dev, sizeof *host * n);
    /* The factor is 2^32 over the golden ratio: neighbours land far apart (Knuth's multiplicative hashing). */
    for (size_t i = 0; i < n; i++) host[i] = (float)((i * 2654435761u >> 8) % 2001) / 1000.0f - 1;
    device_copy_in(dev, p, host, sizeof *host * n);
    free(host);
    return p;
}

/* `times` calls on end; how long one took. */
static int64_t measure_once(table *t, call_fn fn, const call *c, int times)
{
    error err;
    const int64_t began = clock_us();
    for (int k = 0; k < times; k++) fn(t->dev, t->ops, c);
    device_sync(t->dev, &err);
    return (clock_us() - began) / times;
}

static void measure(table *t, const char *name, call_fn fn, const call *c, double flops, double bytes)
{
    int64_t best = INT64_MAX;
    const int64_t until = clock_us() + (int64_t)(t->seconds * 1e6);
    for (int i = 0; i < 3 || clock_us() < until; i++) {
        const int times = best < 200 ? 50 : 1; /* the clock counts in microseconds */
        const int64_t us = measure_once(t, fn, c, times);
        if (i > 0 && us < best) best = us; /* the first touches the memory */
    }

    bench_op *o = &t->out[t->n++];
    *o = (bench_op){ .seconds = (double)(best > 0 ? best : 1) / 1e6, .flops = flops, .bytes = bytes };
    snprintf(o->name, sizeof o->name, "%s", name);
}

static void call_linear(device *dev, const struct ops *ops, const call *c)
{
    ops->linear(dev, c->x, c->M, c->packed, NULL, c->N, c->K, c->y);
}

static void call_dx(device *dev, const struct ops *ops, const call *c)
{
    ops->linear_dx(dev, c->y, c->M, c->w, NULL, c->N, c->K, c->z);
}

static void call_dw(device *dev, const struct ops *ops, const call *c)
{
    ops->linear_dw(dev, c->y, c->x, c->M, c->N, c->K, c->z);
}

static void call_attention(device *dev, const struct ops *ops, const call *c)
{
    ops->attention(dev, c->x, c->x, c->x, c->starts, NULL, SEQUENCES, c->H, c->H, c->hd, 0, 0, c->y, c->z);
}

static void call_attention_both(device *dev, const struct ops *ops, const call *c)
{
    float *d = device_scratch(dev, 3 * sizeof(float) * (size_t)(c->M * c->K));
    call_attention(dev, ops, c);
    ops->attention_backward(dev, c->x, c->x, c->x, c->x, c->y, c->z, c->starts, NULL, SEQUENCES, c->H, c->H, c->hd, 0,
                            0, d, d + c->M * c->K, d + 2 * c->M * c->K);
    device_scratch_reset(dev);
}

static void call_norm(device *dev, const struct ops *ops, const call *c)
{
    ops->rmsnorm(dev, c->x, c->w, c->M, c->K, 1e-5f, 0, c->y, c->z);
}

static void call_swiglu(device *dev, const struct ops *ops, const call *c)
{
    ops->swiglu(dev, c->x, c->w, (int64_t)c->M * c->K, c->y);
}

/* y [M, N] = x [M, K] W [N, K]^T, from one row (decoding one stream) to a whole training batch. */
static void linear_forward(table *t, const char *what, call c)
{
    static const int ROWS_OF[] = { 1, 8, 64, 512, ROWS };
    const double weight = device_precision(t->dev) == PRECISION_BF16 ? 2 : 4; /* bytes */
    char name[40];
    for (size_t i = 0; i < sizeof ROWS_OF / sizeof *ROWS_OF; i++) {
        c.M = ROWS_OF[i];
        snprintf(name, sizeof name, "linear %s M=%d", what, c.M);
        measure(t, name, call_linear, &c, 2.0 * c.M * c.N * c.K, (double)c.N * c.K * weight + 4.0 * c.M * (c.N + c.K));
    }
}

static void linear_backward(table *t, const char *what, call c)
{
    const double M = BACKWARD_ROWS, N = c.N, K = c.K;
    char name[40];
    c.M = BACKWARD_ROWS;
    snprintf(name, sizeof name, "linear %s dx M=%d", what, c.M);
    measure(t, name, call_dx, &c, 2 * M * N * K, 4 * (M * (N + 2 * K) + N * K));
    snprintf(name, sizeof name, "linear %s dw M=%d", what, c.M);
    measure(t, name, call_dw, &c, 2 * M * N * K, 4 * (M * (N + K) + 2 * N * K));
}

static void linears(table *t, const char *what, int N, int K)
{
    const int rows_of_z = N > BACKWARD_ROWS ? N : BACKWARD_ROWS; /* dx [M, K] or dW [N, K] */
    float *w = numbers(t->dev, N, K), *x = numbers(t->dev, ROWS, K);
    float *y = numbers(t->dev, ROWS, N), *z = numbers(t->dev, rows_of_z, K);
    void *packed = device_alloc(t->dev, t->ops->linear_packed_bytes(t->dev, N, K));
    t->ops->linear_pack(t->dev, w, N, K, packed);

    const call c = { .x = x, .w = w, .packed = packed, .y = y, .z = z, .N = N, .K = K };
    linear_forward(t, what, c);
    linear_backward(t, what, c);

    device_free(t->dev, w);
    device_free(t->dev, x);
    device_free(t->dev, y);
    device_free(t->dev, z);
    device_free(t->dev, packed);
}

static void attentions(table *t, const model_config *c, int length)
{
    const int T = SEQUENCES * length, width = c->heads * c->head_dim;
    int32_t starts[SEQUENCES + 1], *on_device = device_alloc(t->dev, sizeof starts);
    for (int s = 0; s <= SEQUENCES; s++) starts[s] = s * length;
    device_copy_in(t->dev, on_device, starts, sizeof starts);

    float *x = numbers(t->dev, T, width), *y = numbers(t->dev, T, width), *lse = numbers(t->dev, T, c->heads);
    const call a = {
        .x = x, .y = y, .z = lse, .starts = on_device, .M = T, .K = width, .H = c->heads, .hd = c->head_dim
    };

    /* Two products, Q K^T and P V, of 2 T length width operations each; causal: half of all pairs. Backward makes Q K^T
     * anew and four more, so that both together are seven products, 3.5 times the forward's two. */
    const double flops = 2.0 * T * length * width;
    measure(t, "attention", call_attention, &a, flops, 16.0 * T * width);
    measure(t, "attention forward+backward", call_attention_both, &a, 3.5 * flops, 48.0 * T * width);

    device_free(t->dev, on_device);
    device_free(t->dev, x);
    device_free(t->dev, y);
    device_free(t->dev, lse);
}

static void rows(table *t, const model_config *c)
{
    float *x = numbers(t->dev, ROWS, c->ffn), *w = numbers(t->dev, ROWS, c->ffn);
    float *y = numbers(t->dev, ROWS, c->ffn), *z = numbers(t->dev, ROWS, 1);
    const call norm = { .x = x, .w = w, .y = y, .z = z, .M = ROWS, .K = c->width };
    const call glu = { .x = x, .w = w, .y = y, .M = ROWS, .K = c->ffn };
    measure(t, "rmsnorm", call_norm, &norm, 0, 8.0 * ROWS * c->width);
    measure(t, "swiglu", call_swiglu, &glu, 0, 12.0 * ROWS * c->ffn);

    device_free(t->dev, x);
    device_free(t->dev, w);
    device_free(t->dev, y);
    device_free(t->dev, z);
}

int bench_ops(const bench_request *r, bench_op out[MAX_BENCH_OPS], error *err)
{
    /* Some twenty measurements share the time that was asked for. */
    const model_config *c = bench_config(r->size);
    table t = { .dev = device_open("auto", r->threads, err), .seconds = r->seconds / 20, .out = out };
    if (!t.dev) return -err->code;
    device_set_precision(t.dev, r->precision);
    t.ops = device_ops(t.dev);

    linears(&t, "gate", c->ffn, c->width);
    linears(&t, "down", c->width, c->ffn);
    linears(&t, "head", c->vocab, c->width);
    attentions(&t, c, r->length);
    rows(&t, c);

    device_close(t.dev);
    return t.n;
}
