/* SPDX-License-Identifier: MIT */
/* finite - numbers that are not, found before they are in every weight for ever.
 *
 * A NaN in one moment or gradient is in all weights a few steps later, and a policy of NaNs earns nothing without a
 * word. So gradients are looked at before an update, weights and moments after it and when a checkpoint is opened: one
 * pass over the array, and only when that fails another one for the name. */
#pragma once

#include "base/error.h"
#include "kernels/device.h"
#include "model/params.h"

/* data [table->total] on the device. ERR_STATE: "WHAT of layer.3 (model.layers.3....weight) are not finite". */
int finite_check(device *dev, const param_table *table, const float *data, const char *what, error *err);
/* That sentence, about parameter `which`. */
int finite_refuse(const param_table *table, int which, const char *what, error *err);
