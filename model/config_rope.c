/* SPDX-License-Identifier: MIT */
/* The rotary embedding of a config.json. Older files keep rope_theta at the top and the rest in rope_scaling; newer
 * ones keep all of it in rope_parameters, or one such object for each type of layer there. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_inside.h"

enum { WHERE_BYTES = 1200 };

/* An object that describes one set of frequencies, and how to speak of it. */
typedef struct rope_source {
    const source *file;
    const char *key; /* of the file: "rope_scaling" */
    const json_t *j;
    char where[WHERE_BYTES]; /* "config.json: rope_scaling" */
} rope_source;

static int read_llama3(rope_set *r, const rope_source *s, error *err)
{
    double low, high, original;
    if (json_need_number(s->j, "low_freq_factor", s->where, &low, err) != OK ||
        json_need_number(s->j, "high_freq_factor", s->where, &high, err) != OK ||
        json_need_number(s->j, "original_max_position_embeddings", s->where, &original, err) != OK)
        return ERR_PARSE;
    if (!(low > 0 && high > low && high < 1e6 && original >= 1 && original < 1e9))
        return error_set(err, ERR_PARSE,
                         "%s: expected 0 < low_freq_factor < high_freq_factor and "
                         "original_max_position_embeddings from 1, found %g, %g and %g",
                         s->where, low, high, original);

    r->low_freq_factor = (float)low;
    r->high_freq_factor = (float)high;
    r->original_max_position = (float)original;
    return OK;
}

/* Peng et al. 2023, section 3.4: 0.1 ln(s) + 1. */
static double yarn_magnitude(double factor, double m) { return factor > 1 ? 0.1 * m * log(factor) + 1 : 1; }

static int read_yarn(rope_set *r, const rope_source *s, int max_position, error *err)
{
    double fast, slow, original, magnitude, mscale, mscale_all;
    if (json_opt_number(s->j, "beta_fast", s->where, 32, &fast, err) != OK ||
        json_opt_number(s->j, "beta_slow", s->where, 1, &slow, err) != OK ||
        json_opt_number(s->j, "original_max_position_embeddings", s->where, max_position, &original, err) != OK ||
        json_opt_number(s->j, "mscale", s->where, 0, &mscale, err) != OK ||
        json_opt_number(s->j, "mscale_all_dim", s->where, 0, &mscale_all, err) != OK ||
        json_opt_bool(s->j, "truncate", s->where, true, &r->truncate, err) != OK)
        return ERR_PARSE;

    /* DeepSeek's two numbers count only together, and as a quotient; a file's attention_factor wins over both. */
    const double whole = (double)r->factor;
    magnitude = yarn_magnitude(whole, 1);
    if (mscale != 0 && mscale_all != 0) magnitude = yarn_magnitude(whole, mscale) / yarn_magnitude(whole, mscale_all);
    if (json_opt_number(s->j, "attention_factor", s->where, magnitude, &magnitude, err) != OK) return ERR_PARSE;

    if (!(slow > 0 && fast > slow && fast < 1e6 && original >= 1 && original < 1e9))
        return error_set(err, ERR_PARSE,
                         "%s: expected 0 < beta_slow < beta_fast and original_max_position_embeddings from 1, found "
                         "%g, %g and %g",
                         s->where, slow, fast, original);
    if (!(magnitude > 1e-3 && magnitude < 1e3))
        return error_set(err, ERR_PARSE, "%s: attention_factor: expected about 1, found %g", s->where, magnitude);

    r->beta_fast = (float)fast;
    r->beta_slow = (float)slow;
    r->original_max_position = (float)original;
    r->magnitude = (float)magnitude;
    return OK;
}

/* LongRoPE (Ding et al. 2024) has one set of divisors for texts within the original length and one for longer ones. A
 * text that grows from the one into the other would have to be computed anew from its first token, so the first set is
 * taken and the model ends where it does. */
