/* SPDX-License-Identifier: MIT */
#include "learner/comm.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static comm *comm_new(const struct comm_ops *ops, void *ctx, int rank, int size)
{
    comm *c = xcalloc(1, sizeof *c);
    *c = (comm){ .ops = ops, .ctx = ctx, .rank = rank, .size = size };
    return c;
}

void comm_free(comm *c)
{
    if (!c) return;
    c->ops->close(c->ctx);
    free(c);
}

static const struct troupe_mpi_module *open_mpi_module(error *err)
{
    const char *named = getenv("TROUPE_MPI_MODULE");
    /* Global: Open MPI's own components look for its symbols. */
    void *module = dlopen(named && *named ? named : "libtroupe_mpi.so", RTLD_NOW | RTLD_GLOBAL);
    if (!module) {
        error_set(err, ERR_NOT_FOUND, "no MPI module (%s); it is built where MPI is found", dlerror());
        return NULL;
    }

    const struct troupe_mpi_module *m = dlsym(module, TROUPE_MPI_SYMBOL);
    if (m && m->version == TROUPE_MPI_VERSION) return m;
    error_set(err, ERR_UNSUPPORTED, "libtroupe_mpi.so is of another build; build both together");
    return NULL;
}

comm *comm_mpi(error *err)
{
    char why[160] = "";
    void *ctx = NULL;
    int rank = 0, size = 1;
    const struct troupe_mpi_module *m = open_mpi_module(err);
    if (!m) return NULL;

    const struct comm_ops *ops = m->open(&ctx, &rank, &size, why, sizeof why);
    if (ops) return comm_new(ops, ctx, rank, size);
    error_set(err, ERR_NOT_FOUND, "MPI: %s", why);
    return NULL;
}

/* ---- what ranks do, whatever carries it ---- */

void comm_gather(comm *c, const void *mine, size_t bytes, void *all) { c->ops->gather(c->ctx, mine, bytes, all); }

void comm_sum(comm *c, double *x, int n)
{
    if (n == 0) return;
    double *all = xmalloc(sizeof *all * (size_t)n * (size_t)c->size);
    comm_gather(c, x, sizeof *x * (size_t)n, all);
    for (int i = 0; i < n; i++) {
        x[i] = 0;
        for (int r = 0; r < c->size; r++) x[i] += all[(size_t)r * (size_t)n + (size_t)i];
    }
    free(all);
}

void comm_gather_pieces(comm *c, float *whole, const int64_t *begins)
{
    c->sent += sizeof(float) * (uint64_t)(begins[c->rank + 1] - begins[c->rank]) * (uint64_t)(c->size - 1);
    c->ops->gather_pieces(c->ctx, whole, begins);
}

void comm_broadcast(comm *c, void *bytes, size_t n) { c->ops->broadcast(c->ctx, bytes, n); }

void *comm_exchange_begin(comm *c, const comm_exchange *x)
{
    for (int r = 0; r < c->size; r++)
        if (r != c->rank) c->sent += sizeof(float) * (uint64_t)x->n_out[r];
    return c->ops->exchange(c->ctx, x);
}

bool comm_exchanged(comm *c, void *pending, bool wait) { return c->ops->exchanged(c->ctx, pending, wait); }

void comm_on_failure(comm *c, void (*leave)(void *ctx), void *ctx)
{
    c->leave = leave;
    c->leave_ctx = ctx;
}

bool comm_regroup(comm *c, const void *mine, size_t bytes, void *all)
{
    if (!c->ops->regroup) return false;
    c->ops->regroup(c->ctx, mine, bytes, all);
    return true;
}

void comm_watch(comm *c)
{
    if (c->ops->watch) c->ops->watch(c->ctx);
}

/* ---- ranks that are threads: each shows the others its memory, between two barriers ---- */

typedef struct thread_group {
    pthread_barrier_t barrier;
    int size, alive;
    pthread_mutex_t lock;
    const void **shown; /* [size] what each rank shows the others */
} thread_group;

typedef struct thread_rank {
    thread_group *group;
    int rank;
} thread_rank;

/* From here to all_done every rank may read group->shown[r] and what it points to. */
static void show_all(const thread_rank *t, const void *what)
{
    t->group->shown[t->rank] = what;
    pthread_barrier_wait(&t->group->barrier);
}

/* Waits until every rank has read: only then may it change what it has shown. */
static void all_done(const thread_rank *t) { pthread_barrier_wait(&t->group->barrier); }

static void threads_gather(void *ctx, const void *mine, size_t bytes, void *all)
{
    const thread_rank *t = ctx;
    show_all(t, mine);
    for (int r = 0; r < t->group->size; r++) memcpy((char *)all + (size_t)r * bytes, t->group->shown[r], bytes);
    all_done(t);
}

static void threads_gather_pieces(void *ctx, float *whole, const int64_t *begins)
{
    const thread_rank *t = ctx;
    show_all(t, whole);
    for (int r = 0; r < t->group->size; r++) {
        const float *from = t->group->shown[r];
        const size_t bytes = sizeof(float) * (size_t)(begins[r + 1] - begins[r]);
        if (r != t->rank) memcpy(whole + begins[r], from + begins[r], bytes);
    }
    all_done(t);
}

static void threads_broadcast(void *ctx, void *bytes, size_t n)
{
    const thread_rank *t = ctx;
    show_all(t, bytes);
    if (t->rank != 0) memcpy(bytes, t->group->shown[0], n);
    all_done(t);
}

static void *threads_exchange(void *ctx, const comm_exchange *x)
{
    const thread_rank *t = ctx;
    float *to = x->in;

    show_all(t, x);
    for (int r = 0; r < t->group->size; r++) {
        const comm_exchange *theirs = t->group->shown[r];
        const float *from = theirs->out;
        for (int k = 0; k < t->rank; k++) from += theirs->n_out[k]; /* what is for lower ranks comes first */

        assert(theirs->n_out[t->rank] == x->n_in[r]);
        if (x->n_in[r] > 0) memcpy(to, from, sizeof *to * (size_t)x->n_in[r]);
        to += x->n_in[r];
    }
    all_done(t);
    return ctx; /* over already */
}

static bool threads_exchanged(void *ctx, void *pending, bool wait)
{
    (void)ctx, (void)pending, (void)wait;
    return true; /* threads_exchange has copied everything */
}

static void threads_close(void *ctx)
{
    thread_rank *t = ctx;
    thread_group *g = t->group;
    pthread_mutex_lock(&g->lock);
    const bool last = --g->alive == 0;
    pthread_mutex_unlock(&g->lock);
    free(t);
    if (!last) return;

    pthread_barrier_destroy(&g->barrier);
    pthread_mutex_destroy(&g->lock);
    free(g->shown);
    free(g);
}

void comm_threads(int n, comm **out)
{
    static const struct comm_ops OPS = {
        .gather = threads_gather,
        .gather_pieces = threads_gather_pieces,
        .exchange = threads_exchange,
        .exchanged = threads_exchanged,
        .broadcast = threads_broadcast,
        .close = threads_close,
    };
    thread_group *g = xcalloc(1, sizeof *g);
    *g = (thread_group){ .size = n, .alive = n, .shown = xcalloc((size_t)n, sizeof *g->shown) };
    pthread_barrier_init(&g->barrier, NULL, (unsigned)n);
    pthread_mutex_init(&g->lock, NULL);

    for (int r = 0; r < n; r++) {
        thread_rank *t = xcalloc(1, sizeof *t);
        *t = (thread_rank){ .group = g, .rank = r };
        out[r] = comm_new(&OPS, t, r, n);
    }
}
