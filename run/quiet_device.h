/* SPDX-License-Identifier: MIT */
/* quiet_device - the recipe's device, for a process that only looks at it. */
#pragma once

#include "recipe/recipe.h"

/* As a learner opens it, its precision set. A driver may leave threads behind, and a signal takes whichever thread lets
 * it in: Ctrl-C would then end this process instead of asking it to stop in order. So they are made where no signal is
 * let in. NULL and `err`. */
device *quiet_device(const recipe *r, error *err);
