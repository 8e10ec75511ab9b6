/* SPDX-License-Identifier: MIT */
/* The rotary embedding of a GGUF model in the words of config.json: its theta, what share of a head is turned, and how
 * its frequencies are scaled. Llama 3's scaling and LongRoPE's stand in tensors, the others in keys. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/import_gguf_inside.h"
#include "model/safetensors.h"

/* ---- frequencies in tensors ---- */

/* Llama 3.1's stretching, as transformers computes it: what factor a frequency is divided by. */
static double llama3_factor(double frequency, double factor, double original)
{
    const double low = 1, high = 4, length = 2 * 3.14159265358979323846 / frequency;
    if (length < original / high) return 1;
    if (length > original / low) return factor;
    const double smooth = (original / length - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
}

static bool same_factors(const float *factors, const gguf_model *m, double factor, double original)
{
    for (int64_t i = 0; i < m->rotary / 2; i++) {
        const double frequency = pow(m->theta, -2.0 * (double)i / (double)m->rotary);
        const double expected = llama3_factor(frequency, factor, original);
        if (fabs((double)factors[i] - expected) > 1e-3 * expected) return false;
    }
    return true;
}

/* A number for each frequency, copied; the caller frees. */
static float *read_factors(const gguf_model *m, const gguf_tensor *t, error *err)
{
    if (t->type != 0 || t->count != m->rotary / 2) {
        error_set(err, ERR_PARSE, "%s: %s: expected %" PRId64 " numbers in F32", gguf_where(m->g), t->name,
                  m->rotary / 2);
        return NULL;
    }

    float *factors = xcalloc((size_t)t->count, sizeof *factors);
    memcpy(factors, t->data, t->bytes);
    if (safetensors_finite(factors, t->count)) return factors;
    free(factors);
    error_set(err, ERR_PARSE, "%s: tensor %s holds numbers that are not finite", gguf_where(m->g), t->name);
    return NULL;
}

/* llama.cpp keeps Llama 3's scaling as a tensor of factors; which of the known ones it is, they say themselves. */
static int llama3_of_factors(const gguf_model *m, const gguf_tensor *t, json_t *config, error *err)
{
    static const double FACTORS[] = { 8, 32, 16, 4 }, ORIGINAL = 8192;
    float *factors = read_factors(m, t, err);
    if (!factors) return ERR_PARSE;

    double found = 0;
    for (size_t i = 0; i < sizeof FACTORS / sizeof *FACTORS && found == 0; i++)
        if (same_factors(factors, m, FACTORS[i], ORIGINAL)) found = FACTORS[i];
    free(factors);

    if (found == 0)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: rope_freqs.weight is not a supported scaling (llama3 with "
                         "factors 4, 8, 16, 32 is)",
                         gguf_where(m->g));

    json_object_set_new(config, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor", found,
                                  "low_freq_factor", 1.0, "high_freq_factor", 4.0, "original_max_position_embeddings",
                                  (int)ORIGINAL));
    return OK;
}

static json_t *list_of_factors(const gguf_model *m, const char *name, error *err)
{
    const gguf_tensor *t = gguf_find(m->g, name);
    if (!t) error_set(err, ERR_PARSE, "%s: tensor %s is missing", gguf_where(m->g), name);
    float *factors = t ? read_factors(m, t, err) : NULL;
    if (!factors) return NULL;

    json_t *list = json_array();
    for (int64_t i = 0; i < t->count; i++) json_array_append_new(list, gguf_shortest((double)factors[i]));
    free(factors);
    return list;
}

/* Phi's: one set of divisors for short texts, one for long ones. */
static int write_longrope(const gguf_model *m, json_t *config, error *err)
{
    double original, magnitude;
    int rc = gguf_real_or(m, "rope.scaling.original_context_length", (double)m->max_position, &original, err);
    if (rc == OK) rc = gguf_real_or(m, "rope.scaling.attn_factor", 1, &magnitude, err);
    if (rc != OK) return rc;
    if (!(original >= 1 && original <= INT32_MAX))
        return error_set(err, ERR_PARSE, "%s: %s.rope.scaling.original_context_length is %g", gguf_where(m->g),
                         m->family->name, original);

    json_t *near = list_of_factors(m, "rope_factors_short.weight", err);
    json_t *far = near ? list_of_factors(m, "rope_factors_long.weight", err) : NULL;
    if (!far) {
        json_decref(near);
        return ERR_PARSE;
    }
    json_object_set_new(config, "original_max_position_embeddings", json_integer((json_int_t)original));
    json_object_set_new(config, "rope_scaling",
                        json_pack("{s:s, s:o, s:o, s:o}", "rope_type", "longrope", "short_factor", near, "long_factor",
                                  far, "attention_factor", gguf_shortest(magnitude)));
    return OK;
}

/* ---- frequencies in keys ---- */

/* llama.cpp multiplies cosines and sines by attn_factor (1 + 0.1 ln factor); files have been written with the product
 * in place of attn_factor. Both are what transformers takes without a word; a third number is not. */
