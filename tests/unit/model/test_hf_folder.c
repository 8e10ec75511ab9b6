/* SPDX-License-Identifier: MIT */
#include "model/hf_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/unit/model/reference.h"

static const char CONFIG[] = "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":6,"
                             "\"intermediate_size\":10,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
                             "\"head_dim\":4,\"num_hidden_layers\":2,\"vocab_size\":17,\"rope_theta\":10000,"
                             "\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true}\n";

/* A temporary folder with a source of side files ("from") and a small model in memory. */
typedef struct scene {
    char *root, from[1100], to[1100];
    small_model m;
} scene;

static scene scene_new(void)
{
    scene s = { .root = test_folder_new(), .m = small_model_open(tiny_config(true), 1, 5) };
    error err = { 0 };
    path_join(s.from, sizeof s.from, s.root, "from");
    path_join(s.to, sizeof s.to, s.root, "new/deep/model");
    test_ok(dir_make_all(s.from, &err), &err);
    test_file_write(s.from, "config.json", CONFIG);
    test_file_write(s.from, "tokenizer.json", "{\"any\": \"bytes, copied as they are\"}");
    test_file_write(s.from, "notes.txt", "not the model's");
    return s;
}

static void scene_free(scene *s)
{
    small_model_close(&s->m);
    test_folder_remove(s->root);
}

static bool holds(const char *dir, const char *name)
{
    char path[1200];
    return file_exists(path_join(path, sizeof path, dir, name));
}

static int entries(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    if (!d) fail_msg("%s is not there", dir);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void parent_of(const char *path, char *out)
{
    snprintf(out, 1100, "%.*s", (int)(strrchr(path, '/') - path), path);
}

static void check_weights(const char *dir, device *dev, uint64_t hash)
{
    error err = { 0 };
    hf_folder *f = hf_folder_open(dir, dev, &err);
    if (!f) fail_msg("%s", err.text);
    assert_true(f->weights->hash == hash);
    assert_int_equal(f->weights->version, 0);
    hf_folder_close(f);
}

static void what_was_written_opens_with_the_same_weights_and_files(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    test_ok(hf_folder_write(s.to, s.from, s.m.w, DTYPE_F32, &err), &err);
    check_weights(s.to, s.m.dev, s.m.w->hash);
    char *copied = test_file_read(s.to, "tokenizer.json"), *config = test_file_read(s.to, "config.json");
    assert_string_equal(copied, "{\"any\": \"bytes, copied as they are\"}");
    assert_string_equal(config, CONFIG);
    assert_int_equal(entries(s.to), 3); /* and model.safetensors: nothing else is the model's */
    free(copied);
    free(config);
    scene_free(&s);
}

/* What transformers load with dtype = "auto" is what is stored; the tokenizer files of others go along. */
static void the_config_names_the_dtype_that_is_stored(void **state)
{
    (void)state;
    static const struct {
        const char *given, *bf16, *f32;
    } WANT[] = {
        { "\"torch_dtype\" :\n\"float16\"", "\"torch_dtype\" :\n\"bfloat16\"", "\"torch_dtype\" :\n\"float32\"" },
        { "\"dtype\":\"float32\"", "\"dtype\":\"bfloat16\"", "\"dtype\":\"float32\"" },
        { "\"a\": 1e-05, \"dtype\": null", "\"a\": 1e-05, \"dtype\": null", "\"a\": 1e-05, \"dtype\": null" },
        { "\"dtype\": null, \"a\": \"b\"", "\"dtype\": null, \"a\": \"b\"", "\"dtype\": null, \"a\": \"b\"" },
        { "\"torch_dtype\": \"x\", \"dtype\": \"y\"", "\"torch_dtype\": \"bfloat16\", \"dtype\": \"bfloat16\"",
          "\"torch_dtype\": \"float32\", \"dtype\": \"float32\"" },
    };
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        scene s = scene_new();
        error err = { 0 };
        char given[1000], want[1000];
        const char *brace = strrchr(CONFIG, '}');
        for (int bf16 = 0; bf16 < 2; bf16++) {
            snprintf(given, sizeof given, "%.*s, %s}", (int)(brace - CONFIG), CONFIG, WANT[i].given);
            snprintf(want, sizeof want, "%.*s, %s}", (int)(brace - CONFIG), CONFIG, bf16 ? WANT[i].bf16 : WANT[i].f32);
            test_file_write(s.from, "config.json", given);
            test_file_write(s.from, "tokenizer.model", "pieces");
            test_file_write(s.from, "added_tokens.json", "{}");
            test_ok(hf_folder_write(s.to, s.from, s.m.w, bf16 ? DTYPE_BF16 : DTYPE_F32, &err), &err);
            char *config = test_file_read(s.to, "config.json");
            assert_string_equal(config, want);
            assert_true(holds(s.to, "tokenizer.model") && holds(s.to, "added_tokens.json"));
            free(config);
        }
        scene_free(&s);
    }
}

