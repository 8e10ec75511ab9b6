/* SPDX-License-Identifier: MIT */
#include "cli/env_import.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/adapter.h"

enum { WHOLE = 24 }; /* bytes of a number */

/* ---- the folder ---- */

static bool is_letter(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* [from, to) of the part that tells environments apart: the host of a URL, else what follows the last / or colon. */
static void telling_part(const char *name, const char **from, const char **to)
{
    const char *scheme = strstr(name, "://");
    *from = scheme ? scheme + 3 : name;
    *to = scheme ? *from + strcspn(*from, "/:") : name + strlen(name);
    while (!scheme && *to > name && (*to)[-1] == '/') (*to)--;
    for (const char *c = name; !scheme && c < *to; c++)
        if (*c == '/' || *c == ':') *from = c + 1;
}

/* Of guess.py and game.z8: the version in Env-v1.5 is no ending. */
static const char *before_ending(const char *from, const char *to)
{
    static const char *const ENDINGS[] = { ".py", ".z8", ".ulx" };
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        const size_t len = strlen(ENDINGS[i]);
        if ((size_t)(to - from) > len && memcmp(to - len, ENDINGS[i], len) == 0) return to - len;
    }
    return to;
}

void env_import_folder(const char *what, char *out, int size)
{
    const char *name = strchr(what, ':') + 1, *from, *to;
    int n = 0;
    telling_part(name, &from, &to);
    to = before_ending(from, to);
    for (; from < to && n < size - 1; from++) {
        const bool fits = is_letter(*from) || (n > 0 && (*from == '.' || *from == '-'));
        out[n++] = fits ? *from : '_'; /* no "..", and nothing that looks like an option */
    }
    out[n] = 0;
    if (n == 0) snprintf(out, (size_t)size, "%.*s", (int)strcspn(what, ":"), what);
}

/* ---- the model ---- */

static int check_model(const char *folder, error *err)
{
    char config[ADAPTER_PATH];
    if (file_exists(path_join(config, sizeof config, folder, "config.json"))) return OK;
    return error_set(err, ERR_IO, "--model %.300s: there is no such model (no config.json in it)", folder);
}

/* Who names none has the public model that 'make model' fetches. */
static int choose_model(const env_import *q, const adapter *a, char out[ADAPTER_PATH], error *err)
{
    static const char PUBLIC[] = "models/smollm2";
    snprintf(out, ADAPTER_PATH, "%s", q->model ? q->model : PUBLIC);
    if (q->model) return check_model(q->model, err);
    if (check_model(out, NULL) == OK || check_model(path_join(out, ADAPTER_PATH, a->root, PUBLIC), NULL) == OK)
        return OK;
    return error_set(err, ERR_IO, "no model to train: --model FOLDER names one; 'make model' fetches a small one, %s",
                     PUBLIC);
}

/* ---- both ---- */

int env_import_run(const env_import *q, int *status, error *err)
{
    adapter a;
    char folder[256], model[ADAPTER_PATH], rows[WHOLE], seed[WHOLE];
    if (adapter_check_name(q->what, err) != OK || adapter_find(&a, q->python, err) != OK) return err->code;
    if (choose_model(q, &a, model, err) != OK) return err->code;

    env_import_folder(q->what, folder, sizeof folder);
    snprintf(rows, sizeof rows, "%" PRId64, q->rows);
    snprintf(seed, sizeof seed, "%" PRId64, q->seed);
    const char *words[] = { q->what,
                            "--recipe",
                            q->into ? q->into : folder,
                            "--model",
                            model,
                            "--rows",
                            rows,
                            "--seed",
                            seed,
                            "--config",
                            q->config ? q->config : "{}",
                            q->data ? "--data" : NULL,
                            q->data,
                            NULL };
    return adapter_run(&a, words, -1, status, err);
}
