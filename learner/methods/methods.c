/* SPDX-License-Identifier: MIT */
/* The methods there are: methods.def lists them. */
#include "learner/method.h"

#define METHOD(NAME) &METHOD_##NAME,
const method *const METHODS[N_METHODS + 1] = {
#include "learner/methods/methods.def"
};
#undef METHOD
