/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/table.h"

#define OP(type, name, parameters) .name = cpu_##name,
static const struct ops OPS = {
#include "kernels/ops.def"
};
#undef OP

#define CPU_TABLE ISA_NAME(CPU_TABLE, CPU_ISA)
#define ISA_TEXT_(isa) #isa
#define ISA_TEXT(isa) ISA_TEXT_(isa)
extern const struct cpu_table CPU_TABLE;
const struct cpu_table CPU_TABLE = { .isa = ISA_TEXT(CPU_ISA), .ops = &OPS };
