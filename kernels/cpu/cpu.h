/* SPDX-License-Identifier: MIT */
/* cpu - what the compute files of the CPU backend share: the functions of ops.def, cpu_NAME each.
 *
 * These files are compiled once for each instruction set (CPU_ISA is base, avx2, avx512, avx512bf16 or amx: see
 * CMakeLists.txt) and cpu_open takes the best table this processor runs. So each function's name gets the instruction
 * set's after it: cpu_rope becomes cpu_rope_avx2. CMakeLists.txt reads ops.def for that, since a macro can't make
 * one. */
#pragma once

#include "kernels/cpu/cpu_device.h"

#if !defined CPU_ISA
#define CPU_ISA base
#endif
#define ISA_NAME_(name, isa) name##_##isa
#define ISA_NAME(name, isa) ISA_NAME_(name, isa)

#define OP(type, name, parameters) type cpu_##name parameters;
#include "kernels/ops.def"
#undef OP
