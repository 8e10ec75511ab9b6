/* SPDX-License-Identifier: MIT */
#include "model/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/str.h"
#include "model/model_folder.h"
#include "model/rope.h"

enum { HASH_BLOCK = 1 << 16 }; /* floats */

/* Matrices that forward multiplies by; the embedding too when it is the head. */
static bool is_packed(const param_table *t, const param *p)
{
    return p->rank == 2 && (p->kind != PARAM_EMBED || t->config.tied);
}

static int set_frequencies(weights *w, error *err)
{
    const model_config *c = &w->table->config;
    const size_t bytes = sizeof(float) * (size_t)(model_rotary_dims(c) / 2);
    float *host = xmalloc(bytes);
    int rc = OK;
    for (int i = 0; rc == OK && i < MAX_ROPES && c->ropes[i].theta > 0; i++) {
        rope_frequencies(&c->ropes[i], model_rotary_dims(c), host);
        w->inv_freq[i] = device_try(w->dev, bytes, err);
        if (w->inv_freq[i])
            device_copy_in(w->dev, w->inv_freq[i], host, bytes);
        else
            rc = ERR_MEMORY;
    }
    free(host);
    return rc;
}

weights *weights_new(device *dev, const param_table *table, error *err)
{
    weights *w = xcalloc(1, sizeof *w);
    w->dev = dev;
    w->table = table;
    w->version = -1;
    w->packed = xcalloc((size_t)table->n, sizeof *w->packed);
    w->data = device_try(dev, sizeof(float) * (size_t)table->total, err);

    if (w->data && set_frequencies(w, err) == OK) {
        device_ops(dev)->zero(dev, w->data, table->total);
        return w;
    }

    if (err) error_within(err, "a model of %.3g parameters", (double)table->total);
    weights_free(w);
    return NULL;
}

size_t weights_bytes(const device *dev, const param_table *table)
{
    size_t bytes = sizeof(float) * (size_t)table->total;
    for (int i = 0; i < table->n; i++) {
        const param *p = &table->items[i];
        for (int k = 0; k < p->n_parts && is_packed(table, p); k++)
            bytes += device_ops(dev)->linear_packed_bytes(dev, p->part_rows[k], p->cols);
    }
    return bytes;
}

void weights_free(weights *w)
{
    if (!w) return;
    for (int i = 0; i < w->table->n; i++)
        for (int k = 0; k < MAX_PARTS; k++)
            if (w->packed[i][k]) device_free(w->dev, w->packed[i][k]);
    for (int i = 0; i < MAX_ROPES; i++) device_free(w->dev, w->inv_freq[i]);
    device_free(w->dev, w->data);
    free(w->packed);
    free(w);
}

/* "[203, 48]" or "[48]". */
static const char *shape_text(int rank, const int64_t *shape, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%" PRId64, i > 0 ? ", " : "", shape[i]);
    if (len < size) snprintf(out + len, size - len, "]");
    return out;
}

static int check_shape(const param *p, const tensor_view *v, error *err)
{
    char expected[48], found[192];
    const int64_t shape[2] = { p->rank == 2 ? p->rows : p->cols, p->cols };
    shape_text(p->rank, shape, expected, sizeof expected);

    if (!v) return error_set(err, ERR_PARSE, "tensor %s is missing (expected %s)", p->name, expected);
    if (v->rank == p->rank && memcmp(v->shape, shape, sizeof *shape * (size_t)p->rank) == 0) return OK;
    return error_set(err, ERR_PARSE, "tensor %s: expected %s, found %s", p->name, expected,
                     shape_text(v->rank, v->shape, found, sizeof found));
}

int weights_check_one(const param *p, const safetensors *st, error *err)
{
    const tensor_view *v = safetensors_find(st, p->name);
    return check_shape(p, v, err) == OK ? safetensors_check_f32(v, err) : ERR_PARSE;
}

