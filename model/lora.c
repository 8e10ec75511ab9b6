/* SPDX-License-Identifier: MIT */
#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/str.h"

enum { PATH_BYTES = 1200, MAX_RANK = 4096, ALIGN_FLOATS = 16, N_TARGETS = 9 };

static const struct {
    const char *name;
    param_kind kind;
} TARGETS[N_TARGETS] = { { "q_proj", PARAM_Q },       { "k_proj", PARAM_K },       { "v_proj", PARAM_V },
                         { "o_proj", PARAM_O },       { "gate_proj", PARAM_GATE }, { "up_proj", PARAM_UP },
                         { "down_proj", PARAM_DOWN }, { "qkv_proj", PARAM_QKV },   { "gate_up_proj", PARAM_GATE_UP } };

uint32_t lora_target(const char *name)
{
    for (int i = 0; i < N_TARGETS; i++)
        if (strcmp(name, TARGETS[i].name) == 0) return UINT32_C(1) << TARGETS[i].kind;
    return 0;
}

static bool is_adapted(const lora_config *c, const param *p) { return c->targets >> p->kind & 1; }
static float scale_of(const lora *l) { return l->config.alpha / (float)l->config.rank; }

/* ---- the table ---- */

/* "model.layers.0.mlp.up_proj.weight" -> "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight". */
static void add_matrix(param_table *t, const param *of, char which, int rows, int cols)
{
    param *p = &t->items[t->n++];
    const int stem = (int)(strlen(of->name) - strlen(".weight"));
    *p = (param){ .kind = of->kind, .layer = of->layer, .rows = rows, .cols = cols, .rank = 2, .offset = t->total };
    snprintf(p->name, sizeof p->name, "base_model.model.%.*s.lora_%c.weight", stem, of->name, which);
    p->count = (int64_t)rows * cols;
    t->total += (p->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static void make_table(lora *l)
{
    const param_table *m = l->model;
    l->table = xcalloc(1, sizeof *l->table);
    l->table->config = m->config;
    l->table->items = xcalloc((size_t)m->n * 2, sizeof *l->table->items);
    l->of = xcalloc((size_t)m->n, sizeof(param *));

    for (int i = 0; i < m->n; i++) {
        const param *p = &m->items[i];
        if (!is_adapted(&l->config, p)) continue;
        l->of[l->table->n / 2] = p;
        add_matrix(l->table, p, 'A', l->config.rank, p->cols);
        add_matrix(l->table, p, 'B', p->rows, l->config.rank);
    }
}

/* ---- life ---- */

static bool is_gated(param_kind kind)
{
    return kind == PARAM_GATE || kind == PARAM_UP || kind == PARAM_DOWN || kind == PARAM_GATE_UP;
}

/* Of a model with experts, attention's alone: by the same names PEFT means the experts' matrices. */
static uint32_t targets_of(const lora_config *c, const param_table *model)
{
    uint32_t all = c->targets;
    for (int i = 0; c->targets == 0 && i < N_TARGETS; i++) {
        const param_kind kind = TARGETS[i].kind;
        const bool adapted = param_kind_there(model, kind) && !(is_gated(kind) && model_has_experts(&model->config));
        if (adapted) all |= UINT32_C(1) << kind;
    }
    return all;
}

int lora_check(const lora_config *config, const model_config *model, error *err)
{
    for (int i = 0; i < N_TARGETS; i++)
        if ((config->targets >> TARGETS[i].kind & 1) && is_gated(TARGETS[i].kind) && model_has_experts(model))
            return error_set(err, ERR_UNSUPPORTED,
                             "a LoRA on %s: in the %s these are experts'; supported: q_proj, k_proj, v_proj, o_proj",
                             TARGETS[i].name, model->architecture);
    return OK;
}

int64_t lora_floats(const lora_config *config, const param_table *model, int64_t *frozen)
{
    const lora_config c = { .targets = targets_of(config, model) };
    int64_t floats = 0;
    *frozen = 0;
    for (int i = 0; i < model->n; i++) {
        const param *p = &model->items[i];
        if (!is_adapted(&c, p)) continue;
        floats += (int64_t)config->rank * (p->rows + p->cols);
        *frozen += p->count;
    }
    return floats;
}

static int adapters_of(const lora *l) { return l->table->n / 2; }

static int freeze(lora *l, const weights *base, error *err)
{
    const struct ops *ops = device_ops(base->dev);
    int64_t total = 0, at = 0;
    for (int i = 0; i < adapters_of(l); i++) total += l->of[i]->count;
    l->frozen = device_try(base->dev, sizeof(float) * (size_t)total, err);
    if (!l->frozen) return ERR_MEMORY;

    ops->zero(base->dev, l->frozen, total);
    for (int i = 0; i < adapters_of(l); at += l->of[i++]->count)
        ops->add(base->dev, l->frozen + at, base->data + l->of[i]->offset, l->of[i]->count);
    return OK;
}

static void initialise(lora *l, uint64_t seed)
{
    /* As PEFT begins: A uniform within 1 / sqrt(cols) (kaiming_uniform with a = sqrt(5)), and B zero, so that the model
     * is at first what it was. */
    for (int i = 0; i < l->table->n; i += 2) {
        const param *a = &l->table->items[i];
        const rng_key key = { .seed = seed, .stream = hash_bytes(a->name, strlen(a->name), 0) };
        const double bound = 1 / sqrt((double)a->cols);
        float *host = xmalloc(sizeof(float) * (size_t)a->count);
        for (int64_t j = 0; j < a->count; j++) host[j] = (float)((2 * rng_uniform(key, 0, (uint64_t)j) - 1) * bound);
        device_copy_in(l->w->dev, l->w->data + a->offset, host, sizeof(float) * (size_t)a->count);
        free(host);
    }
}

lora *lora_new(const lora_config *config, const weights *base, uint64_t seed, error *err)
{
    if (config->rank < 1 || config->rank > MAX_RANK || !(config->alpha > 0)) {
        error_set(err, ERR_ARGUMENT, "a LoRA of rank %d and alpha %g: expected 1 to %d, and more than 0", config->rank,
                  (double)config->alpha, MAX_RANK);
        return NULL;
    }
    if (lora_check(config, &base->table->config, err) != OK) return NULL;
    lora *l = xcalloc(1, sizeof *l);
    l->config = *config;
    l->config.targets = targets_of(config, base->table);
    l->model = base->table;
    make_table(l);
    if (l->table->n == 0) {
        error_set(err, ERR_ARGUMENT, "the %s has none of the matrices that the LoRA is for (are its q, k and v one?)",
                  base->table->config.architecture);
        lora_free(l);
        return NULL;
    }
    if (!(l->w = weights_new(base->dev, l->table, err)) || freeze(l, base, err) != OK) {
        lora_free(l);
        return NULL;
    }

    initialise(l, seed);
    return l;
}

void lora_free(lora *l)
{
    if (!l) return;
    if (l->w) device_free(l->w->dev, l->frozen);
    weights_free(l->w);
    param_table_free(l->table);
    free(l->of);
    free(l);
}

/* ---- merging, and gradients ---- */

/* s B of adapter i, in scratch. */
static float *scaled_b(const lora *l, int i)
{
    const param *b = &l->table->items[2 * i + 1];
    device *dev = l->w->dev;
    const struct ops *ops = device_ops(dev);
    float *out = device_scratch(dev, sizeof(float) * (size_t)b->count);
    ops->zero(dev, out, b->count);
    ops->add(dev, out, l->w->data + b->offset, b->count);
    ops->scale(dev, out, scale_of(l), b->count);
    return out;
}

/* W = W_frozen + s B A for every adapted matrix (Hu et al. 2021, equation 3), s = alpha / rank. */
void lora_merge(const lora *l, weights *w)
{
    device *dev = w->dev;
    const struct ops *ops = device_ops(dev);
    const precision before = device_precision(dev);
    const float *frozen = l->frozen;

    device_set_precision(dev, PRECISION_F32); /* parameters are fp32, however they are multiplied by */
    device_scratch_reset(dev);
    for (int i = 0; i < adapters_of(l); frozen += l->of[i++]->count) {
        const param *p = l->of[i], *a = &l->table->items[2 * i];
        float *to = w->data + p->offset;
        ops->zero(dev, to, p->count);
        ops->add(dev, to, frozen, p->count);

        /* linear_dx adds dy W to its target: dy is s B here, and W is A. */
        ops->linear_dx(dev, scaled_b(l, i), p->rows, l->w->data + a->offset, NULL, l->config.rank, p->cols, to);
    }

    device_set_precision(dev, before);
}

/* From dL/dW: dL/dB = s dL/dW A^T and dL/dA = s B^T dL/dW. */
void lora_project(const lora *l, const float *grads, float *out)
{
    device *dev = l->w->dev;
    const struct ops *ops = device_ops(dev);
    const precision before = device_precision(dev);
    const int rank = l->config.rank;

    device_set_precision(dev, PRECISION_F32);
    device_scratch_reset(dev);
    ops->zero(dev, out, l->table->total);

    for (int i = 0; i < adapters_of(l); i++) {
        const param *p = l->of[i], *a = &l->table->items[2 * i], *b = a + 1;
        const float *dw = grads + p->offset;

        /* linear makes x W^T, of x = dL/dW and W = A; linear_dw adds dy^T x, of dy = s B and x = dL/dW. */
        void *packed = device_scratch(dev, ops->linear_packed_bytes(dev, rank, p->cols));
        ops->linear_pack(dev, l->w->data + a->offset, rank, p->cols, packed);
        ops->linear(dev, dw, p->rows, packed, NULL, rank, p->cols, out + b->offset);
        ops->scale(dev, out + b->offset, scale_of(l), b->count);
        ops->linear_dw(dev, scaled_b(l, i), dw, p->rows, rank, p->cols, out + a->offset);
    }

    device_set_precision(dev, before);
}

/* ---- PEFT folders ---- */

static json_t *adapter_json(const lora *l, const char *base)
{
    json_t *modules = json_array();
    for (int i = 0; i < N_TARGETS; i++)
        if (l->config.targets >> TARGETS[i].kind & 1) json_array_append_new(modules, json_string(TARGETS[i].name));
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:s, s:o, s:s, s:b, s:b, s:b, s:b}", "peft_type", "LORA", "task_type",
                     "CAUSAL_LM", "r", l->config.rank, "lora_alpha", (double)l->config.alpha, "lora_dropout", 0.0,
                     "bias", "none", "target_modules", modules, "base_model_name_or_path", base, "fan_in_fan_out", 0,
                     "inference_mode", 1, "use_rslora", 0, "use_dora", 0);
}

