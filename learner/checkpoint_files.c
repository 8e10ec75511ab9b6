/* SPDX-License-Identifier: MIT */
#include "learner/checkpoint_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/vec.h"

enum { PATH_BYTES = 1200, ATTEMPTS = 100 };

static const char PART[] = ".part-";  /* "step-4.part-1": not whole yet */
static const char MARK[] = ".troupe"; /* in it: Troupe made this folder, and may remove it */

static char *parent_of(char out[PATH_BYTES], const char *run_dir)
{
    return path_join(out, PATH_BYTES, run_dir, "checkpoints");
}

/* N of "step-N" and what follows it; -1: another name. */
static int64_t step_of(const char *name, const char **rest)
{
    char *end;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
    const int64_t step = strtoll(name + 5, &end, 10);
    *rest = end;
    return step;
}

typedef vec(int64_t) steps;

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* A checkpoint, whole or not: a folder with what only a checkpoint has. (A model alone may be a person's.) */
static bool is_checkpoint(const char *dir)
{
    static const char *const FILES[] = { "state.json", "optimizer.safetensors" };
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        if (file_exists(path_join(path, sizeof path, dir, FILES[i]))) return true;
    return false;
}

/* The steps that have a checkpoint's folder by their name, newest first. */
static steps steps_of(const char *parent)
{
    steps found = { 0 };
    DIR *d = opendir(parent);

    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PATH_BYTES];
        const char *rest;
        const int64_t step = step_of(e->d_name, &rest);
        if (step < 0 || *rest) continue; /* "step-4.part-1", "step-4.damaged" */
        if (snprintf(path, sizeof path, "%s/%s", parent, e->d_name) >= (int)sizeof path) continue;
        if (is_checkpoint(path)) vec_push(&found, step);
    }

    if (d) closedir(d);
    if (found.len > 1) qsort(found.data, found.len, sizeof *found.data, newest_first);
    return found;
}

static char *step_dir(char out[PATH_BYTES], const char *parent, int64_t step)
{
    snprintf(out, PATH_BYTES, "%.1100s/step-%" PRId64, parent, step);
    return out;
}

/* ---- unfinished ---- */

void checkpoint_abandon(const char *dir)
{
    char mark[PATH_BYTES];
    struct stat st;
    if (lstat(path_join(mark, sizeof mark, dir, MARK), &st) == 0)
        dir_remove_all(dir, NULL);
    else
        rmdir(dir);
}

static void sweep_parts(const char *parent)
{
    DIR *d = opendir(parent);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PATH_BYTES];
        const char *rest;
        if (step_of(e->d_name, &rest) < 0 || strncmp(rest, PART, sizeof PART - 1) != 0) continue;
        if (snprintf(path, sizeof path, "%s/%s", parent, e->d_name) < (int)sizeof path) checkpoint_abandon(path);
    }
    if (d) closedir(d);
}

int checkpoint_begin(const char *run_dir, int64_t step, char *dir, size_t size, error *err)
{
    char parent[PATH_BYTES], final[PATH_BYTES], mark[PATH_BYTES];
    if (dir_make_all(parent_of(parent, run_dir), err) != OK) return ERR_IO;
    sweep_parts(parent);

    /* mkdir says who was there first: a name that is taken is a person's, or could not be swept. */
    step_dir(final, parent, step);
    for (int i = 1; i <= ATTEMPTS; i++) {
        if (snprintf(dir, size, "%s%s%d", final, PART, i) >= (int)size)
            return error_set(err, ERR_LIMIT, "the path is too long: %.200s", final);
        if (mkdir(dir, 0700) == 0) return file_write_atomic(path_join(mark, sizeof mark, dir, MARK), "", 0, err);
        if (errno != EEXIST) break;
    }
    return error_sys(err, errno, "cannot create the folder %s", dir);
}

/* ---- state.json ---- */

static int list_file(json_t *files, const char *dir, const char *name, error *err)
{
    char path[PATH_BYTES], hex[17];
    uint64_t hash, bytes;
    const int rc = file_hash(path_join(path, sizeof path, dir, name), &hash, &bytes, err);
    if (rc != OK) return rc;
    hash_hex(hash, hex);
    json_object_set_new(files, name, json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "hash", hex));
    return OK;
}

