/* SPDX-License-Identifier: MIT */
#include "run/ingredients.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

enum {
    COPIED_BYTES = 64 << 20, /* a larger file stays where it is, and is compared by its hash */
    WHOLE_BYTES = 256 << 20, /* hashed as a whole; of a larger one the two ends of END_BYTES */
    END_BYTES = 64 << 20,
    PATH_BYTES = 2 * RECIPE_PATH
};

static const char FOLDER[] = "recipe";

/* ---- hashes ---- */

/* Of a very large file its size and its two ends. */
static int hash_file(const char *path, uint64_t *hash, uint64_t *bytes, error *err)
{
    file_map map;
    const int rc = file_map_open(&map, path, err);
    if (rc != OK) return rc;
    *bytes = map.len;
    if (map.len <= WHOLE_BYTES)
        *hash = hash_bytes(map.data, map.len, 0);
    else
        *hash = hash_combine(hash_bytes(map.data, END_BYTES, map.len),
                             hash_bytes(map.data + map.len - END_BYTES, END_BYTES, map.len));
    file_map_close(&map);
    return OK;
}

static int is_model_file(const struct dirent *e)
{
    /* All that is read of it: weights, tokenizer, ends, and the chat template with its tokens. */
    static const char *const NAMES[] = { "config.json",
                                         "tokenizer.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "generation_config.json",
                                         "chat_template.jinja",
                                         "model.safetensors.index.json" };
    const size_t n = strlen(e->d_name);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(e->d_name, NAMES[i]) == 0) return 1;
    return n > 12 && strcmp(e->d_name + n - 12, ".safetensors") == 0;
}

/* One file more, by its name and what it holds. */
static int add_file(const char *dir, const char *name, uint64_t *hash, uint64_t *bytes, error *err)
{
    char path[PATH_BYTES];
    uint64_t one, size;
    const int rc = hash_file(path_join(path, sizeof path, dir, name), &one, &size, err);
    if (rc != OK) return rc;

    *hash = hash_combine(hash_combine(*hash, hash_bytes(name, strlen(name), 0)), one);
    *bytes += size;
    return OK;
}

static int hash_model(const char *dir, uint64_t *hash, uint64_t *bytes, error *err)
{
    struct dirent **names;
    const int n = scandir(dir, &names, is_model_file, alphasort);
    int rc = n > 0 ? OK : error_set(err, ERR_NOT_FOUND, "there is no model in %s", dir);

    *hash = 0;
    *bytes = 0;
    for (int i = 0; i < n; i++) {
        if (rc == OK) rc = add_file(dir, names[i]->d_name, hash, bytes, err);
        free(names[i]);
    }
    if (n >= 0) free(names);
    return rc;
}

static int hash_of(const char *path, uint64_t *hash, uint64_t *bytes, error *err)
{
    return dir_exists(path) ? hash_model(path, hash, bytes, err) : hash_file(path, hash, bytes, err);
}

/* ---- taking ---- */

static const ingredient *with_copy(const ingredients *all, const char *run, const char *path)
{
    char copy[PATH_BYTES];
    for (size_t i = 0; i < all->len; i++)
        if (all->data[i].copy[0] && strcmp(path_join(copy, sizeof copy, run, all->data[i].copy), path) == 0)
            return &all->data[i];
    return NULL;
}

static bool has_copy_name(const ingredients *all, const char *copy)
{
    for (size_t i = 0; i < all->len; i++)
        if (strcmp(all->data[i].copy, copy) == 0) return true;
    return false;
}

/* recipe/NAME, or recipe/2-NAME when another file has that name. */
static void name_copy(const ingredients *all, ingredient *one)
{
    const char *name = strrchr(one->from, '/') + 1;
    snprintf(one->copy, sizeof one->copy, "%s/%s", FOLDER, name);
    for (int i = 2; has_copy_name(all, one->copy); i++)
        snprintf(one->copy, sizeof one->copy, "%s/%d-%.900s", FOLDER, i, name);
}

static const ingredient *of_key(const ingredients *all, const char *key, const char *from)
{
    for (size_t i = 0; i < all->len; i++) {
        const ingredient *one = &all->data[i];
        if (strcmp(one->key, key) == 0 && (strcmp(key, "require") != 0 || strcmp(one->from, from) == 0)) return one;
    }
    return NULL;
}

typedef struct taking {
    const ingredients *before;
    ingredients now;
    const char *run;
    json_t *taken;
    error *err;
} taking;

static int copy_in(taking *t, ingredient *one)
{
    char to[PATH_BYTES];
    if (dir_exists(one->from) || one->bytes > COPIED_BYTES) return OK;
    name_copy(&t->now, one);
    return file_copy(one->from, path_join(to, sizeof to, t->run, one->copy), t->err);
}

