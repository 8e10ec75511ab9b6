/* SPDX-License-Identifier: MIT */
#include "learner/pretrain.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/memory.h"
#include "base/vec.h"
#include "learner/micro_tokens.h"
#include "model/transformer.h"

struct pretrainer {
    pretrain_config config;
    weights *w; /* borrowed */
    optimizer *optimizer;
    float *grads;
    arena *step;
    int64_t done;
};

typedef struct corpus {
    int32_t *ids, *starts; /* documents end to end; starts [n + 1] */
    int n, tokens, targets;
} corpus;

static int make(void *ctx, error *err)
{
    pretrainer *p = ctx;
    p->optimizer = optimizer_new(&p->config.optim, p->w, NULL, err);
    if (!p->optimizer) return ERR_MEMORY;
    p->grads = device_alloc(p->w->dev, sizeof(float) * (size_t)p->w->table->total);
    return OK;
}

pretrainer *pretrainer_new(const pretrain_config *config, weights *w, error *err)
{
    pretrainer *p = xcalloc(1, sizeof *p);
    p->config = *config;
    const micro_budget budget = { .memory = memory_size(""), .beside = micro_tokens_beside(w->dev, w->table) };
    if (p->config.micro_tokens <= 0) p->config.micro_tokens = micro_tokens_for(w->dev, w->table, &budget);
    p->w = w;
    p->step = arena_new(1 << 20);
    if (device_guard(w->dev, make, p, err) == OK) return p;
    pretrainer_free(p);
    return NULL;
}

int pretrainer_micro_tokens(const pretrainer *p) { return p->config.micro_tokens; }

void pretrainer_free(pretrainer *p)
{
    if (!p) return;
    optimizer_free(p->optimizer, p->w->dev);
    device_free(p->w->dev, p->grads);
    arena_free(p->step);
    free(p);
}

static int gather(pretrainer *p, corpus *c, error *err)
{
    const pretrain_config *cfg = &p->config;
    const double progress = (double)p->done / (double)cfg->steps;
    const int room = cfg->tokens_per_step + cfg->max_sequence;
    *c = (corpus){ .ids = arena_array(p->step, int32_t, room), .starts = arena_array(p->step, int32_t, room + 1) };
    c->starts[0] = 0;

    for (int empty = 0; c->tokens < cfg->tokens_per_step;) {
        int n = 0;
        if (cfg->next(cfg->ctx, progress, c->ids + c->tokens, cfg->max_sequence, &n, err) != OK)
            return err ? err->code : ERR_SCRIPT;

        if (n < 2 && ++empty > 1000) /* a document of one token has nothing to predict */
            return error_set(err, ERR_SCRIPT,
                             "the document generator gave a thousand documents of less than two tokens");
        if (n < 2) continue;

        c->tokens += n;
        c->targets += n - 1;
        c->starts[++c->n] = c->tokens;
    }
    return OK;
}

/* Documents [begin, end) as a batch: every token but a document's last predicts its successor. */
static token_batch batch_of(pretrainer *p, const corpus *c, int begin, int end)
{
    const int n = c->starts[end] - c->starts[begin], S = end - begin;
    int32_t *ids = arena_array(p->step, int32_t, n), *positions = arena_array(p->step, int32_t, n);
    int32_t *rows = arena_array(p->step, int32_t, n), *targets = arena_array(p->step, int32_t, n);
    int32_t *starts = arena_array(p->step, int32_t, S + 1);
    token_batch b = {
        .S = S, .ids = ids, .positions = positions, .starts = starts, .out_rows = rows, .targets = targets
    };

    for (int d = begin; d < end; d++) {
        starts[d - begin] = b.T;
        for (int i = c->starts[d]; i + 1 < c->starts[d + 1]; i++) {
            ids[b.T] = c->ids[i];
            positions[b.T] = i - c->starts[d];
            rows[b.n_out] = b.T++;
            targets[b.n_out++] = c->ids[i + 1];
        }
    }
    starts[S] = b.T;
    return b;
}

static int micro_step(pretrainer *p, const token_batch *b, double token_weight, double *loss, error *err)
{
    device *dev = p->w->dev;
    const forward_options options = { .keep = true };
    const size_t bytes = sizeof(float) * (size_t)b->n_out;
    device_scratch_reset(dev);
    const activations *acts = model_forward(p->w, b, &options);
    if (device_sync(dev, err) != OK) return err ? err->code : ERR_DEVICE;

    /* The mean negative log-likelihood: its derivative by each target's logprob is the same. */
    float *logprob = arena_array(p->step, float, b->n_out), *dlogprob = arena_array(p->step, float, b->n_out);
    device_copy_out(dev, logprob, acts->logprob, bytes);
    for (int i = 0; i < b->n_out; i++) {
        *loss -= token_weight * (double)logprob[i];
        dlogprob[i] = (float)-token_weight;
    }

    float *on_device = device_scratch(dev, bytes);
    device_copy_in(dev, on_device, dlogprob, bytes);
    model_backward(p->w, b, acts, on_device, &(grad_split){ .K = 1 }, p->grads, NULL);
    return device_sync(dev, err);
}

/* The gradient of the corpus, as many documents at a time as a micro-batch holds: one at least. */
static int add_gradients(pretrainer *p, const corpus *c, double *loss, error *err)
{
    device_ops(p->w->dev)->zero(p->w->dev, p->grads, p->w->table->total);
    for (int begin = 0, end; begin < c->n; begin = end) {
        end = begin + 1;
        while (end < c->n && c->starts[end + 1] - c->starts[begin] <= p->config.micro_tokens) end++;
        const token_batch b = batch_of(p, c, begin, end);
        const int rc = micro_step(p, &b, 1.0 / c->targets, loss, err);
        if (rc != OK) return rc;
    }
    return OK;
}

static int step(pretrainer *p, pretrain_report *report, error *err)
{
    corpus c;
    optim_report done;
    double loss = 0;
    arena_reset(p->step);

    int rc = gather(p, &c, err);
    if (rc == OK) rc = add_gradients(p, &c, &loss, err);
    if (rc == OK) rc = optimizer_step(p->optimizer, p->w, p->grads, p->done + 1, &done, err);
    if (rc != OK) return error_within(err, "pretrain step %" PRId64, p->done + 1);

    weights_seal(p->w, p->w->version + 1);
    p->done++;
    *report = (pretrain_report){
        .loss = loss, .grad_norm = done.grad_norm, .lr = done.lr, .tokens = c.tokens, .documents = c.n
    };
    return OK;
}

typedef struct stepping {
    pretrainer *p;
    pretrain_report *report;
} stepping;

static int step_guarded(void *ctx, error *err)
{
    const stepping *s = ctx;
    return step(s->p, s->report, err);
}

int pretrainer_step(pretrainer *p, pretrain_report *report, error *err)
{
    return device_guard(p->w->dev, step_guarded, &(stepping){ p, report }, err);
}
