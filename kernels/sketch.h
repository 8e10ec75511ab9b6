/* SPDX-License-Identifier: MIT */
/* sketch - a vector's shadow of 64 numbers that keeps lengths and angles, as well as 64 numbers can (Charikar et al.
 * 2002): element i is added to bin i % 64 with a sign of its own. The signs of 64 elements in a row are the bits of
 * splitmix64. For all backends; internal to kernels/. */
#pragma once

#include <stdint.h>

#if defined __CUDACC__
#define SKETCH_FN static inline __host__ __device__
#else
#define SKETCH_FN static inline
#endif

SKETCH_FN uint64_t sketch_signs(uint64_t seed, int64_t row_of_64)
{
    uint64_t x = seed + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)row_of_64 + 1);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
