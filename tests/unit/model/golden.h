/* SPDX-License-Identifier: MIT */
/* What the tests of golden folders share. tests/golden/make_llama.py and make_families.py wrote them: models as
 * `transformers` saves them, and what it computes with them (in float32, and in float64). */
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/decode.h"
#include "model/hf_folder.h"
#include "model/transformer.h"
#include "tests/support/support.h"

enum { LONGEST = 256, PAGES = LONGEST / KV_PAGE };
static const double TOLERANCE = 1e-4;

typedef struct golden {
    device *dev;
    hf_folder *model;
    json_t *json;
} golden;

/* The model in `dir`, and what is wanted of it in the golden folder `name`. */
static inline golden golden_of(const char *dir, const char *name)
{
    golden g = { 0 };
    error err = { 0 };
    str wanted = { 0 };
    str_printf(&wanted, "%s/tests/golden/%s/golden.json", getenv("TROUPE_SOURCE"), name);
    const char *name_of_device = getenv("TROUPE_TEST_DEVICE");
    if (!(g.dev = device_open(name_of_device ? name_of_device : "cpu", 1, &err)) ||
        !(g.model = hf_folder_open(dir, g.dev, &err)) || !(g.json = json_parse_file(wanted.data, &err)))
        fail_msg("%s: %s", name, err.text);
    assert_true(json_array_size(json_object_get(g.json, "cases")) >= 4);
    str_free(&wanted);
    return g;
}

static inline golden golden_open(const char *name)
{
    str dir = { 0 };
    str_printf(&dir, "%s/tests/golden/%s", getenv("TROUPE_SOURCE"), name);
    const golden g = golden_of(dir.data, name);
    str_free(&dir);
    return g;
}

static inline void golden_close(golden *g)
{
    json_decref(g->json);
    hf_folder_close(g->model);
    device_close(g->dev);
}

