/* SPDX-License-Identifier: MIT */
/* plugin - an environment that is a file of a user's: Lua, or a shared object that keeps to env/troupe_env.h. It lives
 * in a process of its own, which speaks the protocol of docs/env.md for it, so that whoever talks to a program
 * (env/world/world.h) talks to it as well, and what it breaks is its own process:
 *
 *     plugin_serve   reads lines, answers lines          host.c
 *     plugin         what the file does, in JSON         lua.c, native.c */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* Each function but the last two returns its answer's members, a new object, or NULL and why. */
typedef struct plugin {
    void *self;
    json_t *(*open)(void *self, json_t *config, error *err); /* once, before anything else */
    /* Of an episode that is not under way: a name comes again after its close. */
    json_t *(*reset)(void *self, const char *episode, json_t *row, int64_t seed, error *err);
    /* told: a step as the protocol says it, with "call" or "text", and "turn". */
    json_t *(*step)(void *self, const char *episode, json_t *told, error *err);
    void (*close)(void *self, const char *episode);
    void (*free)(void *self);
} plugin;

/* The file's kind follows from its name: .lua, .so. ERR_NOT_FOUND, ERR_SCRIPT, ERR_UNSUPPORTED: it can't be used. */
int plugin_open_lua(const char *path, plugin *out, error *err);
int plugin_open_native(const char *path, plugin *out, error *err);

/* The process's main: plays the file until stdin ends. What a plugin prints goes to stderr, as stdout is the
 * protocol's. A file that can't be used is told in the answer to `open`. */
int plugin_serve(const char *path, error *err);
