/* SPDX-License-Identifier: MIT */
/* rope - the frequencies of a rotary embedding: theta^(-2i/dims), and what longer texts make of them. In float and in
 * the order in which transformers computes them. */
#pragma once

#include "model/config.h"

/* out [dims / 2]. */
void rope_frequencies(const rope_set *r, int dims, float *out);