static int read_longrope(model_config *c, rope_set *r, const rope_source *s, error *err)
{
    double original, factor, magnitude;
    const json_t *list = config_given(s->j, "short_factor");
    const int half = model_rotary_dims(c) / 2;
    if (json_opt_number(s->j, "original_max_position_embeddings", s->where, c->max_position, &original, err) != OK ||
        json_opt_number(s->file->j, "original_max_position_embeddings", s->file->where, original, &original, err) != OK)
        return ERR_PARSE;
    if (!(original > 1 && original < 1e9))
        return error_set(err, ERR_PARSE, "%s: original_max_position_embeddings: expected more than 1, found %g",
                         s->where, original);
    if (json_array_size(list) != (size_t)half)
        return error_set(err, ERR_PARSE, "%s: short_factor: expected a list of %d numbers", s->where, half);

    for (int i = 0; i < half; i++) {
        const double v = json_number_value(json_array_get(list, (size_t)i));
        if (!(v > 1e-6 && v < 1e6))
            return error_set(err, ERR_PARSE, "%s: short_factor: expected numbers above 0", s->where);
        r->divisors[i] = (float)v;
    }

    /* By how many times the context was stretched. It scales the scores of short texts, too. */
    if (json_opt_number(s->j, "factor", s->where, c->max_position / original, &factor, err) != OK) return ERR_PARSE;
    magnitude = factor > 1 ? sqrt(1 + log(factor) / log(original)) : 1;
    if (json_opt_number(s->j, "attention_factor", s->where, magnitude, &magnitude, err) != OK) return ERR_PARSE;
    if (!(magnitude > 1e-3 && magnitude < 1e3))
        return error_set(err, ERR_PARSE, "%s: attention_factor: expected about 1, found %g", s->where, magnitude);

    r->kind = ROPE_LONGROPE;
    r->magnitude = (float)magnitude;
    if (c->max_position > original) c->max_position = (int)original;
    return OK;
}

/* Where newer and older files keep it. */
static const json_t *type_of(const json_t *j)
{
    const json_t *type = json_object_get(j, "rope_type");
    return type ? type : json_object_get(j, "type");
}

/* The kind of a rotary embedding. Without a name and a
 * factor it is the default one. NULL: none that can be read. */
static const char *rope_kind(const json_t *j)
{
    const json_t *type = type_of(j);
    if (type) return json_string_value(type);
    return json_object_get(j, "factor") ? NULL : "default";
}

static const char *const KINDS[] = { [ROPE_DEFAULT] = "default",
                                     [ROPE_LINEAR] = "linear",
                                     [ROPE_LLAMA3] = "llama3",
                                     [ROPE_YARN] = "yarn",
                                     [ROPE_LONGROPE] = "longrope" };

/* "dynamic" slows frequencies in texts beyond max_position_embeddings, which are not computed: up to there it is the
 * default. "su" is longrope's name in the oldest files. */
static int kind_of(const char *name)
{
    if (name && strcmp(name, "dynamic") == 0) return ROPE_DEFAULT;
    if (name && strcmp(name, "su") == 0) return ROPE_LONGROPE;
    const int n = sizeof KINDS / sizeof *KINDS;
    for (int i = 0; name && i < n; i++)
        if (strcmp(name, KINDS[i]) == 0) return i;
    return -1;
}

static int read_theta(rope_set *r, const json_t *j, const char *where, error *err)
{
    double theta;
    if (json_opt_number(j, "rope_theta", where, (double)r->theta, &theta, err) != OK) return ERR_PARSE;
    if (!(theta > 1 && theta < 1e30))
        return error_set(err, ERR_PARSE, "%s: rope_theta: expected more than 1, found %g", where, theta);
    r->theta = (float)theta;
    return OK;
}

/* Llama 4's growth of queries with their position begins after the original length: up to there it is 1, and so far
 * a model is computed. */
static void end_before_growth(model_config *c, const rope_source *s, float original)
{
    const bool grows = config_given(s->j, "llama_4_scaling_beta") != NULL;
    if (grows && original > 0 && (float)c->max_position > original) c->max_position = (int)original;
}

/* By the word that is unknown, where there is one: the whole object would hide it behind its numbers. */
static int refuse_rope(const rope_source *s, error *err)
{
    static const char SUPPORTED[] = "null, or of type default, linear, dynamic, llama3, yarn or longrope";
    const json_t *type = type_of(s->j);
    return config_unsupported(s->file, s->key, type ? type : s->j, SUPPORTED, err);
}

