/* SPDX-License-Identifier: MIT */
/* gguf_quants - llama.cpp's number formats -> fp32, to the bit what its Python package gives.
 *
 * Numbers lie in blocks that share scales. Q4_0 to Q8_0 have 32 to a block and a half-precision scale d (and, in the
 * _1 kinds, an offset m): x = d q or d q + m. The K kinds have super-blocks of 256 with 8 or 16 scales of 4 to 8
 * bits, themselves scaled by d (and offsets by dmin): x = (d s) q - (dmin m). */
#pragma once

#include <stdint.h>

typedef struct gguf_quant {
    const char *name;
    int values, bytes; /* of a block */
    void (*to_f32)(const unsigned char *block, float *out);
} gguf_quant;

/* NULL: a type that is not converted. */
const gguf_quant *gguf_quant_of(uint32_t type);
const char *gguf_type_name(uint32_t type); /* "IQ4_XS" */
/* out[n]; n: a multiple of the block's values. */
void gguf_to_f32(const gguf_quant *quant, const unsigned char *data, float *out, int64_t n);
