/* SPDX-License-Identifier: MIT */
/* comm - several learners that train one policy: which of them am I, and the few ways in which numbers pass between
 * them.
 *
 *     threads    ranks that are threads of one process: for tests
 *     local      processes of one machine that meet in a folder
 *     mpi        processes under mpirun or srun, by libtroupe_mpi.so, which is opened at run time as the CUDA module is
 *     nccl       the same processes, gradients and weights from GPU to GPU by libtroupe_nccl.so
 *
 * Every call but `comm_exchanged` and `comm_watch` is collective: all ranks make the same calls in the same order, or
 * wait for ever (a rank that dies takes the others with it). A rank that can't continue but lives calls comm_regroup.
 * Arrays lie in host memory, but for those of an exchange and of comm_gather_pieces where `on_device` says that they
 * are the device's: then both are ordered with the operations that the device is given, and the host does not wait.
 * One thread of a rank at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/device.h"

/* The exit status of a rank that can't continue because another one is gone: to be started again, all of them. */
enum { RANK_AGAIN = 75 };

/* Counts of floats are multiples of this, so that a message of gigabytes still has a count that MPI can say. */
enum { COMM_UNIT = 16 };

typedef struct comm_exchange {
    const float *out;     /* for rank 0, for rank 1, ...: n_out[r] floats each */
    const int64_t *n_out; /* [size] */
    float *in;            /* from rank 0, from rank 1, ... */
    const int64_t *n_in;  /* [size] */
} comm_exchange;

/* How it is done: the module's table. */
struct comm_ops {
    void (*gather)(void *ctx, const void *mine, size_t bytes, void *all);
    void (*gather_pieces)(void *ctx, float *whole, const int64_t *begins);
    void *(*exchange)(void *ctx, const comm_exchange *x);
    bool (*exchanged)(void *ctx, void *pending, bool wait);
    void (*broadcast)(void *ctx, void *bytes, size_t n);
    void (*close)(void *ctx);
    void (*regroup)(void *ctx, const void *mine, size_t bytes, void *all); /* NULL: it can't */
    void (*watch)(void *ctx);                                              /* NULL: whoever started them watches */
};

typedef struct comm {
    const struct comm_ops *ops;
    void *ctx;
    int rank, size;
    bool on_device;           /* arrays of comm_exchange_begin and comm_gather_pieces are the device's */
    uint64_t sent;            /* bytes of gradients and weights that left this rank */
    void (*leave)(void *ctx); /* see comm_on_failure */
    void *leave_ctx;
} comm;

/* Waits in `folder` for the others; ERR_PEER and a sentence when they don't come in time. A rank whose peer is gone
 * later ends its process with RANK_AGAIN. */
comm *comm_local(const char *folder, int rank, int size, int patience_ms, error *err);
/* ERR_NOT_FOUND without the module or without MPI, said in a sentence. */
comm *comm_mpi(error *err);
/* Takes the place of `c` where it can: each rank's device is a GPU of its own and the NCCL module is there; otherwise
 * `c` as it was, and `why` (on all ranks) says what is in the way. `dev` is borrowed, and may be closed before the comm
 * is. Collective. */
comm *comm_nccl(comm *c, device *dev, char *why, size_t why_size);
/* For tests: n ranks, each for a thread of its own -> out [n]. */
void comm_threads(int n, comm **out);
void comm_free(comm *c);

/* Each rank's `bytes` bytes, in order of the ranks -> all [size * bytes], on every rank. */
void comm_gather(comm *c, const void *mine, size_t bytes, void *all);
/* x [n] becomes the sum over ranks, added in their order: the same bits everywhere. */
void comm_sum(comm *c, double *x, int n);
/* Rank r has computed [begins[r], begins[r + 1]) of `whole`; afterwards every rank has all of it. begins [size + 1]. */
void comm_gather_pieces(comm *c, float *whole, const int64_t *begins);
/* Rank 0's bytes overwrite those of all others. */
void comm_broadcast(comm *c, void *bytes, size_t n);
/* Begins an exchange of all with all. Its arrays must live until comm_exchanged says true; with `wait` it returns when
 * the exchange is over. */
void *comm_exchange_begin(comm *c, const comm_exchange *x);
bool comm_exchanged(comm *c, void *pending, bool wait);

/* Where a rank goes that finds in the middle of a call that another one regroups: `leave` jumps out of what is being
 * done (device_leave) and never returns. Without one the process ends with RANK_AGAIN. Arrays of an exchange under way
 * and those of comm_gather_pieces have to outlive the jump, until comm_regroup is over. */
void comm_on_failure(comm *c, void (*leave)(void *ctx), void *ctx);
/* Ranks that may be anywhere come together again: what was under way between them is dropped, and each rank's `bytes`
 * bytes go to all as of comm_gather. One that fails calls it, the others do when they have left. False, and nothing
 * done, where ranks can't be called out of a call (MPI, NCCL). */
bool comm_regroup(comm *c, const void *mine, size_t bytes, void *all);

/* For a rank that waits for something else between two calls: ends the process as a call would when another rank is
 * gone, which is otherwise noticed at the next call alone. Does not wait. By MPI it does nothing: a rank that is gone
 * ends them all. */
void comm_watch(comm *c);

/* What libtroupe_mpi.so exports. */
#define TROUPE_MPI_SYMBOL "troupe_mpi_v1"
struct troupe_mpi_module {
    int version;
    /* MPI is initialised; NULL: it could not be. */
    const struct comm_ops *(*open)(void **ctx, int *rank, int *size, char *why, size_t why_size);
};
enum { TROUPE_MPI_VERSION = 3 };

/* What libtroupe_nccl.so exports. Its table's gather and broadcast are empty: those go as before. */
#define TROUPE_NCCL_SYMBOL "troupe_nccl_v1"
enum { TROUPE_NCCL_VERSION = 3, NCCL_ID_BYTES = 128 };
struct troupe_nccl_module {
    int version;
    bool (*make_id)(unsigned char *id); /* [NCCL_ID_BYTES] on one rank, for all */
    /* `stream` is the device's. NULL and a sentence in `why` on a rank that can't take part. */
    const struct comm_ops *(*open)(void **ctx, const unsigned char *id, int rank, int size, void *stream, char *why,
                                   size_t why_size);
};
