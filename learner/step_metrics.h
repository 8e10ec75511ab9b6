/* SPDX-License-Identifier: MIT */
/* step_metrics - what a step tells of rewards, loss and time, under the field's usual names. */
#pragma once

#include "learner/method.h"

void step_metrics(const train_step *s);
