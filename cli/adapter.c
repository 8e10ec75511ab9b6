/* SPDX-License-Identifier: MIT */
#include "cli/adapter.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "base/str.h"

const char *const ADAPTER_KINDS[] = { "gymnasium", "openenv",   "reasoning_gym", "skyrl_gym",
                                      "textworld", "verifiers", "file",          NULL };

/* ---- KIND:NAME ---- */

static bool is_kind(const char *word)
{
    for (int i = 0; ADAPTER_KINDS[i]; i++)
        if (strcmp(word, ADAPTER_KINDS[i]) == 0) return true;
    return false;
}

static int unknown_kind(const char *kind, error *err)
{
    const char *nearest = str_nearest(kind, ADAPTER_KINDS);
    str all = { 0 };
    for (int i = 0; ADAPTER_KINDS[i]; i++) str_item(&all, ", ", ADAPTER_KINDS[i]);
    if (nearest)
        error_set(err, ERR_ARGUMENT, "no kind of environment '%.80s' (did you mean '%s'?)", kind, nearest);
    else
        error_set(err, ERR_ARGUMENT, "no kind of environment '%.80s' (there are %s)", kind, all.data);
    str_free(&all);
    return ERR_ARGUMENT;
}

int adapter_check_name(const char *what, error *err)
{
    const char *colon = strchr(what, ':');
    if (!colon || colon == what)
        return error_set(err, ERR_ARGUMENT, "expected KIND:NAME, such as gymnasium:FrozenLake-v1, found '%.200s'",
                         what);

    char *kind = xstrndup(what, (size_t)(colon - what));
    int rc = is_kind(kind) ? OK : unknown_kind(kind, err);
    if (rc == OK && !colon[1])
        rc = error_set(err, ERR_ARGUMENT, "%s: expected a name after the colon, as in gymnasium:FrozenLake-v1", what);
    free(kind);
    return rc;
}

/* ---- the Python ---- */

static bool can_run(const char *path) { return access(path, X_OK) == 0 && !dir_exists(path); }

/* "" where there is none. A program is one of $PATH, unless it has a slash. */
static void find_python(const char *name, char out[ADAPTER_PATH])
{
    char inside[ADAPTER_PATH], here[ADAPTER_PATH];
    if (dir_exists(name)) name = path_join(inside, sizeof inside, name, "bin/python3");
    char *found = process_find(name);
    out[0] = 0;
    if (found && can_run(found) && getcwd(here, sizeof here)) path_join(out, ADAPTER_PATH, here, found);
    free(found);
}

static int choose_python(const char *asked, char out[ADAPTER_PATH], error *err)
{
    const char *venv = getenv("VIRTUAL_ENV");
    const char *name = asked ? asked : venv;
    find_python(name && *name ? name : "python3", out);
    if (out[0]) return OK;
    if (asked)
        return error_set(err, ERR_IO, "--python %.300s: there is no such program, nor a folder with bin/python3",
                         asked);
    if (name && *name)
        return error_set(err, ERR_IO, "$VIRTUAL_ENV is %.300s, and has no bin/python3 (--python PATH names one)", name);
    return error_set(err, ERR_IO,
                     "there is no python3 in $PATH: install Python 3.9 or newer, or name one by --python PATH");
}

/* ---- its program ---- */

static bool is_root(const char *bin, const char *above, adapter *a)
{
    char folder[ADAPTER_PATH];
    char *real = realpath(path_join(folder, sizeof folder, bin, above), NULL);
    if (real) {
        path_join(a->root, sizeof a->root, real, "");
        path_join(a->program, sizeof a->program, real, "plugins/python/troupe_env.py");
    }
    free(real);
    return real && file_exists(a->program);
}

/* From bin/troupe to share/troupe; from build/release/troupe, or build/troupe, to the source tree. */
static int find_program(adapter *a, error *err)
{
    static const char *const ABOVE[] = { "../share/troupe", "../..", ".." };
    char self[ADAPTER_PATH], bin[ADAPTER_PATH];
    if (process_self_path(self, sizeof self, err) != OK) return err->code;
    path_dirname(bin, sizeof bin, self);
    for (size_t i = 0; i < sizeof ABOVE / sizeof *ABOVE; i++)
        if (is_root(bin, ABOVE[i], a)) return OK;
    return error_set(err, ERR_IO,
                     "cannot find plugins/python/troupe_env.py, neither in %.300s/../share/troupe nor in a source tree "
                     "around it: 'make install' puts it there",
                     bin);
}

int adapter_find(adapter *a, const char *python, error *err)
{
    const int rc = choose_python(python, a->python, err);
    return rc == OK ? find_program(a, err) : rc;
}

/* ---- running it ---- */

int adapter_run(const adapter *a, const char *const *words, int out, int *status, error *err)
{
    enum { MAX_WORDS = 20 };
    const char *argv[MAX_WORDS + 3] = { a->python, a->program };
    const process_options options = { .fd_in = -1, .fd_out = out, .fd_err = -1, .die_with_parent = true };
    process p;
    for (int i = 0; words[i] && i < MAX_WORDS; i++) argv[i + 2] = words[i];
    if (process_spawn(&p, argv, &options, err) != OK) return err->code;

    int ended = 0;
    char how[80];
    process_wait(&p, -1, &ended);
    process_status_text(ended, how, sizeof how);
    *status = ended >> 8 & 0xff;
    return ended & 0x7f ? error_set(err, ERR_STATE, "%s: %s", a->program, how) : OK;
}