static int check_finite(const param *p, const float *x, error *err)
{
    if (safetensors_finite(x, p->count)) return OK;
    return error_set(err, ERR_PARSE, "tensor %s holds numbers that are not finite", p->name);
}

int weights_load_one(weights *w, const param *p, const safetensors *st, error *err)
{
    if (weights_check_one(p, st, err) != OK) return err ? err->code : ERR_PARSE;
    const tensor_view *view = safetensors_find(st, p->name);
    float *place = w->data + p->offset;
    float *own = device_view(w->dev, place) ? NULL : xmalloc(sizeof *own * (size_t)p->count);
    float *host = own ? own : place;

    int rc = safetensors_to_f32(view, host, err);
    if (rc == OK) rc = check_finite(p, host, err);
    if (rc == OK && own) device_copy_in(w->dev, place, own, sizeof *own * (size_t)p->count);
    safetensors_drop(st, view);
    free(own);
    return rc;
}

/* What older exports carry along: the rotary frequencies, and the head of a tied model once more. */
static bool is_harmless(const param_table *t, const char *name)
{
    const char *tail = strstr(name, ".rotary_emb.inv_freq");
    return (tail && strcmp(tail, ".rotary_emb.inv_freq") == 0) ||
           (t->config.tied && strcmp(name, "lm_head.weight") == 0);
}

int weights_check_names(const param_table *t, const safetensors *st, error *err)
{
    map *known = map_new();
    int rc = OK;
    for (int i = 0; i < t->n; i++) map_set(known, t->items[i].name, &t->items[i]);

    for (size_t i = 0; rc == OK && i < safetensors_count(st); i++) {
        const char *name = safetensors_at(st, i)->name;
        if (!map_get(known, name) && !is_harmless(t, name))
            rc = error_set(err, ERR_UNSUPPORTED, "tensor %s is not part of the %s that config.json describes", name,
                           t->config.architecture);
    }
    map_free(known);
    return rc;
}

int weights_check(const param_table *t, const safetensors *st, error *err)
{
    int rc = weights_check_names(t, st, err);
    for (int i = 0; rc == OK && i < t->n; i++) rc = weights_check_one(&t->items[i], st, err);
    return rc;
}

int weights_load(weights *w, const safetensors *st, error *err)
{
    int rc = weights_check(w->table, st, err);
    for (int i = 0; rc == OK && i < w->table->n; i++) rc = weights_load_one(w, &w->table->items[i], st, err);
    return rc;
}

/* Matrices that write to the residual stream are scaled down by the root of how many do (GPT-2, Radford et al. 2019,
 * section 2.3: 1 / sqrt(2 L)). */
void weights_init(weights *w, uint64_t seed, float std)
{
    const float residual = 1.0f / sqrtf(2.0f * (float)w->table->config.layers);
    const float norm = 1.0f - w->table->config.norm_plus;
    for (int i = 0; i < w->table->n; i++) {
        const param *p = &w->table->items[i];
        const rng_key key = { .seed = seed, .stream = hash_bytes(p->name, strlen(p->name), 0) };
        const float scale = p->kind == PARAM_O || p->kind == PARAM_DOWN ? std * residual : std;

        float *host = xmalloc(sizeof(float) * (size_t)p->count);
        for (int64_t j = 0; j < p->count; j++) {
            if (p->rank == 1)
                host[j] = param_is_bias(p->kind) ? 0.0f : norm;
            else
                host[j] = (float)rng_normal(key, 0, (uint64_t)j) * scale;
        }
        device_copy_in(w->dev, w->data + p->offset, host, sizeof(float) * (size_t)p->count);
        free(host);
    }
}

