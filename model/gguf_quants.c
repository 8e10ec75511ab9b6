/* SPDX-License-Identifier: MIT */
/* Compiled without contraction (model/CMakeLists.txt): d q + m is two roundings, as numpy does it. */
#include "model/gguf_quants.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/half.h"

enum { SMALL = 32, SUPER = 256, GROUP = 16 };

static float half_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return half_to_f32(h);
}

/* ---- plain numbers ---- */

static void from_f32(const unsigned char *b, float *out) { memcpy(out, b, sizeof *out); }
static void from_f16(const unsigned char *b, float *out) { *out = half_at(b); }

static void from_bf16(const unsigned char *b, float *out)
{
    uint16_t h;
    memcpy(&h, b, sizeof h);
    const uint32_t bits = (uint32_t)h << 16;
    memcpy(out, &bits, sizeof bits);
}

/* ---- blocks of 32: the low halves of 16 bytes are the first 16 numbers, the high halves the others ---- */

static int nibble(const unsigned char *qs, int i) { return i < SMALL / 2 ? qs[i] & 15 : qs[i - SMALL / 2] >> 4; }

static void from_q4_0(const unsigned char *b, float *out)
{
    const float d = half_at(b);
    for (int i = 0; i < SMALL; i++) out[i] = d * (float)(nibble(b + 2, i) - 8);
}

static void from_q4_1(const unsigned char *b, float *out)
{
    const float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < SMALL; i++) out[i] = d * (float)nibble(b + 4, i) + m;
}

/* The fifth bit of number i is bit i of four bytes. */
static int five_bits(const unsigned char *qh, const unsigned char *qs, int i)
{
    return nibble(qs, i) | (qh[i / 8] >> i % 8 & 1) << 4;
}

static void from_q5_0(const unsigned char *b, float *out)
{
    const float d = half_at(b);
    for (int i = 0; i < SMALL; i++) out[i] = d * (float)(five_bits(b + 2, b + 6, i) - 16);
}

static void from_q5_1(const unsigned char *b, float *out)
{
    const float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < SMALL; i++) out[i] = d * (float)five_bits(b + 4, b + 8, i) + m;
}

static void from_q8_0(const unsigned char *b, float *out)
{
    const float d = half_at(b);
    for (int i = 0; i < SMALL; i++) out[i] = (float)(int8_t)b[2 + i] * d;
}

/* ---- super-blocks of 256 ---- */

/* scales[16]: 4 bits of scale, 4 of offset; qs[64]: four numbers of two bits a byte, 128 numbers for each 32 bytes. */
static int two_bits(const unsigned char *qs, int i) { return qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

static void from_q2_k(const unsigned char *b, float *out)
{
    const unsigned char *scales = b, *qs = b + 16;
    const float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int i = 0; i < SUPER; i++) {
        const float scale = d * (float)(scales[i / GROUP] & 15), offset = dmin * (float)(scales[i / GROUP] >> 4);
        out[i] = scale * (float)two_bits(qs, i) - offset;
    }
}

/* Sixteen scales of six bits: the low four in eight bytes, the high two in four more. */
static int six_bit_scale(const unsigned char *scales, int g)
{
    const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    const int high = scales[8 + g % 4] >> g / 4 * 2 & 3;
    return (low | high << 4) - 32;
}

/* hmask[32]: where a number's bit is not set, 4 goes off it. */
static void from_q3_k(const unsigned char *b, float *out)
{
    const unsigned char *hmask = b, *qs = b + 32, *scales = b + 96;
    const float d = half_at(b + 108);
    for (int i = 0; i < SUPER; i++) {
        const int high = hmask[i % 32] >> i / 32 & 1;
        const float scale = d * (float)six_bit_scale(scales, i / GROUP);
        out[i] = scale * (float)(two_bits(qs, i) - (high ? 0 : 4));
    }
}

/* Eight scales and eight offsets of six bits in twelve bytes: the first four of each plain, the low halves of the last
 * four in bytes 8 to 11, their high bits above the first four. */
