/* SPDX-License-Identifier: MIT */
/* options - the keys of what an actor plays within. */
#pragma once

#include "base/option.h"

typedef struct actor_options {
    int max_context; /* tokens of an episode, prompt included */
    float top_p;
} actor_options;

extern const option_table ACTOR_OPTIONS;
