#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

/* Blocks of sixteen, the last one padded: every element takes the same path wherever it lies. */
static inline v16 sigmoid(v16 x) { return v16_set(1.0f) / (v16_set(1.0f) + v16_exp(-x)); }

void cpu_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y)
{
    const int64_t blocks = (n + 15) / 16;
#pragma omp parallel for num_threads(threads_for(dev, 20.0 * (double)n))
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t i = b * 16;
        const int width = n - i < 16 ? (int)(n - i) : 16;
        const v16 g = v16_load_n(gate + i, width), u = v16_load_n(up + i, width);
        const v16 r = g * sigmoid(g) * u;
        memcpy(y + i, &r, sizeof(float) * (size_t)width);
    }
}

void cpu_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                         float *dup)
{
    const int64_t blocks = (n + 15) / 16;
#pragma omp parallel for num_threads(threads_for(dev, 30.0 * (double)n))
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t i = b * 16;
        const int width = n - i < 16 ? (int)(n - i) : 16;
        const v16 g = v16_load_n(gate + i, width), u = v16_load_n(up + i, width), d = v16_load_n(dy + i, width);
        const v16 s = sigmoid(g), du = d * g * s, dg = d * u * s * (v16_set(1.0f) + g * (v16_set(1.0f) - s));
        memcpy(dgate + i, &dg, sizeof(float) * (size_t)width);
        memcpy(dup + i, &du, sizeof(float) * (size_t)width);
    }
}
