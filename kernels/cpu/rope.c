#include <math.h>

#include "kernels/cpu/cpu.h"

/* sign +1 rotates, -1 rotates back. Angles are computed in float, as transformers does. */
static void rotate(device *dev, float *x, const int32_t *positions, const float *inv_freq, int T, int H, int hd,
                   float sign)
{
    const int half = hd / 2;
#pragma omp parallel for num_threads(threads_for(dev, 30.0 * T * H * hd))
    for (int t = 0; t < T; t++)
        for (int i = 0; i < half; i++) {
            const float angle = (float)positions[t] * inv_freq[i], c = cosf(angle), s = sign * sinf(angle);
            for (int h = 0; h < H; h++) {
                float *row = x + ((size_t)t * (size_t)H + (size_t)h) * (size_t)hd;
                const float a = row[i], b = row[i + half];
                row[i] = a * c - b * s;
                row[i + half] = b * c + a * s;
            }
        }
}

void cpu_rope(device *dev, float *x, const int32_t *positions, const float *inv_freq, int T, int H, int hd)
{
    rotate(dev, x, positions, inv_freq, T, H, hd, 1);
}

void cpu_rope_backward(device *dev, float *dx, const int32_t *positions, const float *inv_freq, int T, int H, int hd)
{
    rotate(dev, dx, positions, inv_freq, T, H, hd, -1);
}
