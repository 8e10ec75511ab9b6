/* SPDX-License-Identifier: MIT */
/* problem - gradients of a few objectives as a line of JSON, and a method's answer as another:
 *
 *     {"J":[[1,3],[-3,-1]],"pref":[1,1]}             a gradient a row [K, d]; or "G", their Gram matrix [K, K]
 *     {"weights":[],"direction":[],"cosines":[[]]}   direction [d] only for J; cosines [K, K] of all pairs
 *
 * Numbers of an answer are written so that reading them gives the same doubles. */
#pragma once

#include <stdio.h>

#include "learner/moo/moo.h"

/* Answers each line of `in` by `config`, whose preferences are the line's ("pref"; none: equal). The lines are steps of
 * one bucket: what a method remembers goes from one to the next, and its drawn order is of `seed` and the line's
 * number. The first line that can't be answered ends it: ERR_PARSE for its JSON, else moo_solve's, with its number.
 * ERR_NOT_FOUND: there is no line but blank ones. */
int moo_answer_lines(FILE *in, FILE *out, const moo_config *config, uint64_t seed, error *err);
