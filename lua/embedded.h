/* SPDX-License-Identifier: MIT */
/* embedded - the Lua files that travel inside the program; the array is written by cmake/embed.cmake. */
#pragma once

#include <stddef.h>

struct embedded_file {
    const char *name; /* "lib/verify.lua"; NULL ends the array */
    const unsigned char *data;
    size_t len;
};

extern const struct embedded_file EMBEDDED[];
