/* SPDX-License-Identifier: MIT */
/* rendezvous - how several learners of one run find each other, and which device each of them takes. */
#pragma once

#include "kernels/device.h"
#include "learner/comm.h"
#include "recipe/recipe.h"
#include "run/session.h"

/* The other learners, if there are any: by MPI, or by rank, number and folder on one machine. *c is NULL for one alone;
 * the caller frees. ERR_ARGUMENT: only a part of rank, of and meet is given. ERR_TIMEOUT: not all came. */
int rendezvous_open(const session_options *o, logger *log, comm **c, error *err);

/* With device = "auto", several learners of one machine take its GPUs in turn; on its CPU they share the cores. */
device *rendezvous_device(const session_options *o, const comm *c, const recipe *r, error *err);

/* Gradients go from GPU to GPU where they can; where there are GPUs and they can't, the first learner says why. A
 * learner that fails calls the others out of the step they are in. Returns what takes `c`'s place; NULL stays NULL. */
comm *rendezvous_join(comm *c, device *dev, logger *log);
