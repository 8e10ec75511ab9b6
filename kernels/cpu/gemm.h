/* SPDX-License-Identifier: MIT */
/* gemm - what the linear products share with the head, and the bf16 products behind PRECISION_BF16: factors rounded to
 * bf16 (to nearest even), sums in fp32.
 *
 * Where the CPU has tile registers (AMX) or bf16 dot products (avx512_bf16) those are used; elsewhere the same numbers
 * go through fp32 multiply-adds. An element's sum never depends on the number of rows. AMX, AVX-512, AVX2 and the
 * portable loop add in AMX's order and agree to the bit (but for denormal numbers, which AMX flushes); the avx512_bf16
 * dot product adds in its own. Scratch is the caller's to rewind. */
#pragma once

#include "kernels/cpu/cpu.h"

#define bf16_packed_bytes ISA_NAME(bf16_packed_bytes, CPU_ISA)
#define bf16_pack ISA_NAME(bf16_pack, CPU_ISA)
#define bf16_linears ISA_NAME(bf16_linears, CPU_ISA)
#define gemm_dx ISA_NAME(gemm_dx, CPU_ISA)
#define bf16_linear_dw ISA_NAME(bf16_linear_dw, CPU_ISA)

/* The part of a product that item i of a loop over all parts' panels falls into; *i becomes the panel within it. */
static inline const linear_part *part_of_panel(const linear_part *parts, int n, int panel_columns, int *i)
{
    while (n-- > 1) {
        const int panels = (parts->N + panel_columns - 1) / panel_columns;
        if (*i < panels) break;
        *i -= panels;
        parts++;
    }
    return parts;
}

static inline int panels_of_parts(const linear_part *parts, int n, int panel_columns)
{
    int panels = 0;
    for (int i = 0; i < n; i++) panels += (parts[i].N + panel_columns - 1) / panel_columns;
    return panels;
}

/* linear_dx with W^T packed already (cpu_linear_transpose). */
void gemm_dx(device *dev, const float *dy, int M, const void *packed, int N, int K, float *dx);

size_t bf16_packed_bytes(int N, int K);
/* Element (n, k) of W lies at w[n * row + k * column]. */
void bf16_pack(device *dev, const float *w, int N, int K, size_t row, size_t column, void *packed);
void bf16_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n);
void bf16_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw);
