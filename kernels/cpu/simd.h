/* simd - sixteen floats at a time, by the compiler's own vector types: one source for every width this CPU has.
 *
 * Files that use it are compiled with -ffp-contract=fast, so a * b + c is one rounding where the CPU has FMA. Every
 * lane and every tile shape goes through the same expressions: that is what makes results independent of position and
 * batch. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));

static inline v16 v16_load(const float *p)
{
    v16 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v16_store(float *p, v16 v) { memcpy(p, &v, sizeof v); }
static inline v16 v16_set(float a) { return (v16){ a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a }; }

/* Loads n < 16 floats, zeros behind them. */
static inline v16 v16_load_n(const float *p, int n)
{
    v16 v = { 0 };
    memcpy(&v, p, sizeof(float) * (size_t)n);
    return v;
}

static inline float v16_sum(v16 v)
{
    float lanes[16];
    memcpy(lanes, &v, sizeof v);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; i++) lanes[i] += lanes[i + step];
    return lanes[0];
}

static inline v16 v16_max(v16 a, v16 b)
{
    const v16i above = a > b;
    return (v16)((((v16i)a) & above) | (((v16i)b) & ~above));
}

static inline float v16_highest(v16 v)
{
    float most = v[0];
    for (int i = 1; i < 16; i++) most = v[i] > most ? v[i] : most;
    return most;
}

/* exp to about 1 ulp: 2^n times a polynomial on [-ln2/2, ln2/2] (Cephes' coefficients); underflows to 0 below -87. */
static inline v16 v16_exp(v16 x)
{
    const v16 low = v16_set(-87.3f), high = v16_set(88.3f);
    const v16i under = x<low, over = x> high;
    x = (v16)((((v16i)low) & under) | (((v16i)x) & ~under));
    x = (v16)((((v16i)high) & over) | (((v16i)x) & ~over));
    const v16 shift = v16_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    const v16 n = (x * v16_set(1.44269504088896341f) + shift) - shift;
    v16 r = x - n * v16_set(0.693359375f);
    r = r - n * v16_set(-2.12194440e-4f);
    v16 p = v16_set(1.9875691500e-4f);
    p = p * r + v16_set(1.3981999507e-3f);
    p = p * r + v16_set(8.3334519073e-3f);
    p = p * r + v16_set(4.1665795894e-2f);
    p = p * r + v16_set(1.6666665459e-1f);
    p = p * r + v16_set(5.0000001201e-1f);
    p = p * (r * r) + r + v16_set(1.0f);
    const v16i exponent = (__builtin_convertvector(n, v16i) + 127) << 23;
    const v16 result = p * (v16)exponent;
    return (v16)((v16i)result & ~under);
}

static inline float scalar_exp(float x)
{
    const v16 v = v16_exp(v16_set(x));
    return v[0];
}
