/* SPDX-License-Identifier: MIT */
/* shown - a passage as the policy reads it, wherever it was found. */
#pragma once

#include "base/str.h"

/* Appends "[NUMBER] TITLE\nTEXT", after an empty line unless it is the first (1); of a long text the beginning, and
 * " [...]". title: NULL or "": none. */
void passage_show(int number, const char *title, const char *text, str *out);
