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

enum { PATH_BYTES = 1200 };

static const char *const SIDE_FILES[] = { "config.json",
                                          "generation_config.json",
                                          "tokenizer.json",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "vocab.json",
                                          "merges.txt",
                                          "chat_template.jinja" };

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

static int load_file(hf_folder *f, const char *path, error *err)
{
    safetensors *st = safetensors_open(path, err);
    if (!st) return ERR_IO;
    const int rc = weights_load(f->weights, st, err);
    safetensors_close(st);
    return rc == OK ? OK : error_within(err, "%s", path);
}

/* One parameter from the shard that the index names; `open` keeps shards open by file name. */
static int load_from_shard(hf_folder *f, const param *p, const json_t *weight_map, map *open, error *err)
{
    char path[PATH_BYTES];
    const char *shard = json_string_value(json_object_get(weight_map, p->name));
    if (!shard || strchr(shard, '/')) /* a shard is a file of this folder, never one elsewhere */
        return error_set(err, ERR_PARSE, "%s/model.safetensors.index.json names no shard for %s", f->dir, p->name);
    path_join(path, sizeof path, f->dir, shard);
    safetensors *st = map_get(open, shard);
    if (!st) {
        st = safetensors_open(path, err);
        if (!st) return ERR_IO;
        map_set(open, shard, st);
        if (weights_check_names(f->table, st, err) != OK) return error_within(err, "%s", path);
    }
    return weights_load_one(f->weights, p, st, err) == OK ? OK : error_within(err, "%s", path);
}

static int load_shards(hf_folder *f, const char *index_path, error *err)
{
    json_t *index = json_parse_file(index_path, err);
    if (!index) return ERR_PARSE;
    map *open = map_new();
    int rc = OK;
    for (int i = 0; rc == OK && i < f->table->n; i++)
        rc = load_from_shard(f, &f->table->items[i], json_object_get(index, "weight_map"), open, err);
    size_t cursor = 0;
    const char *name;
    void *st;
    while (map_next(open, &cursor, &name, &st)) safetensors_close(st);
    map_free(open);
    json_decref(index);
    return rc;
}

hf_folder *hf_folder_open(const char *dir, device *dev, error *err)
{
    char path[PATH_BYTES], index[PATH_BYTES];
    hf_folder *f = hf_folder_open_config(dir, dev, err);
    if (!f) return NULL;
    f->weights = weights_new(dev, f->table, err);
    path_join(path, sizeof path, dir, "model.safetensors");
    path_join(index, sizeof index, dir, "model.safetensors.index.json");
    int rc = f->weights ? OK : ERR_MEMORY;
    if (rc == OK) rc = file_exists(path) || !file_exists(index) ? load_file(f, path, err) : load_shards(f, index, err);
    if (rc == OK) {
        weights_seal(f->weights, 0);
        return f;
    }
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
    for (size_t i = 0; i < sizeof SIDE_FILES / sizeof *SIDE_FILES; i++) {
        path_join(from, sizeof from, from_dir, SIDE_FILES[i]);
        path_join(to, sizeof to, to_dir, SIDE_FILES[i]);
        if (i > 0 && !file_exists(from)) continue; /* no model without its config.json */
        if (file_copy(from, to, err) != OK) return ERR_IO;
    }
    return OK;
}

static int sync_folder(const char *path, error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_sys(err, errno, "folder %s could not be opened", path);
    const int rc =
        fsync(fd) == 0 || errno == EINVAL ? OK : error_sys(err, errno, "folder %s could not be synced", path);
    close(fd);
    return rc;
}

/* `temp` becomes `dir`. A folder in its place changes places with it in one call, so at no moment is there none; where
 * the file system can't do that, the old one is gone for the moment between two calls. What is left over is removed. */
static int replace_folder(const char *temp, const char *dir, error *err)
{
    char parent[PATH_BYTES];
    int rc = OK;
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, dir, RENAME_EXCHANGE) != 0) {
        if (errno != ENOENT) rc = dir_remove_all(dir, err);
        if (rc == OK && rename(temp, dir) != 0) rc = error_sys(err, errno, "%s could not be renamed to %s", temp, dir);
    }
    if (rc == OK) rc = sync_folder(path_dirname(parent, sizeof parent, dir), err);
    return rc;
}

/* Replacing means removing: what is no model, such as a home folder written by mistake, is not replaced. */
static int check_replaceable(const char *dir, error *err)
{
    char config[PATH_BYTES + 64];
    path_join(config, sizeof config, dir, "config.json");
    if (file_exists(config) || rmdir(dir) == 0 || errno == ENOENT) return OK; /* an empty folder is no loss */
    return error_set(err, ERR_ARGUMENT, "%s exists and holds no model (no config.json): it is not replaced", dir);
}

int hf_folder_write(const char *dir, const char *from_dir, const weights *w, tensor_dtype dtype, error *err)
{
    char target[PATH_BYTES], temp[PATH_BYTES + 32], to[PATH_BYTES + 64];
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/') len--;
    if (len >= sizeof target) return error_set(err, ERR_ARGUMENT, "%.80s...: the path is too long", dir);
    snprintf(target, sizeof target, "%.*s", (int)len, dir);
    snprintf(temp, sizeof temp, "%s.tmp-%d", target, (int)getpid());
    int rc = check_replaceable(target, err);
    if (rc == OK) rc = dir_remove_all(temp, err);
    if (rc == OK) rc = dir_make_all(temp, err);
    if (rc == OK) rc = copy_side_files(from_dir, temp, err);
    if (rc == OK) rc = weights_save(w, path_join(to, sizeof to, temp, "model.safetensors"), dtype, err);
    if (rc == OK) rc = replace_folder(temp, target, err);
    dir_remove_all(temp, NULL); /* what failed halfway, or the folder that was there before */
    return rc;
}
