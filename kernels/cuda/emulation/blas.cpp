/* SPDX-License-Identifier: MIT */
/* cuBLASLt's stand-in: the same product by three loops. */
#include "kernels/cuda/cuda_device.h"

struct gpu_blas {
    int nothing;
};

gpu_blas *gpu_blas_open(void) { return gpu_host<gpu_blas>(1); }
void gpu_blas_close(gpu_blas *blas) { free(blas); }

static float number(const void *x, size_t i, bool bf16)
{
    return bf16 ? __bfloat162float(((const __nv_bfloat16 *)x)[i]) : ((const float *)x)[i];
}

int gpu_blas_multiply(gpu_blas *, const gpu_product *p, gpu_stream)
{
    const size_t M = (size_t)p->M, N = (size_t)p->N, K = (size_t)p->K;

    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            float sum = 0;
            for (size_t k = 0; k < K; k++)
                sum += number(p->a, p->a_t ? k * M + m : m * K + k, p->bf16) *
                       number(p->b, p->b_t ? k * N + n : n * K + k, p->bf16);
            if (p->add) sum += p->y[m * N + n];
            if (p->bias) sum += p->bias[n];
            p->y[m * N + n] = sum;
        }
    return 0;
}
