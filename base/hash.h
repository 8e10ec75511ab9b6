/* SPDX-License-Identifier: MIT */
/* hash - 64-bit content hash (XXH64), for weights, prefixes and caches; not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);
uint64_t hash_combine(uint64_t a, uint64_t b); /* order matters */
void hash_hex(uint64_t hash, char out[17]);
