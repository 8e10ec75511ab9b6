/* SPDX-License-Identifier: MIT */
/* hash - 64-bit content hash (XXH64), for weights, prefixes and caches; not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);

/* The same of bytes that come piece by piece: whole stripes first, then the rest. */
enum { HASH_STRIPE = 32 };
typedef struct hash_run {
    uint64_t lane[4], len;
} hash_run;
hash_run hash_begin(uint64_t seed);
void hash_stripes(hash_run *r, const void *data, size_t len); /* len: a multiple of HASH_STRIPE */
/* The hash with the last `len` bytes, fewer than a stripe or any number. */
uint64_t hash_end(hash_run *r, const void *rest, size_t len);

uint64_t hash_combine(uint64_t a, uint64_t b); /* order matters */
void hash_hex(uint64_t hash, char out[17]);
