/* SPDX-License-Identifier: MIT */
/* report - what `troupe bench` prints: figures for people or JSON, and those of another program beside them.
 *
 *     cpu (avx2, 2 threads)                11900 tokens/s       183 MiB
 *     torch 2.1                             9800 tokens/s       410 MiB
 *     ratio 1.21, memory 0.45 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "bench/bench.h"

typedef struct bench_call {
    bench_kind kind;
    bench_request request;
    const char *peer; /* a command (bench/peer.h), asked before we measure ourselves; NULL: none */
    bool json;
} bench_call;

/* Measures and prints. Fails where the peer or a measurement does. */
int bench_report(FILE *out, const bench_call *c, error *err);
