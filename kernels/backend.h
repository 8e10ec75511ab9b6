/* SPDX-License-Identifier: MIT */
/* backend - what lies behind a device: the functions device.c passes on to, one table a backend. Internal to kernels/.
 *
 * A backend's own device begins with this struct (the CPU's adds threads and chunks, CUDA's streams and handles). */
#pragma once

#include <setjmp.h>

#include "base/arena.h"
#include "kernels/ops.h"

struct backend {
    void (*close)(device *dev);                            /* frees dev too */
    void *(*alloc)(device *dev, size_t bytes, error *err); /* NULL: ERR_MEMORY */
    void (*release)(device *dev, void *p);
    void (*copy_in)(device *dev, void *to_device, const void *from_host, size_t bytes);
    void (*copy_out)(device *dev, void *to_host, const void *from_device, size_t bytes);
    void (*copy)(device *dev, void *to, const void *from, size_t bytes); /* within the device, in order */
    void *(*scratch)(device *dev, size_t bytes, error *err);             /* NULL: ERR_MEMORY */
    void (*scratch_reset)(device *dev);
    void (*scratch_drop)(device *dev); /* and gives the memory back */
    size_t (*scratch_peak)(const device *dev);
    int (*sync)(device *dev, error *err);
    /* A host loop on the device's threads; NULL: there are none. */
    void (*parallel)(device *dev, int64_t n, void (*fn)(void *ctx, int64_t begin, int64_t end, int thread), void *ctx);
    void *(*stream)(const device *dev);                                /* NULL: no stream */
    void (*set_tick)(device *dev, void (*tick)(void *ctx), void *ctx); /* NULL: it has no loops of its own */
    bool host_memory;                                                  /* arrays of the device are the host's to read */
};

struct device {
    const struct ops *ops;
    const struct backend *backend;
    precision precision;
    int threads;
    char name[96];
    arena *host; /* device_host_scratch; made and freed by device.c */

    /* All of device.c's too: where to go when memory is short, and how many requests are left before it is (tests). */
    jmp_buf *guard;
    error lack;
    int64_t requests_left;          /* < 0: any number */
    void (*no_memory)(device *dev); /* leaves by the guard with `lack`; never returns */
};
