#include "learner/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/hf_folder.h"

enum { PATH_BYTES = 1024 };

static int save_optimizer(const char *dir, const weights *w, const optimizer *o, error *err)
{
    char path[PATH_BYTES];
    const size_t bytes = sizeof(float) * (size_t)w->table->total;
    float *m = xmalloc(bytes), *v = xmalloc(bytes);
    optimizer_export(o, w, m, v);
    const tensor_source tensors[] = {
        { .name = "m", .rank = 1, .shape = { w->table->total }, .data = m },
        { .name = "v", .rank = 1, .shape = { w->table->total }, .data = v },
    };
    const int rc =
        safetensors_write(path_join(path, sizeof path, dir, "optimizer.safetensors"), tensors, 2, DTYPE_F32, NULL, err);
    free(m);
    free(v);
    return rc;
}

static int save_state(const char *dir, const weights *w, const optimizer *o, uint64_t seed, error *err)
{
    char path[PATH_BYTES], text[256], hex[17];
    hash_hex(w->hash, hex);
    const int len = snprintf(text, sizeof text,
                             "{\"step\": %" PRId64 ", \"updates\": %" PRId64
                             ", \"weight_hash\": \"%s\", \"seed\": \"%" PRIu64 "\"}\n",
                             w->version, o->step, hex, seed);
    return file_write_atomic(path_join(path, sizeof path, dir, "state.json"), text, (size_t)len, err);
}

static int save_adapter(const char *dir, const char *model_dir, const lora *adapter, error *err)
{
    char path[PATH_BYTES];
    return adapter ? lora_save(adapter, path_join(path, sizeof path, dir, "adapter"), model_dir, err) : OK;
}

/* The numbers of memory.state, as this machine writes doubles: a checkpoint is resumed where it was made. */
static int save_memory(const char *dir, const checkpoint_parts *p, error *err)
{
    char path[PATH_BYTES];
    if (p->n_memory == 0) return OK;
    path_join(path, sizeof path, dir, "memory.state");
    return file_write_atomic(path, p->memory, sizeof *p->memory * (size_t)p->n_memory, err);
}

static int save_reference(const char *dir, const checkpoint_parts *p, error *err)
{
    char path[PATH_BYTES];
    if (!p->reference) return OK;
    return weights_save(p->reference, path_join(path, sizeof path, dir, "reference.safetensors"), DTYPE_F32, err);
}

int checkpoint_save(const char *run_dir, const char *model_dir, const checkpoint_parts *parts, uint64_t seed,
                    error *err)
{
    char parent[PATH_BYTES], name[64], dir[PATH_BYTES];
    const weights *w = parts->w;
    const lora *adapter = parts->adapter;
    path_join(parent, sizeof parent, run_dir, "checkpoints");
    snprintf(name, sizeof name, "step-%" PRId64, w->version);
    path_join(dir, sizeof dir, parent, name);
    if (dir_make_all(parent, err) != OK || hf_folder_write(dir, model_dir, w, DTYPE_F32, err) != OK ||
        save_adapter(dir, model_dir, adapter, err) != OK ||
        save_optimizer(dir, adapter ? adapter->w : w, parts->o, err) != OK || save_memory(dir, parts, err) != OK ||
        save_reference(dir, parts, err) != OK || save_state(dir, w, parts->o, seed, err) != OK)
        return error_within(err, "checkpoint %s", dir);
    return OK;
}

static int read_state(const char *dir, checkpoint_state *state, error *err)
{
    char path[PATH_BYTES];
    const char *hash = NULL, *seed = NULL;
    json_t *json = json_parse_file(path_join(path, sizeof path, dir, "state.json"), err);
    if (!json) return err ? err->code : ERR_PARSE;
    int rc = json_need_int(json, "step", path, &state->step, err);
    if (rc == OK) rc = json_need_int(json, "updates", path, &state->updates, err);
    if (rc == OK) rc = json_need_string(json, "weight_hash", path, &hash, err);
    if (rc == OK) rc = json_need_string(json, "seed", path, &seed, err);
    if (rc == OK) {
        state->weight_hash = strtoull(hash, NULL, 16);
        state->seed = strtoull(seed, NULL, 10);
    }
    json_decref(json);
    return rc;
}

