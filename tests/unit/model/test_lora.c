/* SPDX-License-Identifier: MIT */
/* Adapters against peft (tests/golden/make_lora.py): what it computes with one, and its gradients. */
#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/hf_folder.h"
#include "model/transformer.h"
#include "tests/unit/model/reference.h"

enum { LONGEST = 64, VOCAB = 64 };

typedef struct fixture {
    device *dev;
    hf_folder *model;
    char adapter[1024];
    int32_t ids[LONGEST], positions[LONGEST], starts[2];
    token_batch b;
} fixture;

static fixture fixture_open(void)
{
    fixture f = { 0 };
    error err = { 0 };
    char dir[900], path[1100];
    snprintf(dir, sizeof dir, "%s/tests/golden/families/qwen2", getenv("TROUPE_SOURCE"));
    path_join(f.adapter, sizeof f.adapter, dir, "lora");
    if (!(f.dev = device_open("cpu", 2, &err)) || !(f.model = hf_folder_open(dir, f.dev, &err)))
        fail_msg("%s", err.text);
    json_t *j = json_parse_file(path_join(path, sizeof path, f.adapter, "golden.json"), &err);
    const json_t *ids = json_object_get(j, "ids");
    const int n = (int)json_array_size(ids);
    assert_true(n > 1 && n <= LONGEST);
    for (int i = 0; i < n; i++) {
        f.ids[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
        f.positions[i] = i;
    }
    f.starts[1] = n;
    json_decref(j);
    return f;
}

static token_batch batch_of(const fixture *f)
{
    const int n = f->starts[1];
    return (token_batch){ .T = n,
                          .S = 1,
                          .ids = f->ids,
                          .positions = f->positions,
                          .starts = f->starts,
                          .n_out = n - 1,
                          .out_rows = f->positions,
                          .targets = f->ids + 1 };
}

static void fixture_close(fixture *f)
{
    hf_folder_close(f->model);
    device_close(f->dev);
}

static lora *load(const fixture *f)
{
    error err = { 0 };
    lora *l = lora_load(f->adapter, f->model->weights, &err);
    if (!l) fail_msg("%s", err.text);
    return l;
}

static void a_merged_adapter_computes_what_peft_computes(void **state)
{
    (void)state;
    fixture f = fixture_open();
    error err = { 0 };
    char path[1100];
    float logits[VOCAB];
    lora *l = load(&f);
    assert_int_equal(l->table->n, 2 * 3 * 2); /* A and B of three matrices in two layers */
    lora_merge(l, f.model->weights);
    weights_seal(f.model->weights, 0);
    const token_batch b = batch_of(&f);
    model_last_logits(f.model->weights, &b, logits);
    json_t *j = json_parse_file(path_join(path, sizeof path, f.adapter, "golden.json"), &err);
    for (int v = 0; v < VOCAB; v++)
        test_near((double)logits[v], json_number_value(json_array_get(json_object_get(j, "last_logits"), (size_t)v)),
                  1e-4, "logit");
    json_decref(j);
    lora_free(l);
    fixture_close(&f);
}

static float *model_gradients(fixture *f)
{
    const int64_t total = f->model->table->total;
    const token_batch b = batch_of(f);
    float dlogprob[LONGEST], *grads = device_alloc(f->dev, sizeof(float) * (size_t)total);
    for (int i = 0; i < b.n_out; i++) dlogprob[i] = 1;
    device_scratch_reset(f->dev);
    device_ops(f->dev)->zero(f->dev, grads, total);
    const activations *acts = model_forward(f->model->weights, &b, NULL);
    model_backward(f->model->weights, &b, acts, dlogprob, &(grad_split){ .K = 1 }, grads, NULL);
    return grads;
}

static void the_gradients_of_A_and_B_are_pefts(void **state)
{
    (void)state;
    fixture f = fixture_open();
    error err = { 0 };
    char path[1100];
    lora *l = load(&f);
    lora_merge(l, f.model->weights);
    weights_seal(f.model->weights, 0);
    float *grads = model_gradients(&f), *out = device_alloc(f.dev, sizeof(float) * (size_t)l->table->total);
    lora_project(l, grads, out);
    safetensors *st = safetensors_open(path_join(path, sizeof path, f.adapter, "gradients.safetensors"), &err);
    if (!st) fail_msg("%s", err.text);
    assert_int_equal(safetensors_count(st), l->table->n);
    for (int i = 0; i < l->table->n; i++) {
        const param *p = &l->table->items[i];
        const tensor_view *v = safetensors_find(st, p->name);
        if (!v || v->count != p->count) fail_msg("no gradient of %s", p->name);
        float *want = xmalloc(sizeof(float) * (size_t)p->count), largest = 0;
        test_ok(safetensors_to_f32(v, want, &err), &err);
        for (int64_t j = 0; j < p->count; j++) largest = fmaxf(largest, fabsf(want[j]));
        for (int64_t j = 0; j < p->count; j++)
            test_near((double)(out[p->offset + j] / largest), (double)(want[j] / largest), 1e-4, p->name);
        free(want);
    }
    safetensors_close(st);
    device_free(f.dev, grads);
    device_free(f.dev, out);
    lora_free(l);
    fixture_close(&f);
}

static void a_new_adapter_changes_nothing_and_a_saved_one_comes_back(void **state)
{
    (void)state;
    fixture f = fixture_open();
    error err = { 0 };
    char *folder = test_folder_new();
    weights *w = f.model->weights;
    const uint64_t before = w->hash;
    const lora_config config = { .rank = 2, .alpha = 8 };
    lora *l = lora_new(&config, w, 5, &err);
    assert_non_null(l);
    assert_int_equal(l->table->n, 2 * 7 * 2);
    lora_merge(l, w);
    assert_true(weights_hash(w) == before); /* B is zero */
    for (int64_t i = 0; i < l->table->total; i++) l->w->data[i] += 0.01f * (float)(i % 7);
    lora_merge(l, w);
    const uint64_t merged = weights_hash(w);
    assert_true(merged != before);
    test_ok(lora_save(l, folder, "base", &err), &err);
    fixture g = fixture_open();
    lora *again = lora_load(folder, g.model->weights, &err);
    if (!again) fail_msg("%s", err.text);
    lora_merge(again, g.model->weights);
    assert_true(weights_hash(g.model->weights) == merged);
    lora_free(again);
    lora_free(l);
    fixture_close(&g);
    fixture_close(&f);
    test_folder_remove(folder);
}

static void what_is_no_plain_lora_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[][2] = {
        { "{\"peft_type\": \"IA3\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"]}", "peft_type" },
        { "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"embed_tokens\"]}",
          "target_modules" },
        { "{\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"]}", "rank 0" },
        { "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"use_dora\": true, \"target_modules\": "
          "[\"q_proj\"]}",
          "use_dora" },
        { "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": []}", "target_modules" },
        { "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"init_lora_weights\": \"pissa_niter_4\", "
          "\"target_modules\": [\"q_proj\"]}",
          "init_lora_weights is \"pissa_niter_4\": it was trained beside a changed base" },
        { "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"init_lora_weights\": \"olora\", "
          "\"target_modules\": [\"q_proj\"]}",
          "merge_and_unload" },
        { "[]", "object" },
    };
    fixture f = fixture_open();
    char *folder = test_folder_new();
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        test_file_write(folder, "adapter_config.json", BAD[i][0]);
        assert_null(lora_load(folder, f.model->weights, &err));
        if (!strstr(err.text, BAD[i][1])) fail_msg("'%s' does not say '%s'", err.text, BAD[i][1]);
    }
    fixture_close(&f);
    test_folder_remove(folder);
}

