/* SPDX-License-Identifier: MIT */
/* Rotary embedding: the table of cosines and sines is made once a batch, then rows are rotated in place by it. */
#include <math.h>

#include "kernels/cpu/cpu.h"

typedef struct rotation {
    const int32_t *positions;
    const float *inv_freq, *cos_sin;
    int H, hd;
    float sign; /* -1 rotates back */
    float *x, *out;
} rotation;

/* Angles are computed in float, as transformers does. */
static void table_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rotation *r = ctx;
    const int half = r->hd / 2;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        float *c = r->out + (size_t)t * (size_t)r->hd, *s = c + half;

        for (int i = 0; i < half; i++) {
            const float angle = (float)r->positions[t] * r->inv_freq[i];
            c[i] = cosf(angle);
            s[i] = sinf(angle);
        }
    }
}

void cpu_rope_table(device *dev, const int32_t *positions, const float *inv_freq, int T, int hd, float *cos_sin)
{
    rotation r = { .positions = positions, .inv_freq = inv_freq, .hd = hd, .out = cos_sin };
    cpu_parallel(dev, 20.0 * T * hd, T, 0, table_rows, &r);
}

/* Pairs are (x[i], x[i + hd / 2]), the two halves of a head as transformers lays them out, not neighbours. */
static void rotate_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rotation *r = ctx;
    const int half = r->hd / 2;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        const float *c = r->cos_sin + (size_t)t * (size_t)r->hd, *s = c + half;

        for (int h = 0; h < r->H; h++) {
            float *a = r->x + ((size_t)t * (size_t)r->H + (size_t)h) * (size_t)r->hd, *b = a + half;
            for (int i = 0; i < half; i++) {
                const float u = a[i], v = b[i], sine = r->sign * s[i];
                a[i] = u * c[i] - v * sine;
                b[i] = v * c[i] + u * sine;
            }
        }
    }
}

void cpu_rope(device *dev, float *x, const float *cos_sin, int T, int H, int hd)
{
    rotation r = { .cos_sin = cos_sin, .H = H, .hd = hd, .sign = 1, .x = x };
    cpu_parallel(dev, 4.0 * T * H * hd, T, 0, rotate_rows, &r);
}

void cpu_rope_backward(device *dev, float *dx, const float *cos_sin, int T, int H, int hd)
{
    rotation r = { .cos_sin = cos_sin, .H = H, .hd = hd, .sign = -1, .x = dx };
    cpu_parallel(dev, 4.0 * T * H * hd, T, 0, rotate_rows, &r);
}
