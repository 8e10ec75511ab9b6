/* SPDX-License-Identifier: MIT */
/* bench - a device under test and arrays on it: everything goes through the device's own copies, so that the same suite
 * runs on another backend (TROUPE_TEST_DEVICE=cuda:0). */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "kernels/ops.h"
#include "tests/support/support.h"

enum { MAX_ARRAYS = 64 };

typedef struct bench {
    device *dev;
    const struct ops *ops;
    test_random rnd;
    void *arrays[MAX_ARRAYS], *hosts[MAX_ARRAYS * 4];
    int n_arrays, n_hosts;
} bench;

static inline bench bench_open(int threads)
{
    const char *name = getenv("TROUPE_TEST_DEVICE");
    error err = { 0 };
    bench b = { .dev = device_open(name ? name : "cpu", threads, &err), .rnd = test_random_seed(7) };
    if (!b.dev) fail_msg("%s", err.text);
    b.ops = device_ops(b.dev);
    return b;
}

static inline void bench_close(bench *b)
{
    for (int i = 0; i < b->n_arrays; i++) device_free(b->dev, b->arrays[i]);
    for (int i = 0; i < b->n_hosts; i++) free(b->hosts[i]);
    device_close(b->dev);
}

static inline void *host(bench *b, size_t bytes) { return b->hosts[b->n_hosts++] = xcalloc(1, bytes + 1); }

/* n normal numbers times `scale`. */
static inline float *random_host(bench *b, size_t n, double scale)
{
    float *x = host(b, n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)test_random_normal(&b->rnd) * scale);
    return x;
}

static inline void *on_device(bench *b, const void *data, size_t bytes)
{
    void *p = b->arrays[b->n_arrays++] = device_alloc(b->dev, bytes);
    if (data) device_copy_in(b->dev, p, data, bytes);
    return p;
}

static inline float *put(bench *b, const float *data, size_t n) { return on_device(b, data, n * sizeof *data); }
static inline int32_t *put_ints(bench *b, const int32_t *data, size_t n)
{
    return on_device(b, data, n * sizeof *data);
}
static inline float *zeros(bench *b, size_t n)
{
    float *x = host(b, n * sizeof *x);
    return put(b, x, n);
}

static inline float *get(bench *b, const float *p, size_t n)
{
    error err = { 0 };
    float *x = host(b, n * sizeof *x);
    test_ok(device_sync(b->dev, &err), &err);
    device_copy_out(b->dev, x, p, n * sizeof *x);
    return x;
}

static inline double *zeros64(bench *b, size_t n) { return host(b, n * sizeof(double)); }

static inline void near_all(const float *got, const double *want, size_t n, double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++) test_near((double)got[i], want[i], tolerance, what);
}

/* The bits of a row don't depend on its batch: promised of the CPU. On a GPU cuBLAS chooses by shape: there the numbers
 * agree to rounding. */
static inline void same_row(const bench *b, const float *got, const float *want, size_t n, const char *what)
{
    if (device_view(b->dev, got)) {
        assert_memory_equal(got, want, sizeof *got * n);
        return;
    }
    for (size_t i = 0; i < n; i++) test_near((double)got[i], (double)want[i], 1e-4, what);
}

/* A function of one array in float64, and its gradient at [i] by central differences. */
typedef double (*function64)(void *ctx, const double *x);
static inline double derivative64(function64 f, void *ctx, double *x, size_t i)
{
    const double h = 1e-5, at = x[i];
    x[i] = at + h;
    const double up = f(ctx, x);
    x[i] = at - h;
    const double down = f(ctx, x);
    x[i] = at;
    return (up - down) / (2 * h);
}

/* got[i] against the gradients of f at x [n], every one. */
static inline void near_derivatives(const float *got, function64 f, void *ctx, const float *x, size_t n,
                                    const char *what)
{
    double *copy = xcalloc(n, sizeof *copy);
    for (size_t i = 0; i < n; i++) copy[i] = (double)x[i];
    for (size_t i = 0; i < n; i++) test_near((double)got[i], derivative64(f, ctx, copy, i), 2e-4, what);
    free(copy);
}