/* A person's file `from`: its hash, and a copy where it is small enough. */
static int take_new(taking *t, const char *key, const char *from)
{
    ingredient one = { 0 };
    if (utf8_run(from, from + strlen(from)) < strlen(from)) /* run.json could not say where it is */
        return error_set(t->err, ERR_ARGUMENT, "%s: the path %s is not UTF-8; rename it", key, from);
    snprintf(one.key, sizeof one.key, "%s", key);
    snprintf(one.from, sizeof one.from, "%s", from);
    int rc = hash_of(one.from, &one.hash, &one.bytes, t->err);
    if (rc == OK) rc = copy_in(t, &one);

    /* Of a resumed run that takes changes: what is new, or not what it was. A person is told of each. */
    const ingredient *old = of_key(t->before, key, one.from);
    if (t->taken && (!old || old->hash != one.hash)) json_array_append_new(t->taken, json_string(key));
    if (rc == OK) vec_push(&t->now, one);
    return rc;
}

/* `path` is what the opened recipe uses for `key`: a copy of ours, or the file of a person's. */
static int take(taking *t, const char *key, const char *path)
{
    char *real = realpath(path, NULL);
    if (!real) return error_set(t->err, ERR_NOT_FOUND, "%s: there is no %s", key, path);

    int rc = OK;
    const ingredient *kept = with_copy(t->before, t->run, real);
    if (kept) /* a copy of a copy would be named after the copy, and where it came from be lost */
        vec_push(&t->now, *kept);
    else
        rc = take_new(t, key, real);
    free(real);
    return rc;
}

static int take_modules(taking *t, const recipe *r)
{
    int rc = OK;
    char *module = NULL;
    for (int i = 0; rc == OK && r->vm && (module = vm_required(r->vm, i)); i++) {
        rc = take(t, "require", module);
        free(module);
    }
    return rc;
}

static int take_all(taking *t, const recipe *r)
{
    const struct {
        const char *key, *path; /* the key with which ingredients_words sets it again */
    } parts[] = {
        { "reward.script", r->reward.script },
        { "prompt.dialect", strchr(r->prompt.dialect, '/') ? r->prompt.dialect : "" },
        { "prompt.shots.file", r->curriculum.shots_file },
        { "env.index", r->env.index },
        { "env.plugin", r->env.plugin },
        { "env.database", r->env.database },
        { "data.train", r->curriculum.train },
        { "data.test", r->curriculum.test },
        { "model", r->run.model },
    };

    int rc = take(t, "recipe", r->path); /* first, with its modules: they need the names that they have */
    if (rc == OK) rc = take_modules(t, r);
    for (size_t i = 0; rc == OK && i < sizeof parts / sizeof *parts; i++)
        if (parts[i].path[0]) rc = take(t, parts[i].key, parts[i].path);
    return rc;
}

/* The copies that are none of `kept` (NULL: none is kept). */
static void remove_copies(const ingredients *all, const char *run, const ingredients *kept)
{
    char path[PATH_BYTES];
    for (size_t i = 0; i < all->len; i++) {
        const char *copy = all->data[i].copy;
        if (copy[0] && !(kept && has_copy_name(kept, copy))) unlink(path_join(path, sizeof path, run, copy));
    }
}

int ingredients_take(ingredients *all, const char *run, const recipe *r, json_t *taken, error *err)
{
    char folder[PATH_BYTES];
    taking t = { .before = all, .run = run, .taken = taken, .err = err };
    int rc = dir_make_all(path_join(folder, sizeof folder, run, FOLDER), err);
    if (rc == OK) rc = take_all(&t, r);
    if (rc != OK) {
        vec_free(&t.now);
        return rc;
    }

    /* Only now that all new copies are there: a failure above leaves the run as it was. */
    remove_copies(all, run, &t.now);
    vec_free(all);
    memcpy(all, &t.now, sizeof *all);
    return OK;
}

/* ---- using ---- */

static char *place_of(const ingredient *one, const char *run, char *out, size_t size)
{
    return path_join(out, size, run, one->copy[0] ? one->copy : one->from);
}

const char *ingredients_recipe(const ingredients *all, const char *run, char *out, size_t size)
{
    const ingredient *one = of_key(all, "recipe", "");
    return one ? place_of(one, run, out, size) : NULL;
}

const char *ingredients_origin(const ingredients *all, const char *key)
{
    const ingredient *one = of_key(all, key, "");
    return one ? one->from : NULL;
}

int ingredients_words(const ingredients *all, const char *run, char **words, int max)
{
    int n = 0;
    for (size_t i = 0; i < all->len && n < max; i++) {
        const ingredient *one = &all->data[i];
        char path[PATH_BYTES];
        str word = { 0 };
        if (strcmp(one->key, "recipe") == 0 || strcmp(one->key, "require") == 0) continue;
        str_printf(&word, "%s=%s", one->key, place_of(one, run, path, sizeof path));
        words[n++] = str_take(&word);
    }
    return n;
}

static bool has_word(const char *key, const char *const *words, int n_words)
{
    const size_t n = strlen(key);
    for (int i = 0; i < n_words; i++)
        if (strncmp(words[i], key, n) == 0 && words[i][n] == '=') return true;
    return false;
}

static int unreadable(const ingredient *one, const error *why, error *err)
{
    if (one->copy[0])
        return error_set(err, ERR_STATE, "the run's copy of its %s cannot be read: %s", one->key, why->text);
    return error_set(err, ERR_STATE, "%s: %s (if it was moved, say where to: --resume RUN %s=PATH)", one->key,
                     why->text, one->key);
}

