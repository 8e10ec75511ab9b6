/* SPDX-License-Identifier: MIT */
/* troupe probe: what a model computes for one text, for people and for tests. The probabilities come from the packed
 * forward that the learner uses, the greedy continuation from the paged decode that the actor uses. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/vec.h"
#include "cli/verbs.h"
#include "model/decode.h"
#include "model/hf_folder.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transformer.h"

enum { TOP = 5 };

typedef struct request {
    const char *model, *text, *ids, *device;
    int greedy;
    bool json, bf16;
} request;

typedef struct probe {
    device *dev;
    hf_folder *model;
    tokenizer *tokenizer; /* NULL: the folder has none, and --ids were given */
    token_ids ids;        /* [n + greedy]: what was asked, then what the model would go on with */
    size_t n;
    int32_t *positions; /* [n + greedy] 0, 1, ... */
    float *logprobs;    /* [n - 1] of ids[1..n) */
    float *logits;      /* [V] behind ids[n - 1] */
} probe;

/* ---- what is asked ---- */

static const char USAGE[] =
    "usage: troupe probe --model DIR (--text T | --ids 1,2,3) [--greedy N] [--device NAME] [--bf16] [--json]\n\n"
    "Prints token ids, the log probability of each token after the first, given those before it, the logits\n"
    "behind the last one, and the N tokens that greedy decoding goes on with (it does not stop at an end token).\n"
    "Added tokens that are written out in the text count as such; none is added to it.\n\n"
    "  --json         {\"ids\":[],\"token_logprobs\":[],\"last_logits\":[],\"greedy_ids\":[]}, one logprob less "
    "than ids\n"
    "  --bf16         factors of linear products rounded to bf16, as with precision = \"bf16\"\n"
    "  --device NAME  cpu (default), cuda:0, auto\n\n"
    "example: troupe probe --model models/stagehand --text 'Question: 12 * 3' --greedy 16\n";

static int parse_ids(const char *text, token_ids *out, error *err)
{
    char *end;
    for (const char *p = text; *p; p = *end ? end + 1 : end) {
        const long id = strtol(p, &end, 10);
        if (end == p || (*end && *end != ',' && *end != ' ') || id < 0 || id > INT32_MAX)
            return error_set(err, ERR_ARGUMENT, "--ids: no id at '%.20s' (ids are written as 1,2,3)", p);
        vec_push(out, (int32_t)id);
    }
    return OK;
}

static int check_ids(const probe *p, int greedy, error *err)
{
    const model_config *c = &p->model->config;
    if (p->n == 0) return error_set(err, ERR_ARGUMENT, "there is no token to probe (the text is empty)");
    if (p->n + (size_t)greedy > (size_t)c->max_position)
        return error_set(err, ERR_ARGUMENT, "%zu tokens and %d more: the model has %d positions", p->n, greedy,
                         c->max_position);
    for (size_t i = 0; i < p->n; i++)
        if (p->ids.data[i] >= c->vocab)
            return error_set(err, ERR_ARGUMENT, "id %d: the model's vocabulary ends at %d", p->ids.data[i],
                             c->vocab - 1);
    return OK;
}

static int open_tokenizer(probe *p, const request *r, error *err)
{
    char path[1200];
    if (!r->text && !file_exists(path_join(path, sizeof path, r->model, "tokenizer.json"))) return OK;
    p->tokenizer = tokenizer_open(r->model, err);
    return p->tokenizer ? OK : err->code;
}

static int read_ids(probe *p, const request *r, error *err)
{
    const int rc = r->text ? tokenizer_encode(p->tokenizer, r->text, strlen(r->text), true, &p->ids, err)
                           : parse_ids(r->ids, &p->ids, err);
    if (rc != OK) return rc;
    p->n = p->ids.len;
    if (check_ids(p, r->greedy, err) != OK) return ERR_ARGUMENT;
    for (int i = 0; i < r->greedy; i++) vec_push(&p->ids, 0);
    p->positions = xmalloc(sizeof *p->positions * p->ids.len);
    for (size_t i = 0; i < p->ids.len; i++) p->positions[i] = (int32_t)i;
    return OK;
}