int lora_save(const lora *l, const char *dir, const char *base, error *err)
{
    char path[PATH_BYTES];
    if (dir_make_all(dir, err) != OK) return ERR_IO;

    json_t *j = adapter_json(l, base);
    char *text = json_text(j, true);
    int rc = file_write_atomic(path_join(path, sizeof path, dir, "adapter_config.json"), text, strlen(text), err);
    free(text);
    json_decref(j);
    if (rc == OK)
        rc = weights_save(l->w, path_join(path, sizeof path, dir, "adapter_model.safetensors"), DTYPE_F32, err);
    return rc;
}

static int unsupported(const char *where, const char *key, const json_t *found, error *err)
{
    char *text = json_text(found, true);
    const int rc = error_set(err, ERR_UNSUPPORTED, "%s: %s is %.60s; supported: a plain LoRA", where, key, text);
    free(text);
    return rc;
}

/* PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA begin with B A != 0 and take that off the base: on the base as it was, their
 * numbers are another model's (PiSSA's logits were off by 2.8). These beginnings leave it as it is. */
static int check_beginning(const json_t *j, const char *where, error *err)
{
    static const char *const PLAIN[] = { "gaussian", "orthogonal", "eva" };
    const char *name = json_string_value(json_object_get(j, "init_lora_weights"));
    if (!name) return OK; /* absent, true or false */

    for (size_t i = 0; i < sizeof PLAIN / sizeof *PLAIN; i++)
        if (strcmp(name, PLAIN[i]) == 0) return OK;
    return error_set(err, ERR_UNSUPPORTED,
                     "%s: init_lora_weights is \"%.60s\": it was trained beside a changed base; merge it with PEFT "
                     "(merge_and_unload) and take that model",
                     where, name);
}

