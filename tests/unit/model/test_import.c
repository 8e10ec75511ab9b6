/* SPDX-License-Identifier: MIT */
/* llama2.c's stories260K through the import: its published greedy text, and its own encoder's ids. */
#include "model/import_llama2c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/decode.h"
#include "model/hf_folder.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/support/support.h"

enum { VOCAB = 512, STEPS = 150, PAGES = 16 };

static const char PUBLISHED[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. "
    "She said, \"I want to play with your ball, but I can't find it.\"\n";

static char *imported(char *data)
{
    error err = { 0 };
    char model[1200], tokens[1200];
    char *out = test_folder_new();
    path_join(model, sizeof model, data, "stories260K.bin");
    path_join(tokens, sizeof tokens, data, "tok512.bin");
    test_ok(import_llama2c(model, tokens, out, &err), &err);
    return out;
}

static int32_t next_token(const hf_folder *f, kv_cache *kv, int32_t id, int32_t at)
{
    int32_t table[PAGES], row = 0, best = 0;
    float logits[VOCAB];
    for (int i = 0; i < PAGES; i++) table[i] = i;
    const decode_batch b = { 1, &id, &at, &row, table, PAGES, 1, &row };
    device_scratch_reset(f->weights->dev);
    device_copy_out(f->weights->dev, logits, model_decode(f->weights, kv, &b), sizeof logits);
    for (int v = 1; v < VOCAB; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

static void the_published_story_is_told(void **state)
{
    (void)state;
    char *data = test_data("data/weights/stories260k");
    if (!data) skip();
    error err = { 0 };
    char *dir = imported(data);
    device *dev = device_open("cpu", 1, &err);
    hf_folder *f = hf_folder_open(dir, dev, &err);
    tokenizer *t = f ? tokenizer_open(dir, &err) : NULL;
    kv_cache *kv = t ? kv_cache_new(dev, &f->config, PAGES, &err) : NULL;
    if (!kv) fail_msg("%s", err.text);
    int32_t ids[STEPS], last = f->config.bos;
    for (int i = 0; i < STEPS; i++) last = ids[i] = next_token(f, kv, last, i);
    str text = { 0 };
    tokenizer_decode(t, ids, STEPS, true, &text);
    assert_true(text.len >= strlen(PUBLISHED));
    if (memcmp(text.data, PUBLISHED, strlen(PUBLISHED)) != 0) fail_msg("told: %s", text.data);
    str_free(&text);
    kv_cache_free(kv);
    tokenizer_free(t);
    hf_folder_close(f);
    device_close(dev);
    test_folder_remove(dir);
    free(data);
}

/* ---- llama2.c's encoder: join the pair whose joint token scores best until none is left ---- */

typedef struct scored {
    char *text[VOCAB];
    float score[VOCAB];
} scored;

static scored read_scores(const char *folder)
{
    char path[1200];
    size_t len;
    error err = { 0 };
    scored s = { 0 };
    char *data = file_read(path_join(path, sizeof path, folder, "tok512.bin"), 1 << 20, &len, &err);
    for (size_t i = 0, at = 4; i < VOCAB; i++) {
        int32_t n;
        memcpy(&s.score[i], data + at, 4);
        memcpy(&n, data + at + 4, 4);
        s.text[i] = xstrndup(data + at + 8, (size_t)n);
        at += 8 + (size_t)n;
    }
    free(data);
    return s;
}

static int find(const scored *s, const char *text)
{
    for (int i = 0; i < VOCAB; i++)
        if (strcmp(s->text[i], text) == 0) return i;
    return -1;
}

static int encode_plainly(const scored *s, const char *text, int32_t *ids)
{
    int n = 0;
    char joint[1024];
    if (*text) ids[n++] = find(s, " ");
    for (const char *p = text; *p; p++) { /* the texts below are ASCII */
        const int id = find(s, (char[]){ *p, 0 });
        ids[n++] = id >= 0 ? id : (unsigned char)*p + 3;
    }
    for (;;) {
        int best = -1, at = -1;
        for (int i = 0; i + 1 < n; i++) {
            snprintf(joint, sizeof joint, "%s%s", s->text[ids[i]], s->text[ids[i + 1]]);
            const int id = find(s, joint);
            if (id >= 0 && (best < 0 || s->score[id] > s->score[best])) best = id, at = i;
        }
        if (best < 0) return n;
        ids[at] = best;
        memmove(ids + at + 1, ids + at + 2, sizeof *ids * (size_t)(n - at - 2));
        n--;
    }
}

static void ids_are_those_of_llama2cs_encoder(void **state)
{
    (void)state;
    static const char *const TEXTS[] = { "Once upon a time",
                                         "Lily's mom said, \"go to the park.\"",
                                         "  two  spaces ",
                                         "a\nb\tc",
                                         "xylophone 12345!",
                                         "the the the",
                                         "" };
    char *data = test_data("data/weights/stories260k");
    if (!data) skip();
    error err = { 0 };
    char *dir = imported(data);
    tokenizer *t = tokenizer_open(dir, &err);
    if (!t) fail_msg("%s", err.text);
    scored s = read_scores(data);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        int32_t want[256];
        token_ids ids = { 0 };
        const int n = encode_plainly(&s, TEXTS[i], want);
        test_ok(tokenizer_encode(t, TEXTS[i], strlen(TEXTS[i]), false, &ids, &err), &err);
        assert_int_equal(ids.len, n);
        if (n > 0) assert_memory_equal(ids.data, want, sizeof *want * (size_t)n);
        vec_free(&ids);
    }
    for (int i = 0; i < VOCAB; i++) free(s.text[i]);
    tokenizer_free(t);
    test_folder_remove(dir);
    free(data);
}

static void what_is_no_checkpoint_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new(), model[1200], tokens[1200], out[1200];
    static const int32_t GOOD[7] = { 4, 4, 1, 2, 1, 3, 2 };
    int32_t header[7];
    path_join(model, sizeof model, dir, "m.bin");
    path_join(tokens, sizeof tokens, dir, "t.bin");
    path_join(out, sizeof out, dir, "out");
    test_ok(file_write_atomic(tokens, "", 0, &err), &err);
    test_ok(file_write_atomic(model, "short", 5, &err), &err);
    assert_int_equal(import_llama2c(model, tokens, out, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "header"));
    for (int i = 0; i < 7; i++) {
        memcpy(header, GOOD, sizeof header);
        header[i] = i == 5 ? 0 : -1;
        test_ok(file_write_atomic(model, (const char *)header, sizeof header, &err), &err);
        assert_int_equal(import_llama2c(model, tokens, out, &err), ERR_PARSE);
    }
    test_ok(file_write_atomic(model, (const char *)GOOD, sizeof GOOD, &err), &err);
    assert_int_equal(import_llama2c(model, tokens, out, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "found 28"));
    assert_false(dir_exists(out)); /* nothing of what failed */
    test_folder_remove(dir);
}

/* A vocabulary of 260: three that are special, 256 bytes, "ab"; token `odd` is written as `text`. */
static void write_vocabulary(const char *path, int odd, const char *text, float score)
{
    str all = { 0 };
    error err = { 0 };
    const int32_t longest = 8;
    str_add(&all, (const char *)&longest, sizeof longest);
    for (int i = 0; i < 260; i++) {
        char piece[16];
        snprintf(piece, sizeof piece, i < 3 ? "<%d>" : i < 259 ? "<0x%02X>" : "ab", i < 3 ? i : i - 3);
        if (i == odd) snprintf(piece, sizeof piece, "%s", text);
        const int32_t len = (int32_t)strlen(piece);
        str_add(&all, (const char *)&score, sizeof score);
        str_add(&all, (const char *)&len, sizeof len);
        str_puts(&all, piece);
    }
    test_ok(file_write_atomic(path, all.data, all.len, &err), &err);
    str_free(&all);
}

/* What could not be opened again is no import. */
static void a_vocabulary_that_lacks_something_is_refused_by_name(void **state)
{
    (void)state;
    static const int32_t HEADER[7] = { 4, 4, 1, 2, 1, 260, 2 };
    static const struct {
        int odd;
        const char *text, *says; /* NULL: it is good */
    } ALL[] = { { -1, "", NULL }, { 100, "x", "<0x61>" }, { 259, "<0x61>", "259 of 260 tokens are distinct" } };
    error err = { 0 };
    char *dir = test_folder_new(), model[1200], tokens[1200], out[1200];
    float numbers[260 * 4 + 2 * 4 + 4 * 4 + 2 * (4 * 2) + 4 * 4 + 3 * 4 * 4 + 4 + 2 * 2] = { 0 };
    str bytes = { 0 };
    path_join(model, sizeof model, dir, "m.bin");
    path_join(tokens, sizeof tokens, dir, "t.bin");
    path_join(out, sizeof out, dir, "out");
    str_add(&bytes, (const char *)HEADER, sizeof HEADER);
    str_add(&bytes, (const char *)numbers, sizeof numbers);
    test_ok(file_write_atomic(model, bytes.data, bytes.len, &err), &err);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        write_vocabulary(tokens, ALL[i].odd, ALL[i].text, -1);
        const int rc = import_llama2c(model, tokens, out, &err);
        if (!ALL[i].says) test_ok(rc, &err);
        if (ALL[i].says && (rc == OK || !strstr(err.text, ALL[i].says) || !strstr(err.text, "t.bin")))
            fail_msg("expected '%s' in: %s", ALL[i].says, rc == OK ? "(no error)" : err.text);
        assert_true(dir_exists(out) == !ALL[i].says);
        dir_remove_all(out, NULL);
    }
    str_free(&bytes);
    test_folder_remove(dir);
}

