/* SPDX-License-Identifier: MIT */
/* The GPU as a device, and the one symbol that the program looks for. */
#include <stdio.h>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/module.h"

/* A chunk of scratch is never given back before the device closes: cudaMalloc waits for the whole GPU. */
static const size_t CHUNK_BYTES = (size_t)256 << 20;
enum { ALIGNMENT = 256 };

void gpu_use(const cuda_device *d)
{
    static thread_local int current = -1;
    if (current == d->index) return;
#if !defined TROUPE_GPU_EMULATED
    if (cudaSetDevice(d->index) != cudaSuccess) return; /* what is done next fails, and says so */
#endif
    current = d->index;
}

static void *take(device *dev, const char *what, size_t bytes, size_t in_use, error *err)
{
    void *p = NULL;
    char need[32], used[32];
    gpu_use((cuda_device *)dev);
    const int code = gpu_malloc(&p, bytes > 0 ? bytes : 1);
    if (code == 0) return p;

    error_set(err, ERR_MEMORY, "out of memory: %s %s more (%s in use) on %s: %s", what,
              memory_text(bytes, need, sizeof need), memory_text(in_use, used, sizeof used), dev->name,
              gpu_error(code));
    return NULL;
}

static void *gpu_alloc(device *dev, size_t bytes, error *err)
{
    cuda_device *d = (cuda_device *)dev;
    void *p = take(dev, "an array needs", bytes, d->arrays, err);
    if (p) d->arrays += bytes; /* never taken off: how much a release gives back is not known here */
    return p;
}

static void gpu_release(device *dev, void *p)
{
    gpu_wait(cuda_of(dev)->stream);
    gpu_note(dev, gpu_free(p), "free");
}

static void gpu_copy_in(device *dev, void *to, const void *from, size_t bytes)
{
    gpu_note(dev, gpu_copy(to, from, bytes, cuda_of(dev)->stream), "copy to the GPU");
    gpu_note(dev, gpu_wait(cuda_of(dev)->stream), "copy to the GPU"); /* `from` is the caller's again */
}

static void gpu_copy_out(device *dev, void *to, const void *from, size_t bytes)
{
    gpu_note(dev, gpu_copy(to, from, bytes, cuda_of(dev)->stream), "copy from the GPU");
    gpu_note(dev, gpu_wait(cuda_of(dev)->stream), "copy from the GPU");
}

static void gpu_copy_within(device *dev, void *to, const void *from, size_t bytes)
{
    gpu_note(dev, gpu_copy(to, from, bytes, cuda_of(dev)->stream), "copy within the GPU");
}

/* The emulation's stream is a number; what is told is that there is one. */
static void *gpu_stream_of(const device *dev)
{
#if defined TROUPE_GPU_EMULATED
    return (void *)dev;
#else
    return ((const cuda_device *)dev)->stream;
#endif
}

static bool add_chunk(cuda_device *d, size_t smallest, error *err)
{
    const size_t bytes = smallest > CHUNK_BYTES ? smallest : CHUNK_BYTES;
    gpu_chunk c = { (char *)take(&d->base, "scratch needs", bytes, d->used, err), bytes, 0 };
    if (!c.data) return false;

    if (d->n_chunks == d->room) {
        d->room = d->room ? 2 * d->room : 16;
        d->chunks = (gpu_chunk *)xrealloc(d->chunks, sizeof *d->chunks * (size_t)d->room);
    }
    d->chunks[d->n_chunks++] = c;
    return true;
}

static void *gpu_take(device *dev, size_t bytes, error *err)
{
    cuda_device *d = cuda_of(dev);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    while (d->current < d->n_chunks && d->chunks[d->current].bytes - d->chunks[d->current].used < bytes) d->current++;
    if (d->current == d->n_chunks && !add_chunk(d, bytes, err)) return NULL;

    gpu_chunk *c = &d->chunks[d->current];
    void *p = c->data + c->used;
    c->used += bytes;
    d->used += bytes;
    if (d->used > d->peak) d->peak = d->used;
    return p;
}

static void gpu_reset(device *dev)
{
    cuda_device *d = cuda_of(dev);
    for (int i = 0; i < d->n_chunks; i++) d->chunks[i].used = 0;
    d->current = 0;
    d->used = 0;
}

static void gpu_drop(device *dev)
{
    cuda_device *d = cuda_of(dev);
    gpu_note(dev, gpu_wait(d->stream), "waiting for the GPU");
    gpu_reset(dev);
    for (int i = 0; i < d->n_chunks; i++) gpu_free(d->chunks[i].data);
    d->n_chunks = 0;
}

