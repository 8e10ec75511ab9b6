/* SPDX-License-Identifier: MIT */
#include "run/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"

enum { PATH_BYTES = 2 * RECIPE_PATH };

static const char RECIPE[] = "recipe.lua", DIALECT[] = "prompt/dialect.lua", SHOTS[] = "prompt/shots.jsonl",
                  SCRIPT[] = "reward/script.lua", PLUGIN[] = "env/plugin.lua", DATABASE[] = "env/database",
                  MODEL[] = "model";

/* What of a model's folder says its shapes, where a text ends, and how texts become tokens. */
static const char *const MODEL_FILES[] = { "config.json", "generation_config.json", "tokenizer.json", NULL };
static const char *const OLDER_TOKENIZER[] = { "vocab.json", "merges.txt", "tokenizer_config.json", NULL };

/* Where prompts go through its chat template. */
static const char *const TEMPLATE_FILES[] = { "chat_template.jinja", "additional_chat_templates/tool_use.jinja",
                                              "special_tokens_map.json", NULL },
                         *const TEMPLATE_CONFIG[] = { "tokenizer_config.json", NULL };

static bool is_file(const char *dialect) { return strchr(dialect, '/'); }

/* A key of a recipe that names a file, what it names, and its place in the parcel. */
typedef struct carried {
    const char *key, *path, *name;
} carried;

enum { CARRIED = 6 };

/* Those of a role, into out[CARRIED], ending without a key; without a path where the recipe names no file. */
static void carried_by(const recipe *r, pack_for role, carried *out)
{
    if (role == PACK_FOR_REWARD) {
        out[0] = (carried){ "reward.script", r->reward.script, SCRIPT };
        out[1] = (carried){ 0 };
        return;
    }
    out[0] = (carried){ "prompt.dialect", is_file(r->prompt.dialect) ? r->prompt.dialect : "", DIALECT };
    out[1] = (carried){ "prompt.shots.file", r->curriculum.shots_file, SHOTS };
    out[2] = (carried){ "model", r->run.model, MODEL };
    out[3] = (carried){ "env.plugin", env_plugin_is_lua(&r->env) ? r->env.plugin : "", PLUGIN };
    out[4] = (carried){ "env.database", r->env.database, DATABASE };
    out[5] = (carried){ 0 };
}

/* ---- packing ---- */

static int add_modules(parcel *p, const recipe *r, error *err)
{
    int rc = OK;
    char *module = NULL;
    for (int i = 0; rc == OK && (module = vm_required(r->vm, i)); i++) {
        const char *slash = strrchr(module, '/'); /* modules lie beside the recipe, here and where it is unpacked */
        rc = parcel_add(p, slash ? slash + 1 : module, module, err);
        free(module);
    }
    return rc;
}

static int add_listed(parcel *p, const char *dir, const char *const *files, error *err)
{
    int rc = OK;
    for (; rc == OK && *files; files++) {
        char path[PATH_BYTES], name[PARCEL_NAME];
        snprintf(name, sizeof name, "%s/%s", MODEL, *files);
        if (file_exists(path_join(path, sizeof path, dir, *files))) rc = parcel_add(p, name, path, err);
    }
    return rc;
}

static int add_model(parcel *p, const char *dir, error *err)
{
    char path[PATH_BYTES];
    const bool one_file = file_exists(path_join(path, sizeof path, dir, "tokenizer.json"));
    int rc = add_listed(p, dir, MODEL_FILES, err);
    if (rc == OK && !one_file) rc = add_listed(p, dir, OLDER_TOKENIZER, err);
    return rc;
}

/* The older tokenizer has brought tokenizer_config.json already. */
static int add_template(parcel *p, const char *dir, error *err)
{
    char path[PATH_BYTES];
    int rc = add_listed(p, dir, TEMPLATE_FILES, err);
    if (rc == OK && file_exists(path_join(path, sizeof path, dir, "tokenizer.json")))
        rc = add_listed(p, dir, TEMPLATE_CONFIG, err);
    return rc;
}