/* What lora_load says of an adapter with `key` and no weights. */
static void load_with(const fixture *f, const char *folder, const char *key, error *err)
{
    char text[400];
    snprintf(text, sizeof text,
             "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"], %s}", key);
    *err = (error){ 0 };
    test_file_write(folder, "adapter_config.json", text);
    assert_null(lora_load(folder, f->model->weights, err));
}

/* Whatever is on, of this version of PEFT or a later one, but for what changes nothing. */
static void a_key_that_is_on_and_not_known_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const ON[][2] = {
        { "\"lora_bias\": true", "lora_bias is true; supported: a plain LoRA" },
        { "\"alora_invocation_tokens\": [5, 6]", "alora_invocation_tokens" },
        { "\"layer_replication\": [[0, 2], [1, 2]]", "layer_replication" },
        { "\"trainable_token_indices\": [1]", "trainable_token_indices" },
        { "\"use_qalora\": true, \"qalora_group_size\": 16", "use_qalora" },
        { "\"use_bdlora\": {\"nblocks\": 2}", "use_bdlora" },
        { "\"fan_in_fan_out\": true", "fan_in_fan_out" },
        { "\"rank_pattern\": {\"q_proj\": 4}", "rank_pattern" },
        { "\"modules_to_save\": [\"lm_head\"]", "modules_to_save" },
        { "\"layers_to_transform\": [0]", "layers_to_transform" },
        { "\"layers_to_transform\": 0", "layers_to_transform is 0" },
        { "\"use_newlora\": \"fast\"", "use_newlora is \"fast\"" },
        { "\"use_newlora\": 0.5", "use_newlora" },
        { "\"init_lora_weights\": \"corda\", \"corda_config\": {\"a\": 1}", "merge_and_unload" },
    };
    static const char *const OFF[] = {
        "\"use_newlora\": false, \"a\": null, \"b\": 0, \"c\": 0.0, \"d\": \"\", \"e\": [], \"f\": {}",
        "\"init_lora_weights\": \"eva\", \"eva_config\": {\"rho\": 2.0}",
        "\"auto_mapping\": {\"unsloth_fixed\": true}, \"lora_dropout\": 0.1, \"revision\": \"main\", \"peft_version\": "
        "\"1\"",
        "\"enable_lora\": null, \"merge_weights\": false, \"exclude_modules\": [\"visual\"]",
        "\"lora_dtype\": \"bfloat16\", \"lorap_lr_ratio\": 16.0, \"lorap_emb_lr\": 1e-06",
    };
    fixture f = fixture_open();
    char *folder = test_folder_new();
    error err;
    for (size_t i = 0; i < sizeof ON / sizeof *ON; i++) {
        load_with(&f, folder, ON[i][0], &err);
        if (!strstr(err.text, ON[i][1])) fail_msg("'%s' does not say '%s'", err.text, ON[i][1]);
    }
    for (size_t i = 0; i < sizeof OFF / sizeof *OFF; i++) {
        load_with(&f, folder, OFF[i], &err);
        if (!strstr(err.text, "adapter_model.safetensors")) fail_msg("%s: %s", OFF[i], err.text);
    }
    fixture_close(&f);
    test_folder_remove(folder);
}

