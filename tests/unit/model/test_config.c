/* SPDX-License-Identifier: MIT */
#include "model/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/support/support.h"

/* A small Llama's config.json as `transformers` writes it, with the keys that we read past. */
static const char LLAMA[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    "\"bos_token_id\": 1, \"eos_token_id\": 2, \"hidden_act\": \"silu\", \"hidden_size\": 64,"
    "\"initializer_range\": 0.02, \"intermediate_size\": 96, \"max_position_embeddings\": 512,"
    "\"mlp_bias\": false, \"model_type\": \"llama\", \"num_attention_heads\": 4,"
    "\"num_hidden_layers\": 2, \"num_key_value_heads\": 2, \"pretraining_tp\": 1,"
    "\"rms_norm_eps\": 1e-05, \"rope_scaling\": null, \"rope_theta\": 500000.0,"
    "\"tie_word_embeddings\": true, \"torch_dtype\": \"float32\", \"use_cache\": true,"
    "\"vocab_size\": 320}";

static int parse(model_config *c, const json_t *j, error *err)
{
    char *text = json_text(j, true);
    const int rc = model_config_parse(c, text, strlen(text), "config.json", err);
    free(text);
    return rc;
}

/* LLAMA with one key set to `value` (JSON), or deleted (NULL). */
static int parse_with(model_config *c, const char *key, const char *value, error *err)
{
    json_t *j = json_loads(LLAMA, 0, NULL), *v = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    if (value && !v) fail_msg("the test's value is no JSON: %s", value);
    if (v)
        json_object_set_new(j, key, v);
    else
        json_object_del(j, key);
    const int rc = parse(c, j, err);
    json_decref(j);
    return rc;
}

static void a_llama_is_read_whole(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    test_ok(model_config_parse(&c, LLAMA, strlen(LLAMA), "config.json", &err), &err);
    assert_string_equal(c.architecture, "LlamaForCausalLM");
    assert_int_equal(c.vocab, 320);
    assert_int_equal(c.width, 64);
    assert_int_equal(c.layers, 2);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.kv_heads, 2);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.ffn, 96);
    assert_int_equal(c.max_position, 512);
    assert_true(c.ropes[0].theta == 500000.0f && c.norm_eps == 1e-5f && c.tied);
    assert_int_equal(c.n_eos, 1);
    assert_int_equal(c.eos[0], 2);
    assert_int_equal(c.bos, 1);
}

static void what_may_be_left_out_has_the_familys_value(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    test_ok(parse_with(&c, "num_key_value_heads", NULL, &err), &err);
    assert_int_equal(c.kv_heads, 4);
    test_ok(parse_with(&c, "rope_theta", NULL, &err), &err);
    assert_true(c.ropes[0].theta == 10000);
    test_ok(parse_with(&c, "tie_word_embeddings", NULL, &err), &err);
    assert_false(c.tied);
    test_ok(parse_with(&c, "rms_norm_eps", NULL, &err), &err);
    assert_true(c.norm_eps == 1e-6f);
    test_ok(parse_with(&c, "eos_token_id", NULL, &err), &err);
    assert_int_equal(c.n_eos, 0);
    test_ok(parse_with(&c, "bos_token_id", NULL, &err), &err);
    assert_int_equal(c.bos, -1);
    test_ok(parse_with(&c, "model_type", NULL, &err), &err);
    test_ok(parse_with(&c, "architectures", NULL, &err), &err); /* model_type says it, too */
    assert_string_equal(c.architecture, "LlamaForCausalLM");
    test_ok(parse_with(&c, "hidden_act", NULL, &err), &err);
}

static void newer_and_older_spellings_mean_the_same(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    test_ok(parse_with(&c, "rope_parameters", "{\"rope_theta\": 25000.0, \"rope_type\": \"default\"}", &err), &err);
    assert_true(c.ropes[0].theta == 25000);
    test_ok(parse_with(&c, "rope_parameters", "{\"rope_theta\": 25000}", &err), &err);
    assert_true(c.ropes[0].theta == 25000);
    test_ok(parse_with(&c, "rope_scaling", "{\"rope_type\": \"default\"}", &err), &err);
    assert_true(c.ropes[0].theta == 500000);
    test_ok(parse_with(&c, "head_dim", "32", &err), &err); /* need not be hidden_size / heads */
    assert_int_equal(c.head_dim, 32);
    test_ok(parse_with(&c, "eos_token_id", "[5, 2, 319]", &err), &err);
    assert_int_equal(c.n_eos, 3);
    assert_int_equal(c.eos[0], 5);
    assert_int_equal(c.eos[2], 319);
    test_ok(parse_with(&c, "bos_token_id", "320", &err), &err);
    assert_int_equal(c.bos, -1);
    test_ok(parse_with(&c, "dtype", "\"bfloat16\"", &err), &err);
}

