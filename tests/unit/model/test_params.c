/* SPDX-License-Identifier: MIT */
#include "model/params.h"

#include <stdio.h>

#include "tests/unit/model/reference.h"

static void the_names_and_shapes_are_the_checkpoints_in_their_order(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        param_kind kind;
        int layer, rank, rows, cols;
    } want[] = {
        { "model.embed_tokens.weight", PARAM_EMBED, -1, 2, 17, 6 },
        { "model.layers.0.input_layernorm.weight", PARAM_ATTN_NORM, 0, 1, 1, 6 },
        { "model.layers.0.self_attn.q_proj.weight", PARAM_Q, 0, 2, 16, 6 },
        { "model.layers.0.self_attn.k_proj.weight", PARAM_K, 0, 2, 8, 6 },
        { "model.layers.0.self_attn.v_proj.weight", PARAM_V, 0, 2, 8, 6 },
        { "model.layers.0.self_attn.o_proj.weight", PARAM_O, 0, 2, 6, 16 },
        { "model.layers.0.post_attention_layernorm.weight", PARAM_MLP_NORM, 0, 1, 1, 6 },
        { "model.layers.0.mlp.gate_proj.weight", PARAM_GATE, 0, 2, 10, 6 },
        { "model.layers.0.mlp.up_proj.weight", PARAM_UP, 0, 2, 10, 6 },
        { "model.layers.0.mlp.down_proj.weight", PARAM_DOWN, 0, 2, 6, 10 },
        { "model.layers.1.input_layernorm.weight", PARAM_ATTN_NORM, 1, 1, 1, 6 },
    };
    const model_config config = tiny_config(false);
    param_table *t = param_table_new(&config, NULL);
    assert_non_null(t);
    assert_int_equal(t->n, 1 + 2 * 9 + 2);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const param *p = &t->items[i];
        assert_string_equal(p->name, want[i].name);
        assert_int_equal(p->kind, want[i].kind);
        assert_int_equal(p->layer, want[i].layer);
        assert_int_equal(p->rank, want[i].rank);
        assert_int_equal(p->rows, want[i].rows);
        assert_int_equal(p->cols, want[i].cols);
    }
    assert_string_equal(t->items[t->n - 2].name, "model.norm.weight");
    assert_string_equal(t->items[t->n - 1].name, "lm_head.weight");
    assert_int_equal(t->items[t->n - 1].rows, 17);
    param_table_free(t);
}

static void parameters_follow_each_other_aligned_and_without_overlap(void **state)
{
    (void)state;
    const model_config config = tiny_config(false);
    param_table *t = param_table_new(&config, NULL);
    int64_t end = 0;
    for (int i = 0; i < t->n; i++) {
        const param *p = &t->items[i];
        assert_int_equal(p->count, (int64_t)p->rows * p->cols);
        assert_int_equal(p->offset % 16, 0);
        assert_true(p->offset >= end && p->offset < end + 16); /* a gap of less than one alignment */
        end = p->offset + p->count;
    }
    assert_true(t->total >= end && t->total < end + 16);
    param_table_free(t);
}

static void every_parameter_is_found_and_a_tied_head_is_not(void **state)
{
    (void)state;
    for (int tied = 0; tied <= 1; tied++) {
        const model_config config = tiny_config(tied);
        param_table *t = param_table_new(&config, NULL);
        for (int i = 0; i < t->n; i++)
            assert_ptr_equal(param_find(t, t->items[i].kind, t->items[i].layer), &t->items[i]);
        assert_int_equal(param_find(t, PARAM_HEAD, -1) == NULL, tied);
        param_table_free(t);
    }
}

