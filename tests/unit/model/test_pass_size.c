/* SPDX-License-Identifier: MIT */
/* What a pass takes is what it says it takes: a run is planned by it (run/memory_plan.h). */
#include <stdio.h>

#include "model/decode.h"
#include "model/layer.h"
#include "tests/unit/model/reference.h"

enum { ROWS = 1024, LENGTH = 64 };

/* Sequences of LENGTH tokens, each with a target. */
typedef struct whole_batch {
    int32_t ids[ROWS], positions[ROWS], starts[ROWS / LENGTH + 1], rows[ROWS];
    token_batch b;
} whole_batch;

static whole_batch *whole_batch_new(int T)
{
    whole_batch *t = xcalloc(1, sizeof *t);
    for (int i = 0; i < T; i++) {
        t->ids[i] = i % 50;
        t->positions[i] = i % LENGTH;
        t->rows[i] = i;
    }
    for (int s = 0; s <= T / LENGTH; s++) t->starts[s] = s * LENGTH;
    t->b = (token_batch){ .T = T,
                          .S = T / LENGTH,
                          .ids = t->ids,
                          .positions = t->positions,
                          .starts = t->starts,
                          .n_out = T,
                          .out_rows = t->rows,
                          .targets = t->ids };
    return t;
}

/* Large enough that what a thread has for itself doesn't matter. */
static model_config wide(model_config c)
{
    c.vocab = 6000, c.width = 96, c.heads = 6, c.kv_heads = 3, c.head_dim = 16, c.ffn = 300;
    return c;
}

/* The most scratch that a pass of this size had in use, on a device of its own. */
static size_t peak_of(const model_config *config, precision p, const pass_size *s, size_t *said)
{
    error err = { 0 };
    device *dev = device_open("cpu", 2, &err);
    device_set_precision(dev, p);
    param_table *table = param_table_new(config, &err);
    weights *w = weights_new(dev, table, &err);
    if (!w) fail_msg("%s", err.text);
    weights_init(w, 3, 0.1f);
    weights_seal(w, 0);

    whole_batch *t = whole_batch_new(s->T);
    float *grads = xcalloc((size_t)table->total * (size_t)(s->sides + 1), sizeof *grads);
    float *cotangents = xcalloc((size_t)(s->T * (s->sides + 1)), sizeof *cotangents);
    for (int i = 0; i < s->T * s->sides; i++) cotangents[i] = 0.1f;
    const forward_options o = { .keep = s->sides > 0, .recompute = s->recompute };
    const activations *acts = model_forward(w, &t->b, &o);
    if (s->sides > 0) model_backward(w, &t->b, acts, cotangents, &(grad_split){ .K = s->sides }, grads, NULL);

    const size_t peak = device_scratch_peak(dev);
    *said = model_pass_bytes(dev, table, s);
    free(cotangents);
    free(grads);
    free(t);
    weights_free(w);
    param_table_free(table);
    device_close(dev);
    return peak;
}

static void check(const model_config *config, const char *what, precision p, const pass_size *s)
{
    size_t said;
    const size_t peak = peak_of(config, p, s, &said);
    if (peak <= said && (double)said < 1.1 * (double)peak) return;
    fail_msg("%s, %s, %d tokens, %d sides, recompute %d: %zu bytes said, %zu taken", what,
             words_of(PRECISION_WORDS, (int)p), s->T, s->sides, s->recompute, said, peak);
}

static void a_pass_takes_what_it_says(void **state)
{
    (void)state;
    static const pass_size SIZES[] = { { .T = 1024, .n_out = 1024, .sides = 1 },
                                       { .T = 512, .n_out = 512, .sides = 1 },
                                       { .T = 1024, .n_out = 1024, .sides = 3 },
                                       { .T = 1024, .n_out = 1024, .sides = 1, .recompute = true },
                                       { .T = 1024, .n_out = 1024 } };
    for (int variant = -1; variant < VARIANTS; variant++) {
        const model_config c = wide(variant < 0 ? small_config(true) : variant_config(variant));
        char what[32];
        snprintf(what, sizeof what, "variant %d", variant);
        for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
            for (int p = PRECISION_F32; p <= PRECISION_BF16; p++) check(&c, what, (precision)p, &SIZES[i]);
    }
}

/* The promise: of a layer more a pass keeps its input, its queries, keys and values, what attention made of them, the
 * sum in the middle and both factors of the gate: the norms' outputs and the gate's own are made again. */
static void of_a_layer_only_that_is_kept_which_backward_can_not_make(void **state)
{
    (void)state;
    const pass_size s = { .T = 1024, .n_out = 1024, .sides = 1 };
    model_config c = wide(small_config(true));
    size_t said[2], taken[2];
    c.layers = 4;
    taken[0] = peak_of(&c, PRECISION_F32, &s, &said[0]);
    c.layers = 8;
    taken[1] = peak_of(&c, PRECISION_F32, &s, &said[1]);

    const size_t q = (size_t)(c.heads * c.head_dim), kv = (size_t)(c.kv_heads * c.head_dim), D = (size_t)c.width;
    const size_t floats = 2 * D + 2 * q + 2 * kv + 2 * (size_t)c.ffn + (size_t)c.heads + 2;
    const size_t layers = 4 * sizeof(float) * (size_t)s.T * floats;
    assert_int_equal(said[1] - said[0], layers);
    if (taken[1] - taken[0] > layers + layers / 50) fail_msg("%zu bytes, not %zu", taken[1] - taken[0], layers);
}

static void weights_take_what_they_say(void **state)
{
    (void)state;
    const model_config c = wide(small_config(false));
    error err = { 0 };
    device *dev = device_open("cpu", 1, &err);
    param_table *table = param_table_new(&c, &err);
    size_t panels = 0;
    for (int i = 0; i < table->n; i++) {
        const param *p = &table->items[i];
        if (p->rank == 2 && p->kind != PARAM_EMBED)
            panels += device_ops(dev)->linear_packed_bytes(dev, p->rows, p->cols);
    }
    assert_int_equal(weights_bytes(dev, table), sizeof(float) * (size_t)table->total + panels);
    param_table_free(table);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_takes_what_it_says),
        cmocka_unit_test(of_a_layer_only_that_is_kept_which_backward_can_not_make),
        cmocka_unit_test(weights_take_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