/* The highest N of the step-N folders that have a state.json; -1: none. */
static int64_t newest_complete(const char *parent)
{
    int64_t best = -1;
    DIR *d = opendir(parent);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        char *end, path[PATH_BYTES];
        if (strncmp(e->d_name, "step-", 5) != 0) continue;
        const int64_t step = strtoll(e->d_name + 5, &end, 10);
        if (*end || end == e->d_name + 5) continue;
        if (snprintf(path, sizeof path, "%s/%s/state.json", parent, e->d_name) >= (int)sizeof path) continue;
        if (step > best && file_exists(path)) best = step;
    }
    closedir(d);
    return best;
}

int checkpoint_latest(const char *run_dir, char *dir, size_t size, checkpoint_state *state, error *err)
{
    char parent[PATH_BYTES], name[64];
    path_join(parent, sizeof parent, run_dir, "checkpoints");
    const int64_t step = newest_complete(parent);
    if (step < 0) return error_set(err, ERR_NOT_FOUND, "%s holds no complete checkpoint to resume from", parent);
    snprintf(name, sizeof name, "step-%" PRId64, step);
    path_join(dir, size, parent, name);
    return read_state(dir, state, err);
}

static float *load_moment(const safetensors *st, const char *name, const weights *w, error *err)
{
    const tensor_view *view = safetensors_find(st, name);
    if (!view || view->count != w->table->total) {
        error_set(err, ERR_PARSE, "optimizer.safetensors: %s: expected %" PRId64 " values, found %" PRId64, name,
                  w->table->total, view ? view->count : 0);
        return NULL;
    }
    float *host = xmalloc(sizeof(float) * (size_t)view->count);
    if (safetensors_to_f32(view, host, err) == OK) return host;
    free(host);
    return NULL;
}

static int load_optimizer(const char *dir, const weights *w, optimizer *o, error *err)
{
    char path[PATH_BYTES];
    safetensors *st = safetensors_open(path_join(path, sizeof path, dir, "optimizer.safetensors"), err);
    if (!st) return err ? err->code : ERR_IO;
    float *m = load_moment(st, "m", w, err), *v = m ? load_moment(st, "v", w, err) : NULL;
    if (v) optimizer_import(o, w, m, v);
    safetensors_close(st);
    free(m);
    const bool fine = v != NULL;
    free(v);
    return fine ? OK : err ? err->code : ERR_PARSE;
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

static int load_memory(const char *dir, const checkpoint_parts *p, error *err)
{
    char path[PATH_BYTES];
    size_t len = 0;
    const size_t want = sizeof *p->memory * (size_t)p->n_memory;
    if (want == 0) return OK;
    char *bytes = file_read(path_join(path, sizeof path, dir, "memory.state"), want + 1, &len, err);
    if (!bytes) return err ? err->code : ERR_IO;
    if (len == want) memcpy(p->memory, bytes, want);
    free(bytes);
    if (len == want) return OK;
    return error_set(err, ERR_PARSE,
                     "memory.state: expected %zu bytes, found %zu%s: it is of other objectives, buckets or data", want,
                     len, len > want ? " or more" : "");
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
    if (read_state(dir, state, err) != OK || load_weights(dir, parts->w, state, err) != OK ||
        load_adapter(dir, adapter, err) != OK ||
        load_optimizer(dir, adapter ? adapter->w : parts->w, parts->o, err) != OK ||
        load_memory(dir, parts, err) != OK || load_reference(dir, parts, err) != OK)
        return error_within(err, "checkpoint %s", dir);
    parts->o->step = state->updates;
    return OK;
}
