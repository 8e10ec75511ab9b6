/* SPDX-License-Identifier: MIT */
/* Each family's GGUF file, as llama.cpp's own converter writes it (tests/golden/make_gguf_families.py), imported:
 * logits, logprobs and greedy choices as `transformers` has them for the model that the file was made of. */
#include "model/import_gguf.h"

#include "base/file.h"
#include "tests/unit/model/golden.h"
#include "tests/unit/model/ids.h"

static char *imported(const char *name)
{
    error err = { 0 };
    str path = { 0 };
    char *out = test_folder_new();
    str_printf(&path, "%s/tests/golden/%s/model.gguf", getenv("TROUPE_SOURCE"), name);
    if (import_gguf(path.data, out, &err) != OK) fail_msg("%s", err.text);
    str_free(&path);
    return out;
}

static void check_import(const char *name, const char *architecture)
{
    char *dir = imported(name);
    golden g = golden_of(dir, name);
    assert_string_equal(g.model->config.architecture, architecture);
    check_cases(&g);
    golden_close(&g);
    test_folder_remove(dir);
}

static void heads_that_are_normed(void **state)
{
    (void)state;
    check_import("gguf/qwen3", "Qwen3ForCausalLM");
}

static void yarn_and_queries_that_grow_with_their_position(void **state)
{
    (void)state;
    check_import("gguf/ministral3", "Ministral3ForCausalLM");
}

/* No file says which layers have no rotary embedding: llama.cpp knows it of the architecture. */
static void layers_without_a_rotary_embedding(void **state)
{
    (void)state;
    check_import("gguf/smollm3", "SmolLM3ForCausalLM");
}

static void biases_each_by_itself(void **state)
{
    (void)state;
    check_import("gguf/seed_oss", "SeedOssForCausalLM");
}

/* One architecture of llama.cpp, two of transformers: a window makes it OLMo 3, with its layers listed. */
static void norms_behind_the_branches_with_windows_and_without(void **state)
{
    (void)state;
    check_import("gguf/olmo2", "Olmo2ForCausalLM");
    check_import("gguf/olmo3", "Olmo3ForCausalLM");
}

static void four_multipliers(void **state)
{
    (void)state;
    check_import("gguf/granite", "GraniteForCausalLM");
}

static void fused_matrices_and_frequencies_in_tensors(void **state)
{
    (void)state;
    check_import("gguf/phi3", "Phi3ForCausalLM");
    check_import("gguf/phi4_mini", "Phi3ForCausalLM");
}

/* All experts of a layer lie in one tensor, bf16 or in blocks; llama.cpp's Mixtral is a llama with an expert_count. */
static void a_router_and_experts(void **state)
{
    (void)state;
    check_import("gguf/qwen3_moe", "Qwen3MoeForCausalLM");
    check_import("gguf/mixtral", "MixtralForCausalLM");
}

/* llama.expert_count says three of four: not a quarter of the experts is left out without a word. */
static void experts_that_the_file_does_not_count_are_refused(void **state)
{
    (void)state;
    static const char KEY[] = "llama.expert_count";
    error err = { 0 };
    size_t len;
    str path = { 0 };
    char *dir = test_folder_new(), to[1200], out[1200];
    str_printf(&path, "%s/tests/golden/gguf/mixtral/model.gguf", getenv("TROUPE_SOURCE"));
    char *bytes = file_read(path.data, 1 << 20, &len, &err);
    assert_non_null(bytes);
    char *count = memmem(bytes, len, KEY, sizeof KEY - 1);
    assert_non_null(count);
    count[sizeof KEY - 1 + sizeof(uint32_t)] = 3; /* after the value's type */
    test_ok(file_write_atomic(path_join(to, sizeof to, dir, "model.gguf"), bytes, len, &err), &err);

    assert_int_equal(import_gguf(to, path_join(out, sizeof out, dir, "out"), &err), ERR_PARSE);
    if (!strstr(err.text, "blk.0.ffn_gate_inp.weight: expected [3, 16], found [4, 16]")) fail_msg("%s", err.text);
    free(bytes);
    str_free(&path);
    test_folder_remove(dir);
}

static void a_part_of_a_head_turned_by_neighbours(void **state)
{
    (void)state;
    check_import("gguf/glm", "GlmForCausalLM");
    check_import("gguf/glm4", "Glm4ForCausalLM");
}

/* Norms are written as 1 + w; a scaling factor without its kind is linear, and only of layers without a window. */
static void norms_of_1_and_w_and_two_thetas(void **state)
{
    (void)state;
    check_import("gguf/gemma3", "Gemma3ForCausalLM");
}

static void soft_caps(void **state)
{
    (void)state;
    check_import("gguf/gemma2", "Gemma2ForCausalLM");
}

/* The ids of a text, and the text of the ids: `shown`. */
static void check_both_ways(const tokenizer *t, const char *text, const char *shown, const int32_t *want, size_t n)
{
    check_ids(t, text, want, n);

    str back = { 0 };
    tokenizer_decode(t, want, n, true, &back);
    assert_string_equal(back.data, shown);
    str_free(&back);
}

/* Gemma's runs of spaces are a user's tokens, which the file keeps with spaces and texts are searched for as U+2581; a
 * single space belongs to the word after it. */
static void runs_of_spaces_are_tokens(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = imported("gguf/gemma3");
    tokenizer *t = tokenizer_open(dir, &err);
    if (!t) fail_msg("%s", err.text);
    check_both_ways(t, "abd", "abd", (const int32_t[]){ 34, 11 }, 2);
    check_both_ways(t, "b  a", "b  a", (const int32_t[]){ 9, 4, 8 }, 3);          /* not "b", " ", " a" */
    check_both_ways(t, "b     a", "b     a", (const int32_t[]){ 9, 5, 4, 8 }, 4); /* the longest first */
    check_both_ways(t,
                    "b\u2581\u2581"
                    "a",
                    "b  a", (const int32_t[]){ 9, 4, 8 }, 3); /* written out */
    check_both_ways(t, "b a\n  <turn>", "b a\n  <turn>", (const int32_t[]){ 9, 35, 6, 4, 3 }, 5);
    tokenizer_free(t);
    test_folder_remove(dir);
}

/* A turn's end is another token than a text's: generation stops at either. */
static void a_turn_ends_a_text_too(void **state)
{
    (void)state;
    error err = { 0 };
    model_config c;
    char *dir = imported("gguf/gemma3");
    test_ok(model_config_read(&c, dir, &err), &err);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[0], 1);
    assert_int_equal(c.eos[1], 3);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_that_are_normed),
        cmocka_unit_test(yarn_and_queries_that_grow_with_their_position),
        cmocka_unit_test(layers_without_a_rotary_embedding),
        cmocka_unit_test(biases_each_by_itself),
        cmocka_unit_test(norms_behind_the_branches_with_windows_and_without),
        cmocka_unit_test(four_multipliers),
        cmocka_unit_test(fused_matrices_and_frequencies_in_tensors),
        cmocka_unit_test(a_router_and_experts),
        cmocka_unit_test(experts_that_the_file_does_not_count_are_refused),
        cmocka_unit_test(a_part_of_a_head_turned_by_neighbours),
        cmocka_unit_test(norms_of_1_and_w_and_two_thetas),
        cmocka_unit_test(soft_caps),
        cmocka_unit_test(runs_of_spaces_are_tokens),
        cmocka_unit_test(a_turn_ends_a_text_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
