/* SPDX-License-Identifier: MIT */
#include "run/pretraining.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/vec.h"
#include "learner/pretrain.h"
#include "model/hf_folder.h"
#include "model/model_folder.h"
#include "model/tokenizer/tokenizer.h"
#include "run/pretraining_file.h"

typedef struct pretraining {
    FILE *to; /* for what is said on the way */
    pretraining_file file;
    model_folder out;
    device *device;
    hf_folder *model;
    tokenizer *tokenizer;
    int32_t eos; /* -1: the model has none */
    token_ids ids;
} pretraining;

/* ---- signals ---- */

static volatile sig_atomic_t stop_asked; /* a handler has no other way to say it */

static void on_signal(int signal)
{
    (void)signal;
    stop_asked = 1;
}

/* A second signal has the same handler: who can't wait for the step takes SIGKILL, and nothing is written in either
 * case. */
static void take_signals(void)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
}

/* ---- begin ---- */

static int check_vocabulary(const pretraining *p, error *err)
{
    const int have = p->model->config.vocab, need = tokenizer_vocab(p->tokenizer);
    if (need <= have) return OK;
    return error_set(err, ERR_PARSE, "%s: the tokenizer has %d tokens, config.json a vocab_size of %d",
                     p->file.keys.model, need, have);
}

static int open_model(pretraining *p, error *err)
{
    const pretraining_keys *k = &p->file.keys;
    if (!(p->device = device_open("cpu", (int)k->threads, err))) return err->code;
    if (!(p->model = hf_folder_open_config(k->model, p->device, err))) return err->code;
    if (!(p->tokenizer = tokenizer_open(k->model, err))) return err->code;
    if (check_vocabulary(p, err) != OK) return err->code;

    p->model->weights = weights_new(p->device, p->model->table, err);
    return p->model->weights ? OK : err->code;
}

static int open_all(pretraining *p, const pretraining_options *o, error *err)
{
    if (pretraining_file_open(&p->file, o->file, o->words, o->n_words, err) != OK) return err->code;
    if (model_folder_begin(&p->out, p->file.keys.out, p->file.keys.model, err) != OK) return err->code;
    return open_model(p, err);
}

static void draw_weights(pretraining *p)
{
    const pretraining_keys *k = &p->file.keys;
    const model_config *mc = &p->model->config;
    float std = 1.0f / sqrtf((float)mc->width); /* a row's product with a normed activation then has variance 1 */
    if (k->init_std > 0) std = (float)k->init_std;

    if (mc->n_eos > 0) p->eos = mc->eos[0]; /* of several the first: generation stops at any */
    weights_init(p->model->weights, (uint64_t)k->seed, std);
    weights_seal(p->model->weights, 0);
}

/* ---- documents as tokens ---- */

/* A document that is too long loses its end, but not the token that ends it: a model has to learn to stop. */
static int next_document(void *ctx, double progress, int32_t *out, int max, int *n, error *err)
{
    pretraining *p = ctx;
    const str *text;
    if (pretraining_file_next(&p->file, progress, &text, err) != OK) return err->code;

    p->ids.len = 0;
    if (tokenizer_encode(p->tokenizer, text->data, text->len, false, &p->ids, err) != OK) return err->code;

    int kept = (int)p->ids.len;
    if (kept > max - 1) kept = max - 1;
    if (kept > 0) memcpy(out, p->ids.data, sizeof *out * (size_t)kept);
    *n = kept;
    if (p->eos >= 0) out[(*n)++] = p->eos;
    return OK;
}

/* ---- training ---- */

