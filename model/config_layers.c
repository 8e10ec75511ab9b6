/* SPDX-License-Identifier: MIT */
/* Which layers of a config.json have a window, and which a rotary embedding. */
#include <inttypes.h>
#include <string.h>

#include "model/config_inside.h"

/* ---- windows ---- */

static int read_window(const family *f, const source *s, int *out, error *err)
{
    int64_t window = 0;
    bool asked = false;
    const json_t *given = json_object_get(s->j, "sliding_window");
    if (json_opt_bool(s->j, "use_sliding_window", s->where, false, &asked, err) != OK) return ERR_PARSE;

    /* A file may say null: the window is off. */
    const bool on = f->window == WINDOW_ALWAYS || (f->window == WINDOW_WHEN_ASKED && asked);
    if (on && !json_is_null(given) &&
        json_opt_int(s->j, "sliding_window", s->where, f->default_window, &window, err) != OK)
        return ERR_PARSE;
    if (window < 0 || window > INT32_MAX)
        return error_set(err, ERR_PARSE, "%s: sliding_window: expected a number of tokens, found %" PRId64, s->where,
                         window);
    *out = (int)window;
    return OK;
}

/* Where layer_types don't say it: the layers of the family's pattern. */
static bool has_window(const model_config *c, const family *f, int layer, int64_t from, int64_t nth)
{
    switch (f->windowed) {
    case LAYERS_ALL:
        return true;
    case LAYERS_FROM_MAX:
        return layer >= from;
    case LAYERS_WITHOUT_ROPE:
        return c->attention[layer].rope == ROPE_NONE;
    case LAYERS_BUT_EACH_NTH:
        return (layer + 1) % nth != 0;
    }
    return false;
}

/* A layer's type, or NULL where the file has none. */
static const json_t *layer_types(const source *s) { return config_given(s->j, "layer_types"); }

/* A file's type of a layer decides where the family says so; elsewhere it must say what is computed anyway. */
static int read_type(const model_config *c, const family *f, const source *s, int layer, int window, bool *windowed,
                     error *err)
{
    const json_t *types = layer_types(s);
    const char *type = json_string_value(json_array_get(types, (size_t)layer));
    const bool sliding = type && strcmp(type, "sliding_attention") == 0;
    const bool known = sliding || (type && strcmp(type, "full_attention") == 0);
    const bool fits = sliding ? window > 0 : true;
    const bool agreed = f->layer_types || sliding == (*windowed && window > 0);

    if (!known || !fits || !agreed || json_array_size(types) != (size_t)c->layers)
        return config_unsupported(s, "layer_types", types,
                                  f->layer_types ? "full_attention or sliding_attention (with a sliding_window) a layer"
                                                 : "one a layer: what this architecture computes anyway",
                                  err);
    *windowed = sliding;
    return OK;
}

static int read_windows(model_config *c, const family *f, const source *s, error *err)
{
    int window = 0;
    int64_t from = 0, nth = f->nth;
    if (read_window(f, s, &window, err) != OK) return ERR_PARSE;

    /* 28 is Qwen2Config's default, as 4 in read_nope is SmolLM3Config's. */
    if (f->windowed == LAYERS_FROM_MAX && json_opt_int(s->j, "max_window_layers", s->where, 28, &from, err) != OK)
        return ERR_PARSE;
    if (from < 0 || from > INT32_MAX)
        return error_set(err, ERR_PARSE, "%s: max_window_layers: expected a number of layers, found %" PRId64, s->where,
                         from);

    if (f->nth_key && json_opt_int(s->j, f->nth_key, s->where, f->nth, &nth, err) != OK) return ERR_PARSE;
    if (f->nth_key && nth < 1)
        return error_set(err, ERR_PARSE, "%s: %s: expected 1 or more, found %" PRId64, s->where, f->nth_key, nth);

    for (int l = 0; l < c->layers; l++) {
        bool windowed = window > 0 && has_window(c, f, l, from, nth);
        const int rc = layer_types(s) ? read_type(c, f, s, l, window, &windowed, err) : OK;
        if (rc != OK) return rc;
        c->attention[l].window = windowed ? window : 0;
    }
    return OK;
}

/* ---- layers without a rotary embedding (NoPE) ---- */

static int wrong_list(const source *s, const json_t *list, error *err)
{
    return config_unsupported(s, "no_rope_layers", list, "a list of 1 (with a rotary embedding) or 0 for each layer",
                              err);
}

static int read_nope(model_config *c, const source *s, error *err)
{
    const json_t *list = config_given(s->j, "no_rope_layers");
    int64_t interval;
    if (json_opt_int(s->j, "no_rope_layer_interval", s->where, 4, &interval, err) != OK) return ERR_PARSE;
    if (interval < 1)
        return error_set(err, ERR_PARSE, "%s: no_rope_layer_interval: expected 1 or more, found %" PRId64, s->where,
                         interval);
    if (list && json_array_size(list) < (size_t)c->layers) return wrong_list(s, list, err);

    for (int l = 0; l < c->layers; l++) {
        const json_t *v = json_array_get(list, (size_t)l);
        const json_int_t turned = list ? json_integer_value(v) : (l + 1) % interval != 0;
        if (list && (!json_is_integer(v) || turned < 0 || turned > 1)) return wrong_list(s, list, err);
        c->attention[l].rope = turned ? 0 : ROPE_NONE;
    }
    return OK;
}

int config_read_layers(model_config *c, const family *f, const source *s, error *err)
{
    int rc = f->nope_layers ? read_nope(c, s, err) : OK;
    if (rc == OK) rc = read_windows(c, f, s, err);
    for (int l = 0; rc == OK && f->rope_of_window && l < c->layers; l++)
        if (c->attention[l].window > 0) c->attention[l].rope = 1;
    return rc;
}
