#include "kernels/device.h"

#include <assert.h>
#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/str.h"
#include "kernels/cpu/table.h"
#include "kernels/ops.h"

/* Scratch grows by chunks of at least this; a step's chunks are kept for the next (a first touch costs 5 us a page). */
static const size_t CHUNK_BYTES = (size_t)64 << 20;
enum { MAX_CHUNKS = 64, ALIGNMENT = 64 };

typedef struct chunk {
    char *data;
    size_t bytes, used;
} chunk;

struct device {
    const struct ops *ops;
    char name[64];
    int threads;
    chunk chunks[MAX_CHUNKS];
    int n_chunks, current;
    size_t used, peak;
};

static int cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

/* Says why there is no CUDA here. The module is looked for beside the program first. */
static int cuda_absent(const char *name, error *err)
{
    void *module = dlopen("libtroupe_cuda.so", RTLD_NOW | RTLD_LOCAL);
    if (!module)
        return error_set(err, ERR_NOT_FOUND, "device %s: no CUDA module (%s); use device = \"cpu\"", name, dlerror());
    dlclose(module);
    return error_set(
        err, ERR_UNSUPPORTED,
        "device %s: this build's CUDA module covers single operations, not a whole model; use device = \"cpu\"", name);
}

device *device_open(const char *name, int threads, error *err)
{
    if (strncmp(name, "cuda", 4) == 0) {
        cuda_absent(name, err);
        return NULL;
    }
    if (strcmp(name, "cpu") != 0 && strcmp(name, "auto") != 0) {
        error_set(err, ERR_ARGUMENT, "no device '%s' (auto, cpu, cuda:N)", name);
        return NULL;
    }
    device *dev = xcalloc(1, sizeof *dev);
    dev->threads = threads > 0 ? threads : cores();
    dev->ops = &CPU_OPS;
    snprintf(dev->name, sizeof dev->name, "cpu (%s, %d thread%s)", CPU_ISA, dev->threads, dev->threads == 1 ? "" : "s");
    return dev;
}

void device_close(device *dev)
{
    if (!dev) return;
    for (int i = 0; i < dev->n_chunks; i++) munmap(dev->chunks[i].data, dev->chunks[i].bytes);
    free(dev);
}

const struct ops *device_ops(const device *dev) { return dev->ops; }
const char *device_name(const device *dev) { return dev->name; }
int device_threads(const device *dev) { return dev->threads; }

void *device_alloc(device *dev, size_t bytes)
{
    (void)dev;
    void *p = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
    if (p) return p;
    fprintf(stderr, "troupe: %zu bytes for a model's arrays are not to be had\n", bytes);
    abort();
}

void device_free(device *dev, void *p)
{
    (void)dev;
    free(p);
}

void device_copy_in(device *dev, void *to_device, const void *from_host, size_t bytes)
{
    (void)dev;
    memcpy(to_device, from_host, bytes);
}

void device_copy_out(device *dev, void *to_host, const void *from_device, size_t bytes)
{
    (void)dev;
    memcpy(to_host, from_device, bytes);
}

static void add_chunk(device *dev, size_t least)
{
    const size_t bytes = least > CHUNK_BYTES ? (least + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES : CHUNK_BYTES;
    void *data = dev->n_chunks < MAX_CHUNKS
                     ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : MAP_FAILED;
    if (data == MAP_FAILED) {
        fprintf(stderr, "troupe: %zu more bytes of scratch memory are not to be had (%zu in use)\n", bytes, dev->used);
        abort();
    }
    madvise(data, bytes, MADV_HUGEPAGE);
    dev->chunks[dev->n_chunks++] = (chunk){ .data = data, .bytes = bytes };
}

void *device_scratch(device *dev, size_t bytes)
{
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    while (dev->current < dev->n_chunks && dev->chunks[dev->current].bytes - dev->chunks[dev->current].used < bytes)
        dev->current++;
    if (dev->current == dev->n_chunks) add_chunk(dev, bytes);
    chunk *c = &dev->chunks[dev->current];
    void *p = c->data + c->used;
    c->used += bytes;
    dev->used += bytes;
    if (dev->used > dev->peak) dev->peak = dev->used;
    return p;
}

void device_scratch_reset(device *dev)
{
    for (int i = 0; i < dev->n_chunks; i++) dev->chunks[i].used = 0;
    dev->current = 0;
    dev->used = 0;
}

size_t device_scratch_peak(const device *dev) { return dev->peak; }

int device_sync(device *dev, error *err)
{
    (void)dev, (void)err;
    return OK; /* the CPU's operations can't fail: shapes are asserted, memory aborts */
}
