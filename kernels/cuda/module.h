/* SPDX-License-Identifier: MIT */
/* module - what libtroupe_cuda.so exports: one symbol. The program opens the module at run time, so that one binary
 * runs with and without CUDA. Plain C, so that the loader needs no CUDA header. */
#pragma once

#include <stddef.h>

#include "kernels/device.h"

#define TROUPE_CUDA_SYMBOL "troupe_cuda_v1"
enum { TROUPE_CUDA_VERSION = 8 }; /* changes with kernels/ops.def, ops.h and backend.h: both sides are built together */

struct troupe_cuda_module {
    int version;
    int (*devices)(void); /* how many there are; 0 without a driver */
    /* NULL and a sentence in `why` where there is none. */
    device *(*open)(int index, char *why, size_t size);
};
