/* SPDX-License-Identifier: MIT */
/* AdamW on the CPU: a loop over flat arrays, element by element. Which thread takes which element changes no bit. */
#include <math.h>

#include "kernels/cpu/cpu.h"

typedef struct adamw_job {
    float *w, *m, *v;
    const float *g;
    float lr, beta1, beta2, eps, decay, scale, correct1, correct2;
} adamw_job;

static void update(void *ctx, int64_t begin, int64_t end, int thread)
{
    const adamw_job *j = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float g = j->g[i] * j->scale;
        const float m = j->beta1 * j->m[i] + (1.0f - j->beta1) * g;
        const float v = j->beta2 * j->v[i] + (1.0f - j->beta2) * g * g;
        j->m[i] = m;
        j->v[i] = v;

        /* The decay is apart from the gradient's step (Loshchilov and Hutter 2019, algorithm 2). */
        j->w[i] -= j->lr * (m * j->correct1 / (sqrtf(v * j->correct2) + j->eps) + j->decay * j->w[i]);
    }
}

void cpu_adamw(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1, float beta2,
               float eps, float weight_decay, float grad_scale, int64_t step)
{
    adamw_job j = { w, m, v, g, lr, beta1, beta2, eps, weight_decay, grad_scale, 0, 0 };
    j.correct1 = (float)(1.0 / (1.0 - pow((double)beta1, (double)step)));
    j.correct2 = (float)(1.0 / (1.0 - pow((double)beta2, (double)step)));
    cpu_parallel(dev, 15.0 * (double)n, n, 0, update, &j);
}
