/* SPDX-License-Identifier: MIT */
/* options - the keys of env.*: the tools there are, and how often they may be called. */
#pragma once

#include "base/option.h"

typedef struct env_options {
    char index[OPTION_PATH_BYTES]; /* of T.search; "": none */
    int max_turns, max_observation;
} env_options;

extern const option_table ENV_OPTIONS;
