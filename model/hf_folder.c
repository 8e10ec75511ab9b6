/* SPDX-License-Identifier: MIT */
#include "model/hf_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "model/model_folder.h"

enum { PATH_BYTES = 1200, MAX_CONFIG = 16 << 20 };

hf_folder *hf_folder_open_config(const char *dir, device *dev, error *err)
{
    (void)dev;
    hf_folder *f = xcalloc(1, sizeof *f);

    const int len = snprintf(f->dir, sizeof f->dir, "%s", dir);
    if (len >= (int)sizeof f->dir)
        error_set(err, ERR_ARGUMENT, "%.80s...: the path is too long", dir);
    else if (model_config_read(&f->config, dir, err) == OK)
        f->table = param_table_new(&f->config, err);

    if (f->table) return f;
    hf_folder_close(f);
    return NULL;
}

/* ---- reading: first what the files hold, then memory for it ---- */

/* The folder's tensors: one file, or shards by file name and the index that says what is where. */
typedef struct tensor_files {
    char one_path[PATH_BYTES];
    safetensors *one;
    json_t *index;
    map *shards;
} tensor_files;

static void close_files(tensor_files *files)
{
    size_t cursor = 0;
    const char *name;
    void *st;
    safetensors_close(files->one);
    while (files->shards && map_next(files->shards, &cursor, &name, &st)) safetensors_close(st);
    map_free(files->shards);
    json_decref(files->index);
}

/* The shard that the index has `p` in, under either of its names; NULL: none. */
static const char *shard_of(const tensor_files *files, const param *p)
{
    char other[PARAM_NAME];
    int64_t shape[3];
    const json_t *shards = json_object_get(files->index, "weight_map");
    const json_t *own = json_object_get(shards, p->name);
    if (!own && param_stored_otherwise(p, other, shape) > 0) own = json_object_get(shards, other);
    return json_string_value(own);
}

/* The shard of the tensor `name`; NULL and `err`: there is none. */
static safetensors *open_shard(const hf_folder *f, tensor_files *files, const char *shard, const char *name,
                               char path[PATH_BYTES], error *err)
{
    if (!shard || strchr(shard, '/')) { /* a shard is a file of this folder, never one elsewhere */
        error_set(err, ERR_PARSE, "%s/model.safetensors.index.json names no shard for %s", f->dir, name);
        return NULL;
    }
    path_join(path, PATH_BYTES, f->dir, shard);

    safetensors *st = map_get(files->shards, shard);
    if (st) return st;
    st = safetensors_open(path, err);
    if (!st) return NULL;
    map_set(files->shards, shard, st);

    if (weights_check_names(f->table, st, err) == OK) return st;
    error_within(err, "%s", path);
    return NULL;
}

/* The file that has `p`, and its path; NULL and `err` without one. */
static safetensors *file_of(const hf_folder *f, tensor_files *files, const param *p, char path[PATH_BYTES], error *err)
{
    snprintf(path, PATH_BYTES, "%s", files->one_path);
    return files->one ? files->one : open_shard(f, files, shard_of(files, p), p->name, path, err);
}

/* A tied head that is stored beside its embedding may lie in another shard. */
static int check_tied(const hf_folder *f, tensor_files *files, error *err)
{
    char head_name[PARAM_NAME], path[PATH_BYTES];
    int64_t shape[3];
    const param *embed = param_find(f->table, PARAM_EMBED, 0);
    const json_t *shards = json_object_get(files->index, "weight_map");
    if (!embed->is_head || !json_object_get(shards, embed->name)) return OK;
    param_stored_otherwise(embed, head_name, shape);
    const char *shard = json_string_value(json_object_get(shards, head_name));
    if (!shard) return OK;

    const safetensors *first = file_of(f, files, embed, path, err);
    const safetensors *second = first ? open_shard(f, files, shard, head_name, path, err) : NULL;
    const tensor_view *head = second ? safetensors_find(second, head_name) : NULL;
    if (!second) return err ? err->code : ERR_PARSE;
    if (!head || weights_check_tied(safetensors_find(first, embed->name), head, err) == OK) return OK;
    return error_within(err, "%s", path);
}

/* Opens what is there and holds every parameter against it: a config.json without weights, or of another size than
 * they are, costs no memory. */
static int open_files(const hf_folder *f, tensor_files *files, error *err)
{
    char path[PATH_BYTES], index[PATH_BYTES];
    int rc = OK;
    path_join(files->one_path, PATH_BYTES, f->dir, "model.safetensors");
    path_join(index, sizeof index, f->dir, "model.safetensors.index.json");

    if (file_exists(files->one_path) || !file_exists(index)) {
        files->one = safetensors_open(files->one_path, err);
        if (!files->one) return err ? err->code : ERR_IO;
        rc = weights_check(f->table, files->one, err);
        return rc == OK ? OK : error_within(err, "%s", files->one_path);
    }

    files->shards = map_new();
    files->index = json_parse_file(index, err);
    if (!files->index) return err ? err->code : ERR_PARSE;
    for (int i = 0; rc == OK && i < f->table->n; i++) {
        const param *p = &f->table->items[i];
        safetensors *st = file_of(f, files, p, path, err);
        if (!st) return err ? err->code : ERR_PARSE;
        rc = weights_check_one(p, st, err);
        if (rc != OK) error_within(err, "%s", path);
    }
    return rc == OK ? check_tied(f, files, err) : rc;
}