/* Files of `dir` and of the folders in it; names are relative to the checkpoint. */
static int list_files(json_t *files, const char *dir, const char *inner, error *err)
{
    char path[PATH_BYTES], name[300];
    int rc = OK;
    DIR *d = opendir(path_join(path, sizeof path, dir, inner));
    if (!d) return error_sys(err, errno, "cannot list %s", path);

    for (struct dirent *e; rc == OK && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue; /* the mark, . and .. */
        snprintf(name, sizeof name, "%s%s%s", inner, *inner ? "/" : "", e->d_name);
        path_join(path, sizeof path, dir, name);
        if (!dir_exists(path))
            rc = list_file(files, dir, name, err);
        else if (!*inner)
            rc = list_files(files, dir, name, err);
    }

    closedir(d);
    return rc;
}

static int write_state(const char *dir, const checkpoint_state *s, error *err)
{
    char path[PATH_BYTES], weights[17], seed[24];
    json_t *files = json_object();
    int rc = list_files(files, dir, "", err);

    hash_hex(s->weight_hash, weights);
    snprintf(seed, sizeof seed, "%" PRIu64, s->seed); /* as text: a JSON integer has no room for all 64 bits */
    json_t *json = json_pack("{s:I, s:I, s:s, s:s, s:o}", "step", (json_int_t)s->step, "updates",
                             (json_int_t)s->updates, "weight_hash", weights, "seed", seed, "files", files);
    json_seal(json);

    char *text = json_text(json, true);
    if (rc == OK) rc = file_write_atomic(path_join(path, sizeof path, dir, "state.json"), text, strlen(text), err);
    free(text);
    json_decref(json);
    return rc;
}

static json_t *open_state(const char *dir, error *err)
{
    char path[PATH_BYTES];
    json_t *json = json_parse_file(path_join(path, sizeof path, dir, "state.json"), err);
    if (!json) return NULL;
    int rc = json_check_seal(json, path, err);
    if (rc == OK && !json_is_object(json_object_get(json, "files")))
        rc = error_set(err, ERR_PARSE, "%s: files: expected an object", path);
    if (rc == OK) return json;
    json_decref(json);
    return NULL;
}

/* ---- giving it its name ---- */

static int open_folder(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_in(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What lies in `from` and is neither listed nor in `to` goes to `to`; so do the folders that both have, one level down.
 * `inner`: where we are, "" or "adapter/". */
static void move_unlisted(int from, int to, const char *inner, const json_t *listed)
{
    char name[600];
    const int copy = dup(from); /* closedir closes its descriptor, and the caller keeps `from` */
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, MARK) == 0) continue;
        snprintf(name, sizeof name, "%s%s", inner, e->d_name);
        if (json_object_get(listed, name)) continue;
        if (!is_in(to, e->d_name)) {
            renameat(from, e->d_name, to, e->d_name);
            continue;
        }

        const int below = *inner ? -1 : open_folder(from, e->d_name);
        const int there = below < 0 ? -1 : open_folder(to, e->d_name);
        snprintf(name, sizeof name, "%s/", e->d_name);
        if (there >= 0) move_unlisted(below, there, name, listed);
        if (there >= 0) close(there);
        if (below >= 0) close(below);
    }
    if (d) closedir(d);
}

/* A person's files that were beside the old checkpoint are beside the new one: they stay where they were put. */
static void give_back(const char *old, const char *final)
{
    json_t *state = open_state(old, NULL);
    const int from = open_folder(AT_FDCWD, old), to = open_folder(AT_FDCWD, final);
    if (from >= 0 && to >= 0) move_unlisted(from, to, "", json_object_get(state, "files"));
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    json_decref(state);
    rmdir(old); /* if that was all */
}

/* What has the final name is damaged, of another course of the run, or a person's: its folder goes aside first, since
 * two folders can't be exchanged everywhere. moved = "": there was none. */
static int make_room(const char *final, char moved[PATH_BYTES], error *err)
{
    struct stat st;
    moved[0] = 0;
    if (lstat(final, &st) != 0) return OK;
    return checkpoint_set_aside(final, "old", moved, PATH_BYTES, err);
}

