/* SPDX-License-Identifier: MIT */
/* llama.cpp's files: numbers as its own package reads them (tests/golden/make_gguf_quants.py), tiny models that it
 * wrote (tests/golden/make_gguf_models.py) as folders, and files that are cut, bent or of another kind. */
#include "model/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/gguf_quants.h"
#include "model/hf_folder.h"
#include "model/import_gguf.h"
#include "model/safetensors.h"
#include "tests/unit/model/ids.h"

enum { WIDTH = 32, HEADS = 4, HEAD = WIDTH / HEADS };

static char *source(const char *name, char path[1200])
{
    const char *root = getenv("TROUPE_SOURCE");
    snprintf(path, 1200, "%s/tests/%s", root ? root : ".", name);
    return path;
}

static unsigned char *read_model(const char *name, size_t *len)
{
    char path[1200], file[64];
    error err = { 0 };
    snprintf(file, sizeof file, "fuzz/corpus/gguf/%s", name);
    char *data = file_read(source(file, path), 1 << 24, len, &err);
    if (!data) fail_msg("%s", err.text);
    return (unsigned char *)data;
}

/* ---- numbers ---- */

static unsigned char *from_hex(const json_t *text, size_t *len)
{
    const char *hex = json_string_value(text);
    *len = strlen(hex) / 2;
    unsigned char *out = xmalloc(*len + 1);
    for (size_t i = 0; i < *len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (unsigned char)byte;
    }
    return out;
}

static void check_format(const json_t *golden)
{
    size_t bytes, wanted;
    unsigned char *data = from_hex(json_object_get(golden, "data"), &bytes);
    unsigned char *f32 = from_hex(json_object_get(golden, "f32"), &wanted);
    const gguf_quant *quant = gguf_quant_of((uint32_t)json_integer_value(json_object_get(golden, "type")));
    assert_non_null(quant);
    assert_string_equal(quant->name, json_string_value(json_object_get(golden, "name")));

    const int64_t n = (int64_t)bytes / quant->bytes * quant->values;
    assert_int_equal((size_t)n * sizeof(float), wanted);
    float *got = xmalloc(wanted);
    gguf_to_f32(quant, data, got, n);
    if (memcmp(got, f32, wanted) != 0) fail_msg("%s differs from the package", quant->name);
    free(got);
    free(data);
    free(f32);
}

static void every_format_is_read_as_the_package_reads_it(void **state)
{
    (void)state;
    char path[1200];
    error err = { 0 };
    json_t *goldens = json_parse_file(source("golden/gguf_quants.json", path), &err);
    if (!goldens) fail_msg("%s", err.text);
    assert_int_equal(json_array_size(goldens), 13);
    for (size_t i = 0; i < json_array_size(goldens); i++) check_format(json_array_get(goldens, i));
    json_decref(goldens);
}

/* ---- models ---- */

static char *imported(const char *name)
{
    char path[1200], file[64];
    error err = { 0 };
    char *out = test_folder_new();
    snprintf(file, sizeof file, "fuzz/corpus/gguf/%s", name);
    test_ok(import_gguf(source(file, path), out, &err), &err);
    return out;
}

static safetensors *weights_of(const char *dir)
{
    char path[1200];
    error err = { 0 };
    safetensors *st = safetensors_open(path_join(path, sizeof path, dir, "model.safetensors"), &err);
    if (!st) fail_msg("%s", err.text);
    return st;
}

static float first_of_row(const safetensors *st, const char *name, int row)
{
    error err = { 0 };
    const tensor_view *v = safetensors_find(st, name);
    assert_non_null(v);
    float *x = xmalloc(sizeof *x * (size_t)v->count);
    test_ok(safetensors_to_f32(v, x, &err), &err);
    const float first = x[(int64_t)row * (v->rank == 2 ? v->shape[1] : 1)];
    free(x);
    return first;
}

static hf_folder *opened(const char *dir, device *dev)
{
    error err = { 0 };
    hf_folder *f = hf_folder_open(dir, dev, &err);
    if (!f) fail_msg("%s", err.text);
    return f;
}

