/* SPDX-License-Identifier: MIT */
/* libtroupe_mpi.so: comm's table over MPI. Opened at run time, so that the program itself needs no MPI. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "learner/comm.h"

typedef struct mpi_ctx {
    MPI_Datatype unit; /* COMM_UNIT floats */
    int rank, size;
} mpi_ctx;

typedef struct exchange {
    MPI_Request request;
    int *numbers; /* counts and displacements, which MPI reads until it is done */
} exchange;

static void mpi_gather(void *ctx, const void *mine, size_t bytes, void *all)
{
    (void)ctx;
    MPI_Allgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD);
}

static void mpi_gather_pieces(void *ctx, float *whole, const int64_t *begins)
{
    const mpi_ctx *m = ctx;
    int *counts = xcalloc(2 * (size_t)m->size, sizeof *counts), *at = counts + m->size;
    for (int r = 0; r < m->size; r++) {
        counts[r] = (int)((begins[r + 1] - begins[r]) / COMM_UNIT);
        at[r] = (int)(begins[r] / COMM_UNIT);
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, whole, counts, at, m->unit, MPI_COMM_WORLD);
    free(counts);
}

static void mpi_broadcast(void *ctx, void *bytes, size_t n)
{
    enum { PIECE = 1 << 30 };
    (void)ctx;
    for (size_t at = 0; at < n; at += PIECE)
        MPI_Bcast((char *)bytes + at, (int)(n - at < PIECE ? n - at : PIECE), MPI_BYTE, 0, MPI_COMM_WORLD);
}

static void *mpi_exchange(void *ctx, const comm_exchange *x)
{
    const mpi_ctx *m = ctx;
    exchange *e = xcalloc(1, sizeof *e);
    e->numbers = xcalloc(4 * (size_t)m->size, sizeof *e->numbers);
    int *out = e->numbers, *out_at = out + m->size, *in = out_at + m->size, *in_at = in + m->size;

    for (int r = 0; r < m->size; r++) {
        out[r] = (int)(x->n_out[r] / COMM_UNIT);
        in[r] = (int)(x->n_in[r] / COMM_UNIT);
        out_at[r] = r ? out_at[r - 1] + out[r - 1] : 0;
        in_at[r] = r ? in_at[r - 1] + in[r - 1] : 0;
    }

    MPI_Ialltoallv(x->out, out, out_at, m->unit, x->in, in, in_at, m->unit, MPI_COMM_WORLD, &e->request);
    return e;
}

static bool mpi_exchanged(void *ctx, void *pending, bool wait)
{
    exchange *e = pending;
    int over = 1;
    (void)ctx;
    if (wait)
        MPI_Wait(&e->request, MPI_STATUS_IGNORE); /* NOLINT: begun in mpi_exchange */
    else
        MPI_Test(&e->request, &over, MPI_STATUS_IGNORE); /* NOLINT: the same */
    if (!over) return false;
    free(e->numbers);
    free(e);
    return true;
}

static void mpi_close(void *ctx)
{
    mpi_ctx *m = ctx;
    MPI_Type_free(&m->unit);
    free(m);
    MPI_Finalize();
}

/* MPI's own handler of errors ends all ranks with a message: no rank could continue alone. */
static const struct comm_ops *mpi_open(void **ctx, int *rank, int *size, char *why, size_t why_size)
{
    static const struct comm_ops OPS = {
        .gather = mpi_gather,
        .gather_pieces = mpi_gather_pieces,
        .exchange = mpi_exchange,
        .exchanged = mpi_exchanged,
        .broadcast = mpi_broadcast,
        .close = mpi_close,
    };

    /* Calls come from the training thread, one at a time; MPI_Init came from main's. */
    int level = 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS || level < MPI_THREAD_SERIALIZED) {
        snprintf(why, why_size,
                 "this MPI library can only be called from the main thread (MPI_THREAD_SERIALIZED is needed)");
        return NULL;
    }

    mpi_ctx *m = xcalloc(1, sizeof *m);
    MPI_Comm_rank(MPI_COMM_WORLD, &m->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &m->size);
    MPI_Type_contiguous(COMM_UNIT, MPI_FLOAT, &m->unit);
    MPI_Type_commit(&m->unit);
    *ctx = m;
    *rank = m->rank;
    *size = m->size;
    return &OPS;
}

__attribute__((visibility("default"))) const struct troupe_mpi_module troupe_mpi_v1 = { TROUPE_MPI_VERSION, mpi_open };