static int check_one(const ingredient *one, const char *run, error *err)
{
    char path[PATH_BYTES];
    uint64_t hash, bytes;
    error why = { 0 };
    if (hash_of(place_of(one, run, path, sizeof path), &hash, &bytes, &why) != OK) return unreadable(one, &why, err);

    if (hash == one->hash && bytes == one->bytes) return OK;
    const bool is_model = strcmp(one->key, "model") == 0;
    return error_set(err, ERR_STATE,
                     "%s: %s is not what the run was begun with: expected hash %016" PRIx64 " (%" PRIu64
                     " bytes), found %016" PRIx64 " (%" PRIu64 ") (%s)",
                     one->key, path, one->hash, one->bytes, hash, bytes,
                     is_model ? "put it back: a run keeps its model" : "put it back, or --take-changes");
}

int ingredients_check(const ingredients *all, const char *run, const char *const *words, int n_words, error *err)
{
    int rc = OK;
    for (size_t i = 0; rc == OK && i < all->len; i++)
        if (!has_word(all->data[i].key, words, n_words)) rc = check_one(&all->data[i], run, err);
    return rc;
}

void ingredients_differences(const ingredients *all, const char *run, void (*tell)(void *ctx, const char *sentence),
                             void *ctx)
{
    (void)run;
    for (size_t i = 0; i < all->len; i++) {
        const ingredient *one = &all->data[i];
        char sentence[RECIPE_PATH + 200];
        uint64_t hash = 0, bytes = 0;
        if (!one->copy[0]) continue;

        const char *became = "has changed", *hint = " (--take-changes takes the new one)";
        if (hash_of(one->from, &hash, &bytes, NULL) != OK) {
            became = "is gone";
            hint = "";
        } else if (hash == one->hash) {
            continue;
        }
        snprintf(sentence, sizeof sentence, "%s: %s %s since the run began; the run's own copy is used%s", one->key,
                 one->from, became, hint);
        tell(ctx, sentence);
    }
}

/* ---- run.json ---- */

json_t *ingredients_to_json(const ingredients *all)
{
    json_t *list = json_array();
    for (size_t i = 0; i < all->len; i++) {
        const ingredient *one = &all->data[i];
        char hex[17];
        hash_hex(one->hash, hex);
        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:s, s:s, s:I}", "key", one->key, "from", json_bytes(one->from),
                                        "copy", one->copy, "hash", hex, "bytes", (json_int_t)one->bytes));
    }
    return list;
}

/* "": none, or recipe/NAME: what stands there may be deleted with the run. */
static bool is_copy_name(const char *copy)
{
    if (!*copy) return true;
    if (strncmp(copy, "recipe/", 7) != 0) return false;
    const char *name = copy + 7;
    return *name && !strchr(name, '/') && strcmp(name, "..") != 0 && strcmp(name, ".") != 0;
}

static int read_one(const json_t *json, ingredient *one, error *err)
{
    static const char WHERE[] = "run.json: files";
    const char *key = NULL, *from = NULL, *copy = NULL, *hash = NULL;
    int64_t bytes = 0;
    int rc = json_need_string(json, "key", WHERE, &key, err);
    if (rc == OK) rc = json_need_string(json, "from", WHERE, &from, err);
    if (rc == OK) rc = json_need_string(json, "copy", WHERE, &copy, err);
    if (rc == OK) rc = json_need_string(json, "hash", WHERE, &hash, err);
    if (rc == OK) rc = json_need_int(json, "bytes", WHERE, &bytes, err);
    if (rc != OK) return rc;

    const bool fits =
        strlen(key) < sizeof one->key && strlen(from) < sizeof one->from && strlen(copy) < sizeof one->copy;
    if (!fits || from[0] != '/' || !is_copy_name(copy))
        return error_set(err, ERR_PARSE, "run.json: files: %.90s: '%.200s' is not a path inside the run", key, copy);

    *one = (ingredient){ .hash = strtoull(hash, NULL, 16), .bytes = (uint64_t)bytes };
    memcpy(one->key, key, strlen(key) + 1);
    memcpy(one->from, from, strlen(from) + 1);
    memcpy(one->copy, copy, strlen(copy) + 1);
    return OK;
}

int ingredients_from_json(ingredients *all, const json_t *list, error *err)
{
    size_t i;
    json_t *json;
    int rc = json_is_array(list) ? OK : error_set(err, ERR_PARSE, "run.json: files: expected a list");
    json_array_foreach((json_t *)(uintptr_t)list, i, json)
    {
        ingredient one;
        if (rc == OK && (rc = read_one(json, &one, err)) == OK) vec_push(all, one);
    }
    if (rc == OK && !of_key(all, "recipe", "")) rc = error_set(err, ERR_PARSE, "run.json: files: no recipe");
    return rc;
}

void ingredients_remove(const ingredients *all, const char *run)
{
    char path[PATH_BYTES];
    remove_copies(all, run, NULL);
    rmdir(path_join(path, sizeof path, run, FOLDER));
}