/* A router and then expert by expert, in the layers that have them; norms and attention stand where they always do. */
static void experts_have_a_tensor_each_under_their_checkpoints_names(void **state)
{
    (void)state;
    static const char *const WANT[][4] = {
        { "mlp.gate.weight", "mlp.experts.0.gate_proj.weight", "mlp.experts.0.up_proj.weight",
          "mlp.experts.0.down_proj.weight" },
        { "block_sparse_moe.gate.weight", "block_sparse_moe.experts.0.w1.weight",
          "block_sparse_moe.experts.0.w3.weight", "block_sparse_moe.experts.0.w2.weight" },
    };
    for (int kind = EXPERTS_OF_MLP; kind <= EXPERTS_OF_MIXTRAL; kind++) {
        char name[96];
        model_config config = tiny_config(true);
        config.experts = (expert_layers){ .names = (expert_names)kind, .n = 11, .chosen = 2, .ffn = 5 };
        config.experts.routed[1] = true;
        param_table *t = param_table_new(&config, NULL);
        const param *p = param_find(t, PARAM_ROUTER, 1);
        assert_true(p->rows == 11 && p->cols == 6 && !param_find(t, PARAM_ROUTER, 0) && !param_find(t, PARAM_GATE, 1));
        assert_true(param_find(t, PARAM_DOWN, 0) && !param_expert(t, 0, 0));
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "model.layers.1.%s", WANT[kind - 1][i]);
            assert_string_equal(p[i].name, name);
        }
        p = param_expert(t, 1, 10);
        assert_true(strstr(p->name, "experts.10.") && p->kind == PARAM_EXPERT_GATE && p->rows == 5 && p->cols == 6);
        assert_true(p[2].kind == PARAM_EXPERT_DOWN && p[2].rows == 6 && p[2].cols == 5);
        assert_true(p[3].kind == PARAM_FINAL_NORM); /* the last layer ends with its last expert */
        param_table_free(t);
    }
}

/* Their names alone would take gigabytes. */
static void more_experts_than_any_model_has_are_refused(void **state)
{
    (void)state;
    model_config c = tiny_config(true);
    error err = { 0 };
    c.layers = 1024;
    c.experts = (expert_layers){ .names = EXPERTS_OF_MLP, .n = 1024, .chosen = 2, .ffn = 5 };
    assert_null(param_table_new(&c, &err));
    assert_non_null(strstr(err.text, "experts * layers"));
    c.layers = 2, c.experts.ffn = 1 << 22;
    assert_null(param_table_new(&c, &err));
    assert_non_null(strstr(err.text, "experts * their width"));
    c.experts.ffn = 5, c.experts.n = 4, c.experts.chosen = 5;
    assert_null(param_table_new(&c, &err));
    assert_non_null(strstr(err.text, "experts of a token"));
}

static void sizes_that_no_model_has_are_refused_by_name(void **state)
{
    (void)state;
    const model_config good = tiny_config(true);
    model_config bad[8];
    for (int i = 0; i < 8; i++) bad[i] = good;
    bad[0].vocab = 0, bad[1].layers = -1, bad[2].kv_heads = 3, bad[3].head_dim = 5, bad[4].ffn = 0;
    bad[5].heads = 1 << 22, bad[5].head_dim = 1 << 10; /* the product is no int */
    bad[6].width = 1 << 30, bad[7].kv_heads = 8;
    static const char *const words[] = { "vocab", "layers",           "share 3", "head_dim 5",
                                         "ffn",   "heads * head_dim", "width",   "kv_heads" };
    for (int i = 0; i < 8; i++) {
        error err = { 0 };
        assert_null(param_table_new(&bad[i], &err));
        assert_int_equal(err.code, ERR_ARGUMENT);
        if (!strstr(err.text, words[i])) fail_msg("'%s' does not say '%s'", err.text, words[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_and_shapes_are_the_checkpoints_in_their_order),
        cmocka_unit_test(parameters_follow_each_other_aligned_and_without_overlap),
        cmocka_unit_test(every_parameter_is_found_and_a_tied_head_is_not),
        cmocka_unit_test(experts_have_a_tensor_each_under_their_checkpoints_names),
        cmocka_unit_test(more_experts_than_any_model_has_are_refused),
        cmocka_unit_test(sizes_that_no_model_has_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
