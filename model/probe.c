/* SPDX-License-Identifier: MIT */
#include "model/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/decode.h"
#include "model/transformer.h"

/* ---- what is asked ---- */

static int open_tokenizer(probe *p, const probe_request *r, error *err)
{
    char path[1200];
    const bool has_one = file_exists(path_join(path, sizeof path, r->model, "tokenizer.json"));
    if (!has_one && !r->text) return OK;
    p->tokenizer = tokenizer_open(r->model, err);
    return p->tokenizer ? OK : err->code;
}

static int open_all(probe *p, const probe_request *r, error *err)
{
    if (!(p->dev = device_open(r->device, 0, err))) return err->code;
    device_set_precision(p->dev, r->precision);
    if (!(p->model = hf_folder_open(r->model, p->dev, err))) return err->code;
    return open_tokenizer(p, r, err);
}

static int check_ids(const token_ids *ids, const model_config *c, int greedy, error *err)
{
    const size_t n = ids->len;
    if (n == 0) return error_set(err, ERR_ARGUMENT, "there is no token to probe (the text is empty)");
    if (n + (size_t)greedy > (size_t)c->max_position)
        return error_set(err, ERR_ARGUMENT, "%zu tokens and %d more: the model has %d positions", n, greedy,
                         c->max_position);

    for (size_t i = 0; i < n; i++)
        if (ids->data[i] >= c->vocab)
            return error_set(err, ERR_ARGUMENT, "id %d: the model's vocabulary ends at %d", ids->data[i], c->vocab - 1);
    return OK;
}

static int read_ids(probe *p, const probe_request *r, error *err)
{
    if (r->text) {
        const int rc = tokenizer_encode(p->tokenizer, r->text, strlen(r->text), true, &p->ids, err);
        if (rc != OK) return rc;
    } else {
        for (size_t i = 0; i < r->ids->len; i++) vec_push(&p->ids, r->ids->data[i]);
    }
    if (check_ids(&p->ids, &p->model->config, r->greedy, err) != OK) return ERR_ARGUMENT;
    p->n = p->ids.len;

    for (int i = 0; i < r->greedy; i++) vec_push(&p->ids, 0); /* room for what comes */
    p->positions = xmalloc(sizeof *p->positions * p->ids.len);
    for (size_t i = 0; i < p->ids.len; i++) p->positions[i] = (int32_t)i;
    return OK;
}

/* ---- what the model computes ---- */

/* Weights may be finite, and so large that what they compute is not. */
static int check_logits(const probe *p, error *err)
{
    for (int v = 0; v < p->model->config.vocab; v++)
        if (!isfinite(p->logits[v]))
            return error_set(err, ERR_STATE, "the logits are not finite: the model's numbers are damaged or too large");
    return OK;
}

static int run_forward(probe *p, error *err)
{
    const int32_t n = (int32_t)p->n, starts[2] = { 0, n };
    const token_batch b = { .T = n,
                            .S = 1,
                            .ids = p->ids.data,
                            .positions = p->positions,
                            .starts = starts,
                            .n_out = n - 1,
                            .out_rows = p->positions,
                            .targets = p->ids.data + 1 };
    p->logits = xmalloc(sizeof(float) * (size_t)p->model->config.vocab);
    p->logprobs = xmalloc(sizeof(float) * p->n);

    model_last_logits(p->model->weights, &b, p->logits);
    device_scratch_reset(p->dev);
    if (n > 1) { /* a token alone has no logprob */
        const activations *acts = model_forward(p->model->weights, &b, &(forward_options){ .temperature = 1 });
        device_copy_out(p->dev, p->logprobs, acts->logprob, sizeof(float) * (size_t)(n - 1));
    }
    const int rc = device_sync(p->dev, err);
    return rc == OK ? check_logits(p, err) : rc;
}

int32_t probe_likeliest(const float *logits, int V)
{
    int32_t best = 0;
    for (int32_t v = 1; v < V; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

/* A sequence as it is decoded, in pages 0, 1, ... */
typedef struct decoding {
    kv_cache *kv;
    const int32_t *pages;
    int32_t *zeros; /* [n] all rows are of sequence 0 */
    float *logits;  /* [V] of the last row */
} decoding;

static int decode_rows(const probe *p, const decoding *d, int from, int to, error *err)
{
    const int32_t last = to - from - 1;
    const decode_batch b = { .T = to - from,
                             .ids = p->ids.data + from,
                             .positions = p->positions + from,
                             .row_seq = d->zeros,
                             .table = d->pages,
                             .max_pages = d->kv->n_pages,
                             .n_out = 1,
                             .out_rows = &last };
    device_scratch_reset(p->dev);
    const float *logits = model_decode(p->model->weights, d->kv, &b);
    device_copy_out(p->dev, d->logits, logits, sizeof(float) * (size_t)p->model->config.vocab);
    return device_sync(p->dev, err);
}

/* First all that was asked, then a token at a time. */
static int go_on(probe *p, const decoding *d, error *err)
{
    const int n = (int)p->n, all = (int)p->ids.len;
    for (int at = n; at < all; at++) {
        const int rc = decode_rows(p, d, at == n ? 0 : at - 1, at, err);
        if (rc != OK) return rc;
        p->ids.data[at] = probe_likeliest(d->logits, p->model->config.vocab);
    }
    return OK;
}

static int run_greedy(probe *p, error *err)
{
    const int all = (int)p->ids.len;
    if (p->ids.len == p->n) return OK;

    decoding d = { .pages = p->positions }; /* page i is the i-th */
    if (!(d.kv = kv_cache_new(p->dev, &p->model->config, (all + KV_PAGE - 1) / KV_PAGE, err))) return err->code;
    d.zeros = xcalloc(p->n, sizeof *d.zeros);
    d.logits = xmalloc(sizeof *d.logits * (size_t)p->model->config.vocab);

    const int rc = go_on(p, &d, err);
    free(d.logits);
    free(d.zeros);
    kv_cache_free(d.kv);
    return rc;
}

int probe_run(probe *p, const probe_request *r, error *err)
{
    int rc = open_all(p, r, err);
    if (rc == OK) rc = read_ids(p, r, err);
    if (rc == OK) rc = run_forward(p, err);
    if (rc == OK) rc = run_greedy(p, err);
    return rc;
}

void probe_reset(probe *p)
{
    free(p->logits);
    free(p->logprobs);
    free(p->positions);
    vec_free(&p->ids);
    tokenizer_free(p->tokenizer);
    hf_folder_close(p->model);
    device_close(p->dev);
}
