/* SPDX-License-Identifier: MIT */
#include "base/half.h"

#include <string.h>

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float half_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | mantissa << 13);            /* infinities and NaNs */
    if (exponent == 0) return from_bits(sign | 0x3f800000u) * (float)mantissa * 0x1p-24f; /* subnormal, or a zero */
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13); /* the biases differ by 127 - 15 */
}
