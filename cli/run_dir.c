#include "cli/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

static int take_lock(run_dir *r, error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/lock", r->path);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (r->lock_fd < 0) return error_sys(err, errno, "%s", path);
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0) return OK;
    close(r->lock_fd);
    r->lock_fd = -1;
    return error_set(err, ERR_STATE, "%s is running: another troupe holds its lock", r->path);
}

/* A folder only this user can enter: whoever reaches the socket may send episodes. */
static int make_sockets(run_dir *r, error *err)
{
    snprintf(r->sockets, sizeof r->sockets, "/tmp/troupe-XXXXXX");
    if (mkdtemp(r->sockets)) return OK;
    return error_sys(err, errno, "can't make a folder for sockets (%s)", r->sockets);
}

static int write_json(const run_dir *r, error *err)
{
    char path[1100];
    json_t *overrides = json_array();
    for (int i = 0; i < r->n_overrides; i++) json_array_append_new(overrides, json_string(r->overrides[i]));
    json_t *json = json_pack("{s:s, s:o, s:s}", "recipe", r->recipe, "overrides", overrides, "sockets", r->sockets);
    char *text = json_text(json, false);
    snprintf(path, sizeof path, "%s/run.json", r->path);
    const int rc = file_write_atomic(path, text, strlen(text), err);
    free(text);
    json_decref(json);
    return rc;
}

static int absolute(char out[1024], const char *path, error *err)
{
    char *real = realpath(path, NULL);
    if (!real) return error_sys(err, errno, "%s", path);
    snprintf(out, 1024, "%s", real);
    free(real);
    return OK;
}

int run_dir_begin(run_dir *r, const char *path, const char *recipe, const char *const *overrides, int n_overrides,
                  bool fresh, error *err)
{
    char copy[1100], played[1100];
    *r = (run_dir){ .lock_fd = -1 };
    snprintf(copy, sizeof copy, "%s/run.json", path);
    snprintf(played, sizeof played, "%s/rollouts.db", path); /* without one it never got as far as an episode */
    if (file_exists(copy) && file_exists(played) && !fresh)
        return error_set(err, ERR_STATE,
                         "%s exists (go on with it: --resume %s; start over: --fresh; or give name=...)", path, path);
    if (dir_make_all(path, err) != OK || absolute(r->path, path, err) != OK || absolute(r->recipe, recipe, err) != OK ||
        take_lock(r, err) != OK)
        return err->code;
    const char *const old[] = { "checkpoints",     "logs",          "rollouts.db", "rollouts.db-wal",
                                "rollouts.db-shm", "metrics.jsonl", "summary.json" };
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        snprintf(copy, sizeof copy, "%s/%s", r->path, old[i]);
        if (unlink(copy) != 0 && errno != ENOENT && dir_remove_all(copy, err) != OK) return err->code;
    }
    for (int i = 0; i < n_overrides; i++) r->overrides[r->n_overrides++] = xstrdup(overrides[i]);
    snprintf(copy, sizeof copy, "%s/logs", r->path);
    if (dir_make_all(copy, err) != OK || make_sockets(r, err) != OK) return err->code;
    snprintf(copy, sizeof copy, "%s/recipe.lua", r->path);
    if (file_copy(r->recipe, copy, err) != OK) return err->code;
    return write_json(r, err); /* last: what has no run.json is no run */
}

static int read_json(run_dir *r, error *err)
{
    char path[1100];
    const char *recipe, *sockets;
    snprintf(path, sizeof path, "%s/run.json", r->path);
    if (!file_exists(path)) return error_set(err, ERR_NOT_FOUND, "%s is no run: it has no run.json", r->path);
    json_t *json = json_parse_file(path, err);
    if (!json) return err->code;
    int rc = json_need_string(json, "recipe", path, &recipe, err);
    if (rc == OK) rc = json_need_string(json, "sockets", path, &sockets, err);
    const json_t *overrides = json_object_get(json, "overrides");
    for (size_t i = 0; rc == OK && i < json_array_size(overrides) && r->n_overrides < MAX_OVERRIDES; i++) {
        const char *text = json_string_value(json_array_get(overrides, i));
        if (text) r->overrides[r->n_overrides++] = xstrdup(text);
    }
    if (rc == OK) {
        snprintf(r->recipe, sizeof r->recipe, "%s", recipe);
        snprintf(r->sockets, sizeof r->sockets, "%s", sockets);
    }
    json_decref(json);
    return rc;
}

int run_dir_resume(run_dir *r, const char *path, error *err)
{
    *r = (run_dir){ .lock_fd = -1 };
    if (absolute(r->path, path, err) != OK || take_lock(r, err) != OK || read_json(r, err) != OK) return err->code;
    if (strncmp(r->sockets, "/tmp/troupe-", 12) == 0) dir_remove_all(r->sockets, NULL); /* a killed run's */
    if (make_sockets(r, err) != OK) return err->code;
    return write_json(r, err);
}

void run_dir_end(run_dir *r)
{
    if (r->sockets[0]) dir_remove_all(r->sockets, NULL);
    for (int i = 0; i < r->n_overrides; i++) free(r->overrides[i]);
    r->n_overrides = 0;
    if (r->lock_fd >= 0) close(r->lock_fd);
    r->lock_fd = -1;
}
