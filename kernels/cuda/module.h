/* module - what libtroupe_cuda.so exports. The program opens it at run time, so that one binary runs with and without
 * CUDA.
 *
 * Pointers are device memory, shapes as in kernels/ops.h. Launches are asynchronous on the default stream and return 0
 * or a cudaError_t; troupe_cuda_error names it. Plain C, so that the loader needs no CUDA header. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TROUPE_CUDA_MODULE = 1 }; /* changes with this interface */
int troupe_cuda_version(void);

int troupe_cuda_devices(void); /* how many there are; 0 without a driver */
const char *troupe_cuda_error(int code);
int troupe_cuda_alloc(void **p, size_t bytes);
int troupe_cuda_free(void *p);
int troupe_cuda_copy_in(void *to_device, const void *from_host, size_t bytes);
int troupe_cuda_copy_out(void *to_host, const void *from_device, size_t bytes); /* waits for what was launched */

/* y = x / sqrt(mean(x^2) + eps) * w. x, y [T, D], w [D], rstd [T]. The bits of a row depend on that row alone. */
int troupe_cuda_rmsnorm(const float *x, const float *w, int T, int D, float eps, float *y, float *rstd);

#ifdef __cplusplus
}
#endif
