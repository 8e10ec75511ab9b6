/* SPDX-License-Identifier: MIT */
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

/* A register's worth: a v16 is REGS of them. GCC keeps a variable that is wider than a register in memory, and each
 * step of a sum then waits for its last store (8 times the time, measured with AVX2): loops that carry sums carry
 * registers. */
#if defined __AVX512F__
enum { REGS = 1 };
#define ALL_OF(a) a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a
#elif defined __AVX__
enum { REGS = 2 };
#define ALL_OF(a) a, a, a, a, a, a, a, a
#else
enum { REGS = 4 };
#define ALL_OF(a) a, a, a, a
#endif
enum { REG = 16 / REGS };
typedef float reg __attribute__((vector_size(64 / REGS)));
typedef int32_t regi __attribute__((vector_size(64 / REGS)));

static inline reg reg_load(const float *p)
{
    reg v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void reg_store(float *p, reg v) { memcpy(p, &v, sizeof v); }
static inline reg reg_set(float a) { return (reg){ ALL_OF(a) }; }

static inline reg reg_max(reg a, reg b)
{
    const regi above = a > b;
    return (reg)((((regi)a) & above) | (((regi)b) & ~above));
}

static inline __attribute__((always_inline)) void regs_zero(reg to[REGS])
{
#pragma GCC unroll 4
    for (int i = 0; i < REGS; i++) to[i] = reg_set(0);
}

/* Sixteen floats in registers, of which `left` exist: zeros for the others. */
static inline __attribute__((always_inline)) void regs_load(reg to[REGS], const float *p, int left)
{
    float some[16] = { 0 };
    if (left < 16) {
        if (left > 0) memcpy(some, p, sizeof(float) * (size_t)left);
        p = some;
    }
#pragma GCC unroll 4
    for (int i = 0; i < REGS; i++) to[i] = reg_load(p + i * REG);
}

static inline __attribute__((always_inline)) void regs_store(float *p, const reg v[REGS], int left)
{
    float some[16];
    float *to = left >= 16 ? p : some;
#pragma GCC unroll 4
    for (int i = 0; i < REGS; i++) reg_store(to + i * REG, v[i]);
    if (left > 0 && left < 16) memcpy(p, some, sizeof(float) * (size_t)left);
}

static inline v16 v16_load(const float *p)
{
    v16 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v16_store(float *p, v16 v) { memcpy(p, &v, sizeof v); }
static inline v16 v16_set(float a) { return (v16){ a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a }; }

/* Loads n < 16 floats, zeros after them. */
static inline v16 v16_load_n(const float *p, int n)
{
    v16 v = { 0 };
    memcpy(&v, p, sizeof(float) * (size_t)n);
    return v;
}

/* As many of sixteen floats as n says, zeros after them; n may be 0 or less. */
static inline v16 v16_load_some(const float *p, int n) { return n >= 16 ? v16_load(p) : v16_load_n(p, n > 0 ? n : 0); }

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
    float largest = v[0];
    for (int i = 1; i < 16; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

/* r[i][j] <-> r[j][i]: rows 1, 2, 4 and 8 apart change what lies across the diagonal. Lists of indices: `low` takes
 * from both rows what the upper one keeps and gets. */
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define TRANSPOSE_ROUND(r, away, low, high)                                                                            \
    for (int i_ = 0; i_ < 16; i_++)                                                                                    \
        if (!(i_ & (away))) {                                                                                          \
            const v16 a_ = (r)[i_], b_ = (r)[i_ + (away)];                                                             \
            (r)[i_] = SHUFFLE(a_, b_, low);                                                                            \
            (r)[i_ + (away)] = SHUFFLE(a_, b_, high);                                                                  \
        }
#define LOW_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31

static inline void v16_transpose(v16 r[16])
{
    TRANSPOSE_ROUND(r, 1, LOW_1, HIGH_1)
    TRANSPOSE_ROUND(r, 2, LOW_2, HIGH_2)
    TRANSPOSE_ROUND(r, 4, LOW_4, HIGH_4)
    TRANSPOSE_ROUND(r, 8, LOW_8, HIGH_8)
}

/* exp to about 1 ulp: 2^n times a polynomial on [-ln2/2, ln2/2] (Cephes' coefficients); underflows to 0 below -87. */
static inline reg reg_exp(reg x)
{
    const reg low = reg_set(-87.3f), high = reg_set(88.3f);
    const regi under = x<low, over = x> high;
    x = (reg)((((regi)low) & under) | (((regi)x) & ~under));
    x = (reg)((((regi)high) & over) | (((regi)x) & ~over));

    /* n = round(x / ln 2), r = x - n ln 2 in two steps: the first factor has few bits, so n times it is exact. */
    const reg shift = reg_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    const reg n = (x * reg_set(1.44269504088896341f) + shift) - shift;
    reg r = x - n * reg_set(0.693359375f);
    r = r - n * reg_set(-2.12194440e-4f);

    reg p = reg_set(1.9875691500e-4f);
    p = p * r + reg_set(1.3981999507e-3f);
    p = p * r + reg_set(8.3334519073e-3f);
    p = p * r + reg_set(4.1665795894e-2f);
    p = p * r + reg_set(1.6666665459e-1f);
    p = p * r + reg_set(5.0000001201e-1f);
    p = p * (r * r) + r + reg_set(1.0f);

    /* 2^n goes together from its exponent's bits. */
    const regi exponent = (__builtin_convertvector(n, regi) + 127) << 23;
    const reg result = p * (reg)exponent;
    return (reg)((regi)result & ~under);
}

static inline v16 v16_exp(v16 x)
{
    v16 y = { 0 };
#pragma GCC unroll 4
    for (int i = 0; i < REGS; i++) {
        reg r;
        memcpy(&r, (const float *)&x + i * REG, sizeof r);
        r = reg_exp(r);
        memcpy((float *)&y + i * REG, &r, sizeof r);
    }
    return y;
}

static inline float scalar_exp(float x)
{
    const v16 v = v16_exp(v16_set(x));
    return v[0];
}

/* Sum over d of a[d] b[d], sixteen partial sums then a tree: one order for every row. */
static inline float v16_dot(const float *a, const float *b, int D)
{
    reg sums[REGS];
    regs_zero(sums);
    for (int d = 0; d < D; d += 16) {
        reg x[REGS], y[REGS];
        regs_load(x, a + d, D - d);
        regs_load(y, b + d, D - d);
#pragma GCC unroll 4
        for (int i = 0; i < REGS; i++) sums[i] = x[i] * y[i] + sums[i];
    }

    v16 sum;
    memcpy(&sum, sums, sizeof sum);
    return v16_sum(sum);
}