static int add_carried(parcel *p, const carried *c, error *err)
{
    int rc = OK;
    for (; rc == OK && c->key; c++) {
        if (!c->path[0]) continue;
        if (c->name == MODEL) /* a folder, without its weights: they are published version by version */
            rc = add_model(p, c->path, err);
        else
            rc = parcel_add(p, c->name, c->path, err);
        if (rc != OK) error_within(err, "%s", c->key);
    }
    return rc;
}

static bool is_of_key(const char *word, const char *key)
{
    const size_t n = strlen(key);
    return strncmp(word, key, n) == 0 && word[n] == '=';
}

/* A word that names a file of this machine goes without its folder: the key has a value, and the file is never opened.
 * One whose file is in the parcel doesn't go at all: who unpacks knows where it lies. */
static int add_word(parcel *p, const char *word, const carried *c, error *err)
{
    str bare = { 0 };
    const char *value = strchr(word, '=') + 1, *slash = strrchr(value, '/');
    for (; c->key; c++)
        if (is_of_key(word, c->key) && c->path[0]) return OK;
    if (!slash || !recipe_is_path(word)) return parcel_add_word(p, word, err);

    str_printf(&bare, "%.*s%s", (int)(value - word), word, slash[1] ? slash + 1 : "folder");
    const int rc = parcel_add_word(p, bare.data, err);
    str_free(&bare);
    return rc;
}

parcel *pack_recipe(const recipe *r, pack_for role, error *err)
{
    carried c[CARRIED];
    parcel *p = parcel_new();
    carried_by(r, role, c);

    int rc = parcel_add(p, RECIPE, r->path, err);
    if (rc == OK) rc = add_modules(p, r, err);
    if (rc == OK) rc = add_carried(p, c, err);
    if (rc == OK && role == PACK_FOR_ACTOR && r->prompt.chat_template == TEMPLATE_OF_MODEL)
        rc = add_template(p, r->run.model, err);
    for (int i = 0; rc == OK && i < r->n_words; i++) rc = add_word(p, r->words[i], c, err);
    if (rc == OK) return p;

    parcel_free(p);
    return NULL;
}

/* ---- unpacked ---- */

/* The file, or a file of the folder. */
static bool has(const parcel_list *list, const char *name)
{
    const size_t n = strlen(name);
    for (uint32_t i = 0; i < list->n_files; i++) {
        const char *there = list->files[i].name;
        if (strncmp(there, name, n) == 0 && (there[n] == 0 || there[n] == '/')) return true;
    }
    return false;
}

int pack_words(const parcel_list *list, const char *folder, char **words, int max)
{
    static const carried ALL[] = {
        { "prompt.dialect", NULL, DIALECT }, { "prompt.shots.file", NULL, SHOTS }, { "model", NULL, MODEL },
        { "env.plugin", NULL, PLUGIN },      { "env.database", NULL, DATABASE },   { "reward.script", NULL, SCRIPT }
    };

    int n = 0;
    for (uint32_t i = 0; i < list->n_words && n < max; i++) words[n++] = xstrdup(list->words[i].text);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL && n < max; i++) {
        str word = { 0 };
        if (!has(list, ALL[i].name)) continue;
        str_printf(&word, "%s=%s/%s", ALL[i].key, folder, ALL[i].name);
        words[n++] = str_take(&word);
    }
    return n;
}

int pack_check_paths(const recipe *r, pack_for role, const char *folder, error *err)
{
    carried all[CARRIED];
    carried_by(r, role, all);

    /* A recipe is a program: it may compute a path from what it finds on the machine that runs it. */
    for (const carried *c = all; c->key; c++) {
        char place[PATH_BYTES];
        if (!c->path[0] || strcmp(c->path, path_join(place, sizeof place, folder, c->name)) == 0) continue;
        const error why = { .code = ERR_ARGUMENT,
                            .text =
                                "it names a file that is not among those that were sent (a worker takes files of its "
                                "own only when it is started with RECIPE.lua)" };
        return recipe_error(r, c->key, &why, err);
    }
    return OK;
}
