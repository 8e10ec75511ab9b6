/* SPDX-License-Identifier: MIT */
/* step_gradient - all micro-batches of a step, forward and backward: parts->grads becomes the step's gradient. */
#pragma once

#include "learner/trainer_inside.h"

/* first [plan->n]: what is remembered of each micro-batch from the step's first update on. s->sums are of this pass
 * over the batch; of several learners, of all of them. ERR_STATE: a gradient was not finite. */
int step_gradient(trainer *t, train_step *s, first_look *first, error *err);
