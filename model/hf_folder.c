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

/* The file that has `p`, and its path; NULL and `err` without one. */
static safetensors *file_of(const hf_folder *f, tensor_files *files, const param *p, char path[PATH_BYTES], error *err)
{
    snprintf(path, PATH_BYTES, "%s", files->one_path);
    if (files->one) return files->one;
    const char *shard = json_string_value(json_object_get(json_object_get(files->index, "weight_map"), p->name));
    if (!shard || strchr(shard, '/')) { /* a shard is a file of this folder, never one elsewhere */
        error_set(err, ERR_PARSE, "%s/model.safetensors.index.json names no shard for %s", f->dir, p->name);
        return NULL;
    }
    path_join(path, PATH_BYTES, f->dir, shard);
    safetensors *st = map_get(files->shards, shard);
    if (st || !(st = safetensors_open(path, err))) return st;
    map_set(files->shards, shard, st);
    if (weights_check_names(f->table, st, err) == OK) return st;
    error_within(err, "%s", path);
    return NULL;
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
        if (!(files->one = safetensors_open(files->one_path, err))) return err ? err->code : ERR_IO;
        rc = weights_check(f->table, files->one, err);
        return rc == OK ? OK : error_within(err, "%s", files->one_path);
    }
    files->shards = map_new();
    if (!(files->index = json_parse_file(index, err))) return err ? err->code : ERR_PARSE;
    for (int i = 0; rc == OK && i < f->table->n; i++) {
        const param *p = &f->table->items[i];
        safetensors *st = file_of(f, files, p, path, err);
        if (!st) return err ? err->code : ERR_PARSE;
        if ((rc = weights_check_one(p, st, err)) != OK) error_within(err, "%s", path);
    }
    return rc;
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
    if (rc == OK && (rc = device_guard(dev, seal, f, err)) != OK) error_within(err, "%s", dir);
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