/* Each tensor of the file, spoilt by one number, is refused by its name; the tables after the norm are not used. */
static void a_tensor_that_is_not_finite_is_refused_by_name(void **state)
{
    (void)state;
    static const int32_t HEADER[7] = { 4, 4, 1, 2, 1, 260, 2 };
    static const struct {
        int at; /* of the tensor's first number */
        const char *name;
    } ALL[] = { { 0, "model.embed_tokens.weight" },
                { 1040, "model.layers.0.input_layernorm.weight" },
                { 1044, "model.layers.0.self_attn.q_proj.weight" },
                { 1060, "model.layers.0.self_attn.k_proj.weight" },
                { 1068, "model.layers.0.self_attn.v_proj.weight" },
                { 1076, "model.layers.0.self_attn.o_proj.weight" },
                { 1092, "model.layers.0.post_attention_layernorm.weight" },
                { 1096, "model.layers.0.mlp.gate_proj.weight" },
                { 1112, "model.layers.0.mlp.down_proj.weight" },
                { 1128, "model.layers.0.mlp.up_proj.weight" },
                { 1144, "model.norm.weight" },
                { 1148, NULL } };
    static const float SPOILT[] = { NAN, INFINITY, -INFINITY };
    error err = { 0 };
    char *dir = test_folder_new(), model[1200], tokens[1200], out[1200];
    path_join(model, sizeof model, dir, "m.bin");
    path_join(tokens, sizeof tokens, dir, "t.bin");
    path_join(out, sizeof out, dir, "out");
    write_vocabulary(tokens, -1, "", -1);

    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        float numbers[1148 + 2 * 2] = { 0 };
        str bytes = { 0 };
        numbers[ALL[i].at] = SPOILT[i % 3];
        str_add(&bytes, (const char *)HEADER, sizeof HEADER);
        str_add(&bytes, (const char *)numbers, sizeof numbers);
        test_ok(file_write_atomic(model, bytes.data, bytes.len, &err), &err);
        str_free(&bytes);

        const int rc = import_llama2c(model, tokens, out, &err);
        if (!ALL[i].name) test_ok(rc, &err);
        if (ALL[i].name && (rc != ERR_PARSE || !strstr(err.text, ALL[i].name) || !strstr(err.text, "not finite")))
            fail_msg("expected '%s' in: %s", ALL[i].name, rc == OK ? "(no error)" : err.text);
        assert_true(dir_exists(out) == !ALL[i].name);
        if (!ALL[i].name) dir_remove_all(out, NULL);
    }

    write_vocabulary(tokens, -1, "", NAN);
    assert_int_equal(import_llama2c(model, tokens, out, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "t.bin: the score of token 0 is not finite"));
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_story_is_told),
        cmocka_unit_test(ids_are_those_of_llama2cs_encoder),
        cmocka_unit_test(what_is_no_checkpoint_is_refused),
        cmocka_unit_test(a_tensor_that_is_not_finite_is_refused_by_name),
        cmocka_unit_test(a_vocabulary_that_lacks_something_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
