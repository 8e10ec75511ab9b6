#include <math.h>

#include "kernels/cpu/cpu.h"

void cpu_adamw(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1, float beta2,
               float eps, float weight_decay, float grad_scale, int64_t step)
{
    const float correct1 = (float)(1.0 / (1.0 - pow((double)beta1, (double)step)));
    const float correct2 = (float)(1.0 / (1.0 - pow((double)beta2, (double)step)));
#pragma omp parallel for schedule(static) num_threads(threads_for(dev, 15.0 * (double)n))
    for (int64_t i = 0; i < n; i++) {
        const float grad = g[i] * grad_scale;
        m[i] = beta1 * m[i] + (1.0f - beta1) * grad;
        v[i] = beta2 * v[i] + (1.0f - beta2) * grad * grad;
        w[i] -= lr * (m[i] * correct1 / (sqrtf(v[i] * correct2) + eps) + weight_decay * w[i]);
    }
}