/* null, false, 0, "", [] and {}: as PEFT writes what is not used. */
static bool is_off(const char *key, const json_t *v)
{
    if (json_is_integer(v) && strcmp(key, "layers_to_transform") == 0) return false; /* 0: the first one */
    if (json_is_string(v)) return json_string_length(v) == 0;
    if (json_is_array(v)) return json_array_size(v) == 0;
    if (json_is_object(v)) return json_object_size(v) == 0;
    return json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0);
}

/* What says nothing of how the numbers are used, once the keys that are read are as they should be: where it came from,
 * how it was trained, and what belongs to a way that is off. Which matrices there are, the weights' file says, too. */
static bool is_harmless(const char *key)
{
    static const char *const KEYS[] = { /* read */
                                        "peft_type", "bias", "init_lora_weights", "r", "lora_alpha", "target_modules",
                                        /* PEFT's */
                                        "task_type", "base_model_name_or_path", "revision", "auto_mapping",
                                        "peft_version", "inference_mode", "lora_dropout", "exclude_modules",
                                        "layers_pattern", "megatron_core", "qalora_group_size", "eva_config",
                                        "corda_config", "loftq_config",
                                        /* SWIFT's: the type and the learning rates that it was trained with */
                                        "lora_dtype", "lorap_lr_ratio", "lorap_emb_lr"
    };
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (strcmp(key, KEYS[i]) == 0) return true;
    return false;
}