static void scale_and_offset(const unsigned char *scales, int g, int *scale, int *offset)
{
    if (g < 4) {
        *scale = scales[g] & 63;
        *offset = scales[g + 4] & 63;
        return;
    }
    *scale = (scales[g + 4] & 15) | (scales[g - 4] >> 2 & 0x30);
    *offset = scales[g + 4] >> 4 | (scales[g] >> 2 & 0x30);
}

/* 64 numbers for each 32 bytes: low halves first. */
static int four_bits(const unsigned char *qs, int i) { return qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15; }

static void from_q4_k(const unsigned char *b, float *out)
{
    const float d = half_at(b), dmin = half_at(b + 2);
    for (int i = 0; i < SUPER; i++) {
        int scale, offset;
        scale_and_offset(b + 4, i / SMALL, &scale, &offset);
        const float s = d * (float)scale, m = dmin * (float)offset;
        out[i] = s * (float)four_bits(b + 16, i) - m;
    }
}

/* qh[32]: the fifth bit of number i is bit i / 32 of byte i % 32. */
static void from_q5_k(const unsigned char *b, float *out)
{
    const unsigned char *qh = b + 16, *qs = b + 48;
    const float d = half_at(b), dmin = half_at(b + 2);
    for (int i = 0; i < SUPER; i++) {
        int scale, offset;
        scale_and_offset(b + 4, i / SMALL, &scale, &offset);
        const float s = d * (float)scale, m = dmin * (float)offset;
        out[i] = s * (float)(four_bits(qs, i) | (qh[i % 32] >> i / 32 & 1) << 4) - m;
    }
}

/* 128 numbers for each 64 bytes of low halves and 32 bytes of high bits; sixteen scales of eight bits. */
static void from_q6_k(const unsigned char *b, float *out)
{
    const unsigned char *ql = b, *qh = b + 128, *scales = b + 192;
    const float d = half_at(b + 208);
    for (int i = 0; i < SUPER; i++) {
        const int low = ql[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
        const int high = qh[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        const float scale = d * (float)(int8_t)scales[i / GROUP];
        out[i] = scale * (float)((low | high << 4) - 32);
    }
}

/* ---- the table, by GGUF's numbers ---- */

static const gguf_quant QUANTS[] = {
    [0] = { "F32", 1, 4, from_f32 },          [1] = { "F16", 1, 2, from_f16 },
    [2] = { "Q4_0", SMALL, 18, from_q4_0 },   [3] = { "Q4_1", SMALL, 20, from_q4_1 },
    [6] = { "Q5_0", SMALL, 22, from_q5_0 },   [7] = { "Q5_1", SMALL, 24, from_q5_1 },
    [8] = { "Q8_0", SMALL, 34, from_q8_0 },   [10] = { "Q2_K", SUPER, 84, from_q2_k },
    [11] = { "Q3_K", SUPER, 110, from_q3_k }, [12] = { "Q4_K", SUPER, 144, from_q4_k },
    [13] = { "Q5_K", SUPER, 176, from_q5_k }, [14] = { "Q6_K", SUPER, 210, from_q6_k },
    [30] = { "BF16", 1, 2, from_bf16 },
};

/* Known by name alone. */
static const char *const OTHERS[] = {
    [9] = "Q8_1",    [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S",
    [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",   [23] = "IQ4_XS", [24] = "I8",      [25] = "I16",
    [26] = "I32",    [27] = "I64",   [28] = "F64",     [29] = "IQ1_M",  [34] = "TQ1_0",   [35] = "TQ2_0",
    [39] = "MXFP4",  [40] = "NVFP4", [41] = "Q1_0",
};

const gguf_quant *gguf_quant_of(uint32_t type)
{
    return type < sizeof QUANTS / sizeof *QUANTS && QUANTS[type].name ? &QUANTS[type] : NULL;
}

const char *gguf_type_name(uint32_t type)
{
    const gguf_quant *quant = gguf_quant_of(type);
    if (quant) return quant->name;
    const bool known = type < sizeof OTHERS / sizeof *OTHERS && OTHERS[type];
    return known ? OTHERS[type] : "an unknown type";
}

void gguf_to_f32(const gguf_quant *quant, const unsigned char *data, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i += quant->values, data += quant->bytes) quant->to_f32(data, out + i);
}
