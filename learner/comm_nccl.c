/* SPDX-License-Identifier: MIT */
/* libtroupe_nccl.so: comm's exchange between GPUs, over NCCL. It works on a stream of its own beside the device's, so
 * that gradients travel while backward continues; events put the two in order, and the host waits for neither. */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "learner/comm.h"

typedef struct nccl_ctx {
    ncclComm_t comm;
    cudaStream_t compute, wires; /* the device's; ours */
    cudaEvent_t computed, passed;
    int rank, size;
} nccl_ctx;

/* No rank could continue alone: the process ends, and mpirun ends the others. */
static void failed(const char *what, const char *how)
{
    fprintf(stderr, "troupe: NCCL: %s: %s\n", what, how);
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

static void nccl(ncclResult_t rc, const char *what)
{
    if (rc != ncclSuccess) failed(what, ncclGetErrorString(rc));
}

static void cuda(cudaError_t rc, const char *what)
{
    if (rc != cudaSuccess) failed(what, cudaGetErrorString(rc));
}

/* What is sent from now on waits for what the device has been given. */
static void after_computing(const nccl_ctx *n)
{
    cuda(cudaEventRecord(n->computed, n->compute), "an event");
    cuda(cudaStreamWaitEvent(n->wires, n->computed, 0), "the order of streams");
}

/* What the device is given from now on waits for what was sent. */
static void before_computing(const nccl_ctx *n)
{
    cuda(cudaStreamWaitEvent(n->compute, n->passed, 0), "the order of streams");
}

static void nccl_pieces(void *ctx, float *whole, const int64_t *begins)
{
    const nccl_ctx *n = ctx;
    after_computing(n);

    nccl(ncclGroupStart(), "pieces of the weights");
    for (int r = 0; r < n->size; r++) {
        const size_t count = (size_t)(begins[r + 1] - begins[r]);
        float *piece = whole + begins[r];
        if (count > 0)
            nccl(ncclBroadcast(piece, piece, count, ncclFloat, r, n->comm, n->wires), "a piece of the weights");
    }
    nccl(ncclGroupEnd(), "pieces of the weights");

    cuda(cudaEventRecord(n->passed, n->wires), "an event");
    before_computing(n);
}

static void *nccl_exchange(void *ctx, const comm_exchange *x)
{
    const nccl_ctx *n = ctx;
    const float *out = x->out;
    float *in = x->in;
    after_computing(n);

    /* In a group: send and receive, called one after the other, would wait for each other. */
    nccl(ncclGroupStart(), "gradients");
    for (int r = 0; r < n->size; r++) {
        if (x->n_out[r] > 0)
            nccl(ncclSend(out, (size_t)x->n_out[r], ncclFloat, r, n->comm, n->wires), "gradients on their way");
        if (x->n_in[r] > 0)
            nccl(ncclRecv(in, (size_t)x->n_in[r], ncclFloat, r, n->comm, n->wires), "gradients to come");
        out += x->n_out[r];
        in += x->n_in[r];
    }
    nccl(ncclGroupEnd(), "gradients");

    cuda(cudaEventRecord(n->passed, n->wires), "an event");
    return ctx;
}

static bool nccl_exchanged(void *ctx, void *pending, bool wait)
{
    const nccl_ctx *n = ctx;
    (void)pending;
    if (wait) {
        before_computing(n);
        return true;
    }

    const cudaError_t rc = cudaEventQuery(n->passed);
    if (rc != cudaSuccess && rc != cudaErrorNotReady) cuda(rc, "gradients");
    return rc == cudaSuccess;
}

static void nccl_close(void *ctx)
{
    nccl_ctx *n = ctx;
    cudaStreamSynchronize(n->wires);
    ncclCommDestroy(n->comm);
    cudaEventDestroy(n->computed);
    cudaEventDestroy(n->passed);
    cudaStreamDestroy(n->wires);
    free(n);
}

static bool make_id(unsigned char *id)
{
    ncclUniqueId unique;
    if (ncclGetUniqueId(&unique) != ncclSuccess) return false;
    memcpy(id, &unique, NCCL_ID_BYTES);
    return true;
}

static bool streams(nccl_ctx *n)
{
    return cudaStreamCreateWithFlags(&n->wires, cudaStreamNonBlocking) == cudaSuccess &&
           cudaEventCreateWithFlags(&n->computed, cudaEventDisableTiming) == cudaSuccess &&
           cudaEventCreateWithFlags(&n->passed, cudaEventDisableTiming) == cudaSuccess;
}

static const struct comm_ops *open_nccl(void **ctx, const unsigned char *id, int rank, int size, void *stream,
                                        char *why, size_t why_size)
{
    /* Gathering and broadcasting are not NCCL's (comm_gpu.c). */
    static const struct comm_ops OPS = {
        .gather_pieces = nccl_pieces,
        .exchange = nccl_exchange,
        .exchanged = nccl_exchanged,
        .close = nccl_close,
    };
    ncclUniqueId unique;
    _Static_assert(sizeof unique == NCCL_ID_BYTES, "NCCL's id");
    memcpy(&unique, id, sizeof unique);

    nccl_ctx *n = xcalloc(1, sizeof *n);
    *n = (nccl_ctx){ .compute = stream, .rank = rank, .size = size };
    const ncclResult_t rc = ncclCommInitRank(&n->comm, size, unique, rank);
    if (rc == ncclSuccess && streams(n)) {
        *ctx = n;
        return &OPS;
    }

    snprintf(why, why_size, "NCCL: %s", rc == ncclSuccess ? "cannot create a stream" : ncclGetErrorString(rc));
    if (rc == ncclSuccess) ncclCommDestroy(n->comm);
    free(n);
    return NULL;
}

__attribute__((visibility("default")))
const struct troupe_nccl_module troupe_nccl_v1 = { TROUPE_NCCL_VERSION, make_id, open_nccl };