int checkpoint_commit(const char *run_dir, const char *dir, const checkpoint_state *state, error *err)
{
    char parent[PATH_BYTES], final[PATH_BYTES], mark[PATH_BYTES], moved[PATH_BYTES];
    step_dir(final, parent_of(parent, run_dir), state->step);

    /* On the disk before it has its name: what bears it is whole after a power failure, too. */
    int rc = write_state(dir, state, err);
    if (rc == OK) rc = dir_sync(dir, err);
    if (rc == OK) rc = make_room(final, moved, err);
    if (rc == OK && rename(dir, final) != 0) rc = error_sys(err, errno, "cannot rename %s to %s", dir, final);
    if (rc != OK) {
        checkpoint_abandon(dir);
        return rc;
    }

    /* Without its mark it is no longer a folder that may be removed whole, as unfinished ones are. */
    unlink(path_join(mark, sizeof mark, final, MARK));
    if (moved[0]) give_back(moved, final);
    return dir_sync(parent, err);
}

/* ---- reading ---- */

static int read_numbers(const json_t *json, const char *dir, checkpoint_state *state, error *err)
{
    const char *hash = NULL, *seed = NULL, *slash = strrchr(dir, '/'), *rest;
    const char *name = slash ? slash + 1 : dir;

    int rc = json_need_int(json, "step", "state.json", &state->step, err);
    if (rc == OK) rc = json_need_int(json, "updates", "state.json", &state->updates, err);
    if (rc == OK) rc = json_need_string(json, "weight_hash", "state.json", &hash, err);
    if (rc == OK) rc = json_need_string(json, "seed", "state.json", &seed, err);
    if (rc != OK) return error_within(err, "%s", dir);

    state->weight_hash = strtoull(hash, NULL, 16);
    state->seed = strtoull(seed, NULL, 10);
    if (step_of(name, &rest) == state->step) return OK;
    return error_set(err, ERR_PARSE, "%s/state.json is of step %" PRId64, dir, state->step);
}

int checkpoint_read_state(const char *dir, checkpoint_state *state, error *err)
{
    error own = { 0 };
    json_t *json = open_state(dir, &own);
    const int rc = json ? read_numbers(json, dir, state, &own) : ERR_PARSE;
    json_decref(json);
    return rc == OK ? OK : error_set(err, ERR_PARSE, "%s", own.text);
}

static int verify_file(const char *dir, const char *name, const json_t *entry, error *err)
{
    char path[PATH_BYTES], hex[17];
    uint64_t hash = 0, bytes = 0;
    const char *want = json_string_value(json_object_get(entry, "hash"));
    const json_int_t size = json_integer_value(json_object_get(entry, "bytes"));
    if (file_hash(path_join(path, sizeof path, dir, name), &hash, &bytes, err) != OK) return ERR_PARSE;
    hash_hex(hash, hex);
    if ((json_int_t)bytes != size)
        return error_set(err, ERR_PARSE, "%s: expected %" PRId64 " bytes, found %" PRIu64, name, (int64_t)size, bytes);
    if (!want || strcmp(want, hex) != 0)
        return error_set(err, ERR_PARSE, "%s: expected hash %.16s, found %s", name, want ? want : "(none)", hex);
    return OK;
}

int checkpoint_verify(const char *dir, checkpoint_state *state, error *err)
{
    const char *name;
    json_t *entry, *json = open_state(dir, err);
    if (!json) return err ? err->code : ERR_PARSE;
    int rc = read_numbers(json, dir, state, err);
    json_object_foreach(json_object_get(json, "files"), name, entry)
    {
        if (rc == OK) rc = verify_file(dir, name, entry, err);
    }
    json_decref(json);
    return rc;
}

int checkpoint_latest(const char *run_dir, char *dir, size_t size, checkpoint_state *state, checkpoint_told tell,
                      void *ctx, error *err)
{
    char parent[PATH_BYTES], path[PATH_BYTES];
    error why = { 0 };
    bool found = false;
    steps all = steps_of(parent_of(parent, run_dir));

    for (size_t i = 0; i < all.len && !found; i++) {
        found = checkpoint_verify(step_dir(path, parent, all.data[i]), state, &why) == OK;
        if (!found && tell) tell(ctx, path, why.text);
    }
    const bool any = all.len > 0;
    vec_free(&all);

    if (found) {
        snprintf(dir, size, "%s", path);
        return OK;
    }
    if (any) return error_set(err, ERR_PARSE, "no checkpoint in %s is whole; the last looked at: %s", parent, why.text);
    return error_set(err, ERR_NOT_FOUND, "%s holds no complete checkpoint to resume from", parent);
}

