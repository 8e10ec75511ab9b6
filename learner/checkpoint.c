/* SPDX-License-Identifier: MIT */
#include "learner/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/str.h"
#include "model/hf_folder.h"

enum { PATH_BYTES = 1200 };
static const char MEMORY[] = "memory.state";

static int save_optimizer(const char *dir, const weights *w, const optimizer *o, error *err)
{
    char path[PATH_BYTES];
    const float *m, *v;
    float *copies = NULL; /* [2, total] */
    if (!optimizer_view(o, w, &m, &v)) {
        copies = xmalloc(2 * sizeof *copies * (size_t)w->table->total);
        optimizer_export(o, w, copies, copies + w->table->total);
        m = copies;
        v = copies + w->table->total;
    }

    const tensor_source tensors[] = {
        { .name = "m", .rank = 1, .shape = { w->table->total }, .data = m },
        { .name = "v", .rank = 1, .shape = { w->table->total }, .data = v },
    };

    const int rc =
        safetensors_write(path_join(path, sizeof path, dir, "optimizer.safetensors"), tensors, 2, DTYPE_F32, NULL, err);
    free(copies);
    return rc;
}

static int save_adapter(const char *dir, const char *model_dir, const lora *adapter, error *err)
{
    char path[PATH_BYTES];
    return adapter ? lora_save(adapter, path_join(path, sizeof path, dir, "adapter"), model_dir, err) : OK;
}

static int save_memory(const char *dir, const checkpoint_parts *p, error *err)
{
    char path[PATH_BYTES];
    size_t len;
    if (!p->memory) return OK;
    char *bytes = state_bytes(p->memory, &len);
    const int rc = file_write_atomic(path_join(path, sizeof path, dir, MEMORY), bytes, len, err);
    free(bytes);
    return rc;
}

static int save_reference(const char *dir, const checkpoint_parts *p, error *err)
{
    char path[PATH_BYTES];
    if (!p->reference) return OK;
    return weights_save(p->reference, path_join(path, sizeof path, dir, "reference.safetensors"), DTYPE_F32, err);
}

static int save_parts(const char *dir, const char *model_dir, const checkpoint_parts *p, error *err)
{
    int rc = hf_folder_fill(dir, model_dir, p->w, DTYPE_F32, err);
    if (rc == OK) rc = save_adapter(dir, model_dir, p->adapter, err);
    if (rc == OK) rc = save_optimizer(dir, p->adapter ? p->adapter->w : p->w, p->o, err);
    if (rc == OK) rc = save_memory(dir, p, err);
    return rc == OK ? save_reference(dir, p, err) : rc;
}

/* What the disk has to have room for; the small files are not counted. */
static double megabytes_of(const checkpoint_parts *p)
{
    const double model = (double)p->w->table->total, trained = p->adapter ? (double)p->adapter->w->table->total : model;
    const double floats = model + 2 * trained + (p->adapter ? trained : 0) + (p->reference ? model : 0);
    return floats * sizeof(float) / 1e6;
}

static int failed(const char *run_dir, const checkpoint_parts *p, error *err)
{
    struct statvfs fs;
    const double left = statvfs(run_dir, &fs) == 0 ? (double)fs.f_bavail * (double)fs.f_frsize / 1e6 : 0;
    return error_within(err, "checkpoint step-%" PRId64 " was not written (it needs %.1f MB, %.1f MB are free)",
                        p->w->version, megabytes_of(p), left);
}

int checkpoint_save(const char *run_dir, const char *model_dir, const checkpoint_parts *parts, uint64_t seed,
                    error *err)
{
    char dir[PATH_BYTES];
    const weights *w = parts->w;
    const checkpoint_state state = {
        .step = w->version, .updates = parts->o->step, .weight_hash = w->hash, .seed = seed
    };

    /* Into a folder that no reader takes for a checkpoint, and then all at once to its name. */
    if (checkpoint_begin(run_dir, w->version, dir, sizeof dir, err) != OK) return failed(run_dir, parts, err);
    if (save_parts(dir, model_dir, parts, err) != OK) {
        checkpoint_abandon(dir);
        return failed(run_dir, parts, err);
    }
    if (checkpoint_commit(run_dir, dir, &state, err) != OK) return failed(run_dir, parts, err);
    return OK;
}