static int read_rope(model_config *c, rope_set *r, const rope_source *s, error *err)
{
    const int kind = kind_of(rope_kind(s->j));
    if (!json_is_object(s->j) || kind < 0) return refuse_rope(s, err);
    if (read_theta(r, s->j, s->where, err) != OK) return ERR_PARSE;
    if (kind == ROPE_DEFAULT) return OK;
    if (kind == ROPE_LONGROPE) return read_longrope(c, r, s, err);

    double factor;
    if (json_need_number(s->j, "factor", s->where, &factor, err) != OK) return ERR_PARSE;
    if (!(factor >= 1 && factor < 1e6))
        return error_set(err, ERR_PARSE, "%s: factor: expected 1 or more, found %g", s->where, factor);

    r->kind = kind;
    r->factor = (float)factor;
    if (kind == ROPE_LLAMA3) return read_llama3(r, s, err);
    if (kind != ROPE_YARN) return OK;
    const int rc = read_yarn(r, s, c->max_position, err);
    if (rc == OK) end_before_growth(c, s, r->original_max_position);
    return rc;
}

/* The set described by `j`, the value of `key` or (inside, where not NULL) of a key of it. Nothing there: as it is. */
static int read_set(model_config *c, rope_set *r, const source *s, const char *key, const char *inside, error *err)
{
    rope_source of = { .file = s, .key = key, .j = config_given(s->j, key) };
    snprintf(of.where, sizeof of.where, "%s: %s%s%s", s->where, key, inside ? ": " : "", inside ? inside : "");
    if (inside) of.j = config_given(of.j, inside);
    return of.j ? read_rope(c, r, &of, err) : OK;
}

static bool by_layer_type(const source *s, const char *key)
{
    const json_t *j = json_object_get(s->j, key);
    return json_object_get(j, "full_attention") || json_object_get(j, "sliding_attention");
}

/* Which share of a head is turned: at the top of a file, or where its frequencies are. */
static int read_share(model_config *c, const family *f, const source *s, error *err)
{
    static const char KEY[] = "partial_rotary_factor";
    const char *const places[] = { "rope_scaling", "rope_parameters" };
    char named[64];
    double share;
    const json_t *found = config_given(s->j, KEY);
    if (json_opt_number(s->j, KEY, s->where, f->default_rotary_share > 0 ? (double)f->default_rotary_share : 1, &share,
                        err) != OK)
        return ERR_PARSE;
    snprintf(named, sizeof named, "%s", KEY);
    for (int i = 0; i < 2; i++) {
        const json_t *j = config_given(s->j, places[i]);
        if (!config_given(j, KEY)) continue;
        found = config_given(j, KEY);
        snprintf(named, sizeof named, "%s: %s", places[i], KEY);
        if (json_need_number(j, KEY, s->where, &share, err) != OK) return ERR_PARSE;
    }

    if (share != 1 && !f->partial_rotary) return config_unsupported(s, named, found, "1", err);
    const int dims = (int)(c->head_dim * share);
    if (!(share > 0 && share <= 1) || dims < 2 || dims % 2 != 0)
        return error_set(err, ERR_PARSE, "%s: %s: expected a share of %d dimensions that is even, found %g", s->where,
                         named, c->head_dim, share);
    c->rotary_dims = dims < c->head_dim ? dims : 0;
    return OK;
}

/* The frequencies of layers with a window, where files of this family have others for them. */
static int read_window_theta(rope_set *windowed, const family *f, const source *s, error *err)
{
    double theta;
    if (!f->window_theta) return OK;
    if (json_opt_number(s->j, f->window_theta, s->where, 10000, &theta, err) != OK) return ERR_PARSE;
    if (!(theta > 1 && theta < 1e30))
        return error_set(err, ERR_PARSE, "%s: %s: expected more than 1, found %g", s->where, f->window_theta, theta);
    windowed->theta = (float)theta;
    return OK;
}

int config_read_ropes(model_config *c, const family *f, const source *s, error *err)
{
    rope_set *all = &c->ropes[0], *windowed = &c->ropes[1];
    all->theta = f->default_theta > 0 ? f->default_theta : 10000;
    int rc = read_share(c, f, s, err);
    if (rc == OK) rc = read_theta(all, s->j, s->where, err);
    if (rc == OK && f->rope_of_window) {
        *windowed = *all;
        rc = read_window_theta(windowed, f, s, err);
    }

    if (f->rope_of_window && by_layer_type(s, "rope_parameters")) {
        if (rc == OK) rc = read_set(c, all, s, "rope_parameters", "full_attention", err);
        if (rc == OK) rc = read_set(c, windowed, s, "rope_parameters", "sliding_attention", err);
        return rc;
    }
    if (rc == OK) rc = read_set(c, all, s, "rope_scaling", NULL, err);
    if (rc == OK) rc = read_set(c, all, s, "rope_parameters", NULL, err);
    return rc;
}
