/* SPDX-License-Identifier: MIT */
/* Gradients from GPU to GPU: a comm whose exchange is the NCCL module's, and whose small messages go as before. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "learner/comm.h"

typedef struct gpu_ctx {
    struct comm_ops ops; /* the module's exchange and pieces, our gather and broadcast */
    const struct comm_ops *module;
    void *nccl; /* the module's */
    comm *hosts;
} gpu_ctx;

static void gpu_gather(void *ctx, const void *mine, size_t bytes, void *all)
{
    comm_gather(((gpu_ctx *)ctx)->hosts, mine, bytes, all);
}

static void gpu_broadcast(void *ctx, void *bytes, size_t n) { comm_broadcast(((gpu_ctx *)ctx)->hosts, bytes, n); }

static void gpu_gather_pieces(void *ctx, float *whole, const int64_t *begins)
{
    const gpu_ctx *g = ctx;
    g->module->gather_pieces(g->nccl, whole, begins);
}

static void *gpu_exchange(void *ctx, const comm_exchange *x)
{
    const gpu_ctx *g = ctx;
    return g->module->exchange(g->nccl, x);
}

static bool gpu_exchanged(void *ctx, void *pending, bool wait)
{
    const gpu_ctx *g = ctx;
    return g->module->exchanged(g->nccl, pending, wait);
}

static void gpu_watch(void *ctx) { comm_watch(((gpu_ctx *)ctx)->hosts); }

static void gpu_close(void *ctx)
{
    gpu_ctx *g = ctx;
    g->module->close(g->nccl);
    comm_free(g->hosts);
    free(g);
}

/* What one rank needs of its own for NCCL: a stream and the module. NULL and `why`. */
static const struct troupe_nccl_module *module_of(device *dev, char *why, size_t size)
{
    const char *named = getenv("TROUPE_NCCL_MODULE");
    if (!device_stream(dev)) {
        snprintf(why, size, "%s is not a GPU", device_name(dev));
        return NULL;
    }

    void *module = dlopen(named && *named ? named : "libtroupe_nccl.so", RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        snprintf(why, size, "no NCCL module (%s)", dlerror());
        return NULL;
    }

    const struct troupe_nccl_module *m = dlsym(module, TROUPE_NCCL_SYMBOL);
    if (m && m->version == TROUPE_NCCL_VERSION) return m;
    snprintf(why, size, "libtroupe_nccl.so is of another build");
    return NULL;
}

enum { WHY_BYTES = 160 };

/* Whether every rank says yes; the first that doesn't tells all why. */
static bool agreed(comm *c, bool yes, char *why, size_t why_size)
{
    struct vote {
        char why[WHY_BYTES];
        bool yes;
    } mine = { .yes = yes }, *all = xcalloc((size_t)c->size, sizeof *all);
    snprintf(mine.why, sizeof mine.why, "%s", why);
    comm_gather(c, &mine, sizeof mine, all);
    for (int r = 0; r < c->size && yes; r++) yes = all[r].yes;
    for (int r = c->size - 1; r >= 0; r--)
        if (!all[r].yes) snprintf(why, why_size, "learner %d: %s", r + 1, all[r].why);
    free(all);
    return yes;
}

comm *comm_nccl(comm *c, device *dev, char *why, size_t why_size)
{
    unsigned char id[NCCL_ID_BYTES + 1] = { 0 };
    char mine[WHY_BYTES] = "";
    const struct troupe_nccl_module *m = module_of(dev, mine, sizeof mine);
    bool together = agreed(c, m != NULL, mine, sizeof mine);

    /* Rank 0 makes the id that all meet by; the byte after it says whether it could. */
    if (together && c->rank == 0) {
        id[NCCL_ID_BYTES] = m->make_id(id);
        if (!id[NCCL_ID_BYTES]) snprintf(mine, sizeof mine, "NCCL gave no id");
    }
    if (together) comm_broadcast(c, id, sizeof id);
    together = together && id[NCCL_ID_BYTES];

    void *ctx = NULL;
    const struct comm_ops *ops = NULL;
    if (together) {
        ops = m->open(&ctx, id, c->rank, c->size, device_stream(dev), mine, sizeof mine);
        together = agreed(c, ops != NULL, mine, sizeof mine);
    }
    if (!together) {
        if (ops) ops->close(ctx);
        snprintf(why, why_size, "%s", mine);
        return c;
    }

    gpu_ctx *g = xcalloc(1, sizeof *g);
    *g = (gpu_ctx){ .ops = { .gather = gpu_gather,
                             .gather_pieces = gpu_gather_pieces,
                             .exchange = gpu_exchange,
                             .exchanged = gpu_exchanged,
                             .broadcast = gpu_broadcast,
                             .close = gpu_close,
                             .watch = gpu_watch },
                    .module = ops,
                    .nccl = ctx,
                    .hosts = c };
    comm *out = xcalloc(1, sizeof *out);
    *out = (comm){ .ops = &g->ops, .ctx = g, .rank = c->rank, .size = c->size, .on_device = true };
    return out;
}
