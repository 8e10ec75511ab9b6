/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/str.h"

enum { SPIN_US = 60, SPINS_A_LOOK = 64, CACHE_LINE = 64, MAX_THREADS = 256, TICK_MS = 100 };

/* The loop under way in one word: bit 31 says that it can still be joined, the bits below count who has. */
static const uint32_t OPEN = UINT32_C(1) << 31;

struct pool {
    _Alignas(CACHE_LINE) _Atomic uint32_t epoch; /* counts loops; what sleepers wait on */
    _Alignas(CACHE_LINE) _Atomic uint32_t state; /* OPEN | workers inside */
    _Alignas(CACHE_LINE) _Atomic int64_t next;   /* first item that no worker has taken */
    _Atomic int sleepers;
    _Atomic bool over;
    pool_fn fn;
    void *ctx;
    int64_t n, grain;
    void (*tick)(void *ctx);
    void *tick_ctx;
    int64_t ticked_ms;
    int threads, started;
    pthread_t worker[MAX_THREADS];
};

typedef struct worker_start {
    pool *p;
    int thread;
    int core; /* -1: anywhere */
} worker_start;

static inline void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#else
    sched_yield();
#endif
}

/* By the coarse clock, which is read in a few nanoseconds: a small model's decode step has hundreds of pieces. */
static inline void say_alive(pool *p)
{
    struct timespec t;
    if (!p->tick) return;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    const int64_t now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (now_ms - p->ticked_ms < TICK_MS) return;
    p->ticked_ms = now_ms;
    p->tick(p->tick_ctx);
}

static void take_pieces(pool *p, int thread)
{
    for (;;) {
        const int64_t begin = atomic_fetch_add_explicit(&p->next, p->grain, memory_order_relaxed);
        if (begin >= p->n) return;
        const int64_t end = begin + p->grain < p->n ? begin + p->grain : p->n;
        p->fn(p->ctx, begin, end, thread);
        if (thread == 0) say_alive(p);
    }
}

/* Joins the loop unless it has been closed. A loop's fields are written before its state opens and stay until it has
 * closed with no worker inside. */
static void join(pool *p, int thread)
{
    uint32_t s = atomic_load_explicit(&p->state, memory_order_relaxed);
    do {
        if (!(s & OPEN)) return;
    } while (!atomic_compare_exchange_weak_explicit(&p->state, &s, s + 1, memory_order_acquire, memory_order_relaxed));

    take_pieces(p, thread);
    atomic_fetch_sub_explicit(&p->state, 1, memory_order_release);
}

/* Waits until a loop later than `seen` has begun: a while awake, then asleep. */
static uint32_t wait_for_loop(pool *p, uint32_t seen)
{
    const int64_t until = clock_us() + SPIN_US;
    for (int i = 0;; i++) {
        const uint32_t now = atomic_load_explicit(&p->epoch, memory_order_acquire);
        if (now != seen) return now;
        relax();
        if (i % SPINS_A_LOOK == 0 && clock_us() >= until) break;
    }

    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->epoch) == seen) syscall(SYS_futex, &p->epoch, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
    return atomic_load_explicit(&p->epoch, memory_order_acquire);
}

static void *work(void *arg)
{
    const worker_start start = *(worker_start *)arg;
    pool *p = start.p;
    free(arg);

    if (start.core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)start.core, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }

    for (uint32_t seen = 0; !atomic_load_explicit(&p->over, memory_order_acquire);) {
        seen = wait_for_loop(p, seen);
        join(p, start.thread);
    }
    return NULL;
}

static void announce(pool *p)
{
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->sleepers) > 0) syscall(SYS_futex, &p->epoch, FUTEX_WAKE_PRIVATE, p->threads, NULL, NULL, 0);
}

/* The i-th core this process may use; -1 unless it may use exactly `threads`: with more or fewer cores than workers the
 * scheduler places them better. */
static int core_of(int i, int threads)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) != threads) return -1;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, &set) && i-- == 0) return core;
    return -1;
}

static void start_workers(pool *p)
{
    /* Signals are for the program's own threads: workers inherit a mask that blocks them all. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);

    for (int i = 1; i < p->threads; i++) {
        worker_start *start = xmalloc(sizeof *start);
        *start = (worker_start){ .p = p, .thread = i, .core = core_of(i, p->threads) };
        if (pthread_create(&p->worker[i], NULL, work, start) != 0) {
            free(start); /* as many as there are; the loops don't depend on the number */
            break;
        }
        p->started = i;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

pool *pool_new(int threads)
{
    pool *p = aligned_alloc(CACHE_LINE, sizeof *p);
    if (!p) memory_exhausted(sizeof *p);
    if (threads < 1) threads = 1;
    *p = (pool){ .threads = threads > MAX_THREADS ? MAX_THREADS : threads };
    start_workers(p);
    return p;
}

void pool_free(pool *p)
{
    if (!p) return;
    atomic_store(&p->over, true);
    announce(p);
    for (int i = 1; i <= p->started; i++) pthread_join(p->worker[i], NULL);
    free(p);
}

void pool_set_tick(pool *p, void (*tick)(void *ctx), void *ctx)
{
    p->tick = tick;
    p->tick_ctx = ctx;
}

/* Closes the loop once no worker is inside any more. */
static void close_loop(pool *p)
{
    uint32_t open = OPEN;
    for (int i = 1;; i++) {
        if (atomic_compare_exchange_weak_explicit(&p->state, &open, 0, memory_order_acquire, memory_order_relaxed))
            return;
        open = OPEN; /* the exchange wrote there what it found */
        relax();
        if (i % 4096 == 0) sched_yield(); /* the other thread may need this very core */
    }
}

void pool_run(pool *p, int64_t n, int64_t grain, pool_fn fn, void *ctx)
{
    if (n <= 0) return;
    if (grain <= 0) grain = (n + p->threads - 1) / p->threads;
    say_alive(p);
    if (p->started == 0 || n <= grain) {
        fn(ctx, 0, n, 0);
        return;
    }

    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    p->grain = grain;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->state, OPEN, memory_order_release);

    announce(p);
    take_pieces(p, 0);
    close_loop(p);
}
