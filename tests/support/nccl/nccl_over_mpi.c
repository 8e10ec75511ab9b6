/* SPDX-License-Identifier: MIT */
/* NCCL's stand-in for the emulated GPU: processes under mpirun, arrays in host memory, so that learner/comm_nccl.c runs
 * in the tests of every machine. It is as late as the rules allow: what a group of calls sends or receives moves only
 * when the device's own stream is made to wait for it, and until then what is to come is NaN. So an event left out, or
 * an array used too early, shows. What it can't show is speed. */
#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "nccl.h"

enum { MAX_CALLS = 256 };
typedef enum call_kind { SEND, RECEIVE, BROADCAST } call_kind;

typedef struct call {
    call_kind kind;
    float *array;
    int n, rank;
} call;

struct ncclComm {
    MPI_Comm mpi;
    int rank;
};

static struct ncclComm world;
static call waiting[MAX_CALLS];
static int n_waiting;

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) { return memset(id, 7, sizeof *id), ncclSuccess; }

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank)
{
    int there;
    MPI_Comm_size(MPI_COMM_WORLD, &there);
    if (size != there || id.internal[0] != 7) return ncclInvalidUsage;
    MPI_Comm_dup(MPI_COMM_WORLD, &world.mpi);
    world.rank = rank;
    return *comm = &world, ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) { return MPI_Comm_free(&comm->mpi), ncclSuccess; }
ncclResult_t ncclGroupStart(void) { return n_waiting == 0 ? ncclSuccess : ncclInvalidUsage; }
ncclResult_t ncclGroupEnd(void) { return ncclSuccess; }

static ncclResult_t later(call_kind kind, const void *array, size_t n, int rank)
{
    if (n_waiting == MAX_CALLS || n > 1 << 30) return ncclInvalidUsage;
    waiting[n_waiting++] = (call){ kind, (float *)array, (int)n, rank };
    if (kind == RECEIVE || (kind == BROADCAST && rank != world.rank))
        for (size_t i = 0; i < n; i++) ((float *)array)[i] = NAN;
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *from, size_t n, ncclDataType_t type, int to, ncclComm_t comm, cudaStream_t stream)
{
    return (void)type, (void)comm, (void)stream, later(SEND, from, n, to);
}

ncclResult_t ncclRecv(void *to, size_t n, ncclDataType_t type, int from, ncclComm_t comm, cudaStream_t stream)
{
    return (void)type, (void)comm, (void)stream, later(RECEIVE, to, n, from);
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t n, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream)
{
    (void)type, (void)comm, (void)stream;
    return from == to ? later(BROADCAST, to, n, root) : ncclInvalidUsage;
}

static void move_everything(void)
{
    MPI_Request requests[MAX_CALLS];
    int n = 0;
    for (int i = 0; i < n_waiting; i++) {
        const call *c = &waiting[i];
        if (c->kind == SEND) MPI_Isend(c->array, c->n, MPI_FLOAT, c->rank, 0, world.mpi, &requests[n++]);
        if (c->kind == RECEIVE) MPI_Irecv(c->array, c->n, MPI_FLOAT, c->rank, 0, world.mpi, &requests[n++]);
        if (c->kind == BROADCAST) MPI_Bcast(c->array, c->n, MPI_FLOAT, c->rank, world.mpi);
    }
    MPI_Waitall(n, requests, MPI_STATUSES_IGNORE); /* NOLINT: begun above */
    n_waiting = 0;
}

const char *ncclGetErrorString(ncclResult_t result) { return result == ncclSuccess ? "no error" : "invalid usage"; }

/* ---- CUDA: ours is the stream that was created, the device's any other ---- */

static char wires;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return (void)flags, *stream = &wires, cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) { return (void)stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return (void)stream, cudaSuccess; }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    if (stream != &wires && *(cudaStream_t *)event == &wires) move_everything();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    return (void)flags, *event = xcalloc(1, sizeof(cudaStream_t)), cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) { return free(event), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return *(cudaStream_t *)event = stream, cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return *(cudaStream_t *)event == &wires && n_waiting > 0 ? cudaErrorNotReady : cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error) { return error ? "not ready" : "no error"; }