/* [total], for the caller to free; NULL and `err`. */
static float *load_moment(const safetensors *st, const char *name, const weights *w, error *err)
{
    const tensor_view *view = safetensors_find(st, name);
    if (!view || view->count != w->table->total) {
        error_set(err, ERR_PARSE, "optimizer.safetensors: %s: expected %" PRId64 " values, found %" PRId64, name,
                  w->table->total, view ? view->count : 0);
        return NULL;
    }
    float *host = xmalloc(sizeof(float) * (size_t)view->count);
    const int rc = safetensors_to_f32(view, host, err);
    safetensors_drop(st, view);
    if (rc == OK) return host;
    free(host);
    return NULL;
}

/* One after the other: a copy of both would be two models more, for a moment. */
static bool load_moments(const safetensors *st, const weights *w, optimizer *o, error *err)
{
    float *m = load_moment(st, "m", w, err);
    if (!m) return false;
    optimizer_import(o, w, m, NULL);
    free(m);

    float *v = load_moment(st, "v", w, err);
    if (!v) return false;
    optimizer_import(o, w, NULL, v);
    free(v);
    return true;
}

static int load_optimizer(const char *dir, const weights *w, optimizer *o, error *err)
{
    char path[PATH_BYTES];
    safetensors *st = safetensors_open(path_join(path, sizeof path, dir, "optimizer.safetensors"), err);
    if (!st) return err ? err->code : ERR_IO;

    const bool fine = load_moments(st, w, o, err);
    safetensors_close(st);
    if (fine) return OK;
    return err ? err->code : ERR_PARSE;
}

static int load_weights(const char *dir, weights *w, const checkpoint_state *state, error *err)
{
    char path[PATH_BYTES];
    safetensors *st = safetensors_open(path_join(path, sizeof path, dir, "model.safetensors"), err);
    if (!st) return err ? err->code : ERR_IO;
    const int rc = weights_load(w, st, err);
    safetensors_close(st);
    if (rc != OK) return rc;
    weights_seal(w, state->step);
    if (w->hash == state->weight_hash) return OK;
    return error_set(err, ERR_PARSE,
                     "model.safetensors is not the one state.json was written for: expected hash %016" PRIx64
                     ", found %016" PRIx64,
                     state->weight_hash, w->hash);
}

static int load_adapter(const char *dir, lora *adapter, error *err)
{
    char path[PATH_BYTES];
    return adapter ? lora_load_into(adapter, path_join(path, sizeof path, dir, "adapter"), err) : OK;
}

saved_state *checkpoint_memory(const char *dir, error *err)
{
    char path[PATH_BYTES];
    size_t len = 0;
    char *bytes = file_read(path_join(path, sizeof path, dir, MEMORY), SIZE_MAX / 2, &len, err);
    if (!bytes) return NULL;
    saved_state *found = state_parse(bytes, len, path, err);
    free(bytes);
    return found;
}

static int load_reference(const char *dir, const checkpoint_parts *p, error *err)
{
    char path[PATH_BYTES];
    if (!p->reference) return OK;
    safetensors *st = safetensors_open(path_join(path, sizeof path, dir, "reference.safetensors"), err);
    if (!st) return err ? err->code : ERR_IO;
    const int rc = weights_load(p->reference, st, err);
    safetensors_close(st);
    if (rc == OK) weights_seal(p->reference, p->reference->version);
    return rc;
}

int checkpoint_load(const char *dir, const checkpoint_parts *parts, checkpoint_state *state, error *err)
{
    lora *adapter = parts->adapter;
    if (checkpoint_read_state(dir, state, err) != OK || load_weights(dir, parts->w, state, err) != OK ||
        load_adapter(dir, adapter, err) != OK ||
        load_optimizer(dir, adapter ? adapter->w : parts->w, parts->o, err) != OK ||
        load_reference(dir, parts, err) != OK)
        return error_within(err, "checkpoint %s", dir);
    parts->o->step = state->updates;
    return OK;
}
