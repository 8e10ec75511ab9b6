/* SPDX-License-Identifier: MIT */
/* learners - several learners in one step: what each has, and what all have seen. Nothing to do for one alone. */
#pragma once

#include "learner/method.h"

/* Before the step's first micro-batch: which ranks will have gradients of which rows. */
void learners_begin(train_step *s);
/* Behind the last: a rank that had none still takes part in the exchange. */
void learners_end(train_step *s);
/* s->sums of this rank become those of all. */
void learners_sum(train_step *s);
