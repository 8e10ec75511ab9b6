/* SPDX-License-Identifier: MIT */
/* calculator - the tool that does arithmetic: { "expression": "12 * (3 + 4)" } -> 84. What it reads:
 * env/calculate.h. */
#pragma once

#include "env/router.h"

/* What a policy is told of it. */
#define CALCULATOR_NAME "calculator"
extern const char CALCULATOR_DESCRIPTION[], CALCULATOR_PARAMETERS[];

tool calculator_tool(void);
