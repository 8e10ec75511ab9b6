/* table - the CPU backend's operations, as device_open hands them out. */
#pragma once

#include "kernels/ops.h"

extern const struct ops CPU_OPS;
extern const char *const CPU_ISA; /* what it was compiled for: "avx512", "avx2", "sse" */
