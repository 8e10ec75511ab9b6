/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }

int64_t clock_us(void) { return read_us(CLOCK_MONOTONIC); }

int64_t clock_cpu_us(void) { return read_us(CLOCK_THREAD_CPUTIME_ID); }

int64_t clock_unix_ms(void) { return read_us(CLOCK_REALTIME) / 1000; }

void clock_iso8601(int64_t unix_ms, char *out, size_t size)
{
    if (size == 0) return;
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    out[0] = '\0';
    if (gmtime_r(&seconds, &utc) && strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) out[0] = '\0';
}
