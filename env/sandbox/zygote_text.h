/* SPDX-License-Identifier: MIT */
/* zygote_text - layers.py, code.py and zygote.py as one string, made by the build. */
#pragma once

extern const char ZYGOTE_TEXT[];