gpu_mark gpu_mark_here(device *dev)
{
    cuda_device *d = cuda_of(dev);
    gpu_mark m = { d->current, d->current < d->n_chunks ? d->chunks[d->current].used : 0, d->used };
    return m;
}

void gpu_rewind(device *dev, gpu_mark mark)
{
    cuda_device *d = cuda_of(dev);
    for (int i = mark.chunk; i < d->n_chunks; i++) d->chunks[i].used = i == mark.chunk ? mark.in_chunk : 0;
    d->current = mark.chunk;
    d->used = mark.used;
}

static size_t gpu_peak(const device *dev) { return ((const cuda_device *)dev)->peak; }

static int gpu_sync(device *dev, error *err)
{
    cuda_device *d = cuda_of(dev);
    gpu_note(dev, gpu_wait(d->stream), "waiting for the GPU");
    if (!d->failed) return OK;
    return error_set(err, ERR_DEVICE, "%s: %s failed: %s", dev->name, d->failed_op, gpu_error(d->failed));
}

static void gpu_close(device *dev)
{
    cuda_device *d = cuda_of(dev);
    for (int i = 0; i < d->n_chunks; i++) gpu_free(d->chunks[i].data);
    free(d->chunks);
    gpu_blas_close(d->blas);
#if !defined TROUPE_GPU_EMULATED
    cudaStreamDestroy(d->stream);
#endif
    free(d);
}

/* C++17 has no designated initializers, and values in the order of a struct are easily swapped: so by assignment. */
static constexpr struct backend backend_table()
{
    struct backend b = {}; /* no host loop of its own, nothing to tick in it; arrays are not the host's to read */
    b.close = gpu_close;
    b.alloc = gpu_alloc;
    b.release = gpu_release;
    b.copy_in = gpu_copy_in;
    b.copy_out = gpu_copy_out;
    b.copy = gpu_copy_within;
    b.scratch = gpu_take;
    b.scratch_reset = gpu_reset;
    b.scratch_drop = gpu_drop;
    b.scratch_peak = gpu_peak;
    b.sync = gpu_sync;
    b.stream = gpu_stream_of;
    return b;
}
static constexpr struct backend BACKEND = backend_table();

/* By position, which can't go wrong: the struct's members are the same rows in the same order. */
#define OP(type, name, parameters) cuda_##name,
static const struct ops OPS = {
#include "kernels/ops.def"
};
#undef OP

#if defined TROUPE_GPU_EMULATED
static bool choose(int, cuda_device *d, char *, size_t)
{
    snprintf(d->base.name, sizeof d->base.name, "cuda (emulated on the CPU)");
    return true;
}
#else
/* bf16 tensor cores and the fragments of mma.m16n8k16 begin with compute capability 8.0. */
static bool choose(int index, cuda_device *d, char *why, size_t size)
{
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, index) != cudaSuccess || cudaSetDevice(index) != cudaSuccess) {
        snprintf(why, size, "cannot query the GPU's properties");
        return false;
    }
    if (p.major < 8) {
        snprintf(why, size, "%s has compute capability %d.%d; 8.0 or more is needed", p.name, p.major, p.minor);
        return false;
    }

    snprintf(d->base.name, sizeof d->base.name, "cuda:%d (%.60s, %.0f GiB)", index, p.name,
             (double)p.totalGlobalMem / (1 << 30));
    return cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking) == cudaSuccess;
}
#endif

static device *open_gpu(int index, char *why, size_t size)
{
    const int n = gpu_devices();
    if (n == 0) snprintf(why, size, "no GPU, or no driver for it");
    if (n > 0 && index >= n) snprintf(why, size, "there are %d, counted from 0", n);
    if (index < 0 || index >= n) return NULL;

    cuda_device *d = gpu_host<cuda_device>(1);
    d->base.ops = &OPS;
    d->base.backend = &BACKEND;
    d->base.threads = 1;
    d->index = index;

    if (choose(index, d, why, size) && (d->blas = gpu_blas_open())) return &d->base;
    if (!*why) snprintf(why, size, "cuBLASLt or a stream could not be opened");
    free(d);
    return NULL;
}

extern "C" {
extern const struct troupe_cuda_module troupe_cuda_v1;
const struct troupe_cuda_module troupe_cuda_v1 = { TROUPE_CUDA_VERSION, gpu_devices, open_gpu };
}
