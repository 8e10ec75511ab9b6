/* SPDX-License-Identifier: MIT */
/* Blocks of threads as fibers: each has a stack of its own, and a switch is a few instructions. */
#include <stdio.h>
#include <sys/mman.h>

#include "kernels/cuda/emulation/emulation.h"

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined __x86_64__
#error "the emulation switches fibers by x86-64 instructions"
#endif

/* Saves the callee-saved registers and the stack pointer of one fiber and takes those of another (System V ABI). */
extern "C" void gpu_switch(void **save, void *load);
asm(R"(
.text
.globl gpu_switch
.type gpu_switch, @function
gpu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size gpu_switch, .-gpu_switch
)");

enum { STACK_BYTES = 64 << 10, MAX_THREADS = 1024, WARP_LANES = 32, SLOT_BYTES = 32, MAX_DYNAMIC = 228 << 10 };
enum wait_kind { RUNNING, AT_BLOCK, AT_WARP, DONE };

struct fiber {
    void *stack_pointer;
    gpu_place place;
    wait_kind waits;
    unsigned number;
};

static struct {
    const char *kernel;
    void (*body)(void *);
    void *ctx;
    unsigned n, done, current, stride;
    fiber fibers[MAX_THREADS];
    char *stacks;
    void *scheduler;
    unsigned at_block;
    unsigned at_warp[MAX_THREADS / WARP_LANES], in_warp[MAX_THREADS / WARP_LANES];
    unsigned char slots[MAX_THREADS / WARP_LANES][WARP_LANES][SLOT_BYTES];
    unsigned char dynamic[MAX_DYNAMIC] __attribute__((aligned(16)));
} run;

gpu_place *gpu_now;

static fiber *now() { return &run.fibers[run.current]; }
static unsigned warp_of(const fiber *f) { return f->number / WARP_LANES; }

int gpu_lane(void) { return (int)(now()->number % WARP_LANES); }
unsigned char *gpu_warp_slot(int lane) { return run.slots[warp_of(now())][lane]; }
void *gpu_dynamic_memory(void) { return run.dynamic; }

static char *stack_of(unsigned i) { return run.stacks + (size_t)i * STACK_BYTES; }

static void back_to_scheduler(bool over)
{
    fiber *f = now();
#if defined __SANITIZE_ADDRESS__
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(over ? nullptr : &fake, nullptr, 0);
#endif
    gpu_switch(&f->stack_pointer, run.scheduler);
#if defined __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    (void)over;
}

/* The last of the threads that are expected lets all of them continue. */
static void release(wait_kind kind, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++)
        if (run.fibers[i].waits == kind) run.fibers[i].waits = RUNNING;
}

static void release_warp(unsigned w)
{
    const unsigned first = w * WARP_LANES, end = first + WARP_LANES < run.n ? first + WARP_LANES : run.n;
    run.at_warp[w] = 0;
    release(AT_WARP, first, end);
}

void gpu_block_barrier(void)
{
    if (++run.at_block == run.n - run.done) {
        run.at_block = 0;
        release(AT_BLOCK, 0, run.n);
        return;
    }
    now()->waits = AT_BLOCK;
    back_to_scheduler(false);
}

void gpu_warp_barrier(void)
{
    const unsigned w = warp_of(now());
    if (++run.at_warp[w] == run.in_warp[w]) {
        release_warp(w);
        return;
    }
    now()->waits = AT_WARP;
    back_to_scheduler(false);
}

static void fiber_main()
{
#if defined __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    run.body(run.ctx);

    fiber *f = now();
    f->waits = DONE;
    run.done++;
    const unsigned w = warp_of(f);
    run.in_warp[w]--;

    /* Who waits may have waited for this one only. */
    if (run.at_block > 0 && run.at_block == run.n - run.done) {
        run.at_block = 0;
        release(AT_BLOCK, 0, run.n);
    }
    if (run.at_warp[w] > 0 && run.at_warp[w] == run.in_warp[w]) release_warp(w);
    back_to_scheduler(true);
    abort();
}

