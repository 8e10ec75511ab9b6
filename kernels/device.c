/* SPDX-License-Identifier: MIT */
#include "kernels/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cuda/module.h"

enum { HOST_CHUNK = 1 << 20 };

const word_row PRECISION_WORDS[] = { PRECISIONS(WORDS_ROW){ 0 } };

/* The number of "cuda" or "cuda:N"; -1 for anything else. */
static int cuda_index(const char *name)
{
    char *end;
    if (strcmp(name, "cuda") == 0) return 0;
    if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
    const long index = strtol(name + 5, &end, 10);
    return *end == '\0' && index < 1024 ? (int)index : -1;
}

/* The module is found by the loader: beside the program (its RUNPATH), or where LD_LIBRARY_PATH says; or it is the file
 * that TROUPE_CUDA_MODULE names. It stays loaded: a backend's code must outlive its devices. */
static device *cuda_open(const char *name, error *err)
{
    char why[160] = "";
    const char *named = getenv("TROUPE_CUDA_MODULE");
    void *module = dlopen(named && *named ? named : "libtroupe_cuda.so", RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        error_set(err, ERR_NOT_FOUND, "device %s: no CUDA module (%s); use device = \"cpu\"", name, dlerror());
        return NULL;
    }

    const struct troupe_cuda_module *m = dlsym(module, TROUPE_CUDA_SYMBOL);
    if (!m || m->version != TROUPE_CUDA_VERSION) {
        error_set(err, ERR_UNSUPPORTED, "device %s: libtroupe_cuda.so is of another build; build both together", name);
        return NULL;
    }

    device *dev = m->open(cuda_index(name), why, sizeof why);
    if (!dev) error_set(err, ERR_DEVICE, "device %s: %s; use device = \"cpu\"", name, why);
    return dev;
}

/* ---- memory ---- */

__attribute__((noreturn)) static void leave_by_guard(device *dev)
{
    if (dev->guard) longjmp(*dev->guard, 1);
    fprintf(stderr, "troupe: %s\n", dev->lack.text);
    _exit(EXIT_MEMORY);
}

int device_guard(device *dev, int (*fn)(void *ctx, error *err), void *ctx, error *err)
{
    jmp_buf here, *const before = dev->guard; /* guards nest: the inner one ends first */
    if (setjmp(here) == 0) {
        dev->guard = &here;
        const int rc = fn(ctx, err);
        dev->guard = before;
        return rc;
    }

    dev->guard = before;
    return error_set(err, dev->lack.code, "%s", dev->lack.text);
}

void device_leave(device *dev, const error *why)
{
    dev->lack = *why;
    leave_by_guard(dev);
}

void device_starve(device *dev, int64_t n) { dev->requests_left = n; }

static int starved(device *dev, size_t bytes, error *err)
{
    char need[32];
    if (dev->requests_left < 0) return OK; /* no test has set a number */
    if (dev->requests_left-- > 0) return OK;

    dev->requests_left = 0;
    return error_set(err, ERR_MEMORY, "out of memory: %s more are needed, and none is given (a test)",
                     memory_text(bytes, need, sizeof need));
}

void *device_try(device *dev, size_t bytes, error *err)
{
    return starved(dev, bytes, err) == OK ? dev->backend->alloc(dev, bytes, err) : NULL;
}

void *device_alloc(device *dev, size_t bytes)
{
    void *p = device_try(dev, bytes, &dev->lack);
    if (!p) leave_by_guard(dev);
    return p;
}

void *device_scratch(device *dev, size_t bytes)
{
    void *p = starved(dev, bytes, &dev->lack) == OK ? dev->backend->scratch(dev, bytes, &dev->lack) : NULL;
    if (!p) leave_by_guard(dev);
    return p;
}

/* ---- life ---- */

device *device_open(const char *name, int threads, error *err)
{
    device *dev = NULL;
    if (strcmp(name, "cpu") == 0) {
        dev = cpu_open(threads, err);
    } else if (strcmp(name, "auto") == 0) {
        dev = cuda_open("cuda:0", NULL);
        if (!dev) dev = cpu_open(threads, err);
    } else if (cuda_index(name) >= 0) {
        dev = cuda_open(name, err);
    } else {
        error_set(err, ERR_ARGUMENT, "no device '%s' (auto, cpu, cuda:N)", name);
    }
    if (!dev) return NULL;

    dev->host = arena_new(HOST_CHUNK);
    dev->requests_left = -1;
    dev->no_memory = leave_by_guard;
    return dev;
}

void device_close(device *dev)
{
    if (!dev) return;
    arena_free(dev->host);
    dev->backend->close(dev);
}

const struct ops *device_ops(const device *dev) { return dev->ops; }
const char *device_name(const device *dev) { return dev->name; }
int device_threads(const device *dev) { return dev->threads; }
void device_set_precision(device *dev, precision p) { dev->precision = p; }
precision device_precision(const device *dev) { return dev->precision; }

void device_free(device *dev, void *p)
{
    if (p) dev->backend->release(dev, p);
}

void device_copy_in(device *dev, void *to_device, const void *from_host, size_t bytes)
{
    if (bytes > 0) dev->backend->copy_in(dev, to_device, from_host, bytes);
}

void device_copy_out(device *dev, void *to_host, const void *from_device, size_t bytes)
{
    if (bytes > 0) dev->backend->copy_out(dev, to_host, from_device, bytes);
}

void device_copy(device *dev, void *to, const void *from, size_t bytes)
{
    if (bytes > 0) dev->backend->copy(dev, to, from, bytes);
}

void *device_stream(const device *dev) { return dev->backend->stream ? dev->backend->stream(dev) : NULL; }

const void *device_view(const device *dev, const void *on_device)
{
    return dev->backend->host_memory ? on_device : NULL;
}

void *device_host_scratch(device *dev, size_t bytes) { return arena_alloc(dev->host, bytes); }

void device_scratch_reset(device *dev)
{
    arena_reset(dev->host);
    dev->backend->scratch_reset(dev);
}

void device_scratch_drop(device *dev)
{
    arena_reset(dev->host);
    dev->backend->scratch_drop(dev);
}

size_t device_scratch_peak(const device *dev) { return dev->backend->scratch_peak(dev); }
int device_sync(device *dev, error *err) { return dev->backend->sync(dev, err); }

void device_set_tick(device *dev, void (*tick)(void *ctx), void *ctx)
{
    if (dev->backend->set_tick) dev->backend->set_tick(dev, tick, ctx);
}

void device_parallel(device *dev, int64_t n, void (*fn)(void *ctx, int64_t begin, int64_t end, int thread), void *ctx)
{
    if (dev->backend->parallel)
        dev->backend->parallel(dev, n, fn, ctx);
    else
        fn(ctx, 0, n, 0);
}
