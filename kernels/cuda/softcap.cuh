/* SPDX-License-Identifier: MIT */
/* softcap - cap tanh(x / cap), of scores and of logits; cap 0: none. */
#pragma once

#include <math.h>

#include "kernels/cuda/cuda_device.h"

GPU_DEVICE float capped(float x, float cap) { return cap > 0 ? cap * tanhf(x / cap) : x; }

/* What a cotangent is multiplied by, from the capped value. */
GPU_DEVICE float cap_derivative(float y, float cap) { return cap > 0 ? 1.0f - y / cap * (y / cap) : 1.0f; }
