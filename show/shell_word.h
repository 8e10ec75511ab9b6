/* SPDX-License-Identifier: MIT */
/* shell_word - commands that are printed to be typed. */
#pragma once

#include "base/str.h"

/* Appends `text` so that a shell reads it as one word: between quotes where it has to be. */
void shell_word(str *out, const char *text);
