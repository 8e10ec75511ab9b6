/* SPDX-License-Identifier: MIT */
/* The list of the CPU's tables, one for each instruction set that CMakeLists.txt compiles; the best one first. */
#include "kernels/cpu/table.h"

extern const struct cpu_table CPU_TABLE_base;
#if defined __x86_64__
extern const struct cpu_table CPU_TABLE_avx2, CPU_TABLE_avx512, CPU_TABLE_avx512bf16, CPU_TABLE_amx;
const struct cpu_table *const CPU_TABLES[] = { &CPU_TABLE_amx, &CPU_TABLE_avx512bf16, &CPU_TABLE_avx512,
                                               &CPU_TABLE_avx2, &CPU_TABLE_base };
#else
const struct cpu_table *const CPU_TABLES[] = { &CPU_TABLE_base };
#endif
const int N_CPU_TABLES = sizeof CPU_TABLES / sizeof *CPU_TABLES;
