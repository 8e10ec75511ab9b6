/* SPDX-License-Identifier: MIT */
/* What a plugin's process may read, and that it is locked in (plugin.h). */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/plugin/plugin.h"
#include "env/sandbox/confine.h"
#include "env/sandbox/landlock.h"

typedef vec(const char *) places; /* owned */

static bool is_below(const char *path, const char *folder)
{
    const size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* A folder that holds much else: a home, or what homes lie in, or one that every user may write to. */
static bool is_shared(const char *folder)
{
    struct stat st;
    char *home = getenv("HOME") ? realpath(getenv("HOME"), NULL) : NULL;
    const bool above_home = home && strcmp(home, "/") != 0 && is_below(home, folder);
    free(home);
    return above_home || strcmp(folder, "/") == 0 || stat(folder, &st) != 0 || (st.st_mode & S_IWOTH) != 0;
}

static void add_folder(places *all, const char *path, size_t len)
{
    char *text = xstrndup(path, len), *folder = realpath(text, NULL);
    if (len > 0 && path[0] == '/' && folder && !is_shared(folder)) vec_push(all, xstrdup(folder));
    free(folder);
    free(text);
}

/* Where the dynamic linker was told to look. */
static void add_search_path(places *all)
{
    const char *at = getenv("LD_LIBRARY_PATH");
    for (size_t len; at && *at; at += len + (at[len] != 0)) add_folder(all, at, len = strcspn(at, ":"));
}

/* Where the libraries of this program lie: those of the plugin are beside them where Troupe brought its own. */
static void add_loaded(places *all)
{
    enum { MAX_MAPS = 1 << 20 };
    size_t len;
    char *maps = file_read("/proc/self/maps", MAX_MAPS, &len, NULL), *rest = maps;
    for (char *line; maps && (line = strsep(&rest, "\n"));) {
        const char *path = strchr(line, '/'), *name = strrchr(line, '/');
        if (path && strstr(name, ".so")) add_folder(all, path, (size_t)(name - path));
    }
    free(maps);
}

static places readable_to(const char *library)
{
    static const char *const SYSTEM[] = { "/lib",       "/lib64",         "/lib32",     "/usr/lib",  "/usr/lib64",
                                          "/usr/lib32", "/usr/local/lib", "/nix/store", "/gnu/store" };
    static const char *const FILES[] = { "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom" };
    places all = { 0 };
    vec_push(&all, xstrdup(library));
    add_folder(&all, library, (size_t)(strrchr(library, '/') - library));
    for (size_t i = 0; i < sizeof SYSTEM / sizeof *SYSTEM; i++) vec_push(&all, xstrdup(SYSTEM[i]));
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) vec_push(&all, xstrdup(FILES[i]));
    add_search_path(&all);
    add_loaded(&all);
    vec_push(&all, NULL);
    return all;
}

/* Libraries that would compute with threads of their own end the process where there can be none. */
static void compute_with_one_thread(void)
{
    static const char *const READ[] = { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS" };
    for (size_t i = 0; i < sizeof READ / sizeof *READ; i++) setenv(READ[i], "1", 1);
}

int plugin_lock(const plugin_limits *limits, const char *library, error *err)
{
    if (limits->sandbox == PLUGIN_NONE) {
        fprintf(stderr, "env.plugin_sandbox = \"none\": the plugin may do what this user may\n");
        return OK;
    }
    if (library && landlock_version() == 0)
        fprintf(stderr, "this kernel has no Landlock: the plugin may read what this user may, and write nothing\n");

    places all = { 0 };
    if (library) all = readable_to(library);
    const int rc =
        confine(&(confine_config){ .opens = library, .readable = all.data, .memory_mb = limits->memory_mb }, err);
    for (size_t i = 0; i < all.len; i++) free((char *)(uintptr_t)all.data[i]);
    vec_free(&all);
    compute_with_one_thread();
    return rc == OK ? OK : error_within(err, "env.plugin_sandbox = \"none\" plays it without");
}