static inline int read_ids(const json_t *c, const char *key, int32_t *ids)
{
    const json_t *list = json_object_get(c, key);
    const int n = (int)json_array_size(list);
    assert_true(n > 0 && n <= LONGEST);
    for (int i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return n;
}

/* The token after row i is ids[i + 1]: the batch for logprobs of all ids but the first. */
typedef struct one_sequence {
    int32_t ids[LONGEST], positions[LONGEST], starts[2];
    token_batch b;
} one_sequence;

static inline void one_sequence_of(one_sequence *s, const json_t *c)
{
    const int n = read_ids(c, "ids", s->ids);
    for (int i = 0; i < n; i++) s->positions[i] = i;
    s->starts[0] = 0, s->starts[1] = n;
    s->b = (token_batch){ .T = n,
                          .S = 1,
                          .ids = s->ids,
                          .positions = s->positions,
                          .starts = s->starts,
                          .n_out = n - 1,
                          .out_rows = s->positions,
                          .targets = s->ids + 1 };
}

static inline void check_numbers(const float *got, const json_t *want, size_t n, const char *what)
{
    assert_int_equal(json_array_size(want), n);
    for (size_t i = 0; i < n; i++)
        test_near((double)got[i], json_number_value(json_array_get(want, i)), TOLERANCE, what);
}

static inline void check_forward(const golden *g, const json_t *c)
{
    one_sequence s;
    error err = { 0 };
    const int V = g->model->config.vocab;
    one_sequence_of(&s, c);
    float *logits = xmalloc(sizeof(float) * (size_t)V);
    model_last_logits(g->model->weights, &s.b, logits);
    check_numbers(logits, json_object_get(c, "last_logits"), (size_t)V, "last logits");
    free(logits);
    device_scratch_reset(g->dev);
    if (s.b.n_out == 0) return;
    float logprobs[LONGEST];
    const activations *acts = model_forward(g->model->weights, &s.b, &(forward_options){ .temperature = 1 });
    device_copy_out(g->dev, logprobs, acts->logprob, sizeof(float) * (size_t)s.b.n_out);
    test_ok(device_sync(g->dev, &err), &err);
    check_numbers(logprobs, json_object_get(c, "token_logprobs"), (size_t)s.b.n_out, "logprob of a token");
}

static inline int32_t best_of(const float *logits, int V)
{
    int best = 0;
    for (int v = 1; v < V; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

/* Appends the rows ids[from..to) to the cache; the last row's best next token. */
static inline int32_t decode(const golden *g, kv_cache *kv, const one_sequence *s, int from, int to)
{
    int32_t table[PAGES], row_seq[LONGEST] = { 0 };
    const int32_t last = to - from - 1;
    const int V = g->model->config.vocab;
    float *host = xmalloc(sizeof(float) * (size_t)V);
    for (int i = 0; i < PAGES; i++) table[i] = PAGES - 1 - i;
    const decode_batch b = { .T = to - from,
                             .ids = s->ids + from,
                             .positions = s->positions + from,
                             .row_seq = row_seq,
                             .table = table,
                             .max_pages = PAGES,
                             .n_out = 1,
                             .out_rows = &last };
    device_scratch_reset(g->dev);
    device_copy_out(g->dev, host, model_decode(g->model->weights, kv, &b), sizeof(float) * (size_t)V);
    const int32_t id = best_of(host, V);
    free(host);
    return id;
}

static inline void check_greedy(const golden *g, const json_t *c)
{
    one_sequence s;
    error err = { 0 };
    int32_t want[LONGEST];
    one_sequence_of(&s, c);
    const int n = s.b.T, more = read_ids(c, "greedy_ids", want);
    kv_cache *kv = kv_cache_new(g->dev, &g->model->config, PAGES, &err);
    if (!kv) fail_msg("%s", err.text);
    assert_true(more >= 16 && n + more <= LONGEST);
    for (int i = 0; i < more; i++) {
        const int at = n + i; /* tokens known */
        s.ids[at] = decode(g, kv, &s, i == 0 ? 0 : at - 1, at);
        s.positions[at] = at;
        if (s.ids[at] != want[i]) fail_msg("greedy token %d: got %d, want %d", i, s.ids[at], want[i]);
    }
    kv_cache_free(kv);
}

/* A thread of an emulated GPU is a fiber of one core: there the shorter cases will do. */
static inline size_t most_ids(void) { return getenv("TROUPE_TEST_DEVICE") ? 41 : LONGEST; }

static inline void check_cases(const golden *g)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(g->json, "cases"), i, c)
    {
        if (json_array_size(json_object_get(c, "ids")) > most_ids()) continue;
        check_forward(g, c);
        check_greedy(g, c);
    }
}

static inline void check_folder(const char *name)
{
    golden g = golden_open(name);
    check_cases(&g);
    golden_close(&g);
}

/* ---- gradients ---- */

/* Of the sum of a case's logprobs, by every parameter: [total], the caller frees. */
static inline float *gradients_of(const golden *g, const json_t *c, const forward_options *options)
{
    one_sequence s;
    error err = { 0 };
    const int64_t total = g->model->table->total;
    one_sequence_of(&s, c);
    float *host = xmalloc(sizeof(float) * (size_t)total), *grads = device_alloc(g->dev, sizeof(float) * (size_t)total),
          dlogprob[LONGEST];
    for (int i = 0; i < s.b.n_out; i++) dlogprob[i] = 1;
    device_scratch_reset(g->dev);
    device_ops(g->dev)->zero(g->dev, grads, total);
    const activations *acts = model_forward(g->model->weights, &s.b, options);
    float *on_device = device_scratch(g->dev, sizeof dlogprob);
    device_copy_in(g->dev, on_device, dlogprob, sizeof(float) * (size_t)s.b.n_out);
    model_backward(g->model->weights, &s.b, acts, on_device, &(grad_split){ .K = 1 }, grads, NULL);
    test_ok(device_sync(g->dev, &err), &err);
    device_copy_out(g->dev, host, grads, sizeof(float) * (size_t)total);
    device_free(g->dev, grads);
    return host;
}

/* Relative to the largest element of the parameter's gradient. */
static inline void check_gradient(const param *p, const float *got, const safetensors *st)
{
    error err = { 0 };
    const tensor_view *v = safetensors_find(st, p->name);
    if (!v || v->count != p->count) fail_msg("%s: no such gradient", p->name);
    float *want = xmalloc(sizeof(float) * (size_t)p->count);
    test_ok(safetensors_to_f32(v, want, &err), &err);
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < p->count; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
    }
    if (!(largest > 0 && worst <= 1e-4 * largest)) fail_msg("%s: off by %g of %g", p->name, worst, largest);
    free(want);
}

static inline void check_gradients(const golden *g)
{
    error err = { 0 };
    char path[1024];
    const json_t *c = json_array_get(json_object_get(g->json, "cases"), 0);
    safetensors *st = safetensors_open(path_join(path, sizeof path, g->model->dir, "gradients.safetensors"), &err);
    if (!st) fail_msg("%s", err.text);
    assert_int_equal(safetensors_count(st), g->model->table->n);
    for (int recompute = 0; recompute <= 1; recompute++) {
        float *got = gradients_of(g, c, &(forward_options){ .keep = true, .recompute = recompute });
        for (int i = 0; i < g->model->table->n; i++)
            check_gradient(&g->model->table->items[i], got + g->model->table->items[i].offset, st);
        free(got);
    }
    safetensors_close(st);
}

static inline void check_family(const char *name)
{
    golden g = golden_open(name);
    check_gradients(&g);
    golden_close(&g);
    check_folder(name);
}
