/* SPDX-License-Identifier: MIT */
/* op_scratch - the scratch memory that one operation takes for itself and gives back when it is done: what has to be
 * left beside the arrays it is given. Of the CPU's operations; a GPU's take about as much. */
#pragma once

#include "kernels/device.h"

/* y, dx or dW of a product with W [N, K] over M rows, whichever takes the most. */
size_t linear_scratch_bytes(const device *dev, int M, int N, int K);
/* head over T rows of which `kept` logits are the caller's, and head_backward. */
size_t head_scratch_bytes(const device *dev, int T, int V, int D, int kept);
size_t head_backward_scratch_bytes(const device *dev, int T, int V, int D);