static void writing_the_same_weights_twice_gives_the_same_bytes(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char other[1200], a[1300], b[1300];
    size_t a_len, b_len;
    snprintf(other, sizeof other, "%s-2/", s.to);
    test_ok(hf_folder_write(s.to, s.from, s.m.w, DTYPE_BF16, &err), &err);
    test_ok(hf_folder_write(other, s.from, s.m.w, DTYPE_BF16, &err), &err);
    char *first = file_read(path_join(a, sizeof a, s.to, "model.safetensors"), 1 << 20, &a_len, &err);
    char *second = file_read(path_join(b, sizeof b, other, "model.safetensors"), 1 << 20, &b_len, &err);
    assert_int_equal(a_len, b_len);
    assert_memory_equal(first, second, a_len);
    free(first);
    free(second);
    scene_free(&s);
}

static void a_model_in_the_way_is_replaced_and_nothing_is_left_over(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char parent[1100];
    parent_of(s.to, parent);
    test_ok(hf_folder_write(s.to, s.from, s.m.w, DTYPE_F32, &err), &err);
    s.m.w->data[0] += 1;
    weights_seal(s.m.w, 1);
    test_ok(hf_folder_write(s.to, s.to, s.m.w, DTYPE_F32, &err), &err); /* from itself */
    check_weights(s.to, s.m.dev, s.m.w->hash);
    assert_true(holds(s.to, "tokenizer.json"));
    assert_int_equal(entries(parent), 1);
    scene_free(&s);
}

static void a_write_that_fails_leaves_the_old_model_whole(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char parent[1100];
    parent_of(s.to, parent);
    test_ok(hf_folder_write(s.to, s.from, s.m.w, DTYPE_F32, &err), &err);
    const uint64_t old = s.m.w->hash;
    s.m.w->data[0] += 1;
    weights_seal(s.m.w, 1);
    assert_int_not_equal(hf_folder_write(s.to, s.root, s.m.w, DTYPE_F32, &err), OK); /* no config.json to copy */
    assert_non_null(strstr(err.text, "config.json"));
    check_weights(s.to, s.m.dev, old);
    assert_int_equal(entries(parent), 1);
    scene_free(&s);
}

static void a_config_alone_opens_without_weights(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    hf_folder *f = hf_folder_open_config(s.from, s.m.dev, &err);
    if (!f) fail_msg("%s", err.text);
    assert_true(f->weights == NULL && f->table->total == s.m.table->total && f->config.tied);
    hf_folder_close(f);
    assert_null(hf_folder_open(s.from, s.m.dev, &err));
    assert_non_null(strstr(err.text, "model.safetensors"));
    assert_null(hf_folder_open_config("/nowhere/at-all", s.m.dev, &err));
    char *longest = xmalloc(3000);
    memset(longest, 'a', 2999);
    longest[2999] = 0;
    assert_null(hf_folder_open_config(longest, s.m.dev, &err));
    assert_int_not_equal(hf_folder_write(longest, s.from, s.m.w, DTYPE_F32, &err), OK);
    free(longest);
    hf_folder_close(NULL);
    scene_free(&s);
}

/* ---- memory is taken for what is there ---- */

