/* SPDX-License-Identifier: MIT */
#include "model/weights.h"

#include "base/file.h"
#include "tests/unit/model/reference.h"

static const float *values(const small_model *m, param_kind kind, int layer)
{
    return m->w->data + param_find(m->table, kind, layer)->offset;
}

static small_model initialised(model_config config, uint64_t seed, float std)
{
    small_model m = small_model_open(config, 1, 1);
    weights_init(m.w, seed, std);
    weights_seal(m.w, 0);
    return m;
}

static double deviation(const small_model *m, param_kind kind, int layer)
{
    const param *p = param_find(m->table, kind, layer);
    double sum = 0;
    for (int64_t i = 0; i < p->count; i++) sum += pow((double)m->w->data[p->offset + i], 2);
    return sqrt(sum / (double)p->count);
}

static void initial_values_have_the_asked_spread_and_norms_are_one(void **state)
{
    (void)state;
    small_model m = initialised(small_config(false), 5, 0.02f); /* 4000 and more values a matrix: 4 sigma are 5 % */
    const double residual = 0.02 / sqrt(2.0 * 3);
    test_near(deviation(&m, PARAM_EMBED, -1) / 0.02, 1, 0.05, "embedding");
    test_near(deviation(&m, PARAM_GATE, 1) / 0.02, 1, 0.05, "gate");
    test_near(deviation(&m, PARAM_HEAD, -1) / 0.02, 1, 0.05, "head");
    test_near(deviation(&m, PARAM_O, 2) / residual, 1, 0.08, "attention's output");
    test_near(deviation(&m, PARAM_DOWN, 0) / residual, 1, 0.05, "feed-forward output");
    for (int d = 0; d < m.table->config.width; d++) {
        assert_true(values(&m, PARAM_ATTN_NORM, 1)[d] == 1);
        assert_true(values(&m, PARAM_MLP_NORM, 0)[d] == 1);
        assert_true(values(&m, PARAM_FINAL_NORM, -1)[d] == 1);
    }
    small_model_close(&m);
}

/* A number depends on seed, parameter and place alone: not on what else the model has, nor on the order of drawing. */
static void initial_values_are_keyed_by_seed_name_and_place(void **state)
{
    (void)state;
    model_config deeper = small_config(false);
    deeper.layers = 5, deeper.vocab = 300;
    small_model a = initialised(small_config(false), 5, 0.02f), b = initialised(deeper, 5, 0.02f),
                c = initialised(deeper, 6, 0.02f);
    const int64_t n = param_find(a.table, PARAM_Q, 1)->count;
    test_same_bits(values(&b, PARAM_Q, 1), values(&a, PARAM_Q, 1), n, "q of layer 1");
    test_same_bits(values(&b, PARAM_EMBED, -1), values(&a, PARAM_EMBED, -1),
                   param_find(a.table, PARAM_EMBED, -1)->count, "embedding");
    test_same_bits(values(&b, PARAM_HEAD, -1), values(&a, PARAM_HEAD, -1), param_find(a.table, PARAM_HEAD, -1)->count,
                   "head"); /* after more layers than in the other model */
    assert_memory_not_equal(values(&c, PARAM_Q, 1), values(&a, PARAM_Q, 1), (size_t)n * sizeof(float));
    assert_memory_not_equal(values(&a, PARAM_Q, 2), values(&a, PARAM_Q, 1), (size_t)n * sizeof(float));
    small_model_close(&a);
    small_model_close(&b);
    small_model_close(&c);
}

/* The embedding of a tied model as one program or another stores it: as the head alone, twice, or, by a mistake in
 * config.json, beside a head of its own. */
static void a_tied_head_is_found_wherever_it_is_stored(void **state)
{
    (void)state;
    enum { HEAD_ALONE, TWICE, OF_ITS_OWN, WAYS };
    for (int way = 0; way < WAYS; way++) {
        error err = { 0 };
        str bytes = { 0 };
        small_model m = small_model_open(small_config(true), 1, 7), back = small_model_open(small_config(true), 1, 8);
        const param *embed = param_find(m.table, PARAM_EMBED, -1);
        tensor_source tensors[64];
        int n = 0;
        for (; n < m.table->n; n++) {
            const param *p = &m.table->items[n];
            tensors[n] = (tensor_source){ .name = p->name, .rank = p->rank, .data = m.w->data + p->offset };
            tensors[n].shape[0] = p->rank == 2 ? p->rows : p->cols;
            tensors[n].shape[1] = p->cols;
        }
        const tensor_source head = { .name = "lm_head.weight",
                                     .rank = 2,
                                     .shape = { embed->rows, embed->cols },
                                     .data =
                                         way == OF_ITS_OWN ? back.w->data + embed->offset : m.w->data + embed->offset };
        tensors[way == HEAD_ALONE ? 0 : n++] = head;

        safetensors_encode(tensors, (size_t)n, DTYPE_F32, NULL, &bytes);
        safetensors *st = safetensors_from_bytes(bytes.data, bytes.len, "tied", &err);
        assert_non_null(st);
        if (way == OF_ITS_OWN) {
            assert_int_equal(weights_load(back.w, st, &err), ERR_UNSUPPORTED);
            assert_non_null(strstr(err.text, "tie_word_embeddings"));
        } else {
            test_ok(weights_load(back.w, st, &err), &err);
            test_same_bits(back.w->data, m.w->data, m.table->total, "weights");
        }
        safetensors_close(st);
        str_free(&bytes);
        small_model_close(&m);
        small_model_close(&back);
    }
}

