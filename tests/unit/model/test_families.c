/* SPDX-License-Identifier: MIT */
/* Logits, logprobs, greedy choices and gradients of each family, as `transformers` has them. */
#include "tests/unit/model/golden.h"

/* llama3's scaled frequencies, bf16, tied, in shards; and a Llama with biases on q, k, v, o and linear scaling. */
static void llama3_and_its_variants(void **state)
{
    (void)state;
    check_family("families/llama3");
    check_family("families/llama_bias");
}

static void qwen2_with_biases_and_with_a_window_in_upper_layers(void **state)
{
    (void)state;
    check_family("families/qwen2");
    check_family("families/qwen2_window");
}

static void qwen3_with_normed_heads(void **state)
{
    (void)state;
    check_family("families/qwen3");
}

static void mistral_with_a_sliding_window(void **state)
{
    (void)state;
    check_family("families/mistral");
}

static void ministral_with_windows_in_some_layers_and_with_yarn(void **state)
{
    (void)state;
    check_family("families/ministral");
    check_family("families/ministral3");
}

static void smollm3_with_layers_without_a_rotary_embedding(void **state)
{
    (void)state;
    check_family("families/smollm3");
}

static void seed_oss_with_biases_each_by_itself(void **state)
{
    (void)state;
    check_family("families/seed_oss");
}

/* OLMo 3 has windows with a rotary embedding of their own, unscaled beside a scaled one. */
static void olmo_with_norms_behind_its_branches_and_over_all_heads(void **state)
{
    (void)state;
    check_family("families/olmo2");
    check_family("families/olmo3");
}

static void granite_with_four_multipliers(void **state)
{
    (void)state;
    check_family("families/granite");
}

/* Phi-4-mini turns three quarters of a head, by divided frequencies. */
static void phi_with_fused_matrices_and_a_part_of_a_head_turned(void **state)
{
    (void)state;
    check_family("families/phi3");
    check_family("families/phi4_mini");
}

static void glm_with_neighbours_turned_and_norms_around_its_branches(void **state)
{
    (void)state;
    check_family("families/glm");
    check_family("families/glm4");
}

/* Every other layer has a window; scores and logits are capped where the cap tells. */
static void gemma2_with_soft_caps(void **state)
{
    (void)state;
    check_family("families/gemma2");
}

static void gemma3_with_norms_of_1_and_w_gelu_and_two_thetas(void **state)
{
    (void)state;
    check_family("families/gemma3");
}

/* experts * sum of each one's share of tokens times its mean probability, over all layers: what transformers makes of
 * the same routers. */
static void check_aux_loss(const char *name)
{
    golden g = golden_open(name);
    const expert_layers *x = &g.model->config.experts;
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(g.json, "cases"), i, c)
    {
        one_sequence s;
        double p[MAX_EXPERTS] = { 0 }, chosen[MAX_EXPERTS] = { 0 }, rows = 0, aux = 0;
        one_sequence_of(&s, c);
        if (s.b.T > (int)most_ids()) continue;
        s.b.n_out = s.b.T; /* all rows go through the last layer; the targets' logprobs are not read */
        s.b.targets = s.ids;
        device_scratch_reset(g.dev);
        model_router_use(g.model->weights, model_forward(g.model->weights, &s.b, NULL), p, chosen);
        for (int e = 0; e < x->n; e++) rows += chosen[e] / x->chosen;
        for (int e = 0; e < x->n; e++) aux += x->n * (chosen[e] / rows) * (p[e] / rows);
        test_near(aux, json_number_value(json_object_get(c, "aux_loss")), 1e-5, "load balancing loss");
    }
    golden_close(&g);
}

/* Weights that sum to one, a layer without experts, bf16, tied, in shards; and weights that are probabilities. */
static void qwen3_moe_with_layers_that_have_experts(void **state)
{
    (void)state;
    check_family("families/qwen3_moe");
    check_aux_loss("families/qwen3_moe");
    check_family("families/qwen3_moe_sparse");
    check_aux_loss("families/qwen3_moe_sparse");
}

static void mixtral_with_experts_in_every_layer(void **state)
{
    (void)state;
    check_family("families/mixtral");
    check_aux_loss("families/mixtral");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama3_and_its_variants),
        cmocka_unit_test(qwen2_with_biases_and_with_a_window_in_upper_layers),
        cmocka_unit_test(qwen3_with_normed_heads),
        cmocka_unit_test(mistral_with_a_sliding_window),
        cmocka_unit_test(ministral_with_windows_in_some_layers_and_with_yarn),
        cmocka_unit_test(smollm3_with_layers_without_a_rotary_embedding),
        cmocka_unit_test(seed_oss_with_biases_each_by_itself),
        cmocka_unit_test(olmo_with_norms_behind_its_branches_and_over_all_heads),
        cmocka_unit_test(granite_with_four_multipliers),
        cmocka_unit_test(phi_with_fused_matrices_and_a_part_of_a_head_turned),
        cmocka_unit_test(glm_with_neighbours_turned_and_norms_around_its_branches),
        cmocka_unit_test(qwen3_moe_with_layers_that_have_experts),
        cmocka_unit_test(mixtral_with_experts_in_every_layer),
        cmocka_unit_test(gemma2_with_soft_caps),
        cmocka_unit_test(gemma3_with_norms_of_1_and_w_gelu_and_two_thetas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
