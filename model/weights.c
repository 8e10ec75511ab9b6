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

/* What a decoder reads beside panels: norms, biases, and rows of the embedding. */
static bool has_data(const param_table *t, const param *p, bool to_decode)
{
    return !to_decode || !is_packed(t, p) || p->kind == PARAM_EMBED;
}

/* Floats from the start of parameter i to that of the next: what aligns that one is part of the array, and of its
 * hash. */
static int64_t aligned_count(const param_table *t, int i)
{
    return (i + 1 < t->n ? t->items[i + 1].offset : t->total) - t->items[i].offset;
}

/* Where each parameter lies -> places (may be NULL); how many floats there are. */
static int64_t lay_out(const param_table *t, bool to_decode, int64_t *places)
{
    int64_t n = 0;
    for (int i = 0; i < t->n; i++) {
        const bool here = has_data(t, &t->items[i], to_decode);
        if (places) places[i] = here ? n : -1;
        if (here) n += aligned_count(t, i);
    }
    return n;
}

static weights *make(device *dev, const param_table *table, bool to_decode, error *err)
{
    weights *w = xcalloc(1, sizeof *w);
    w->dev = dev;
    w->table = table;
    w->version = -1;
    w->packed = xcalloc((size_t)table->n, sizeof *w->packed);
    w->places = xcalloc((size_t)table->n, sizeof *w->places);
    const int64_t floats = lay_out(table, to_decode, w->places);
    w->data = device_try(dev, sizeof(float) * (size_t)floats, err);

    if (w->data && set_frequencies(w, err) == OK) {
        device_ops(dev)->zero(dev, w->data, floats);
        return w;
    }

    if (err) error_within(err, "a model of %.3g parameters", (double)table->total);
    weights_free(w);
    return NULL;
}

weights *weights_new(device *dev, const param_table *table, error *err) { return make(dev, table, false, err); }

weights *weights_new_to_decode(device *dev, const param_table *table, error *err)
{
    return make(dev, table, true, err);
}

static size_t panels_bytes(const device *dev, const param_table *table)
{
    size_t bytes = 0;
    for (int i = 0; i < table->n; i++) {
        const param *p = &table->items[i];
        for (int k = 0; k < p->n_parts && is_packed(table, p); k++)
            bytes += device_ops(dev)->linear_packed_bytes(dev, p->part_rows[k], p->cols);
    }
    return bytes;
}

size_t weights_bytes(const device *dev, const param_table *table)
{
    return sizeof(float) * (size_t)table->total + panels_bytes(dev, table);
}

size_t weights_bytes_to_decode(const device *dev, const param_table *table)
{
    return sizeof(float) * (size_t)lay_out(table, true, NULL) + panels_bytes(dev, table);
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
    free(w->places);
    free(w);
}

/* Some programs write a tied head beside its embedding. Where it has numbers of its own, "tied" is an error of
 * config.json: old readers dropped such a head, new ones take it, and either is another model than some reader had. */
