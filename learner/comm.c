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

comm *comm_mpi(error *err)
{
    char why[160] = "";
    const char *named = getenv("TROUPE_MPI_MODULE");
    /* Global: Open MPI's own components look for its symbols. */
    void *module = dlopen(named && *named ? named : "libtroupe_mpi.so", RTLD_NOW | RTLD_GLOBAL);
    if (!module) {
        error_set(err, ERR_NOT_FOUND, "no MPI module (%s); it is built where MPI is found", dlerror());
        return NULL;
    }
    const struct troupe_mpi_module *m = dlsym(module, TROUPE_MPI_SYMBOL);
    if (!m || m->version != TROUPE_MPI_VERSION) {
        error_set(err, ERR_UNSUPPORTED, "libtroupe_mpi.so is of another build; build both together");
        return NULL;
    }
    void *ctx = NULL;
    int rank = 0, size = 1;
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

void comm_on_failure(comm *c, void (*leave)(void *ctx), void *ctx) { c->leave = leave, c->leave_ctx = ctx; }

bool comm_regroup(comm *c, const void *mine, size_t bytes, void *all)
{
    if (!c->ops->regroup) return false;
    c->ops->regroup(c->ctx, mine, bytes, all);
    return true;
}

/* ---- ranks that are threads ---- */

typedef struct meeting {
    pthread_barrier_t barrier;
    int size, left;
    pthread_mutex_t lock;
    const void **said; /* [size] what each rank has laid on the table */
} meeting;

typedef struct seat {
    meeting *m;
    int rank;
} seat;

/* What rank r has laid down may be read until the next call of `rise`. */
static void lay_down(const seat *s, const void *what)
{
    s->m->said[s->rank] = what;
    pthread_barrier_wait(&s->m->barrier);
}

static void rise(const seat *s) { pthread_barrier_wait(&s->m->barrier); }

static void threads_gather(void *ctx, const void *mine, size_t bytes, void *all)
{
    const seat *s = ctx;
    lay_down(s, mine);
    for (int r = 0; r < s->m->size; r++) memcpy((char *)all + (size_t)r * bytes, s->m->said[r], bytes);
    rise(s);
}

static void threads_gather_pieces(void *ctx, float *whole, const int64_t *begins)
{
    const seat *s = ctx;
    lay_down(s, whole);
    for (int r = 0; r < s->m->size; r++) {
        const float *from = s->m->said[r];
        const size_t bytes = sizeof(float) * (size_t)(begins[r + 1] - begins[r]);
        if (r != s->rank) memcpy(whole + begins[r], from + begins[r], bytes);
    }
    rise(s);
}

static void threads_broadcast(void *ctx, void *bytes, size_t n)
{
    const seat *s = ctx;
    lay_down(s, bytes);
    if (s->rank != 0) memcpy(bytes, s->m->said[0], n);
    rise(s);
}

static void *threads_exchange(void *ctx, const comm_exchange *x)
{
    const seat *s = ctx;
    float *to = x->in;
    lay_down(s, x);
    for (int r = 0; r < s->m->size; r++) {
        const comm_exchange *theirs = s->m->said[r];
        const float *from = theirs->out;
        for (int k = 0; k < s->rank; k++) from += theirs->n_out[k];
        assert(theirs->n_out[s->rank] == x->n_in[r]);
        if (x->n_in[r] > 0) memcpy(to, from, sizeof *to * (size_t)x->n_in[r]);
        to += x->n_in[r];
    }
    rise(s);
    return ctx;
}

static bool threads_exchanged(void *ctx, void *pending, bool wait)
{
    return (void)ctx, (void)pending, (void)wait, true;
}

static void threads_close(void *ctx)
{
    seat *s = ctx;
    meeting *m = s->m;
    pthread_mutex_lock(&m->lock);
    const bool last = --m->left == 0;
    pthread_mutex_unlock(&m->lock);
    free(s);
    if (!last) return;
    pthread_barrier_destroy(&m->barrier);
    pthread_mutex_destroy(&m->lock);
    free(m->said);
    free(m);
}

void comm_threads(int n, comm **out)
{
    static const struct comm_ops OPS = { threads_gather,
                                         threads_gather_pieces,
                                         threads_exchange,
                                         threads_exchanged,
                                         threads_broadcast,
                                         threads_close,
                                         NULL };
    meeting *m = xcalloc(1, sizeof *m);
    *m = (meeting){ .size = n, .left = n, .said = xcalloc((size_t)n, sizeof *m->said) };
    pthread_barrier_init(&m->barrier, NULL, (unsigned)n);
    pthread_mutex_init(&m->lock, NULL);
    for (int r = 0; r < n; r++) {
        seat *s = xcalloc(1, sizeof *s);
        *s = (seat){ m, r };
        out[r] = comm_new(&OPS, s, r, n);
    }
}
