/* SPDX-License-Identifier: MIT */
/* table - the CPU backend's operations, once for each instruction set they were compiled for, the best first. */
#pragma once

#include "kernels/ops.h"

struct cpu_table {
    const char *isa;
    const struct ops *ops;
};

extern const struct cpu_table *const CPU_TABLES[];
extern const int N_CPU_TABLES;
