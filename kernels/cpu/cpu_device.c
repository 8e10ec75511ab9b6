/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu_device.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"
#include "kernels/cpu/table.h"

#if defined __x86_64__
#include <cpuid.h>
#endif

/* Scratch grows by chunks of at least this; a step's chunks are kept for the next (a first touch costs 5 us a page). */
static const size_t CHUNK_BYTES = (size_t)64 << 20;
/* Arrays from this size on come from the kernel in huge pages: a tenth more bandwidth for weights that are streamed. */
static const size_t HUGE_BYTES = (size_t)4 << 20;
enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

typedef struct chunk {
    char *data;
    size_t bytes, used;
} chunk;

typedef struct cpu_device {
    device base;
    pool *threads;
    chunk *chunks; /* as many as the machine has room for */
    int n_chunks, room, current;
    size_t used, peak;
    size_t arrays, scratch; /* bytes held of either, touched or not */
} cpu_device;

static int cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

/* ---- which table ---- */

#if defined __x86_64__

/* AMX's tile registers are to be asked for, once a process (Linux 5.16: ARCH_REQ_XCOMP_PERM of XTILEDATA). */
static bool has_amx(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* The psABI's levels v3 and v4, by the features that a machine has all or none of. */
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static bool has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

/* Leaf 7, subleaf 1: what older compilers have no word for. */
static bool has_avx512_bf16(void)
{
    enum { AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return has_v4() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX512_BF16);
}

static bool runs_here(const struct cpu_table *t)
{
    if (strcmp(t->isa, "amx") == 0) return has_avx512_bf16() && has_amx();
    if (strcmp(t->isa, "avx512bf16") == 0) return has_avx512_bf16();
    if (strcmp(t->isa, "avx512") == 0) return has_v4();
    if (strcmp(t->isa, "avx2") == 0) return has_v3();
    return strcmp(t->isa, "base") == 0;
}

#else
static bool runs_here(const struct cpu_table *t) { return strcmp(t->isa, "base") == 0; }
#endif

static const struct cpu_table *choose_table(error *err)
{
    const char *asked = getenv("TROUPE_ISA");
    for (int i = 0; i < N_CPU_TABLES; i++) {
        const struct cpu_table *t = CPU_TABLES[i];
        if (asked && *asked && strcmp(asked, t->isa) != 0) continue;
        if (runs_here(t)) return t;
    }
    error_set(err, ERR_UNSUPPORTED,
              "TROUPE_ISA=%s: this processor or build lacks it (amx, avx512bf16, avx512, avx2, base)", asked);
    return NULL;
}

/* ---- memory ---- */

/* The sentence, with what is in use and whose limit it is. */
static void *refuse(const cpu_device *dev, const char *what, size_t bytes, size_t in_use, error *err)
{
    char need[32], used[32], left[32], of[32];
    const memory_room room = memory_room_now("", dev->arrays + dev->scratch);
    error_set(err, ERR_MEMORY, "out of memory: %s %s more (%s in use), and %s leaves %s of %s", what,
              memory_text(bytes, need, sizeof need), memory_text(in_use, used, sizeof used), room.limit,
              memory_text(room.bytes, left, sizeof left), memory_text(room.of, of, sizeof of));
    return NULL;
}

/* A header of one alignment unit in front says how an array was got. */
typedef struct array_header {
    size_t mapped; /* bytes mapped; 0: from the heap */
} array_header;

static char *map_pages(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

/* Large arrays are mapped, if they fit into what the machine has left; others come from the heap. */
static char *alloc_pages(const cpu_device *dev, size_t whole, size_t mapped)
{
    if (mapped == 0) return aligned_alloc(ALIGNMENT, whole);
    if (!memory_fits(mapped, dev->arrays + dev->scratch, NULL)) return NULL;
    return map_pages(mapped);
}

static void *cpu_alloc(device *base, size_t bytes, error *err)
{
    cpu_device *dev = (cpu_device *)base;
    if (bytes > SIZE_MAX / 2) return refuse(dev, "an array needs", bytes, dev->arrays, err); /* rounding up overflows */

    const size_t whole = (bytes + 2 * ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t mapped = whole < HUGE_BYTES ? 0 : (whole + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    char *p = alloc_pages(dev, whole, mapped);
    if (!p) return refuse(dev, "an array needs", bytes, dev->arrays, err);

    *(array_header *)(void *)p = (array_header){ mapped };
    dev->arrays += mapped;
    return p + ALIGNMENT;
}

static void cpu_release(device *base, void *array)
{
    cpu_device *dev = (cpu_device *)base;
    char *p = (char *)array - ALIGNMENT;
    const size_t mapped = ((array_header *)(void *)p)->mapped;
    dev->arrays -= mapped;
    if (mapped)
        munmap(p, mapped);
    else
        free(p);
}

static void cpu_copy(device *dev, void *to, const void *from, size_t bytes)
{
    (void)dev;
    memcpy(to, from, bytes);
}

static char *map_scratch(const cpu_device *dev, size_t bytes)
{
    return memory_fits(bytes, dev->arrays + dev->scratch, NULL) ? map_pages(bytes) : NULL;
}

/* Whole chunks; where there is no room for those, what is needed and no more. NULL: not even that. */
static chunk *add_chunk(cpu_device *dev, size_t smallest)
{
    size_t bytes = (smallest + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES;
    char *data = map_scratch(dev, bytes);
    if (!data) {
        bytes = (smallest + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        data = map_scratch(dev, bytes);
    }
    if (!data) return NULL;

    if (dev->n_chunks == dev->room) {
        dev->room = dev->room ? 2 * dev->room : 16;
        dev->chunks = xrealloc(dev->chunks, sizeof *dev->chunks * (size_t)dev->room);
    }

    dev->scratch += bytes;
    dev->chunks[dev->n_chunks] = (chunk){ .data = data, .bytes = bytes };
    return &dev->chunks[dev->n_chunks++];
}

static void *cpu_scratch(device *base, size_t bytes, error *err)
{
    cpu_device *dev = (cpu_device *)base;
    if (bytes > SIZE_MAX / 2) return refuse(dev, "scratch needs", bytes, dev->used, err);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    /* The first chunk from here on with room enough: what is left of the others lies idle until the rewind. */
    while (dev->current < dev->n_chunks && dev->chunks[dev->current].bytes - dev->chunks[dev->current].used < bytes)
        dev->current++;
    if (dev->current == dev->n_chunks && !add_chunk(dev, bytes))
        return refuse(dev, "scratch needs", bytes, dev->used, err);

    chunk *c = &dev->chunks[dev->current];
    void *p = c->data + c->used;
    c->used += bytes;
    dev->used += bytes;
    if (dev->used > dev->peak) dev->peak = dev->used;
    return p;
}

static void cpu_scratch_reset(device *base)
{
    cpu_device *dev = (cpu_device *)base;
    for (int i = 0; i < dev->n_chunks; i++) dev->chunks[i].used = 0;
    dev->current = 0;
    dev->used = 0;
}

static void cpu_scratch_drop(device *base)
{
    cpu_device *dev = (cpu_device *)base;
    cpu_scratch_reset(base);
    for (int i = 0; i < dev->n_chunks; i++) munmap(dev->chunks[i].data, dev->chunks[i].bytes);
    dev->n_chunks = 0;
    dev->scratch = 0;
}

static size_t cpu_scratch_peak(const device *base) { return ((const cpu_device *)base)->peak; }

cpu_mark cpu_scratch_mark(const device *base)
{
    const cpu_device *dev = (const cpu_device *)base;
    return (cpu_mark){ .chunk = dev->current,
                       .in_chunk = dev->current < dev->n_chunks ? dev->chunks[dev->current].used : 0,
                       .used = dev->used };
}

void cpu_scratch_rewind(device *base, cpu_mark mark)
{
    cpu_device *dev = (cpu_device *)base;
    for (int i = mark.chunk; i < dev->n_chunks; i++) dev->chunks[i].used = i == mark.chunk ? mark.in_chunk : 0;
    dev->current = mark.chunk;
    dev->used = mark.used;
}

/* ---- the device ---- */

static int cpu_sync(device *dev, error *err)
{
    (void)dev, (void)err;
    return OK; /* the CPU's operations can't fail: shapes are asserted, memory leaves by the guard */
}

static void cpu_host_loop(device *dev, int64_t n, pool_fn fn, void *ctx)
{
    pool_run(((cpu_device *)dev)->threads, n, 1, fn, ctx);
}

static void cpu_set_tick(device *dev, void (*tick)(void *ctx), void *ctx)
{
    pool_set_tick(((cpu_device *)dev)->threads, tick, ctx);
}

static void cpu_close(device *base)
{
    cpu_device *dev = (cpu_device *)base;
    cpu_scratch_drop(base);
    free(dev->chunks);
    pool_free(dev->threads);
    free(dev);
}

static const struct backend CPU_BACKEND = { .close = cpu_close,
                                            .alloc = cpu_alloc,
                                            .release = cpu_release,
                                            .copy_in = cpu_copy,
                                            .copy_out = cpu_copy,
                                            .copy = cpu_copy,
                                            .scratch = cpu_scratch,
                                            .scratch_reset = cpu_scratch_reset,
                                            .scratch_drop = cpu_scratch_drop,
                                            .scratch_peak = cpu_scratch_peak,
                                            .sync = cpu_sync,
                                            .parallel = cpu_host_loop,
                                            .set_tick = cpu_set_tick,
                                            .host_memory = true };

device *cpu_open(int threads, error *err)
{
    const struct cpu_table *table = choose_table(err);
    if (!table) return NULL;
    cpu_device *dev = xcalloc(1, sizeof *dev);
    const int n = threads > 0 ? threads : cores();
    dev->base = (device){ .ops = table->ops, .backend = &CPU_BACKEND, .threads = n };
    dev->threads = pool_new(n);
    snprintf(dev->base.name, sizeof dev->base.name, "cpu (%s, %d thread%s)", table->isa, n, n == 1 ? "" : "s");
    return &dev->base;
}

/* Sharing a loop out with threads that spin costs about a microsecond: less work than this isn't worth it. A piece
 * costs a tenth of that to fetch; many pieces even out threads that start late or are interrupted. */
static const double PARALLEL_FLOPS = 60000, PIECE_FLOPS = 250000;
enum { PIECES_A_THREAD = 12 };

static int64_t grain_for(const device *dev, double flops, int64_t n)
{
    const double largest = (double)dev->threads * PIECES_A_THREAD;
    double pieces_wanted = flops / PIECE_FLOPS;
    if (pieces_wanted > largest) pieces_wanted = largest;
    const int64_t pieces = pieces_wanted < dev->threads ? dev->threads : (int64_t)pieces_wanted;
    return (n + pieces - 1) / pieces;
}

void cpu_parallel(device *dev, double flops, int64_t n, int64_t grain, pool_fn fn, void *ctx)
{
    if (n <= 0) return;
    if (flops < PARALLEL_FLOPS)
        fn(ctx, 0, n, 0);
    else
        pool_run(((cpu_device *)dev)->threads, n, grain > 0 ? grain : grain_for(dev, flops, n), fn, ctx);
}
