/* SPDX-License-Identifier: MIT */
/* clock - monotonic time in ms and us, and the wall clock for people. Pure code takes time as an argument instead. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t clock_ms(void);
int64_t clock_us(void);
int64_t clock_cpu_us(void); /* that this thread has used */
int64_t clock_unix_ms(void);
void clock_iso8601(int64_t unix_ms, char *out, size_t size); /* "2026-01-31T12:00:00Z" */
