/* SPDX-License-Identifier: MIT */
/* rng - counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011).
 *
 * No state to carry: the same key and counter give the same number in whatever process, batch or order. That is what
 * makes an episode the same whichever actor plays it. */
#pragma once

#include <stdint.h>

typedef struct rng_key {
    uint64_t seed, stream; /* stream: e.g. the group id */
} rng_key;

/* 128 random bits for (key, counter hi, counter lo). */
void rng_philox(rng_key key, uint64_t hi, uint64_t lo, uint32_t out[4]);
double rng_uniform(rng_key key, uint64_t hi, uint64_t lo);             /* [0, 1), 53 bits */
uint64_t rng_below(rng_key key, uint64_t hi, uint64_t lo, uint64_t n); /* [0, n), n > 0 */
double rng_normal(rng_key key, uint64_t hi, uint64_t lo);              /* standard normal */
/* order[0..n) becomes a permutation of 0..n-1 that depends on the key alone. */
void rng_permutation(rng_key key, uint64_t *order, uint64_t n);