/* Other kinds of adapters, and other ways to scale or place a LoRA, would make the same numbers mean something else.
 * PEFT adds such ways with each version: whatever is on and not known here is refused. */
static int refuse_variants(json_t *j, const char *where, error *err)
{
    const json_t *type = json_object_get(j, "peft_type"), *bias = json_object_get(j, "bias");
    const char *key;
    json_t *value;
    if (!json_is_string(type) || strcmp(json_string_value(type), "LORA") != 0)
        return unsupported(where, "peft_type", type, err);
    if (json_is_string(bias) && strcmp(json_string_value(bias), "none") != 0)
        return unsupported(where, "bias", bias, err);
    if (check_beginning(j, where, err) != OK) return ERR_UNSUPPORTED;

    json_object_foreach(j, key, value)
    {
        if (!is_harmless(key) && !is_off(key, value)) return unsupported(where, key, value, err);
    }
    return OK;
}

static int read_config(lora_config *c, json_t *j, const char *where, error *err)
{
    int64_t rank;
    double alpha;
    size_t i;
    json_t *name, *modules = json_object_get(j, "target_modules");
    if (!json_is_object(j)) return error_set(err, ERR_PARSE, "%s: expected an object", where);
    if (refuse_variants(j, where, err) != OK) return ERR_UNSUPPORTED;

    if (json_need_int(j, "r", where, &rank, err) != OK || json_need_number(j, "lora_alpha", where, &alpha, err) != OK)
        return ERR_PARSE;

    /* A rank out of bounds becomes 0: lora_new refuses it, with the sentence. */
    *c = (lora_config){ .rank = rank > 0 && rank <= MAX_RANK ? (int)rank : 0, .alpha = (float)alpha };
    json_array_foreach(modules, i, name)
    {
        const uint32_t bit = json_is_string(name) ? lora_target(json_string_value(name)) : 0;
        if (!bit) return unsupported(where, "target_modules", modules, err);
        c->targets |= bit;
    }
    return c->targets ? OK : error_set(err, ERR_PARSE, "%s: target_modules: expected a list of matrices' names", where);
}

int lora_load_into(lora *l, const char *dir, error *err)
{
    char path[PATH_BYTES];
    safetensors *st = safetensors_open(path_join(path, sizeof path, dir, "adapter_model.safetensors"), err);
    if (!st) return ERR_IO;
    const int rc = weights_load(l->w, st, err);
    safetensors_close(st);
    return rc == OK ? OK : error_within(err, "%s", path);
}

lora *lora_load(const char *dir, const weights *base, error *err)
{
    char path[PATH_BYTES];
    lora_config config;
    json_t *j = json_parse_file(path_join(path, sizeof path, dir, "adapter_config.json"), err);
    if (!j) return NULL;

    const int rc = read_config(&config, j, path, err);
    json_decref(j);
    lora *l = rc == OK ? lora_new(&config, base, 0, err) : NULL;
    if (l && lora_load_into(l, dir, err) == OK) return l;
    lora_free(l);
    return NULL;
}
