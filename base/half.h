/* SPDX-License-Identifier: MIT */
/* half - IEEE 754 numbers of 16 bits, as files of weights hold them. */
#pragma once

#include <stdint.h>

float half_to_f32(uint16_t half); /* exact; infinities and NaNs too */
