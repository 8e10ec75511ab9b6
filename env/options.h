/* SPDX-License-Identifier: MIT */
/* options - the keys of env.*: the tools there are, and how often they may be called. */
#pragma once

#include "base/option.h"
#include "base/words.h"

#define PLUGIN_SANDBOXES(X)                                                                                            \
    X(PLUGIN_AUTO, "auto", "Landlock, as far as this kernel has it, and a list of system calls")                       \
    X(PLUGIN_NONE, "none", "neither: the plugin may do what this user may")
typedef enum plugin_sandbox { PLUGIN_SANDBOXES(WORDS_MEMBER) } plugin_sandbox;
extern const word_row PLUGIN_SANDBOX_WORDS[];

typedef struct env_options {
    char plugin[OPTION_PATH_BYTES]; /* of T.env; "": none */
    plugin_sandbox plugin_sandbox;
    int plugin_memory_mb;
    char index[OPTION_PATH_BYTES];    /* of T.search; "": none */
    char database[OPTION_PATH_BYTES]; /* of T.sql; "": none */
    int max_turns, max_observation;
} env_options;

extern const option_table ENV_OPTIONS;

/* Whether env.plugin is Lua: played in VMs that can't do harm, so that it may come from another machine. */
bool env_plugin_is_lua(const env_options *e);
