/* LM head fused with log-softmax: blocks of rows go through the vocabulary and are forgotten, [T, V] never exists. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/logits.h"

enum {
    BLOCK_FLOATS = 1 << 20,
    MIN_ROWS = 16
}; /* 4 MB of logits at a time: they stay in the second-level cache's reach */

static int rows_a_block(int T, int V)
{
    const int rows = BLOCK_FLOATS / V < MIN_ROWS ? MIN_ROWS : BLOCK_FLOATS / V;
    return rows < T ? rows : T;
}

static float inverse_of(float temperature) { return temperature > 0 ? 1.0f / temperature : 1.0f; }

static float entropy_of(const float *z, int V, float lse, float inverse)
{
    v16 sum = v16_set(0);
    int i = 0;
    for (; i + 16 <= V; i += 16) {
        const v16 s = v16_load(z + i) * v16_set(inverse) - v16_set(lse);
        sum += v16_exp(s) * s;
    }
    float total = v16_sum(sum);
    for (; i < V; i++) total += scalar_exp(z[i] * inverse - lse) * (z[i] * inverse - lse);
    return -total;
}

void cpu_head(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D,
              float temperature, float *logprob, float *entropy, float *lse)
{
    if (T == 0) return;
    const int rows = rows_a_block(T, V);
    const float inverse = inverse_of(temperature);
    float *z = device_scratch(dev, sizeof(float) * (size_t)rows * (size_t)V);
    for (int begin = 0; begin < T; begin += rows) {
        const int n = T - begin < rows ? T - begin : rows;
        cpu_linear(dev, x + (size_t)begin * (size_t)D, n, packed, V, D, z);
#pragma omp parallel for num_threads(threads_for(dev, 20.0 * n * V))
        for (int r = 0; r < n; r++) {
            const float *row = z + (size_t)r * (size_t)V;
            const int t = begin + r;
            lse[t] = row_logsumexp(row, V, inverse);
            logprob[t] = row_logprob(row, targets[t], lse[t], inverse);
            if (entropy) entropy[t] = entropy_of(row, V, lse[t], inverse);
        }
    }
}

/* z -> dL/dz = dlogprob (onehot - p) / temperature, in place. */
static void slope_row(float *z, int V, int target, float lse, float dlogprob, float inverse)
{
    const float c = dlogprob * inverse;
    int i = 0;
    for (; i + 16 <= V; i += 16)
        v16_store(z + i, v16_exp(v16_load(z + i) * v16_set(inverse) - v16_set(lse)) * v16_set(-c));
    for (; i < V; i++) z[i] = scalar_exp(z[i] * inverse - lse) * -c;
    z[target] += c;
}

void cpu_head_backward(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                       const int32_t *targets, const float *lse, int T, int V, int D, float temperature, float *dx,
                       float *dw)
{
    if (T == 0) return;
    const int rows = rows_a_block(T, V);
    const float inverse = inverse_of(temperature);
    float *z = device_scratch(dev, sizeof(float) * (size_t)rows * (size_t)V);
    for (int begin = 0; begin < T; begin += rows) {
        const int n = T - begin < rows ? T - begin : rows;
        const float *xb = x + (size_t)begin * (size_t)D;
        cpu_linear(dev, xb, n, packed, V, D, z);
#pragma omp parallel for num_threads(threads_for(dev, 20.0 * n * V))
        for (int r = 0; r < n; r++)
            slope_row(z + (size_t)r * (size_t)V, V, targets[begin + r], lse[begin + r], dlogprob[begin + r], inverse);
        cpu_linear_dx(dev, z, n, w, V, D, dx + (size_t)begin * (size_t)D);
        if (dw) cpu_linear_dw(dev, z, xb, n, V, D, dw);
    }
}