/* A matrix that holds several is packed as these, each by itself. */
static void pack(const weights *w, const param *p, void *packed[MAX_PARTS])
{
    const struct ops *ops = device_ops(w->dev);
    const float *from = w->data + p->offset;
    for (int k = 0; k < p->n_parts; k++) {
        const int rows = p->part_rows[k];
        if (!packed[k]) packed[k] = device_alloc(w->dev, ops->linear_packed_bytes(w->dev, rows, p->cols));
        ops->linear_pack(w->dev, from, rows, p->cols, packed[k]);
        from += (size_t)rows * (size_t)p->cols;
    }
}

void weights_seal(weights *w, int64_t version)
{
    for (int i = 0; i < w->table->n; i++)
        if (is_packed(w->table, &w->table->items[i])) pack(w, &w->table->items[i], w->packed[i]);
    w->version = version;
    w->hash = weights_hash(w);
}

/* The parameters where the host can read them: theirs, or a copy in *owned for the caller to free. */
static const float *host_data(const weights *w, float **owned)
{
    const size_t bytes = sizeof(float) * (size_t)w->table->total;
    const float *view = device_view(w->dev, w->data);
    *owned = NULL;
    if (view) return view;

    *owned = xmalloc(bytes);
    device_copy_out(w->dev, *owned, w->data, bytes);
    return *owned;
}

typedef struct hash_job {
    const float *data;
    int64_t n;
    uint64_t *hashes;
} hash_job;

static void hash_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const hash_job *j = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t left = j->n - i * HASH_BLOCK, n = left < HASH_BLOCK ? left : HASH_BLOCK;
        j->hashes[i] = hash_bytes(j->data + i * HASH_BLOCK, sizeof(float) * (size_t)n, 0);
    }
}

/* Blocks side by side, then the hash of their hashes: one chain through all would cost a twentieth of a step. */
uint64_t weights_hash(const weights *w)
{
    const int64_t n = w->table->total, blocks = (n + HASH_BLOCK - 1) / HASH_BLOCK;
    float *owned;
    hash_job job = { host_data(w, &owned), n, xmalloc(sizeof(uint64_t) * (size_t)blocks) };
    device_parallel(w->dev, blocks, hash_blocks, &job);
    const uint64_t hash = hash_bytes(job.hashes, sizeof *job.hashes * (size_t)blocks, (uint64_t)n);
    free(job.hashes);
    free(owned);
    return hash;
}

/* What is written of them, from `host`; the caller frees. */
static tensor_source *sources_of(const weights *w, const float *host)
{
    const int n = w->table->n;
    tensor_source *tensors = xcalloc((size_t)n, sizeof *tensors);
    for (int i = 0; i < n; i++) {
        const param *p = &w->table->items[i];
        tensors[i] = (tensor_source){ .name = p->name, .rank = p->rank, .data = host + p->offset };
        tensors[i].shape[0] = p->rank == 2 ? p->rows : p->cols;
        tensors[i].shape[1] = p->cols;
    }
    return tensors;
}

int weights_encode(const weights *w, tensor_dtype dtype, str *out, error *err)
{
    enum { HEADER_A_TENSOR = 256 };
    const size_t numbers = (size_t)w->table->total * (dtype == DTYPE_BF16 ? 2 : 4);
    const size_t bytes = numbers + HEADER_A_TENSOR * (size_t)w->table->n;
    char need[32];
    float *owned;
    if (!str_try_reserve(out, bytes))
        return error_set(err, ERR_MEMORY, "out of memory: a copy of the weights needs %s",
                         memory_text(bytes, need, sizeof need));

    tensor_source *tensors = sources_of(w, host_data(w, &owned));
    safetensors_encode(tensors, (size_t)w->table->n, dtype, MODEL_METADATA, out);
    free(tensors);
    free(owned);
    return OK;
}

int weights_save(const weights *w, const char *path, tensor_dtype dtype, error *err)
{
    float *owned;
    tensor_source *tensors = sources_of(w, host_data(w, &owned));
    const int rc = safetensors_write(path, tensors, (size_t)w->table->n, dtype, MODEL_METADATA, err);
    free(tensors);
    free(owned);
    return rc;
}
