/* SPDX-License-Identifier: MIT */
/* Which layers of a config.json have a router and experts, and how many. */
#include <inttypes.h>
#include <string.h>

#include "model/config_inside.h"

/* A number from 1 to max. */
static int read_count(const source *s, const char *key, int64_t fallback, int64_t max, int *out, error *err)
{
    int64_t v;
    if (json_opt_int(s->j, key, s->where, fallback, &v, err) != OK) return ERR_PARSE;
    if (v < 1 || v > max)
        return error_set(err, ERR_PARSE, "%s: %s: expected 1 to %" PRId64 ", found %" PRId64, s->where, key, max, v);
    *out = (int)v;
    return OK;
}

static int read_dense(expert_layers *x, const model_config *c, const source *s, error *err)
{
    const json_t *list = config_given(s->j, "mlp_only_layers");
    if (list && !json_is_array(list))
        return error_set(err, ERR_PARSE, "%s: mlp_only_layers: expected a list of layers", s->where);

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *layer = json_array_get(list, i);
        const json_int_t l = json_integer_value(layer);
        if (!json_is_integer(layer) || l < 0 || l >= c->layers)
            return error_set(err, ERR_PARSE, "%s: mlp_only_layers: expected layers from 0 to %d", s->where,
                             c->layers - 1);
        x->routed[l] = false;
    }
    return OK;
}

/* Each decoder_sparse_step-th layer but those of mlp_only_layers; some files call the experts local, as Mixtral's. */
static int read_qwen(expert_layers *x, const model_config *c, const source *s, error *err)
{
    const char *n = config_given(s->j, "num_local_experts") ? "num_local_experts" : "num_experts";
    int step = 1;
    int rc = read_count(s, n, 128, MAX_EXPERTS, &x->n, err);
    if (rc == OK) rc = read_count(s, "num_experts_per_tok", 8, MAX_CHOSEN, &x->chosen, err);
    if (rc == OK) rc = config_read_dimension(s, "moe_intermediate_size", INT32_MAX, &x->ffn, err);
    if (rc == OK) rc = json_opt_bool(s->j, "norm_topk_prob", s->where, false, &x->sum_to_one, err);
    if (rc == OK) rc = read_count(s, "decoder_sparse_step", 1, INT32_MAX, &step, err);
    for (int l = 0; rc == OK && l < c->layers; l++) x->routed[l] = (l + 1) % step == 0;
    return rc == OK ? read_dense(x, c, s, err) : rc;
}

static int read_mixtral(expert_layers *x, const model_config *c, const source *s, error *err)
{
    int rc = read_count(s, "num_local_experts", 8, MAX_EXPERTS, &x->n, err);
    if (rc == OK) rc = read_count(s, "num_experts_per_tok", 2, MAX_CHOSEN, &x->chosen, err);
    x->ffn = c->ffn;
    x->sum_to_one = true;
    for (int l = 0; l < c->layers; l++) x->routed[l] = true;
    return rc;
}

int config_read_experts(model_config *c, const source *s, error *err)
{
    expert_layers *x = &c->experts;
    const int rc = x->names == EXPERTS_OF_MIXTRAL ? read_mixtral(x, c, s, err) : read_qwen(x, c, s, err);
    if (rc != OK) return rc;

    if (x->chosen > x->n)
        return error_set(err, ERR_PARSE, "%s: num_experts_per_tok: expected at most %d experts, found %d", s->where,
                         x->n, x->chosen);
    return OK;
}
