/* SPDX-License-Identifier: MIT */
/* What learner/comm_nccl.c needs of CUDA, for the emulated GPU: see nccl_over_mpi.c. */
#pragma once

typedef int cudaError_t;
enum { cudaSuccess = 0, cudaErrorNotReady = 600 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
typedef void *cudaStream_t, *cudaEvent_t;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
const char *cudaGetErrorString(cudaError_t error);