static void scaled_frequencies_are_read_from_either_place(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    test_ok(parse_with(&c, "rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0}", &err), &err);
    assert_true(c.ropes[0].kind == ROPE_LINEAR && c.ropes[0].factor == 2);
    test_ok(parse_with(&c, "rope_parameters",
                       "{\"rope_type\": \"llama3\", \"rope_theta\": 5e5, \"factor\": 8, \"low_freq_factor\": 1, "
                       "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}",
                       &err),
            &err);
    assert_true(c.ropes[0].kind == ROPE_LLAMA3 && c.ropes[0].factor == 8 && c.ropes[0].low_freq_factor == 1 &&
                c.ropes[0].high_freq_factor == 4 && c.ropes[0].original_max_position == 8192 &&
                c.ropes[0].theta == 5e5f);
}

static void parse_family(model_config *c, const char *family, const char *type, const char *more)
{
    char text[512];
    error err = { 0 };
    snprintf(text, sizeof text,
             "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"vocab_size\": 99, \"hidden_size\": 512, "
             "\"num_hidden_layers\": 4, \"num_attention_heads\": 8, \"intermediate_size\": 70%s}",
             family, type, more);
    test_ok(model_config_parse(c, text, strlen(text), "config.json", &err), &err);
}

static void a_familys_name_says_its_biases_norms_and_window(void **state)
{
    (void)state;
    model_config c;
    parse_family(&c, "LlamaForCausalLM", "llama", ", \"attention_bias\": true, \"sliding_window\": 7");
    assert_true(c.qkv_bias && c.o_bias && !c.qk_norm && c.attention[0].window == 0);
    parse_family(&c, "Qwen2ForCausalLM", "qwen2", ", \"sliding_window\": 7, \"use_sliding_window\": false");
    assert_true(c.qkv_bias && !c.o_bias && !c.qk_norm && c.attention[0].window == 0 && c.head_dim == 64);
    parse_family(&c, "Qwen2ForCausalLM", "qwen2",
                 ", \"sliding_window\": 7, \"use_sliding_window\": true, \"max_window_layers\": 3");
    assert_true(c.attention[2].window == 0 && c.attention[3].window == 7);
    parse_family(&c, "Qwen3ForCausalLM", "qwen3", "");
    assert_true(!c.qkv_bias && c.qk_norm && c.head_dim == 128);
    parse_family(&c, "MistralForCausalLM", "mistral", ", \"sliding_window\": 9");
    assert_true(!c.qkv_bias && c.attention[0].window == 9 && c.attention[3].window == 9);
    parse_family(&c, "MistralForCausalLM", "mistral", ", \"sliding_window\": null");
    assert_int_equal(c.attention[0].window, 0);
    parse_family(&c, "MistralForCausalLM", "mistral", "");
    assert_int_equal(c.attention[0].window, 4096);
}

