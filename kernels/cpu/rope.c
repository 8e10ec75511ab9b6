/* SPDX-License-Identifier: MIT */
/* Rotary embedding: the table of cosines and sines is made once a batch, then rows are rotated in place by it. */
#include <math.h>

#include "kernels/cpu/cpu.h"

typedef struct rotation {
    const int32_t *positions;
    const float *inv_freq, *cos_sin;
    int H, hd;
    rope_turn turn;
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

void cpu_rope_table(device *dev, const int32_t *positions, const float *inv_freq, int T, int n, float *cos_sin)
{
    rotation r = { .positions = positions, .inv_freq = inv_freq, .hd = n, .out = cos_sin };
    cpu_parallel(dev, 20.0 * T * n, T, 0, table_rows, &r);
}

/* One head's pairs: from `a` and from `b` on, `step` apart. */
static inline void rotate_head(float *a, float *b, int step, const float *c, const float *s, float sign, int half)
{
    for (int i = 0; i < half; i++) {
        float *x = a + i * step, *y = b + i * step;
        const float u = *x, v = *y, sine = sign * s[i];
        *x = u * c[i] - v * sine;
        *y = v * c[i] + u * sine;
    }
}

static void rotate_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const rotation *r = ctx;
    const int half = r->turn.dims / 2;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        const float *c = r->cos_sin + (size_t)t * (size_t)r->turn.dims, *s = c + half;

        for (int h = 0; h < r->H; h++) {
            float *x = r->x + ((size_t)t * (size_t)r->H + (size_t)h) * (size_t)r->hd;
            if (r->turn.neighbours)
                rotate_head(x, x + 1, 2, c, s, r->sign, half);
            else
                rotate_head(x, x + half, 1, c, s, r->sign, half); /* of constant step: the compiler makes vectors */
        }
    }
}

static void rotate(device *dev, float *x, const float *cos_sin, int T, int H, int hd, rope_turn turn, float sign)
{
    rotation r = { .cos_sin = cos_sin, .H = H, .hd = hd, .turn = turn, .sign = sign, .x = x };
    cpu_parallel(dev, 4.0 * T * H * turn.dims, T, 0, rotate_rows, &r);
}

void cpu_rope(device *dev, float *x, const float *cos_sin, int T, int H, int hd, rope_turn turn)
{
    rotate(dev, x, cos_sin, T, H, hd, turn, 1);
}

void cpu_rope_backward(device *dev, float *dx, const float *cos_sin, int T, int H, int hd, rope_turn turn)
{
    rotate(dev, dx, cos_sin, T, H, hd, turn, -1);
}
