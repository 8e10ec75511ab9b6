/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <math.h>

#include "base/hash.h"

/* Philox4x32-10, Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011),
 * section 3.3. */
static const uint32_t M0 = 0xd2511f53u, M1 = 0xcd9e8d57u, W0 = 0x9e3779b9u, W1 = 0xbb67ae85u;

static void philox_block(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++, k0 += W0, k1 += W1) {
        uint64_t a = (uint64_t)M0 * c[0], b = (uint64_t)M1 * c[2];
        uint32_t next0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, next2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = next0;
        c[2] = next2;
    }
}

/* Philox has a 64-bit key and we have 128 bits of one. Stream 0 is the seed itself (so that the published vectors can
 * be checked through this very function); any other stream is mixed into it by the content hash. */
void rng_philox(rng_key key, uint64_t hi, uint64_t lo, uint32_t out[4])
{
    uint64_t k = key.stream == 0 ? key.seed : hash_combine(key.seed, key.stream);
    out[0] = (uint32_t)lo;
    out[1] = (uint32_t)(lo >> 32);
    out[2] = (uint32_t)hi;
    out[3] = (uint32_t)(hi >> 32);
    philox_block(out, (uint32_t)k, (uint32_t)(k >> 32));
}

static uint64_t word(const uint32_t out[4], int i) { return (uint64_t)out[2 * i + 1] << 32 | out[2 * i]; }

static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

double rng_uniform(rng_key key, uint64_t hi, uint64_t lo)
{
    uint32_t out[4];
    rng_philox(key, hi, lo, out);
    return unit(word(out, 0));
}

/* The high word of a 64x64 product. With 64 random bits the bias is below n / 2^64: no rejection, so that one counter
 * is one number. */
uint64_t rng_below(rng_key key, uint64_t hi, uint64_t lo, uint64_t n)
{
    uint32_t out[4];
    rng_philox(key, hi, lo, out);
    return (uint64_t)((unsigned __int128)word(out, 0) * n >> 64);
}

double rng_normal(rng_key key, uint64_t hi, uint64_t lo)
{
    uint32_t out[4];
    rng_philox(key, hi, lo, out);
    double radius = sqrt(-2 * log(1 - unit(word(out, 0)))); /* 1 - u is in (0, 1]: the logarithm is finite */
    return radius * cos(6.283185307179586 * unit(word(out, 1)));
}

/* Fisher-Yates; the counter's high word sets these draws apart from the key's other uses. */
void rng_permutation(rng_key key, uint64_t *order, uint64_t n)
{
    const uint64_t permutation = 0x7065726d75746174u;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = rng_below(key, permutation, i, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
