/* SPDX-License-Identifier: MIT */
/* tools - the tools of a router as `troupe env list` prints them: name, description, the JSON Schema of its
 * arguments. */
#pragma once

#include <stdio.h>

#include "env/router.h"

int show_tools(FILE *to, const router *r, error *err);