/* Processes of different builds compare this number over the wire: it must never change. */
static void the_hash_is_the_same_everywhere_and_sees_every_bit(void **state)
{
    (void)state;
    small_model m = small_model_open(tiny_config(false), 2, 1);
    for (int i = 0; i < m.table->n; i++)
        for (int64_t j = 0; j < m.table->items[i].count; j++)
            m.w->data[m.table->items[i].offset + j] = (float)((i + 3 * j) % 256) / 64.0f - 2.0f;
    weights_seal(m.w, 41);
    assert_int_equal(m.w->version, 41);
    if (m.w->hash != UINT64_C(0x59f20b099b41d489)) fail_msg("hash %016llx", (unsigned long long)m.w->hash);
    assert_true(weights_hash(m.w) == m.w->hash);
    for (int i = 0; i < m.table->n; i++) {
        const param *p = &m.table->items[i];
        uint32_t bits;
        memcpy(&bits, &m.w->data[p->offset + p->count - 1], sizeof bits);
        bits ^= 1;
        memcpy(&m.w->data[p->offset + p->count - 1], &bits, sizeof bits);
        if (weights_hash(m.w) == m.w->hash) fail_msg("the last bit of %s does not count", p->name);
        bits ^= 1;
        memcpy(&m.w->data[p->offset + p->count - 1], &bits, sizeof bits);
    }
    small_model_close(&m);
}

static void what_is_saved_in_fp32_comes_back_to_the_bit(void **state)
{
    (void)state;
    for (int tied = 0; tied <= 1; tied++) {
        error err = { 0 };
        char *folder = test_folder_new(), path[600];
        small_model m = small_model_open(small_config(tied), 1, 7), back = small_model_open(small_config(tied), 1, 8);
        path_join(path, sizeof path, folder, "model.safetensors");
        test_ok(weights_save(m.w, path, DTYPE_F32, &err), &err);
        safetensors *st = safetensors_open(path, &err);
        assert_non_null(st);
        assert_int_equal(safetensors_count(st), m.table->n);
        assert_string_equal(safetensors_metadata(st, "format"), "pt"); /* transformers refuses a file without */
        test_ok(weights_load(back.w, st, &err), &err);
        weights_seal(back.w, 0);
        assert_true(back.w->hash == m.w->hash);
        test_same_bits(back.w->data, m.w->data, m.table->total, "weights");
        safetensors_close(st);
        test_folder_remove(folder);
        small_model_close(&m);
        small_model_close(&back);
    }
}

/* What weights_save makes of them; its file is gone already. */
static safetensors *saved(const weights *w, tensor_dtype dtype)
{
    error err = { 0 };
    char *folder = test_folder_new(), path[600];
    path_join(path, sizeof path, folder, "model.safetensors");
    test_ok(weights_save(w, path, dtype, &err), &err);
    safetensors *st = safetensors_open(path, &err);
    if (!st) fail_msg("%s", err.text);
    test_folder_remove(folder);
    return st;
}

static void what_is_saved_in_bf16_comes_back_rounded(void **state)
{
    (void)state;
    error err = { 0 };
    small_model m = small_model_open(small_config(true), 1, 7), back = small_model_open(small_config(true), 1, 8);
    safetensors *st = saved(m.w, DTYPE_BF16);
    test_ok(weights_load(back.w, st, &err), &err);
    for (int64_t i = 0; i < m.table->total; i++) {
        uint32_t bits;
        memcpy(&bits, &back.w->data[i], sizeof bits);
        assert_int_equal(bits & 0xffff, 0);
        test_near((double)back.w->data[i], (double)m.w->data[i], fabs((double)m.w->data[i]) / 256,
                  "bf16"); /* half of 2^-7 */
    }
    safetensors_close(st);
    small_model_close(&m);
    small_model_close(&back);
}

/* Loads the file of a model of `config` into a small_config(false) model; the refusal must contain `words`. */
static void check_refusal(model_config config, const char *const words[3])
{
    error err = { 0 };
    small_model from = small_model_open(config, 1, 7), into = small_model_open(small_config(false), 1, 8);
    safetensors *st = saved(from.w, DTYPE_F32);
    assert_int_equal(weights_load(into.w, st, &err), ERR_PARSE);
    for (int i = 0; i < 3; i++)
        if (!strstr(err.text, words[i])) fail_msg("'%s' does not say '%s'", err.text, words[i]);
    safetensors_close(st);
    small_model_close(&from);
    small_model_close(&into);
}