static pretrain_config config_of(pretraining *p)
{
    const pretraining_keys *k = &p->file.keys;
    pretrain_config c = { .steps = k->steps,
                          .tokens_per_step = (int)k->tokens_per_step,
                          .max_sequence = (int)k->max_sequence,
                          .micro_tokens = (int)k->micro_tokens,
                          .next = next_document,
                          .ctx = p };

    c.optim = (optim_config){ .schedule = LR_COSINE,
                              .min_lr_ratio = 0.1, /* the key's help says so */
                              .total_steps = k->steps,
                              .lr = k->lr,
                              .warmup = k->warmup,
                              .weight_decay = k->weight_decay,
                              .beta1 = k->beta1,
                              .beta2 = k->beta2,
                              .clip_norm = k->clip_norm };
    return c;
}

/* What a line of progress sums up. */
typedef struct tally {
    int64_t began_ms; /* of the training */
    double tokens;    /* since then */
    double loss;      /* of the steps since the last line */
} tally;

static void print_progress(const pretraining *p, const tally *s, int64_t step)
{
    const pretraining_keys *k = &p->file.keys;
    const double seconds = (double)(clock_ms() - s->began_ms + 1) * 1e-3; /* never 0 */
    const double left = seconds / (double)step * (double)(k->steps - step);
    fprintf(p->to, "step %" PRId64 "/%" PRId64 "  loss %.3f  %.2fM tokens  %.0fk tok/s  %.0f s left\n", step, k->steps,
            s->loss / (double)k->report_every, s->tokens * 1e-6, s->tokens / seconds * 1e-3, left);
    fflush(p->to);
}

static int make_steps(const pretraining *p, pretrainer *trainer, error *err)
{
    const pretraining_keys *k = &p->file.keys;
    tally s = { .began_ms = clock_ms() };
    for (int64_t step = 1; step <= k->steps && !stop_asked; step++) {
        pretrain_report report = { 0 };
        if (pretrainer_step(trainer, &report, err) != OK) return err->code;

        s.loss += report.loss;
        s.tokens += report.tokens;
        if (step % k->report_every) continue;
        print_progress(p, &s, step);
        s.loss = 0;
    }
    return stop_asked ? error_set(err, ERR_INTERRUPTED, "stopped; nothing was written") : OK;
}

static int train(pretraining *p, error *err)
{
    const pretrain_config c = config_of(p);
    pretrainer *trainer = pretrainer_new(&c, p->model->weights, err);
    if (!trainer) return err->code;

    const int rc = make_steps(p, trainer, err);
    if (rc == ERR_MEMORY)
        error_set(err, rc, "%s; lower micro_tokens (%d now) or max_sequence (%d now)", err->text,
                  pretrainer_micro_tokens(trainer), c.max_sequence);
    pretrainer_free(trainer);
    return rc;
}

/* ---- all of it ---- */

static int make_model(pretraining *p, error *err)
{
    const char *dir = p->file.keys.model;
    draw_weights(p);
    fprintf(p->to, "%s: %" PRId64 " parameters on %s\n", dir, p->model->table->total, device_name(p->device));
    if (train(p, err) != OK) return err->code;
    return hf_folder_fill(p->out.part, dir, p->model->weights, DTYPE_F32, err);
}

static void close_all(pretraining *p)
{
    hf_folder_close(p->model);
    tokenizer_free(p->tokenizer);
    vec_free(&p->ids);
    device_close(p->device);
    pretraining_file_close(&p->file);
}

int run_pretraining(const pretraining_options *o, FILE *to, error *err)
{
    pretraining p = { .to = to, .eos = -1 };
    take_signals();

    int rc = open_all(&p, o, err);
    if (rc == OK) rc = make_model(&p, err);

    const int placed = model_folder_end(&p.out, rc == OK, rc == OK ? err : NULL);
    if (rc == OK) rc = placed;
    if (rc == OK) fprintf(to, "wrote %s\n", p.file.keys.out);
    close_all(&p);
    return rc;
}

void pretraining_print_keys(FILE *to)
{
    for (const option *r = PRETRAINING_OPTIONS.rows; r->key; r++)
        fprintf(to, "  %-16s %-9s %s\n", r->key, r->fallback ? r->fallback : "required", r->help);
}
