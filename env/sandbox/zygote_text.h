/* zygote_text - zygote.py as a string, made by the build. */
#pragma once

extern const char ZYGOTE_TEXT[];