/* llama.cpp's rows 0, 1, 2, 3, ... of a head are transformers' rows 0, HEAD/2, 1, HEAD/2 + 1, ... */
static void a_llama_model_turns_halves(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = imported("llama.gguf");
    safetensors *st = weights_of(dir);
    for (int row = 0; row < WIDTH; row++) {
        const int head = row / HEAD, i = row % HEAD,
                  from = head * HEAD + (i < HEAD / 2 ? 2 * i : 2 * (i - HEAD / 2) + 1);
        test_near((double)first_of_row(st, "model.layers.1.self_attn.q_proj.weight", row), from, 0.01, "a row of q");
        test_near((double)first_of_row(st, "model.layers.1.self_attn.o_proj.weight", row), row, 0.01, "a row of o");
    }
    safetensors_close(st);

    device *dev = device_open("cpu", 1, &err);
    hf_folder *f = opened(dir, dev);
    assert_int_equal(f->config.layers, 2);
    assert_int_equal(f->config.kv_heads, 2);
    assert_true(f->config.tied);
    assert_true(f->config.norm_eps == 1e-5f);
    assert_int_equal(f->config.bos, 1);
    hf_folder_close(f);
    device_close(dev);
    test_folder_remove(dir);
}

static void a_qwen2_model_keeps_its_rows_and_biases(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = imported("qwen2.gguf");
    safetensors *st = weights_of(dir);
    for (int row = 0; row < WIDTH; row++) {
        test_near((double)first_of_row(st, "model.layers.0.self_attn.q_proj.weight", row), row, 0, "a row of q");
        test_near((double)first_of_row(st, "model.layers.0.self_attn.q_proj.bias", row), row, 0, "a bias of q");
    }
    safetensors_close(st);

    device *dev = device_open("cpu", 1, &err);
    hf_folder *f = opened(dir, dev);
    assert_true(f->config.qkv_bias);
    hf_folder_close(f);
    device_close(dev);
    char *template = test_file_read(dir, "chat_template.jinja");
    assert_non_null(strstr(template, "{{ m.content }}"));
    free(template);
    test_folder_remove(dir);
}

static void tokenizers_come_from_the_metadata(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = imported("llama.gguf");
    tokenizer *t = tokenizer_open(dir, &err);
    if (!t) fail_msg("%s", err.text);
    check_ids(t, "abc", (const int32_t[]){ 261, 266 }, 2);   /* ▁ab scores before abc */
    check_ids(t, "d", (const int32_t[]){ 263, 3 + 'd' }, 2); /* a byte's token */
    tokenizer_free(t);
    test_folder_remove(dir);

    dir = imported("qwen2.gguf");
    t = tokenizer_open(dir, &err);
    if (!t) fail_msg("%s", err.text);
    check_ids(t, "ab ab<|im_start|>", (const int32_t[]){ 256, 257, 259 }, 3);
    tokenizer_free(t);
    test_folder_remove(dir);
}

/* A string's length in the file, and its bytes. */
static unsigned char *put_string(unsigned char *to, const char *text, size_t len)
{
    const uint64_t length = len;
    memcpy(to, &length, sizeof length);
    memcpy(to + sizeof length, text, len);
    return to + sizeof length + len;
}

/* The file with another tokenizer.ggml.pre instead of "gpt-2". Its description, which stands before it, gets shorter by
 * what the name is longer: no tensor moves. */