static int check_magnitude(const gguf_model *m, double factor, error *err)
{
    static const char *const KEYS[] = { "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor" };
    char name[GGUF_NAME];
    const double whole = 0.1 * log(factor) + 1;
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        double v;
        const int rc = gguf_real_or(m, KEYS[i], 1, &v, err);
        if (rc != OK) return rc;
        if (fabs(v - 1) > 1e-4 && fabs(v - whole) > 1e-4)
            return error_set(err, ERR_UNSUPPORTED, "%s: %s is %g; supported: 1, or 0.1 ln(factor) + 1, which is %g",
                             gguf_where(m->g), gguf_key(m, KEYS[i], name), v, whole);
    }
    return OK;
}

/* Ministral 3's magnitude is mscale's over mscale_all_dim's: 1. Its queries grow after the original length. */
static int write_ministral(const gguf_model *m, json_t *scaling, error *err)
{
    double all, growth;
    int rc = gguf_real_or(m, "rope.scaling.yarn_log_multiplier", 1, &all, err);
    if (rc == OK) rc = gguf_real_or(m, "attention.temperature_scale", 0, &growth, err);
    if (rc != OK) return rc;
    json_object_set_new(scaling, "mscale", gguf_shortest(all));
    json_object_set_new(scaling, "mscale_all_dim", gguf_shortest(all));
    json_object_set_new(scaling, "llama_4_scaling_beta", gguf_shortest(growth));
    return OK;
}

static int write_yarn(const gguf_model *m, double factor, json_t *config, error *err)
{
    double original, fast, slow;
    int rc = gguf_real_or(m, "rope.scaling.original_context_length", (double)m->max_position, &original, err);
    if (rc == OK) rc = gguf_real_or(m, "rope.scaling.yarn_beta_fast", 32, &fast, err);
    if (rc == OK) rc = gguf_real_or(m, "rope.scaling.yarn_beta_slow", 1, &slow, err);
    if (rc != OK) return rc;
    if (!(original >= 1 && original <= INT32_MAX && factor >= 1))
        return error_set(err, ERR_PARSE, "%s: %s.rope.scaling: factor %g, original_context_length %g", gguf_where(m->g),
                         m->family->name, factor, original);

    const bool grows = m->family->if_key && strcmp(m->family->if_key, "attention.temperature_scale") == 0;
    json_t *scaling = json_pack("{s:s, s:o, s:I, s:o, s:o}", "rope_type", "yarn", "factor", gguf_shortest(factor),
                                "original_max_position_embeddings", (json_int_t)original, "beta_fast",
                                gguf_shortest(fast), "beta_slow", gguf_shortest(slow));
    json_object_set_new(config, "rope_scaling", scaling);
    return grows ? write_ministral(m, scaling, err) : check_magnitude(m, factor, err);
}

static int write_scaling(const gguf_model *m, json_t *config, error *err)
{
    char key[GGUF_NAME];
    gguf_text kind = { "linear", 6 }; /* llama.cpp's way where only a factor is said */
    double factor = 0;
    int rc = gguf_real_or(m, "rope.scaling.factor", 0, &factor, err);
    if (rc == OK && factor == 0) rc = gguf_real_or(m, "rope.scale_linear", 0, &factor, err);
    if (rc == OK && gguf_has(m->g, gguf_key(m, "rope.scaling.type", key))) rc = gguf_string(m->g, key, &kind, err);
    if (rc != OK || gguf_text_is(kind, "none")) return rc;

    const bool linear = gguf_text_is(kind, "linear");
    if (!linear && !gguf_text_is(kind, "yarn"))
        return error_set(err, ERR_UNSUPPORTED, "%s: %s is '%.*s'; supported: none, linear, yarn", gguf_where(m->g), key,
                         (int)(kind.len < 40 ? kind.len : 40), kind.data);
    if (factor == 0 || (linear && factor == 1)) return OK;
    if (!linear) return write_yarn(m, factor, config, err);
    json_object_set_new(config, "rope_scaling",
                        json_pack("{s:s, s:o}", "rope_type", "linear", "factor", gguf_shortest(factor)));
    return OK;
}

int gguf_write_rope(const gguf_model *m, json_t *config, error *err)
{
    json_object_set_new(config, "rope_theta", gguf_shortest(m->theta));
    if (m->rotary != m->head_dim)
        json_object_set_new(config, "partial_rotary_factor", json_real((double)m->rotary / (double)m->head_dim));
    else if (m->family->partial_rotary)
        json_object_set_new(config, "partial_rotary_factor", json_real(1));

    if (m->family->local_theta) {
        double local;
        const int rc = gguf_real_or(m, "rope.freq_base_swa", 10000, &local, err);
        if (rc != OK) return rc;
        json_object_set_new(config, m->family->local_theta, gguf_shortest(local));
    }

    const gguf_tensor *factors = gguf_find(m->g, "rope_freqs.weight");
    if (factors) return llama3_of_factors(m, factors, config, err);
    const bool divided = gguf_find(m->g, "rope_factors_short.weight") || gguf_find(m->g, "rope_factors_long.weight");
    if (divided) return write_longrope(m, config, err);
    return write_scaling(m, config, err);
}