/* Each layer by itself: its window, and which frequencies turn it. */
static void layers_are_described_one_by_one(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    parse_family(&c, "SmolLM3ForCausalLM", "smollm3", "");
    assert_true(c.tied && c.attention[2].rope == 0 && c.attention[3].rope == ROPE_NONE && c.ropes[0].theta == 2e6f);
    parse_family(&c, "SmolLM3ForCausalLM", "smollm3",
                 ", \"no_rope_layers\": [0, 1, 1, 1], \"use_sliding_window\": true, \"sliding_window\": 5");
    assert_true(c.attention[0].rope == ROPE_NONE && c.attention[0].window == 5);
    assert_true(c.attention[3].rope == 0 && c.attention[3].window == 0);

    parse_family(&c, "Olmo3ForCausalLM", "olmo3",
                 ", \"rope_theta\": 70000, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2}");
    assert_true(c.norms == NORMS_AFTER && c.qk_norm == QK_NORM_WIDTH);
    assert_true(c.attention[0].window == 4096 && c.attention[0].rope == 1 && c.attention[3].rope == 0);
    assert_true(c.ropes[0].kind == ROPE_LINEAR && c.ropes[1].kind == ROPE_DEFAULT && c.ropes[1].theta == 70000);

    parse_family(&c, "SeedOssForCausalLM", "seed_oss", "");
    assert_true(c.qkv_bias && !c.o_bias && !c.mlp_bias);
    parse_family(&c, "GraniteForCausalLM", "granite", ", \"logits_scaling\": 8");
    assert_true(c.score_scale == 1 && c.logit_scale == 0.125f && c.residual_scale == 0);
    parse_family(
        &c, "Ministral3ForCausalLM", "ministral3",
        ", \"max_position_embeddings\": 262144, \"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 16, "
        "\"llama_4_scaling_beta\": 0.1, \"original_max_position_embeddings\": 16384}");
    assert_int_equal(c.max_position, 16384); /* after it queries grow, and that is not computed */

    parse_family(
        &c, "Phi3ForCausalLM", "phi3",
        ", \"head_dim\": 8, \"max_position_embeddings\": 4096, \"original_max_position_embeddings\": 256, "
        "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1.5, 2], \"long_factor\": [3, 4, 5]}, "
        "\"partial_rotary_factor\": 0.75");
    assert_true(c.qkv_fused && c.gate_up_fused && c.rotary_dims == 6 && c.ropes[0].divisors[2] == 2);
    assert_int_equal(c.max_position, 256); /* the other factors begin there */
    test_near((double)c.ropes[0].magnitude, sqrt(1 + log(16) / log(256)), 1e-6, "longrope's magnitude");

    parse_family(&c, "Glm4ForCausalLM", "glm4", "");
    assert_true(c.rotary_dims == 64 && c.rotary_neighbours && c.qkv_bias && !c.o_bias && c.norms == NORMS_AROUND_GLM);
    parse_family(&c, "Gemma3ForCausalLM", "gemma3_text", ", \"sliding_window\": 512, \"sliding_window_pattern\": 2");
    assert_true(c.gate == GATE_GELU && c.norm_plus == 1 && c.tied && c.head_dim == 256 && c.score_scale == 0);
    assert_true(c.ropes[0].theta == 1e6f && c.ropes[1].theta == 1e4f && c.attention[0].rope == 1);
    assert_true(c.attention[0].window == 512 && c.attention[1].window == 0 && c.attention[1].rope == 0);

    static const char BAD[] = "{\"model_type\": \"smollm3\", \"vocab_size\": 9, \"hidden_size\": 8, "
                              "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 7, "
                              "\"no_rope_layers\": [1]}";
    assert_int_equal(model_config_parse(&c, BAD, strlen(BAD), "config.json", &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "no_rope_layers"));
}

/* Which layers are routed, to how many experts of which width. */
static void experts_are_described_layer_by_layer(void **state)
{
    (void)state;
    model_config c;
    parse_family(&c, "MixtralForCausalLM", "mixtral", "");
    assert_true(c.experts.names == EXPERTS_OF_MIXTRAL && c.experts.n == 8 && c.experts.chosen == 2);
    assert_true(c.experts.ffn == 70 && c.experts.sum_to_one && c.experts.routed[0] && c.experts.routed[3]);
    assert_true(c.attention[0].window == 0 && c.ropes[0].theta == 1e6f);

    parse_family(&c, "Qwen3MoeForCausalLM", "qwen3_moe",
                 ", \"moe_intermediate_size\": 24, \"decoder_sparse_step\": 2, \"mlp_only_layers\": [3], "
                 "\"num_experts\": 16, \"num_experts_per_tok\": 4, \"norm_topk_prob\": true");
    const expert_layers *x = &c.experts;
    assert_true(!x->routed[0] && x->routed[1] && !x->routed[2] && !x->routed[3]);
    assert_true(x->n == 16 && x->chosen == 4 && x->ffn == 24 && c.ffn == 70 && x->sum_to_one && c.qk_norm);
    parse_family(&c, "Qwen3MoeForCausalLM", "qwen3_moe",
                 ", \"moe_intermediate_size\": 24, \"num_local_experts\": 12, \"use_sliding_window\": true, "
                 "\"sliding_window\": 6");
    assert_true(x->n == 12 && !x->sum_to_one && x->routed[0] && c.attention[0].window == 6);

    static const struct {
        const char *more, *says;
    } BROKEN[] = {
        { "\"num_experts\": 4, \"moe_intermediate_size\": 8, \"num_experts_per_tok\": 5", "at most 4" },
        { "\"num_experts\": 0, \"moe_intermediate_size\": 8", "num_experts" },
        { "\"moe_intermediate_size\": 8, \"mlp_only_layers\": [2]", "from 0 to 1" },
        { "\"moe_intermediate_size\": 8, \"decoder_sparse_step\": 0", "decoder_sparse_step" },
        { "\"num_experts\": 16", "moe_intermediate_size" },
    };
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        char text[400];
        error err = { 0 };
        snprintf(text, sizeof text,
                 "{\"model_type\": \"qwen3_moe\", \"vocab_size\": 9, \"hidden_size\": 8, \"num_hidden_layers\": 2, "
                 "\"num_attention_heads\": 2, \"intermediate_size\": 7, %s}",
                 BROKEN[i].more);
        assert_int_equal(model_config_parse(&c, text, strlen(text), "config.json", &err), ERR_PARSE);
        if (!strstr(err.text, BROKEN[i].says)) fail_msg("'%s' does not say '%s'", err.text, BROKEN[i].says);
    }
}