static char *imported_with_pre(const unsigned char *data, size_t len, const char *pre)
{
    enum { DESCRIPTION = 40, KEY_AND_TYPE = 8 + 18 + 4 };
    static const char KEY[] = "general.description", XS[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    error err = { 0 };
    char path[1200], *dir = test_folder_new();
    unsigned char *copy = malloc(len), *at, *second;
    memcpy(copy, data, len);
    at = (unsigned char *)memmem(copy, len, KEY, sizeof KEY - 1) + sizeof KEY - 1 + sizeof(uint32_t);
    second = at + sizeof(uint64_t) + DESCRIPTION;
    const unsigned char *key = data + (second - copy);
    at = put_string(at, XS, DESCRIPTION + 5 - strlen(pre));
    memcpy(at, key, KEY_AND_TYPE);
    put_string(at + KEY_AND_TYPE, pre, strlen(pre));

    test_ok(file_write_atomic(path_join(path, sizeof path, dir, "model.gguf"), copy, len, &err), &err);
    char *out = test_folder_new();
    if (import_gguf(path, out, &err) != OK) fail_msg("%s: %s", pre, err.text);
    free(copy);
    test_folder_remove(dir);
    return out;
}

static void check_texts(const tokenizer *t, const json_t *texts, const char *pre)
{
    size_t i, k;
    json_t *pair, *id;
    json_array_foreach(texts, i, pair)
    {
        error err = { 0 };
        token_ids got = { 0 };
        const json_t *text = json_array_get(pair, 0), *want = json_array_get(pair, 1);
        test_ok(tokenizer_encode(t, json_string_value(text), json_string_length(text), true, &got, &err), &err);
        if (got.len != json_array_size(want)) fail_msg("%s: '%s': %zu ids", pre, json_string_value(text), got.len);
        json_array_foreach(want, k, id) if (got.data[k] != json_integer_value(id))
            fail_msg("%s: '%s': id %zu", pre, json_string_value(text), k);
        vec_free(&got);
    }
}

/* Every name that tokenizer.ggml.pre may have here, against the tokenizers library. */
static void text_is_cut_as_the_name_says(void **state)
{
    (void)state;
    error err = { 0 };
    size_t len, i;
    char path[1200];
    json_t *c, *golden = json_parse_file(source("golden/gguf/pres/golden.json", path), &err);
    unsigned char *data = (unsigned char *)file_read(source("golden/gguf/pres/model.gguf", path), 1 << 20, &len, &err);
    if (!golden || !data) fail_msg("%s", err.text);
    json_array_foreach(json_object_get(golden, "cases"), i, c)
    {
        const char *pre = json_string_value(json_object_get(c, "pre"));
        char *dir = imported_with_pre(data, len, pre);
        tokenizer *t = tokenizer_open(dir, &err);
        if (!t) fail_msg("%s: %s", pre, err.text);
        check_texts(t, json_object_get(c, "texts"), pre);
        tokenizer_free(t);
        test_folder_remove(dir);
    }
    assert_int_equal(i, 15);
    json_decref(golden);
    free(data);
}

/* ---- files that are none ---- */

static void every_cut_file_is_refused(void **state)
{
    (void)state;
    size_t len;
    unsigned char *data = read_model("llama.gguf", &len);
    for (size_t n = 0; n < len; n += n < 8192 ? 1 : 997) {
        error err = { 0 };
        unsigned char *cut = xmalloc(n + 1); /* of its own: a sanitizer sees what reads beyond */
        memcpy(cut, data, n);
        gguf *g = gguf_from_bytes(cut, n, "cut", &err);
        if (g) fail_msg("%zu of %zu bytes were taken for a model", n, len);
        assert_int_equal(err.code, ERR_PARSE);
        assert_non_null(strstr(err.text, "cut: "));
        free(cut);
    }
    free(data);
}

static void bent_files_do_no_harm(void **state)
{
    (void)state;
    size_t len;
    test_random rnd = test_random_seed(7);
    unsigned char *data = read_model("qwen2.gguf", &len);
    for (int i = 0; i < 4000; i++) {
        error err = { 0 };
        const size_t at = test_random_below(&rnd, i % 2 ? len : 9000);
        const unsigned char was = data[at];
        data[at] = (unsigned char)test_random_next(&rnd);
        gguf *g = gguf_from_bytes(data, len, "bent", &err);
        if (!g) assert_true(*err.text != 0);
        gguf_close(g);
        data[at] = was;
    }
    free(data);
}

static void check_refused(const unsigned char *data, size_t len, int code, const char *why)
{
    error err = { 0 };
    char *dir = test_folder_new(), path[1200], out[1200];
    test_ok(file_write_atomic(path_join(path, sizeof path, dir, "m.gguf"), data, len, &err), &err);
    assert_int_equal(import_gguf(path, path_join(out, sizeof out, dir, "out"), &err), code);
    if (!strstr(err.text, why)) fail_msg("expected '%s' in: %s", why, err.text);
    assert_false(dir_exists(out));
    test_folder_remove(dir);
}

/* The model with `to` written `after` bytes behind the first place of `word`. */
static void check_changed(const char *word, size_t after, const char *to, int code, const char *why)
{
    size_t len;
    unsigned char *data = read_model("llama.gguf", &len);
    unsigned char *at = memmem(data, len, word, strlen(word));
    assert_non_null(at);
    memcpy(at + after, to, strlen(to));
    check_refused(data, len, code, why);
    free(data);
}

static void what_the_folder_could_not_say_is_refused_by_name(void **state)
{
    (void)state;
    /* after a tensor's name: rank, two sizes, type; after a key: type, length, text */
    const size_t type = strlen("blk.0.ffn_down.weight") + 4 + 2 * 8, text = 4 + 8;
    check_changed("GGUF", 0, "GGML", ERR_PARSE, "not a GGUF file");
    check_changed("GGUF", 4, "\x01", ERR_UNSUPPORTED, "GGUF version 1");
    check_changed("general.architecture", strlen("general.architecture") + text, "mamba", ERR_UNSUPPORTED,
                  "'mamba', which needs a state space model: not supported");
    check_changed("blk.0.ffn_down.weight", type, "\x17", ERR_UNSUPPORTED, "blk.0.ffn_down.weight is IQ4_XS");
    check_changed("blk.1.ffn_up.weight", 10, "xx", ERR_PARSE, "blk.1.ffn_up.weight is missing");
    check_changed("tokenizer.ggml.model", strlen("tokenizer.ggml.model") + text, "bert!", ERR_UNSUPPORTED,
                  "'bert!'; supported: gpt2, llama");
    check_changed("tokenizer.ggml.scores", 15, "scurvy", ERR_PARSE, "tokenizer.ggml.scores is missing");
}

static unsigned char *behind(unsigned char *data, size_t len, const char *word)
{
    unsigned char *at = memmem(data, len, word, strlen(word));
    assert_non_null(at);
    return at + strlen(word);
}

static void tensors_that_share_bytes_are_refused(void **state)
{
    (void)state;
    const size_t offset = 4 + 2 * 8 + 4; /* after a name: rank, two sizes, type */
    size_t len;
    unsigned char *data = read_model("llama.gguf", &len);
    memcpy(behind(data, len, "blk.0.attn_k.weight") + offset, behind(data, len, "blk.0.attn_q.weight") + offset, 8);
    check_refused(data, len, ERR_PARSE, "overlap");
    free(data);
}

static void numbers_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    size_t len;
    unsigned char *data = read_model("llama.gguf", &len);
    error err = { 0 };
    gguf *g = gguf_from_bytes(data, len, "llama.gguf", &err);
    assert_non_null(g);
    const gguf_tensor *t = gguf_find(g, "output_norm.weight");
    assert_true(t && strcmp(gguf_type_name(t->type), "F32") == 0);
    const float nan = strtof("nan", NULL);
    memcpy(data + (t->data - data) + t->bytes - sizeof nan, &nan, sizeof nan);
    gguf_close(g);
    check_refused(data, len, ERR_PARSE, "tensor output_norm.weight holds numbers that are not finite");
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_read_as_the_package_reads_it),
        cmocka_unit_test(a_llama_model_turns_halves),
        cmocka_unit_test(a_qwen2_model_keeps_its_rows_and_biases),
        cmocka_unit_test(tokenizers_come_from_the_metadata),
        cmocka_unit_test(text_is_cut_as_the_name_says),
        cmocka_unit_test(every_cut_file_is_refused),
        cmocka_unit_test(bent_files_do_no_harm),
        cmocka_unit_test(what_the_folder_could_not_say_is_refused_by_name),
        cmocka_unit_test(tensors_that_share_bytes_are_refused),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
