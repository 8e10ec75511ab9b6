/* SPDX-License-Identifier: MIT */
/* plugin - an environment that is a file of a user's: Lua, or a shared object that keeps to env/troupe_env.h. It lives
 * in a process of its own, which speaks the protocol of docs/env.md for it, so that whoever talks to a program
 * (env/world/world.h) talks to it as well, and what it breaks is its own process:
 *
 *     plugin_serve   reads lines, answers lines          host.c
 *     plugin         what the file does, in JSON         lua.c, native.c
 *     plugin_lock    the process locks itself in         lock.c */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "env/options.h"

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

typedef struct plugin_limits {
    plugin_sandbox sandbox;
    int memory_mb; /* that the process may take; 0: no limit */
} plugin_limits;

/* The file's kind follows from its name: .lua, .so. The process is locked in once a Lua is read, before a shared object
 * is loaded. ERR_NOT_FOUND, ERR_SCRIPT, ERR_UNSUPPORTED: it can't be used. */
int plugin_open_lua(const char *path, const plugin_limits *limits, plugin *out, error *err);
int plugin_open_native(const char *path, const plugin_limits *limits, plugin *out, error *err);

/* Locks this process in (env/sandbox/confine.h), or says on stderr what it does without. library: the absolute path of
 * a shared object that is to be loaded; NULL: no file is opened any more. */
int plugin_lock(const plugin_limits *limits, const char *library, error *err);

/* The process's main: plays the file until stdin ends. What a plugin prints goes to stderr, as stdout is the
 * protocol's. A file that can't be used is told in the answer to `open`. */
int plugin_serve(const char *path, const plugin_limits *limits, error *err);
