#include "kernels/cuda/module.h"

#include <cuda_runtime.h>

int troupe_cuda_version(void) { return TROUPE_CUDA_MODULE; }

int troupe_cuda_devices(void)
{
    int n = 0;
    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}

const char *troupe_cuda_error(int code) { return cudaGetErrorString((cudaError_t)code); }

int troupe_cuda_alloc(void **p, size_t bytes) { return cudaMalloc(p, bytes); }

int troupe_cuda_free(void *p) { return cudaFree(p); }

int troupe_cuda_copy_in(void *to_device, const void *from_host, size_t bytes)
{
    return cudaMemcpy(to_device, from_host, bytes, cudaMemcpyHostToDevice);
}

int troupe_cuda_copy_out(void *to_host, const void *from_device, size_t bytes)
{
    return cudaMemcpy(to_host, from_device, bytes, cudaMemcpyDeviceToHost);
}