static int load_files(hf_folder *f, tensor_files *files, error *err)
{
    char path[PATH_BYTES];
    int rc = OK;
    for (int i = 0; rc == OK && i < f->table->n; i++) {
        const param *p = &f->table->items[i];
        safetensors *st = file_of(f, files, p, path, err);
        rc = st ? weights_load_one(f->weights, p, st, err) : ERR_IO;
        if (st && rc != OK) error_within(err, "%s", path);
    }
    return rc;
}

static int seal(void *ctx, error *err)
{
    (void)err;
    weights_seal(((hf_folder *)ctx)->weights, 0);
    return OK;
}

int hf_folder_check(const char *dir, error *err)
{
    tensor_files files = { 0 };
    hf_folder *f = hf_folder_open_config(dir, NULL, err);
    if (!f) return err ? err->code : ERR_PARSE;
    const int rc = open_files(f, &files, err);
    close_files(&files);
    hf_folder_close(f);
    return rc;
}

hf_folder *hf_folder_open(const char *dir, device *dev, error *err)
{
    tensor_files files = { 0 };
    hf_folder *f = hf_folder_open_config(dir, dev, err);
    if (!f) return NULL;

    int rc = open_files(f, &files, err);
    if (rc == OK && !(f->weights = weights_new(dev, f->table, err))) {
        rc = ERR_MEMORY;
        error_within(err, "%s", dir);
    }
    if (rc == OK) rc = load_files(f, &files, err);
    close_files(&files);

    if (rc == OK) {
        rc = device_guard(dev, seal, f, err); /* packing takes memory, too */
        if (rc != OK) error_within(err, "%s", dir);
    }
    if (rc == OK) return f;
    hf_folder_close(f);
    return NULL;
}

void hf_folder_close(hf_folder *f)
{
    if (!f) return;
    weights_free(f->weights);
    param_table_free(f->table);
    free(f);
}

static int copy_side_files(const char *from_dir, const char *to_dir, error *err)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    for (size_t i = 0; MODEL_SIDE_FILES[i]; i++) {
        path_join(from, sizeof from, from_dir, MODEL_SIDE_FILES[i]);
        path_join(to, sizeof to, to_dir, MODEL_SIDE_FILES[i]);
        if (i > 0 && !file_exists(from)) continue; /* no model without its config.json */
        if (file_copy(from, to, err) != OK) return ERR_IO;
    }
    return OK;
}

int hf_folder_fill(const char *dir, const char *from_dir, const weights *w, tensor_dtype dtype, error *err)
{
    char to[PATH_BYTES + 64];
    const int rc = copy_side_files(from_dir, dir, err);
    return rc == OK ? weights_save(w, path_join(to, sizeof to, dir, "model.safetensors"), dtype, err) : rc;
}

/* The string after a key that ends at `key_end`: its first quote, or NULL. */
static const char *value_of(const char *key_end)
{
    const char *p = key_end + strspn(key_end, " \t\r\n");
    if (*p != ':') return NULL;
    p++;
    p += strspn(p, " \t\r\n");
    return *p == '"' ? p : NULL;
}

/* `config` with `word` as the value of "dtype", which was "torch_dtype" once; all else as it was written. */
static void say_dtype(const char *config, const char *word, str *out)
{
    static const char *const KEYS[] = { "\"dtype\"", "\"torch_dtype\"" };
    const char *from = config;
    for (;;) {
        const char *next = NULL;
        for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
            const char *key = strstr(from, KEYS[i]);
            if (key && (!next || key + strlen(KEYS[i]) < next)) next = key + strlen(KEYS[i]);
        }
        if (!next) break;

        const char *value = value_of(next), *end = value ? strchr(value + 1, '"') : NULL;
        str_add(out, from, (size_t)((end ? value : next) - from));
        if (end) str_printf(out, "\"%s\"", word);
        from = end ? end + 1 : next;
    }
    str_puts(out, from);
}

static int write_dtype(const char *dir, tensor_dtype dtype, error *err)
{
    char path[PATH_BYTES + 64];
    size_t len;
    path_join(path, sizeof path, dir, "config.json");
    char *config = file_read(path, MAX_CONFIG, &len, err);
    if (!config) return err ? err->code : ERR_IO;

    str out = { 0 };
    say_dtype(config, dtype == DTYPE_BF16 ? "bfloat16" : "float32", &out);
    const int rc = strcmp(config, out.data) == 0 ? OK : file_write_atomic(path, out.data, out.len, err);
    str_free(&out);
    free(config);
    return rc;
}

int hf_folder_write(const char *dir, const char *from_dir, const weights *w, tensor_dtype dtype, error *err)
{
    model_folder f;
    int rc = model_folder_begin(&f, dir, from_dir, err);
    if (rc == OK) rc = hf_folder_fill(f.part, from_dir, w, dtype, err);
    if (rc == OK) rc = write_dtype(f.part, dtype, err);
    const int ended = model_folder_end(&f, rc == OK, rc == OK ? err : NULL);
    return rc == OK ? ended : rc;
}
