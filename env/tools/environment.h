/* SPDX-License-Identifier: MIT */
/* environment - a user's environment (env/world/world.h) as what a router's episodes are played in: its tools, and the
 * two of our own, ROUTER_RESET and ROUTER_SAY. */
#pragma once

#include "env/router.h"
#include "env/world/world.h"

/* Starts it and adds its tools. world_open's and router_add's errors. `words`: for router_add_words; it is only asked
 * what it has, and ended. */
int environment_add(router *r, const world_config *config, bool words, error *err);