/* A hundred billion parameters. */
static const char ENORMOUS[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":400000,\"hidden_size\":16384,"
    "\"num_hidden_layers\":126,\"num_attention_heads\":128,\"num_key_value_heads\":8,\"intermediate_size\":53248}";

static void a_model_larger_than_the_machine_is_refused_with_its_size(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    test_file_write(s.from, "config.json", ENORMOUS);
    hf_folder *f = hf_folder_open_config(s.from, s.m.dev, &err);
    if (!f) fail_msg("%s", err.text);
    assert_null(weights_new(s.m.dev, f->table, &err)); /* what pretraining would begin with */
    if (!strstr(err.text, "e+11 parameters: out of memory: an array needs ")) fail_msg("%s", err.text);
    hf_folder_close(f);
    scene_free(&s);
}

static void opening_survives_the_refusal_of_any_request(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char path[1200];
    hf_folder *f = NULL;
    int n = 0;
    test_ok(weights_save(s.m.w, path_join(path, sizeof path, s.from, "model.safetensors"), DTYPE_F32, &err), &err);
    for (; !f; n++) {
        device_starve(s.m.dev, n);
        f = hf_folder_open(s.from, s.m.dev, &err);
        if (!f && (err.code != ERR_MEMORY || !strstr(err.text, s.from))) fail_msg("request %d: %s", n, err.text);
    }
    assert_true(n > 10);
    hf_folder_close(f);
    scene_free(&s);
}

/* ---- shards ---- */

/* Moves the weights of s.from into two shards, parameter by parameter, and writes the index; `lost` is named nowhere,
 * `away` is said to lie in another folder. */
static void write_shards(scene *s, const char *lost, const char *away)
{
    error err = { 0 };
    str index = { 0 };
    tensor_source parts[2][32];
    size_t n[2] = { 0, 0 };
    str_puts(&index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (int i = 0; i < s->m.table->n; i++) {
        const param *p = &s->m.table->items[i];
        const int shard = i % 2;
        parts[shard][n[shard]++] = (tensor_source){ .name = p->name,
                                                    .rank = p->rank,
                                                    .shape = { p->rank == 2 ? p->rows : p->cols, p->cols },
                                                    .data = s->m.w->data + p->offset };
        if (lost && strcmp(lost, p->name) == 0) continue;
        str_printf(&index, "%s\"%s\":\"%sshard-%d.safetensors\"", index.data[index.len - 1] == '{' ? "" : ",", p->name,
                   away && strcmp(away, p->name) == 0 ? "../from/" : "", shard);
    }
    str_puts(&index, "}}");
    for (int shard = 0; shard < 2; shard++) {
        char path[1200], name[40];
        snprintf(name, sizeof name, "shard-%d.safetensors", shard);
        path_join(path, sizeof path, s->from, name);
        test_ok(safetensors_write(path, parts[shard], n[shard], DTYPE_F32, NULL, &err), &err);
    }
    test_file_write(s->from, "model.safetensors.index.json", index.data);
    str_free(&index);
}

static void check_refused(const scene *s, const char *says);

/* Whatever is wrong with the files is found before memory is asked for: the device would give none. */
static void files_are_looked_at_before_memory_is_taken(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char path[1200];
    path_join(path, sizeof path, s.from, "model.safetensors");
    device_starve(s.m.dev, 0);
    check_refused(&s, "model.safetensors could not be opened"); /* a config.json alone */
    test_file_write(s.from, "config.json", ENORMOUS);
    check_refused(&s, "model.safetensors could not be opened");
    test_file_write(s.from, "model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}");
    check_refused(&s, "header");
    test_ok(weights_save(s.m.w, path, DTYPE_F32, &err), &err); /* of another, smaller model */
    check_refused(&s, "expected [400000, 16384], found [17, 6]");
    test_file_write(s.from, "config.json", CONFIG);
    check_refused(&s, "out of memory: "); /* all is well with the files */
    assert_int_equal(truncate(path, 2000), 0);
    check_refused(&s, "do not lie in");
    assert_int_equal(hf_folder_check(s.from, &err), ERR_PARSE);
    device_starve(s.m.dev, -1);
    test_ok(weights_save(s.m.w, path, DTYPE_F32, &err), &err);
    test_ok(hf_folder_check(s.from, &err), &err);
    check_weights(s.from, s.m.dev, s.m.w->hash);
    scene_free(&s);
}

static void name_shard(const scene *s, const char *tensor, const char *shard)
{
    error err = { 0 };
    char path[1200];
    json_t *index = json_parse_file(path_join(path, sizeof path, s->from, "model.safetensors.index.json"), &err);
    assert_non_null(index);
    json_object_set_new(json_object_get(index, "weight_map"), tensor, json_string(shard));
    assert_int_equal(json_dump_file(index, path, 0), 0);
    json_decref(index);
}

/* A head of its own, in a shard of its own, of a model whose config.json says that it is tied. */
static void a_tied_head_in_another_shard_is_held_against_its_embedding(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char path[1200];
    const param *embed = param_find(s.m.table, PARAM_EMBED, -1);
    float *numbers = xmalloc(sizeof *numbers * (size_t)embed->count);
    const tensor_source head = {
        .name = "lm_head.weight", .rank = 2, .shape = { embed->rows, embed->cols }, .data = numbers
    };
    write_shards(&s, NULL, NULL);
    name_shard(&s, "lm_head.weight", "head.safetensors");
    for (int own = 0; own <= 1; own++) {
        memcpy(numbers, s.m.w->data + embed->offset, sizeof *numbers * (size_t)embed->count);
        numbers[embed->count - 1] += (float)own;
        path_join(path, sizeof path, s.from, "head.safetensors");
        test_ok(safetensors_write(path, &head, 1, DTYPE_F32, NULL, &err), &err);
        if (!own) check_weights(s.from, s.m.dev, s.m.w->hash);
    }
    check_refused(&s, "tie_word_embeddings");
    free(numbers);
    scene_free(&s);
}

static void shards_are_put_together_by_the_index(void **state)
{
    (void)state;
    scene s = scene_new();
    write_shards(&s, NULL, NULL);
    check_weights(s.from, s.m.dev, s.m.w->hash);
    scene_free(&s);
}

static void check_refused(const scene *s, const char *says)
{
    error err = { 0 };
    assert_null(hf_folder_open(s->from, s->m.dev, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
}

static void an_index_that_lies_is_refused_by_name(void **state)
{
    (void)state;
    scene s = scene_new();
    write_shards(&s, "model.norm.weight", NULL);
    check_refused(&s, "model.norm.weight");
    write_shards(&s, NULL, "model.norm.weight"); /* out of the folder, though it would be found there */
    check_refused(&s, "model.norm.weight");
    write_shards(&s, NULL, NULL);
    char path[1200];
    assert_int_equal(remove(path_join(path, sizeof path, s.from, "shard-1.safetensors")), 0);
    check_refused(&s, "shard-1.safetensors");
    test_file_write(s.from, "shard-1.safetensors", "no tensors at all");
    check_refused(&s, "shard-1.safetensors");
    test_file_write(s.from, "model.safetensors.index.json", "{\"weight_map\": 3}");
    check_refused(&s, "index.json");
    scene_free(&s);
}

/* Experts lie in a file as transformers published and saves them: a model of its, in shards, written and read again has
 * the same tensors and numbers. */
static void experts_are_written_as_they_were_read(void **state)
{
    (void)state;
    scene s = scene_new();
    error err = { 0 };
    char from[1100], path[1200];
    path_join(from, sizeof from, getenv("TROUPE_SOURCE"), "tests/golden/families/qwen3_moe");
    hf_folder *f = hf_folder_open(from, s.m.dev, &err);
    if (!f) fail_msg("%s", err.text);
    test_ok(hf_folder_write(s.to, from, f->weights, DTYPE_BF16, &err), &err);
    check_weights(s.to, s.m.dev, f->weights->hash);
    safetensors *st = safetensors_open(path_join(path, sizeof path, s.to, "model.safetensors"), &err);
    assert_int_equal(safetensors_count(st), f->table->n);
    assert_non_null(safetensors_find(st, "model.layers.2.mlp.experts.5.down_proj.weight"));
    assert_non_null(safetensors_find(st, "model.layers.2.mlp.gate.weight"));
    assert_non_null(safetensors_find(st, "model.layers.1.mlp.down_proj.weight"));
    safetensors_close(st);
    hf_folder_close(f);
    scene_free(&s);
}

static uint64_t hash_of_golden(device *dev, const char *name)
{
    error err = { 0 };
    char dir[1100];
    path_join(dir, sizeof dir, getenv("TROUPE_SOURCE"), name);
    test_ok(hf_folder_check(dir, &err), &err);
    hf_folder *f = hf_folder_open(dir, dev, &err);
    if (!f) fail_msg("%s", err.text);
    const uint64_t hash = f->weights->hash;
    hf_folder_close(f);
    return hash;
}

/* As transformers has them in memory, in two tensors a layer, and some programs save them: in shards, whose index names
 * those tensors, and in one file, where Mixtral's router has another name. */
static void experts_of_a_layer_in_one_tensor_are_the_same_experts(void **state)
{
    (void)state;
    scene s = scene_new();
    assert_int_equal(hash_of_golden(s.m.dev, "tests/golden/families/qwen3_moe_fused"),
                     hash_of_golden(s.m.dev, "tests/golden/families/qwen3_moe"));
    assert_int_equal(hash_of_golden(s.m.dev, "tests/golden/families/mixtral_fused"),
                     hash_of_golden(s.m.dev, "tests/golden/families/mixtral"));
    scene_free(&s);
}

/* What a file of `n` tensors is refused with, read for the first expert's up. */
static void check_experts_refused(const param_table *t, const tensor_source *tensors, size_t n, const char *says)
{
    error err = { 0 };
    str bytes = { 0 };
    safetensors_encode(tensors, n, DTYPE_F32, NULL, &bytes);
    safetensors *st = safetensors_from_bytes(bytes.data, bytes.len, "fused", &err);
    if (!st) fail_msg("%s", err.text);
    assert_int_not_equal(weights_check_one(param_find(t, PARAM_EXPERT_UP, 0), st, &err), OK);
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
    safetensors_close(st);
    str_free(&bytes);
}

static void experts_in_one_tensor_of_another_shape_or_said_twice_are_refused_by_name(void **state)
{
    (void)state;
    error err = { 0 };
    const model_config c = variant_config(6);
    param_table *t = param_table_new(&c, &err);
    const param *up = param_find(t, PARAM_EXPERT_UP, 0);
    float *numbers = calloc((size_t)(2 * up->n_experts * up->count), sizeof *numbers);
    tensor_source both[2] = { { .name = "model.layers.0.mlp.experts.gate_up_proj",
                                .rank = 3,
                                .shape = { up->n_experts, up->rows, up->cols },
                                .data = numbers },
                              { .name = up->name, .rank = 2, .shape = { up->rows, up->cols }, .data = numbers } };

    check_experts_refused(t, both, 1, "model.layers.0.mlp.experts.gate_up_proj: expected [");
    both[0].shape[1] = 2 * up->rows;
    both[0].shape[0]--;
    check_experts_refused(t, both, 1, "model.layers.0.mlp.experts.gate_up_proj: expected [");
    both[0].shape[0]++;
    check_experts_refused(t, both, 2, "hold the same numbers");
    free(numbers);
    param_table_free(t);
}

/* Another program's file: bf16, offsets in no order, no __metadata__, no architectures in its config. */
static void a_qwen3_of_another_program_opens(void **state)
{
    (void)state;
    char *dir = test_data("data/weights/tiny_qwen3");
    if (!dir) skip();
    error err = { 0 };
    device *dev = device_open("cpu", 1, &err);
    hf_folder *f = hf_folder_open(dir, dev, &err);
    if (!f) fail_msg("%s", err.text);
    assert_true(f->config.qk_norm && !f->config.tied && f->config.layers == 2 && f->config.head_dim == 16);
    const float *data = device_view(dev, f->weights->data);
    double squares = 0;
    for (int64_t i = 0; i < f->table->total; i++) squares += (double)data[i] * (double)data[i];
    assert_true(squares > 0 && squares < 1e9);
    hf_folder_close(f);
    device_close(dev);
    free(dir);
}

static void a_tensor_of_another_shape_is_refused_with_file_expected_and_found(void **state)
{
    (void)state;
    scene s = scene_new();
    test_file_write(s.from, "config.json", CONFIG);
    error err = { 0 };
    char path[1200];
    test_ok(weights_save(s.m.w, path_join(path, sizeof path, s.from, "model.safetensors"), DTYPE_F32, &err), &err);
    check_weights(s.from, s.m.dev, s.m.w->hash);
    char *wider = strdup(CONFIG), *at = strstr(wider, "\"vocab_size\":17");
    memcpy(at, "\"vocab_size\":18", 15);
    test_file_write(s.from, "config.json", wider);
    free(wider);
    check_refused(&s, "[18, 6]");
    check_refused(&s, "[17, 6]");
    check_refused(&s, "model.safetensors");
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_opens_with_the_same_weights_and_files),
        cmocka_unit_test(the_config_names_the_dtype_that_is_stored),
        cmocka_unit_test(writing_the_same_weights_twice_gives_the_same_bytes),
        cmocka_unit_test(a_model_in_the_way_is_replaced_and_nothing_is_left_over),
        cmocka_unit_test(files_are_looked_at_before_memory_is_taken),
        cmocka_unit_test(a_model_larger_than_the_machine_is_refused_with_its_size),
        cmocka_unit_test(opening_survives_the_refusal_of_any_request),
        cmocka_unit_test(a_write_that_fails_leaves_the_old_model_whole),
        cmocka_unit_test(a_config_alone_opens_without_weights),
        cmocka_unit_test(a_tied_head_in_another_shard_is_held_against_its_embedding),
        cmocka_unit_test(shards_are_put_together_by_the_index),
        cmocka_unit_test(an_index_that_lies_is_refused_by_name),
        cmocka_unit_test(experts_are_written_as_they_were_read),
        cmocka_unit_test(experts_of_a_layer_in_one_tensor_are_the_same_experts),
        cmocka_unit_test(experts_in_one_tensor_of_another_shape_or_said_twice_are_refused_by_name),
        cmocka_unit_test(a_qwen3_of_another_program_opens),
        cmocka_unit_test(a_tensor_of_another_shape_is_refused_with_file_expected_and_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
