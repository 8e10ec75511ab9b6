/* SPDX-License-Identifier: MIT */
/* calculate - arithmetic as a policy writes it, exact: 0.1 + 0.2 is 0.3, and 2^100 has all of its digits.
 *
 *     + - * / // % ^ **   ( )   abs min max sqrt floor ceil round
 *
 * / is exact, // and % round down; x^y wants a whole y. Values are rationals of at most 2,304 bits (lua/number.h): what
 * would be larger is refused, so that no text takes long. A result that has no end, as 1/3 or sqrt(2), is written with
 * 15 digits. */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

/* Appends the result to `out`. ERR_ARGUMENT: it can't be read, or has no value; the sentence is for who wrote it. */
int calculate(const char *text, size_t len, str *out, error *err);
