/* SPDX-License-Identifier: MIT */
/* options - the keys of env.*: the tools there are, and how often they may be called. */
#pragma once

#include "base/option.h"

typedef struct env_options {
    char plugin[OPTION_PATH_BYTES]; /* of T.env; "": none */
    char index[OPTION_PATH_BYTES];  /* of T.search; "": none */
    int max_turns, max_observation;
} env_options;

extern const option_table ENV_OPTIONS;

/* Whether env.plugin is Lua: played in VMs that can't do harm, so that it may come from another machine. */
bool env_plugin_is_lua(const env_options *e);
