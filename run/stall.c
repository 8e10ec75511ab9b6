/* SPDX-License-Identifier: MIT */
#include "run/stall.h"

#include <time.h>

/* A thread that only wakes up and sleeps again uses a little. */
enum { A_LITTLE_MS = 20 };

int64_t stall_cpu_ms(pthread_t thread)
{
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &t) != 0) return -1;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t stall_look(stall *s, int64_t cpu_ms, int64_t now_ms)
{
    if (cpu_ms < 0) return s->since_ms = 0;

    /* Against what it had when it last moved, not against the last look: little by little it moves, too. */
    if (s->since_ms == 0 || cpu_ms > s->cpu_ms + A_LITTLE_MS) *s = (stall){ now_ms, cpu_ms };
    return now_ms - s->since_ms;
}