typedef struct refusal {
    const char *key, *value;
    int code;
    const char *says; /* besides the key */
} refusal;

static void check_refusals(const refusal *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        model_config c;
        error err = { 0 };
        const char *value = r[i].value ? r[i].value : "(left out)";
        const int rc = parse_with(&c, r[i].key, r[i].value, &err);
        if (rc != r[i].code || rc != err.code) fail_msg("%s = %s: %s: %s", r[i].key, value, error_name(rc), err.text);
        if (!strstr(err.text, r[i].key) || !strstr(err.text, "config.json") || !strstr(err.text, r[i].says))
            fail_msg("%s = %s: '%s' does not say '%s'", r[i].key, value, err.text, r[i].says);
    }
}

/* Each of these would make the same weights compute something else. */
static void what_we_do_not_compute_is_refused_with_what_is_supported(void **state)
{
    (void)state;
    static const refusal REFUSALS[] = {
        { "architectures", "[\"Qwen2MoeForCausalLM\"]", ERR_UNSUPPORTED, "an expert that all tokens share" },
        { "architectures", "[\"OtherForCausalLM\"]", ERR_UNSUPPORTED, "MistralForCausalLM" },
        { "architectures", "[\"LlamaForCausalLM\", \"Other\"]", ERR_UNSUPPORTED, "LlamaForCausalLM" },
        { "model_type", "\"mistral\"", ERR_UNSUPPORTED, "supported: llama" },
        { "hidden_act", "\"gelu\"", ERR_UNSUPPORTED, "\"gelu\"; supported: \"silu\"" },
        { "attention_out_bias", "true", ERR_UNSUPPORTED, "true; supported: false" },
        { "residual_multiplier", "0.5", ERR_UNSUPPORTED, "0.5; supported: 1" },
        { "rope_scaling", "{\"type\": \"proportional\", \"factor\": 2.0}", ERR_UNSUPPORTED, "proportional" },
        { "rope_scaling", "{\"factor\": 2.0}", ERR_UNSUPPORTED, "factor" },
        { "attn_logit_softcapping", "50.0", ERR_UNSUPPORTED, "supported: null" },
        { "rope_parameters", "{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}", ERR_UNSUPPORTED, "0.5" },
        { "partial_rotary_factor", "0.25", ERR_UNSUPPORTED, "0.25" },
        { "quantization_config", "{\"bits\": 4}", ERR_UNSUPPORTED, "bits" },
        { "eos_token_id", "[1,2,3,4,5,6,7,8,9]", ERR_UNSUPPORTED, "8" },
    };
    check_refusals(REFUSALS, sizeof REFUSALS / sizeof *REFUSALS);
}

