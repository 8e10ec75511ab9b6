/* SPDX-License-Identifier: MIT */
/* troupe_env.h - an environment in C, C++, Rust, or whatever makes a shared object. Needs nothing else of Troupe.
 *
 *     #include "troupe_env.h"
 *     const troupe_env_v1 troupe_environment_v1 = { sizeof(troupe_env_v1), open_it, tools_of, ... };
 *
 *     cc -shared -fPIC -I ... -o maze.so maze.c
 *     recipe.lua:  env = { plugin = "maze.so", tools = { T.env{} } }
 *
 * The file is loaded in a process of its own, that plays nothing else: what it breaks costs the episodes that this
 * process plays. One thread calls, one call at a time. What is printed on stdout or stderr goes to the actor's log.
 *
 * Texts are UTF-8, and end with a NUL. A text that the plugin hands out stays its own; it is read before the next call.
 * The same row, seed and steps have to give the same episode, in whatever process: an episode that is lost is played
 * again, and a run can be repeated.
 *
 * The struct and its meaning stay as they are. A later version would be another struct, of another name, which a
 * plugin may export beside this one. */
#ifndef TROUPE_ENV_H
#define TROUPE_ENV_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a reset or a step says. It is as below when the plugin is called, and the plugin sets what it means to say. */
typedef struct troupe_env_reply {
    size_t size;             /* of this struct as Troupe knows it; fields are only added, at its end */
    const char *observation; /* NULL: none. Of a reset: the prompt; with NULL the row's own stands */
    int done;                /* 0. Of a step: 1 ends the episode */
    int ok;                  /* 1. Of a step: 0 says that the policy did something wrong, which it reads all the same */
    double reward;           /* NAN: none. Of a step, as "reward" */
    const char *rewards;     /* NULL: none. More of them: a JSON object of numbers */
    const char *info;        /* NULL: none. JSON that is kept with the episode */
    const char *error;       /* NULL: none. The environment failed, and why: the episode is played again, and its
                                other fields count for nothing */
} troupe_env_reply;

typedef struct troupe_env_v1 {
    size_t size; /* sizeof(troupe_env_v1) */

    /* Needed. Once, before anything else. config: JSON of an object, the recipe's T.env{ config = ... }. Returns what
     * `env` is in the others; NULL, and a sentence in error [error_size]: it can't be opened. */
    void *(*open)(const char *config, char *error, size_t error_size);

    /* NULL: there are none. JSON: a list of {"name", "description", "parameters"}, the last one a JSON Schema of an
     * object. */
    const char *(*tools)(void *env);

    /* Needed. Begins an episode. row: JSON of an object, the row of the data; seed: of 31 bits. Returns what `episode`
     * is in step and end; NULL is allowed. Of a reset that fails (reply->error) there is no end. */
    void *(*reset)(void *env, const char *row, uint32_t seed, troupe_env_reply *reply);

    /* Needed. tool: one of its own, and arguments: JSON of an object that keeps to its parameters. tool NULL: the
     * policy made no call, and `text` is what it said; `text` is NULL otherwise. turn: all that it wrote. */
    void (*step)(void *env, void *episode, const char *tool, const char *arguments, const char *text, const char *turn,
                 troupe_env_reply *reply);

    /* NULL: there is nothing to be freed. Always comes, also of an episode that was cut off. */
    void (*end)(void *env, void *episode);

    /* NULL: nothing to be freed. After it nothing is called. */
    void (*close)(void *env);
} troupe_env_v1;

/* What a plugin exports. */
extern const troupe_env_v1 troupe_environment_v1;

#ifdef __cplusplus
}
#endif
#endif
