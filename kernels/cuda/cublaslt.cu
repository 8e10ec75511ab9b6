/* SPDX-License-Identifier: MIT */
/* cuBLASLt: plans are made once a shape and kept. Row-major y = a b^T is column-major y^T = b a^T:
 * cuBLAS sees b first. */
#include <cublasLt.h>

#include "kernels/cuda/cuda_device.h"

enum { MAX_PLANS = 512 };
static const size_t WORKSPACE = (size_t)32 << 20;

struct plan {
    gpu_product shape; /* pointers but for bias's being there don't count */
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, y;
    cublasLtMatmulAlgo_t algorithm;
};

struct gpu_blas {
    cublasLtHandle_t handle;
    void *workspace;
    plan plans[MAX_PLANS];
    int n;
};

gpu_blas *gpu_blas_open(void)
{
    gpu_blas *blas = gpu_host<gpu_blas>(1);
    if (cublasLtCreate(&blas->handle) == CUBLAS_STATUS_SUCCESS && gpu_malloc(&blas->workspace, WORKSPACE) == 0)
        return blas;
    free(blas);
    return NULL;
}

static void forget(plan *p)
{
    cublasLtMatmulDescDestroy(p->op);
    cublasLtMatrixLayoutDestroy(p->a);
    cublasLtMatrixLayoutDestroy(p->b);
    cublasLtMatrixLayoutDestroy(p->y);
}

void gpu_blas_close(gpu_blas *blas)
{
    if (!blas) return;
    for (int i = 0; i < blas->n; i++) forget(&blas->plans[i]);
    gpu_free(blas->workspace);
    cublasLtDestroy(blas->handle);
    free(blas);
}

static bool same(const gpu_product *p, const gpu_product *q)
{
    return p->M == q->M && p->N == q->N && p->K == q->K && p->a_t == q->a_t && p->b_t == q->b_t && p->bf16 == q->bf16 &&
           p->add == q->add && !p->bias == !q->bias;
}

/* A matrix [rows, columns] row-major in memory is [columns, rows] for cuBLAS. */
static cublasLtMatrixLayout_t layout(cudaDataType_t type, int rows, int columns)
{
    cublasLtMatrixLayout_t l = NULL;
    cublasLtMatrixLayoutCreate(&l, type, (uint64_t)columns, (uint64_t)rows, columns);
    return l;
}

static bool describe(gpu_blas *blas, plan *p, const gpu_product *g)
{
    p->shape = *g;

    /* b [N, K] in memory is [K, N] there and enters transposed; b_t: [K, N] in memory enters as it is. */
    const cublasOperation_t first = g->b_t ? CUBLAS_OP_N : CUBLAS_OP_T, second = g->a_t ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = g->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F); /* never TF32 */
    cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
    cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
    cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);

    const cudaDataType_t type = g->bf16 ? CUDA_R_16BF : CUDA_R_32F;
    p->b = g->b_t ? layout(type, g->K, g->N) : layout(type, g->N, g->K);
    p->a = g->a_t ? layout(type, g->K, g->M) : layout(type, g->M, g->K);
    p->y = layout(CUDA_R_32F, g->M, g->N);

    /* The best algorithm that does with our workspace. */
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE,
                                         sizeof WORKSPACE);
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(blas->handle, p->op, p->b, p->a, p->y, p->y, preference, 1, &found, &n);
    cublasLtMatmulPreferenceDestroy(preference);

    p->algorithm = found.algo;
    return status == CUBLAS_STATUS_SUCCESS && n == 1;
}

static plan *plan_for(gpu_blas *blas, const gpu_product *g)
{
    for (int i = 0; i < blas->n; i++)
        if (same(&blas->plans[i].shape, g)) return &blas->plans[i];

    if (blas->n == MAX_PLANS) { /* shapes that come once: begin anew */
        for (int i = 0; i < blas->n; i++) forget(&blas->plans[i]);
        blas->n = 0;
    }

    plan *p = &blas->plans[blas->n];
    if (!describe(blas, p, g)) {
        forget(p);
        return NULL;
    }
    blas->n++;
    return p;
}

int gpu_blas_multiply(gpu_blas *blas, const gpu_product *g, gpu_stream stream)
{
    const float one = 1, beta = g->add ? 1.0f : 0.0f;
    plan *p = plan_for(blas, g);
    if (!p) return cudaErrorNotSupported;
    if (g->bias) cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g->bias, sizeof g->bias);
    const cublasStatus_t status = cublasLtMatmul(blas->handle, p->op, &one, g->b, p->b, g->a, p->a, &beta, g->y, p->y,
                                                 g->y, p->y, &p->algorithm, blas->workspace, WORKSPACE, stream);
    return status == CUBLAS_STATUS_SUCCESS ? 0 : (int)cudaErrorLaunchFailure;
}