/* ---- what the model computes ---- */

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
    if (n > 1) {
        const activations *acts = model_forward(p->model->weights, &b, &(forward_options){ .temperature = 1 });
        device_copy_out(p->dev, p->logprobs, acts->logprob, sizeof(float) * (size_t)(n - 1));
    }
    return device_sync(p->dev, err);
}

static int32_t best_of(const float *logits, int V)
{
    int32_t best = 0;
    for (int32_t v = 1; v < V; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

/* One sequence in pages 0, 1, ...: rows ids[from..to) are appended, `logits` [V] are those of the last. */
static int decode_rows(probe *p, kv_cache *kv, const int32_t *pages, const int32_t *zeros, int from, int to,
                       float *logits, error *err)
{
    const int32_t last = to - from - 1;
    const decode_batch b = { .T = to - from,
                             .ids = p->ids.data + from,
                             .positions = p->positions + from,
                             .row_seq = zeros,
                             .table = pages,
                             .max_pages = kv->n_pages,
                             .n_out = 1,
                             .out_rows = &last };
    device_scratch_reset(p->dev);
    device_copy_out(p->dev, logits, model_decode(p->model->weights, kv, &b),
                    sizeof(float) * (size_t)p->model->config.vocab);
    return device_sync(p->dev, err);
}

static int run_greedy(probe *p, error *err)
{
    const int V = p->model->config.vocab, n = (int)p->n, all = (int)p->ids.len;
    if (all == n) return OK;
    kv_cache *kv = kv_cache_new(p->dev, &p->model->config, (all + KV_PAGE - 1) / KV_PAGE, err);
    if (!kv) return err->code;
    int32_t *zeros = xcalloc(p->n, sizeof *zeros); /* page i is the i-th, and all rows are of sequence 0 */
    float *logits = xmalloc(sizeof *logits * (size_t)V);
    int rc = OK;
    for (int at = n; rc == OK && at < all; at++) {
        rc = decode_rows(p, kv, p->positions, zeros, at == n ? 0 : at - 1, at, logits, err);
        if (rc == OK) p->ids.data[at] = best_of(logits, V);
    }
    free(logits);
    free(zeros);
    kv_cache_free(kv);
    return rc;
}

/* ---- what is printed ---- */

static void add_ids(str *s, const char *key, const int32_t *ids, size_t n)
{
    str_printf(s, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) str_printf(s, "%s%" PRId32, i ? "," : "", ids[i]);
    str_putc(s, ']');
}

/* Nine digits name a float exactly; what is no number has no name in JSON. */
static void add_floats(str *s, const char *key, const float *x, size_t n)
{
    str_printf(s, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i) str_putc(s, ',');
        if (isfinite(x[i]))
            str_printf(s, "%.9g", (double)x[i]);
        else
            str_puts(s, "null");
    }
    str_putc(s, ']');
}

static void print_json(const probe *p)
{
    str s = { 0 };
    str_putc(&s, '{');
    add_ids(&s, "ids", p->ids.data, p->n);
    str_putc(&s, ',');
    add_floats(&s, "token_logprobs", p->logprobs, p->n - 1);
    str_putc(&s, ',');
    add_floats(&s, "last_logits", p->logits, (size_t)p->model->config.vocab);
    str_putc(&s, ',');
    add_ids(&s, "greedy_ids", p->ids.data + p->n, p->ids.len - p->n);
    str_puts(&s, "}\n");
    fputs(s.data, stdout);
    str_free(&s);
}

static void add_text(const probe *p, const int32_t *ids, size_t n, str *s)
{
    str text = { 0 };
    if (!p->tokenizer) return;
    tokenizer_decode(p->tokenizer, ids, n, true, &text);
    str_putc(s, ' ');
    str_json(s, text.data ? text.data : "", text.len);
    str_free(&text);
}

/* The likeliest next tokens, best first. */
static void add_next(const probe *p, str *s)
{
    const int V = p->model->config.vocab;
    float *left = xmalloc(sizeof *left * (size_t)V);
    double sum = 0;
    const float max = p->logits[best_of(p->logits, V)];
    for (int v = 0; v < V; v++) sum += exp((double)p->logits[v] - (double)max);
    memcpy(left, p->logits, sizeof *left * (size_t)V);
    str_puts(s, "\nnext        id    logprob  token\n");
    for (int i = 0; i < TOP && i < V; i++) {
        const int32_t v = best_of(left, V);
        str_printf(s, "%4d  %8" PRId32 "  %9.4f ", i + 1, v, (double)p->logits[v] - (double)max - log(sum));
        add_text(p, &v, 1, s);
        str_putc(s, '\n');
        left[v] = -INFINITY;
    }
    free(left);
}

static void print_table(const probe *p)
{
    str s = { 0 };
    str_puts(&s, "   #        id    logprob  token\n");
    for (size_t i = 0; i < p->n; i++) {
        str_printf(&s, "%4zu  %8" PRId32 "  ", i, p->ids.data[i]);
        if (i > 0)
            str_printf(&s, "%9.4f ", (double)p->logprobs[i - 1]);
        else
            str_puts(&s, "        - ");
        add_text(p, &p->ids.data[i], 1, &s);
        str_putc(&s, '\n');
    }
    add_next(p, &s);
    if (p->ids.len > p->n) {
        str_puts(&s, "\ngreedy:");
        for (size_t i = p->n; i < p->ids.len; i++) str_printf(&s, " %" PRId32, p->ids.data[i]);
        str_putc(&s, '\n');
        add_text(p, p->ids.data + p->n, p->ids.len - p->n, &s);
        str_putc(&s, '\n');
    }
    fputs(s.data, stdout);
    str_free(&s);
}

static int run(probe *p, const request *r, error *err)
{
    int rc = (p->dev = device_open(r->device, 0, err)) ? OK : err->code;
    if (rc == OK) device_set_precision(p->dev, r->bf16 ? PRECISION_BF16 : PRECISION_F32);
    if (rc == OK) rc = (p->model = hf_folder_open(r->model, p->dev, err)) ? OK : err->code;
    if (rc == OK) rc = open_tokenizer(p, r, err);
    if (rc == OK) rc = read_ids(p, r, err);
    if (rc == OK) rc = run_forward(p, err);
    if (rc == OK) rc = run_greedy(p, err);
    if (rc != OK) return rc;
    if (r->json)
        print_json(p);
    else
        print_table(p);
    return OK;
}

static void probe_reset(probe *p)
{
    free(p->logits);
    free(p->logprobs);
    free(p->positions);
    vec_free(&p->ids);
    tokenizer_free(p->tokenizer);
    hf_folder_close(p->model);
    device_close(p->dev);
}

static int check(request *r, int64_t greedy, error *err)
{
    r->greedy = (int)greedy;
    if (!r->model) return error_set(err, ERR_ARGUMENT, "no --model (a folder with config.json and model.safetensors)");
    if (!r->text == !r->ids)
        return error_set(err, ERR_ARGUMENT, "one of --text and --ids is needed ('--help' shows an example)");
    return OK;
}

static int run_verb(call *c, error *err)
{
    request r = { .device = "cpu" };
    probe p = { 0 };
    int64_t greedy = 0;
    const flag flags[] = {
        { .name = "--model", .text = &r.model },   { .name = "--text", .any = &r.text },
        { .name = "--ids", .any = &r.ids },        { .name = "--greedy", .whole = &greedy, .min = 0, .max = 1 << 20 },
        { .name = "--device", .text = &r.device }, { .name = "--bf16", .present = &r.bf16 },
        { .name = "--json", .present = &r.json },  { 0 }
    };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    const int asked = check(&r, greedy, err);
    const int rc = asked == OK ? run(&p, &r, err) : asked;
    probe_reset(&p);
    return call_checked(c, rc);
}

const verb VERB_PROBE = { .name = "probe",
                          .synopsis = "--model DIR --text T",
                          .help = "token ids, logprobs and logits of a model",
                          .usage = USAGE,
                          .words = "no word: a text with spaces wants quotes",
                          .run = run_verb };