static void another_models_file_is_refused_with_tensor_expected_and_found(void **state)
{
    (void)state;
    model_config other = small_config(false);
    other.ffn = 99;
    check_refusal(other, (const char *const[]){ "model.layers.0.mlp.gate_proj.weight", "[88, 48]", "[99, 48]" });
    other = small_config(false), other.width = 40;
    check_refusal(other, (const char *const[]){ "model.embed_tokens.weight", "[203, 48]", "[203, 40]" });
    check_refusal(small_config(true), (const char *const[]){ "lm_head.weight", "missing", "[203, 48]" });
    other = small_config(false), other.layers = 2;
    check_refusal(other, (const char *const[]){ "model.layers.2.input_layernorm.weight", "missing", "[48]" });
}

/* Whoever opens it, not the learner alone: a policy with one NaN samples token 0 for ever. */
static void numbers_that_are_not_finite_are_refused_by_name(void **state)
{
    (void)state;
    static const double BAD[] = { NAN, -NAN, INFINITY, -INFINITY };
    for (int k = 0; k < 4; k++) {
        error err = { 0 };
        small_model m = small_model_open(small_config(false), 1, 7);
        const param *last = &m.table->items[m.table->n - 1];
        m.w->data[last->offset + last->count - 1] = (float)BAD[k];
        safetensors *st = saved(m.w, k % 2 ? DTYPE_BF16 : DTYPE_F32);
        weights *taken = weights_new_to_decode(m.dev, m.table, &err);
        for (int to_decode = 0; to_decode <= 1; to_decode++) {
            assert_int_equal(to_decode ? weights_take(taken, st, 0, &err) : weights_load(m.w, st, &err), ERR_PARSE);
            if (!strstr(err.text, last->name) || !strstr(err.text, "not finite")) fail_msg("%s", err.text);
        }
        weights_free(taken);
        safetensors_close(st);
        small_model_close(&m);
    }
}

static void expect_same_panels(const weights *got, const weights *want)
{
    const param_table *t = want->table;
    for (int i = 0; i < t->n; i++) {
        const param *p = &t->items[i];
        for (int k = 0; k < p->n_parts; k++) {
            const void *a = got->packed[i][k], *b = want->packed[i][k];
            assert_true(!a == !b);
            if (a)
                assert_memory_equal(a, b,
                                    device_ops(want->dev)->linear_packed_bytes(want->dev, p->part_rows[k], p->cols));
        }
        if (got->places[i] >= 0)
            test_same_bits(got->data + got->places[i], want->data + p->offset, p->count, p->name);
        else
            assert_true(want->packed[i][0]);
    }
}

/* The promise: an actor that keeps of each matrix only its panels has the numbers of one that keeps all, and says so by
 * the same hash, for each version after the other. */
static void what_is_taken_to_decode_is_what_is_loaded_and_sealed(void **state)
{
    (void)state;
    for (int variant = -1; variant < 2 * VARIANTS; variant++) {
        error err = { 0 };
        small_model m = small_model_open(variant < 0 ? small_config(true) : variant_config(variant / 2), 1, 7);
        device_set_precision(m.dev, variant % 2 ? PRECISION_BF16 : PRECISION_F32);
        weights *all = weights_new(m.dev, m.table, &err), *taken = weights_new_to_decode(m.dev, m.table, &err);
        for (int64_t version = 1; version <= 2; version++) {
            weights_init(all, (uint64_t)version, 0.1f);
            weights_seal(all, version);
            safetensors *st = saved(all, DTYPE_F32);
            test_ok(weights_take(taken, st, version, &err), &err);
            safetensors_close(st);
            assert_true(taken->hash == all->hash && taken->version == version);
            expect_same_panels(taken, all);
        }
        assert_true(weights_bytes_to_decode(m.dev, m.table) < weights_bytes(m.dev, m.table));
        weights_free(all);
        weights_free(taken);
        small_model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_values_have_the_asked_spread_and_norms_are_one),
        cmocka_unit_test(initial_values_are_keyed_by_seed_name_and_place),
        cmocka_unit_test(a_tied_head_is_found_wherever_it_is_stored),
        cmocka_unit_test(the_hash_is_the_same_everywhere_and_sees_every_bit),
        cmocka_unit_test(what_is_saved_in_fp32_comes_back_to_the_bit),
        cmocka_unit_test(what_is_saved_in_bf16_comes_back_rounded),
        cmocka_unit_test(what_is_taken_to_decode_is_what_is_loaded_and_sealed),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused_by_name),
        cmocka_unit_test(another_models_file_is_refused_with_tensor_expected_and_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