static void values_that_can_not_be_are_refused(void **state)
{
    (void)state;
    static const refusal BROKEN[] = {
        { "architectures", "[]", ERR_PARSE, "list" },
        { "architectures", "\"LlamaForCausalLM\"", ERR_PARSE, "list" },
        { "vocab_size", NULL, ERR_PARSE, "nothing" },
        { "vocab_size", "\"320\"", ERR_PARSE, "320" },
        { "vocab_size", "0", ERR_PARSE, "found 0" },
        { "hidden_size", "-64", ERR_PARSE, "-64" },
        { "hidden_size", "65", ERR_PARSE, "65" },
        { "hidden_size", "64.5", ERR_PARSE, "64.5" },
        { "num_hidden_layers", "9223372036854775807", ERR_PARSE, "1024" },
        { "num_attention_heads", "0", ERR_PARSE, "found 0" },
        { "num_key_value_heads", "3", ERR_PARSE, "divisor of 4" },
        { "num_key_value_heads", "0", ERR_PARSE, "found 0" },
        { "num_key_value_heads", "8", ERR_PARSE, "found 8" },
        { "head_dim", "15", ERR_PARSE, "even" },
        { "head_dim", "-2", ERR_PARSE, "-2" },
        { "rope_theta", "1.0", ERR_PARSE, "more than 1" },
        { "rope_theta", "\"big\"", ERR_PARSE, "big" },
        { "rms_norm_eps", "0", ERR_PARSE, "found 0" },
        { "max_position_embeddings", "0", ERR_PARSE, "found 0" },
        { "eos_token_id", "320", ERR_PARSE, "319" },
        { "eos_token_id", "-1", ERR_PARSE, "319" },
        { "eos_token_id", "[2, \"x\"]", ERR_PARSE, "ids" },
        { "tie_word_embeddings", "1", ERR_PARSE, "true or false" },
        { "rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8.0}", ERR_PARSE, "low_freq_factor" },
        { "rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 0}", ERR_PARSE, "found 0" },
        { "rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2, \"beta_fast\": 1}", ERR_PARSE, "beta_fast" },
        { "rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2, \"attention_factor\": 0}", ERR_PARSE, "found 0" },
    };
    check_refusals(BROKEN, sizeof BROKEN / sizeof *BROKEN);
    model_config c;
    error err = { 0 };
    assert_int_equal(model_config_parse(&c, "[]", 2, "config.json", &err), ERR_PARSE);
    assert_int_equal(model_config_parse(&c, "{", 1, "config.json", &err), ERR_PARSE);
    assert_int_equal(model_config_parse(&c, "", 0, "config.json", NULL), ERR_PARSE);
}

static void the_generation_config_knows_better_when_to_stop(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    char *folder = test_folder_new();
    test_file_write(folder, "config.json", LLAMA);
    test_ok(model_config_read(&c, folder, &err), &err);
    assert_int_equal(c.eos[0], 2);
    test_file_write(folder, "generation_config.json", "{\"eos_token_id\": [7, 9]}");
    test_ok(model_config_read(&c, folder, &err), &err);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[1], 9);
    test_file_write(folder, "generation_config.json", "{\"do_sample\": true}");
    test_ok(model_config_read(&c, folder, &err), &err);
    assert_int_equal(c.eos[0], 2);
    test_file_write(folder, "generation_config.json", "{\"eos_token_id\": 400}");
    assert_int_equal(model_config_read(&c, folder, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "generation_config.json"));
    test_folder_remove(folder);
}

static void a_folder_without_a_config_is_named(void **state)
{
    (void)state;
    model_config c;
    error err = { 0 };
    assert_int_not_equal(model_config_read(&c, "/nowhere/at-all", &err), OK);
    assert_non_null(strstr(err.text, "/nowhere/at-all/config.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llama_is_read_whole),
        cmocka_unit_test(what_may_be_left_out_has_the_familys_value),
        cmocka_unit_test(newer_and_older_spellings_mean_the_same),
        cmocka_unit_test(scaled_frequencies_are_read_from_either_place),
        cmocka_unit_test(a_familys_name_says_its_biases_norms_and_window),
        cmocka_unit_test(layers_are_described_one_by_one),
        cmocka_unit_test(experts_are_described_layer_by_layer),
        cmocka_unit_test(what_we_do_not_compute_is_refused_with_what_is_supported),
        cmocka_unit_test(values_that_can_not_be_are_refused),
        cmocka_unit_test(the_generation_config_knows_better_when_to_stop),
        cmocka_unit_test(a_folder_without_a_config_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