int checkpoint_set_aside(const char *dir, const char *word, char *moved, size_t size, error *err)
{
    for (int i = 1; i <= ATTEMPTS; i++) {
        struct stat st;
        snprintf(moved, size, i == 1 ? "%s.%s" : "%s.%s-%d", dir, word, i);
        if (lstat(moved, &st) == 0) continue;
        return rename(dir, moved) == 0 ? OK : error_sys(err, errno, "cannot rename %s to %s", dir, moved);
    }
    return error_set(err, ERR_FULL, "%s.%s, .%s-2, ... are all taken", dir, word, word);
}

/* ---- removing ---- */

/* One listed name: "config.json" or "adapter/adapter_config.json". Anything else was not written here. */
static void remove_listed(int dir, const char *name)
{
    char folder[64];
    const char *slash = strchr(name, '/');
    if (strstr(name, "..") || name[0] == '/' || name[0] == '.') return;
    if (!slash) {
        unlinkat(dir, name, 0);
        return;
    }

    snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    const int fd = open_folder(dir, folder); /* no link is followed: it could lead out of the checkpoint */
    if (fd < 0) return;
    if (!strchr(slash + 1, '/')) unlinkat(fd, slash + 1, 0);
    close(fd);
    unlinkat(dir, folder, AT_REMOVEDIR); /* with the last of its files */
}

/* state.json goes last: a process that is killed here leaves a checkpoint that is damaged, not one without a list. */
static int remove_checkpoint(int parent, const char *name, const char *path, error *err)
{
    json_t *entry, *json = open_state(path, NULL);
    const char *file;
    const int fd = json ? open_folder(parent, name) : -1;
    json_object_foreach(json_object_get(json, "files"), file, entry)
    {
        if (fd >= 0) remove_listed(fd, file);
    }
    json_decref(json);
    if (fd < 0) return OK; /* not as Troupe wrote it, or a link: it stays */

    int rc = unlinkat(fd, "state.json", 0) == 0 ? OK : error_sys(err, errno, "cannot remove %s/state.json", path);
    close(fd);

    /* A folder with a person's files in it stays, with those. */
    if (rc == OK && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOTEMPTY && errno != EEXIST)
        rc = error_sys(err, errno, "cannot remove %s", path);
    return rc;
}

int checkpoint_prune(const char *run_dir, int64_t keep, int64_t latest, error *err)
{
    char parent[PATH_BYTES], path[PATH_BYTES];
    int rc = OK;
    const int fd = keep > 0 ? open_folder(AT_FDCWD, parent_of(parent, run_dir)) : -1;
    if (fd < 0) return OK; /* none, or a link to a folder that is not ours to empty */

    steps all = steps_of(parent); /* newest first: the first `keep` that can be read stay */
    for (size_t i = 0; rc == OK && i < all.len; i++) {
        checkpoint_state state;
        if (all.data[i] > latest || checkpoint_read_state(step_dir(path, parent, all.data[i]), &state, NULL) != OK)
            continue;
        if (keep-- > 0) continue;
        rc = remove_checkpoint(fd, strrchr(path, '/') + 1, path, err);
    }

    vec_free(&all);
    close(fd);
    return rc;
}

/* "step-4", "step-4.damaged", "step-4.old-2": whatever has a state.json of ours. */
int checkpoint_remove_all(const char *run_dir, error *err)
{
    char parent[PATH_BYTES], path[PATH_BYTES];
    int rc = OK;
    const int fd = open_folder(AT_FDCWD, parent_of(parent, run_dir));
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) return OK;

    sweep_parts(parent);
    for (struct dirent *e; rc == OK && (e = readdir(d));) {
        const char *rest;
        if (step_of(e->d_name, &rest) < 0 || (*rest && *rest != '.')) continue;
        if (snprintf(path, sizeof path, "%s/%s", parent, e->d_name) >= (int)sizeof path) continue;
        rc = remove_checkpoint(fd, e->d_name, path, err);
    }
    closedir(d);
    return rc;
}
