/* SPDX-License-Identifier: MIT */
#include "model/model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "model/safetensors.h"

static const char WEIGHTS[] = "model.safetensors", MARK[] = "written_by", US[] = "troupe";

const char *const MODEL_METADATA[] = { "format", "pt", MARK, US, NULL };

const char *const MODEL_SIDE_FILES[] = { "config.json",
                                         "generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer.model", /* SentencePiece's, which others read */
                                         "tokenizer_config.json",
                                         "added_tokens.json",
                                         "special_tokens_map.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "chat_template.jinja",
                                         NULL };

enum { ATTEMPTS = 100 };

/* ---- what may be replaced ---- */

static int in_the_way(const char *dir, const char *why, error *err)
{
    return error_set(err, ERR_ARGUMENT, "%.200s exists and %.160s: it is not replaced (name another folder)", dir, why);
}

static bool is_models(const char *name)
{
    for (int i = 0; MODEL_SIDE_FILES[i]; i++)
        if (strcmp(name, MODEL_SIDE_FILES[i]) == 0) return true;
    return strcmp(name, WEIGHTS) == 0;
}

/* The first entry that no model has, into `foreign` ("": none); how many there are in all, -1 when it can't be read. */
static int look_into(const char *dir, char *foreign, size_t size)
{
    int n = 0;
    struct stat st;
    DIR *d = opendir(dir);
    if (!d) return -1;
    foreign[0] = 0;

    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        const bool plain = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
        if (!foreign[0] && (!plain || !is_models(e->d_name))) snprintf(foreign, size, "%.100s", e->d_name);
        n++;
    }

    closedir(d);
    return n;
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool marked(const char *weights)
{
    safetensors *st = safetensors_open(weights, NULL);
    const char *by = st ? safetensors_metadata(st, MARK) : NULL;
    const bool ours = by && strcmp(by, US) == 0;
    safetensors_close(st);
    return ours;
}

/* A slash at its end would make a link look like what it points to. */
static int trim(char out[MODEL_FOLDER_BYTES], const char *dir, error *err)
{
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/') len--;
    if (len >= MODEL_FOLDER_BYTES) return error_set(err, ERR_ARGUMENT, "%.80s...: the path is too long", dir);
    snprintf(out, MODEL_FOLDER_BYTES, "%.*s", (int)len, dir);
    return OK;
}

int model_folder_check(const char *path, const char *from, error *err)
{
    char dir[MODEL_FOLDER_BYTES], foreign[120], why[160], weights[MODEL_FOLDER_BYTES + 64];
    struct stat st;
    if (trim(dir, path, err) != OK) return ERR_ARGUMENT;

    if (lstat(dir, &st) != 0) return errno == ENOENT ? OK : error_sys(err, errno, "%s", dir);
    if (S_ISLNK(st.st_mode)) return in_the_way(dir, "is a symbolic link", err);
    if (!S_ISDIR(st.st_mode)) return in_the_way(dir, "is not a folder", err);

    const int n = look_into(dir, foreign, sizeof foreign);
    if (n < 0) return error_sys(err, errno, "cannot list %s", dir);
    if (n == 0) return OK;
    if (foreign[0]) {
        snprintf(why, sizeof why, "holds '%s', which is not part of a model", foreign);
        return in_the_way(dir, why, err);
    }

    path_join(weights, sizeof weights, dir, WEIGHTS);
    if (!file_exists(weights)) return same_folder(dir, from) ? OK : in_the_way(dir, "holds no model of Troupe's", err);
    return marked(weights) ? OK : in_the_way(dir, "holds a model that Troupe did not write", err);
}

/* ---- life ---- */

int model_folder_begin(model_folder *f, const char *dir, const char *from, error *err)
{
    char parent[MODEL_FOLDER_BYTES];
    *f = (model_folder){ 0 };
    int rc = trim(f->target, dir, err);
    if (rc == OK) rc = model_folder_check(f->target, from, err);
    f->in_place = same_folder(f->target, from);
    if (rc == OK) rc = dir_make_all(path_dirname(parent, sizeof parent, f->target), err);

    for (int i = 1; rc == OK && i <= ATTEMPTS; i++) { /* one that is there is not ours to remove */
        snprintf(f->part, sizeof f->part, "%s.part-%d", f->target, i);
        if (mkdir(f->part, 0777) == 0) return OK;
        if (errno != EEXIST) break;
    }

    if (rc == OK) rc = error_sys(err, errno, "cannot create the folder %s", f->part);
    f->part[0] = 0;
    return rc;
}

/* The part becomes the target. A folder in its place changes places with it in one call, so at no moment is there none;
 * where the file system can't do that, the old one is gone for the moment between two calls. */
static int replace(const model_folder *f, error *err)
{
    char parent[MODEL_FOLDER_BYTES];
    int rc = OK;

    if (renameat2(AT_FDCWD, f->part, AT_FDCWD, f->target, RENAME_EXCHANGE) != 0) {
        if (errno != ENOENT) rc = dir_remove_all(f->target, err);
        if (rc == OK && rename(f->part, f->target) != 0)
            rc = error_sys(err, errno, "cannot rename %s to %s", f->part, f->target);
    }
    return rc == OK ? dir_sync(path_dirname(parent, sizeof parent, f->target), err) : rc;
}

int model_folder_end(model_folder *f, bool keep, error *err)
{
    if (!f->part[0]) return OK;

    int rc = OK;
    if (keep) {
        rc = model_folder_check(f->target, f->in_place ? f->target : NULL, err); /* written meanwhile? */
        if (rc == OK) rc = dir_sync(f->part, err);
        if (rc == OK) rc = replace(f, err);
    }

    dir_remove_all(f->part, NULL); /* what failed halfway, or the folder that was there before */
    f->part[0] = 0;
    return rc;
}
