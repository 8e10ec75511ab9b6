/* SPDX-License-Identifier: MIT */
#include "run/tuning_rows.h"

#include "tests/support/support.h"

int main(void) { return 0; }