static void start_fiber(unsigned i)
{
#if defined __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stack_of(i), STACK_BYTES); /* the last fiber here ended without leaving its frames */
#endif
    uintptr_t *top = (uintptr_t *)(void *)(stack_of(i) + STACK_BYTES) - 1;
    *top = 0; /* fiber_main never returns; the ABI wants rsp + 8 a multiple of 16 where a function begins */
    *--top = (uintptr_t)fiber_main;
    for (int r = 0; r < 6; r++) *--top = 0;
    run.fibers[i].stack_pointer = top;
    run.fibers[i].waits = RUNNING;
    run.fibers[i].number = i;
}

static bool resume(unsigned i)
{
    if (run.fibers[i].waits != RUNNING) return false;
    run.current = i;
    gpu_now = &run.fibers[i].place;
#if defined __SANITIZE_ADDRESS__
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_of(i), STACK_BYTES);
#endif
    gpu_switch(&run.scheduler, run.fibers[i].stack_pointer);
#if defined __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    return true;
}

/* Threads run in an order that differs from block to block: what depends on it fails somewhere. */
static void run_block(unsigned salt)
{
    static const unsigned STRIDES[] = { 1, 37, 97, 1021 }; /* odd or prime: each thread's turn comes, whatever n */
    const unsigned stride = STRIDES[salt % 4];
    const bool backwards = run.n % stride == 0 && stride > 1; /* such a stride would miss threads */

    run.done = run.at_block = 0;
    memset(run.at_warp, 0, sizeof run.at_warp);
    memset(run.in_warp, 0, sizeof run.in_warp);
    memset(run.dynamic, 0xff, sizeof run.dynamic); /* NaN */
    for (unsigned i = 0; i < run.n; i++) {
        start_fiber(i);
        run.in_warp[i / WARP_LANES]++;
    }

    while (run.done < run.n) {
        bool moved = false;
        for (unsigned k = 0; k < run.n; k++)
            moved |= resume(backwards ? run.n - 1 - k : (unsigned)((uint64_t)k * stride % run.n));
        if (moved) continue;
        fprintf(stderr, "gpu emulation: %s: a barrier that not all threads reach\n", run.kernel);
        abort();
    }
}

void gpu_run(const char *kernel, dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(void *), void *ctx)
{
    const unsigned n = block.x * block.y * block.z;
    if (!run.stacks)
        run.stacks = (char *)mmap(nullptr, (size_t)MAX_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (run.stacks == MAP_FAILED || n > MAX_THREADS || dynamic_bytes > MAX_DYNAMIC) {
        fprintf(stderr, "gpu emulation: %s: %u threads and %zu bytes of shared memory\n", kernel, n, dynamic_bytes);
        abort();
    }

    run.kernel = kernel;
    run.body = body;
    run.ctx = ctx;
    run.n = n;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                for (unsigned i = 0; i < n; i++)
                    run.fibers[i].place = gpu_place{ dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y)),
                                                     dim3(x, y, z), block, grid };
                run_block(x + y * 3 + z * 7);
            }
}

/* ---- tensor cores: each lane collects the rows and columns it needs from the others' fragments ---- */

static float half_of(uint32_t pair, int which)
{
    return __bfloat162float(__nv_bfloat16{ (uint16_t)(pair >> (16 * which)) });
}

void mma_16x8x16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    const int g = gpu_lane() / 4, t = gpu_lane() % 4;
    uint32_t mine[6] = { a[0], a[1], a[2], a[3], b[0], b[1] };
    memcpy(gpu_warp_slot(gpu_lane()), mine, sizeof mine);
    gpu_warp_barrier();

    for (int i = 0; i < 4; i++) {
        const int row_half = i / 2, column = 2 * t + i % 2;
        for (int k = 0; k < 16; k++) {
            /* element (row, k) of a is with lane (row % 8, k % 8 / 2); (k, column) of b likewise */
            uint32_t fa[6], fb[6];
            memcpy(fa, gpu_warp_slot(g * 4 + k % 8 / 2), sizeof fa);
            memcpy(fb, gpu_warp_slot(column * 4 + k % 8 / 2), sizeof fb);
            d[i] += half_of(fa[row_half + 2 * (k / 8)], k % 2) * half_of(fb[4 + k / 8], k % 2);
        }
    }

    gpu_warp_barrier();
}
