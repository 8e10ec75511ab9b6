/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <string.h>

/* XXH64 as its specification (XXH "xxHash fast digest algorithm", doc version 0.2) writes it. */
static const uint64_t P1 = 0x9e3779b185ebca87u, P2 = 0xc2b2ae3d27d4eb4fu, P3 = 0x165667b19e3779f9u,
                      P4 = 0x85ebca77c2b2ae63u, P5 = 0x27d4eb2f165667c5u;

static uint64_t rotl(uint64_t x, int by) { return x << by | x >> (64 - by); }

static uint64_t read64(const unsigned char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static uint32_t read32(const unsigned char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static uint64_t lane_round(uint64_t lane, uint64_t input) { return rotl(lane + input * P2, 31) * P1; }

static uint64_t merge(uint64_t h, uint64_t lane) { return (h ^ lane_round(0, lane)) * P1 + P4; }

static uint64_t avalanche(uint64_t h)
{
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

/* Four lanes of 8 bytes each (XXH64, step 1). Lane 2 holds the seed itself until the first stripe. */
hash_run hash_begin(uint64_t seed) { return (hash_run){ .lane = { seed + P1 + P2, seed + P2, seed, seed - P1 } }; }

void hash_stripes(hash_run *r, const void *data, size_t len)
{
    const unsigned char *p = data, *end = p + len;
    for (; end - p >= HASH_STRIPE; p += HASH_STRIPE)
        for (int i = 0; i < 4; i++) r->lane[i] = lane_round(r->lane[i], read64(p + 8 * i));
    r->len += len;
}

/* The lanes brought together (step 3); without a stripe there is only the seed. */
static uint64_t join_lanes(const hash_run *r)
{
    const uint64_t *lane = r->lane;
    if (r->len < HASH_STRIPE) return lane[2] + P5;
    uint64_t h = rotl(lane[0], 1) + rotl(lane[1], 7) + rotl(lane[2], 12) + rotl(lane[3], 18);
    for (int i = 0; i < 4; i++) h = merge(h, lane[i]);
    return h;
}

uint64_t hash_end(hash_run *r, const void *rest, size_t len)
{
    const size_t whole = len - len % HASH_STRIPE;
    if (whole > 0) hash_stripes(r, rest, whole);
    uint64_t h = join_lanes(r) + r->len + len - whole;
    if (len == whole) return avalanche(h);

    /* What is left behind the stripes: by 8 bytes, by 4, one by one. */
    const unsigned char *p = (const unsigned char *)rest + whole, *end = (const unsigned char *)rest + len;
    for (; end - p >= 8; p += 8) h = rotl(h ^ lane_round(0, read64(p)), 27) * P1 + P4;
    if (end - p >= 4) {
        h = rotl(h ^ read32(p) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) h = rotl(h ^ *p * P5, 11) * P1;
    return avalanche(h);
}

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
    hash_run r = hash_begin(seed);
    return hash_end(&r, data, len);
}

uint64_t hash_combine(uint64_t a, uint64_t b) { return hash_bytes(&(uint64_t[2]){ a, b }, 16, 0); }

void hash_hex(uint64_t hash, char out[17])
{
    for (int i = 0; i < 16; i++) out[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    out[16] = '\0';
}