int weights_check_tied(const tensor_view *embed, const tensor_view *head, error *err)
{
    if (embed->dtype == head->dtype && embed->bytes == head->bytes &&
        memcmp(embed->data, head->data, embed->bytes) == 0)
        return OK;
    return error_set(err, ERR_UNSUPPORTED,
                     "lm_head.weight has other numbers than model.embed_tokens.weight, and config.json says that they "
                     "are tied; write \"tie_word_embeddings\": false there, or remove the head");
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

/* Where a file has a parameter: under its own name, or in a tensor of all experts of its layer. */
typedef struct stored {
    const tensor_view *view; /* NULL: nowhere */
    const char *name;        /* that it has there, or should have */
    int64_t shape[3];        /* that it should have */
    int rank;
    const tensor_view *twice; /* it is there a second time, under `other` */
    bool may_be_twice;
    char other[PARAM_NAME];
} stored;

static void find_stored(const param *p, const safetensors *st, stored *s)
{
    int64_t other_shape[3];
    const int rank = param_stored_otherwise(p, s->other, other_shape);
    const tensor_view *other = rank > 0 ? safetensors_find(st, s->other) : NULL;
    s->view = safetensors_find(st, p->name);
    s->twice = s->view ? other : NULL;
    s->may_be_twice = p->is_head;
    s->name = p->name;
    s->rank = p->rank;
    s->shape[0] = p->rank == 2 ? p->rows : p->cols;
    s->shape[1] = p->cols;
    if (s->view || !other) return;

    s->view = other;
    s->name = s->other;
    s->rank = rank;
    memcpy(s->shape, other_shape, sizeof s->shape);
}

static int check_shape(const stored *s, error *err)
{
    char expected[80], found[192];
    const tensor_view *v = s->view;
    shape_text(s->rank, s->shape, expected, sizeof expected);

    if (!v) return error_set(err, ERR_PARSE, "tensor %s is missing (expected %s)", s->name, expected);
    if (s->twice && !s->may_be_twice)
        return error_set(err, ERR_PARSE, "tensors %s and %s hold the same numbers: expected one of them", s->name,
                         s->other);
    if (v->rank == s->rank && memcmp(v->shape, s->shape, sizeof *s->shape * (size_t)s->rank) == 0)
        return s->twice ? weights_check_tied(v, s->twice, err) : OK;
    return error_set(err, ERR_PARSE, "tensor %s: expected %s, found %s", s->name, expected,
                     shape_text(v->rank, v->shape, found, sizeof found));
}

/* The parameter's own numbers of what is stored, after check_shape. */
static tensor_view part_of(const stored *s, const param *p)
{
    tensor_view part = *s->view;
    if (s->rank != 3) return part;

    const int64_t before = p->expert * s->shape[1] + (p->kind == PARAM_EXPERT_UP ? p->rows : 0);
    const size_t width = part.bytes / (size_t)part.count;
    part.data = (const char *)part.data + (size_t)(before * p->cols) * width;
    part.count = p->count;
    part.bytes = (size_t)p->count * width;
    return part;
}

int weights_check_one(const param *p, const safetensors *st, error *err)
{
    stored s;
    find_stored(p, st, &s);
    const int rc = check_shape(&s, err);
    return rc == OK ? safetensors_check_f32(s.view, err) : rc;
}

static int check_finite(const param *p, const float *x, error *err)
{
    if (safetensors_finite(x, p->count)) return OK;
    return error_set(err, ERR_PARSE, "tensor %s holds numbers that are not finite", p->name);
}

/* Its numbers as they are in the file -> place, on the device. `host`: where they are, or are put, for the host to
 * read. */
static int load_numbers(const weights *w, const param *p, const safetensors *st, float *place, float *host, error *err)
{
    stored s;
    find_stored(p, st, &s);
    const tensor_view view = part_of(&s, p);
    int rc = safetensors_to_f32(&view, host, err);
    if (rc == OK) rc = check_finite(p, host, err);
    if (rc == OK && host != place) device_copy_in(w->dev, place, host, sizeof *host * (size_t)p->count);
    safetensors_drop(st, &view);
    return rc;
}

int weights_load_one(weights *w, const param *p, const safetensors *st, error *err)
{
    if (weights_check_one(p, st, err) != OK) return err ? err->code : ERR_PARSE;
    float *place = w->data + p->offset;
    float *own = device_view(w->dev, place) ? NULL : xmalloc(sizeof *own * (size_t)p->count);
    const int rc = load_numbers(w, p, st, place, own ? own : place, err);
    free(own);
    return rc;
}

/* What older exports carry along: the rotary frequencies. */
static bool is_harmless(const char *name)
{
    const char *tail = strstr(name, ".rotary_emb.inv_freq");
    return tail && strcmp(tail, ".rotary_emb.inv_freq") == 0;
}

/* Names under which a parameter may be stored. The tensor of all experts of a layer is one name, added with the first
 * expert. */
static void add_names(map *known, const param *p)
{
    char other[PARAM_NAME];
    int64_t shape[3];
    map_set(known, p->name, (void *)p);
    if (p->expert == 0 && param_stored_otherwise(p, other, shape) > 0) map_set(known, other, (void *)p);
}

int weights_check_names(const param_table *t, const safetensors *st, error *err)
{
    map *known = map_new();
    int rc = OK;
    for (int i = 0; i < t->n; i++) add_names(known, &t->items[i]);

    for (size_t i = 0; rc == OK && i < safetensors_count(st); i++) {
        const char *name = safetensors_at(st, i)->name;
        if (!map_get(known, name) && !is_harmless(name))
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

    /* A norm multiplies by its weight + norm_plus: by 1 at first. */
    const float norm = 1.0f - w->table->config.norm_plus;
    for (int i = 0; i < w->table->n; i++) {
        const param *p = &w->table->items[i];
        const rng_key key = { .seed = seed, .stream = hash_bytes(p->name, strlen(p->name), 0) };
        const bool narrow = p->kind == PARAM_O || p->kind == PARAM_DOWN || p->kind == PARAM_EXPERT_DOWN;
        const float scale = narrow ? std * residual : std;

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
static void pack(const weights *w, const param *p, const float *from)
{
    const struct ops *ops = device_ops(w->dev);
    void **packed = w->packed[p - w->table->items];
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
        if (is_packed(w->table, &w->table->items[i])) pack(w, &w->table->items[i], w->data + w->places[i]);
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

/* ---- a tensor at a time ---- */

/* weights_hash of numbers that come in pieces. */
typedef struct running_hash {
    float *block; /* [HASH_BLOCK] */
    int64_t filled, n, total;
    uint64_t *hashes;
} running_hash;

static void end_block(running_hash *h)
{
    h->hashes[h->n++] = hash_bytes(h->block, sizeof(float) * (size_t)h->filled, 0);
    h->filled = 0;
}

static void feed(running_hash *h, const float *x, int64_t n)
{
    while (n > 0) {
        const int64_t room = HASH_BLOCK - h->filled, some = n < room ? n : room;
        memcpy(h->block + h->filled, x, sizeof *x * (size_t)some);
        h->filled += some;
        if (h->filled == HASH_BLOCK) end_block(h);
        x += some;
        n -= some;
    }
}

static void feed_zeros(running_hash *h, int64_t n)
{
    static const float ZERO[16];
    for (; n > 16; n -= 16) feed(h, ZERO, 16);
    feed(h, ZERO, n);
}

static running_hash running_hash_begin(int64_t total)
{
    const int64_t blocks = (total + HASH_BLOCK - 1) / HASH_BLOCK;
    return (running_hash){ .block = xmalloc(sizeof(float) * HASH_BLOCK),
                           .total = total,
                           .hashes = xmalloc(sizeof(uint64_t) * (size_t)blocks) };
}

static uint64_t running_hash_end(running_hash *h)
{
    if (h->filled > 0) end_block(h);
    const uint64_t hash = hash_bytes(h->hashes, sizeof *h->hashes * (size_t)h->n, (uint64_t)h->total);
    free(h->block);
    free(h->hashes);
    return hash;
}

/* The most numbers of a tensor that can't be read where it will stay. */
static int64_t passing_floats(const weights *w, bool all)
{
    int64_t max = 0;
    for (int i = 0; i < w->table->n; i++)
        if ((all || w->places[i] < 0) && w->table->items[i].count > max) max = w->table->items[i].count;
    return max;
}

/* `passing` is room on the device for a matrix of which only the panels are kept. `host` is where the host reads the
 * numbers; NULL where it can read the device's memory. */
static int take_one(weights *w, int i, const safetensors *st, float *passing, float *host, running_hash *h, error *err)
{
    const param *p = &w->table->items[i];
    float *place = w->places[i] < 0 ? passing : w->data + w->places[i];
    float *read = host ? host : place;
    const int rc = load_numbers(w, p, st, place, read, err);
    if (rc != OK) return rc;
    feed(h, read, p->count);
    feed_zeros(h, aligned_count(w->table, i) - p->count);
    if (is_packed(w->table, p)) pack(w, p, place);
    return OK;
}

int weights_take(weights *w, const safetensors *st, int64_t version, error *err)
{
    if (weights_check(w->table, st, err) != OK) return err ? err->code : ERR_PARSE;
    const bool seen = device_view(w->dev, w->data) != NULL;
    const int64_t through = passing_floats(w, false);
    float *passing = through > 0 ? device_alloc(w->dev, sizeof(float) * (size_t)through) : NULL;
    float *host = seen ? NULL : xmalloc(sizeof(float) * (size_t)passing_floats(w, true));
    running_hash h = running_hash_begin(w->table->total);

    int rc = OK;
    for (int i = 0; rc == OK && i < w->table->n; i++) rc = take_one(w, i, st, passing, host, &h, err);
    w->hash = running_hash_end(&h);
    w->version = version;
    device_free(w->dev, passing);
    free(host);
    return rc;
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

int weights_save(const weights *w, const char *path, tensor_dtype dtype, error *err)
{
    float *owned;
    tensor_source *tensors = sources_of(w, host_data(w, &owned));
    const int rc = safetensors_write(path, tensors, (size_t)w->table->n, dtype, MODEL_METADATA, err);
    free(tensors);
    free(owned);
    return rc;
}