/* By the same names PEFT would mean every expert's matrices. */
static void with_experts_a_lora_is_attentions_and_says_so(void **state)
{
    (void)state;
    error err = { 0 };
    small_model m = small_model_open(variant_config(6), 1, 3);
    lora *all = lora_new(&(lora_config){ .rank = 2, .alpha = 4 }, m.w, 1, &err);
    if (!all) fail_msg("%s", err.text);
    assert_int_equal(all->table->n, 2 * 4 * m.table->config.layers);
    for (int i = 0; i < all->table->n; i++) assert_non_null(strstr(all->table->items[i].name, "self_attn"));
    lora_free(all);

    static const char *const REFUSED[] = { "gate_proj", "up_proj", "down_proj" };
    for (int i = 0; i < 3; i++) {
        const lora_config one = { .rank = 2, .alpha = 4, .targets = lora_target(REFUSED[i]) | lora_target("q_proj") };
        assert_null(lora_new(&one, m.w, 1, &err));
        assert_int_equal(err.code, ERR_UNSUPPORTED);
        assert_true(strstr(err.text, REFUSED[i]) && strstr(err.text, "experts"));
    }
    small_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merged_adapter_computes_what_peft_computes),
        cmocka_unit_test(the_gradients_of_A_and_B_are_pefts),
        cmocka_unit_test(a_new_adapter_changes_nothing_and_a_saved_one_comes_back),
        cmocka_unit_test(what_is_no_plain_lora_is_refused),
        cmocka_unit_test(a_key_that_is_on_and_not_known_is_refused_by_name),
        cmocka_unit_test(with_experts_a_lora_is_attentions_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
