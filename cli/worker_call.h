/* SPDX-License-Identifier: MIT */
/* worker_call - the words that actor and reward have in common: --connect, --name, --wait, a recipe, key=value. */
#pragma once

#include "cli/verbs.h"
#include "run/role.h"

/* Reads the words of `c` and runs the worker. Its status is RANK_AGAIN when it is to be started again. */
int worker_call(call *c, int (*run)(const role_options *o, bool *again, error *err), error *err);
