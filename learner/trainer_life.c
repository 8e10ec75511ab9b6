/* SPDX-License-Identifier: MIT */
/* A trainer's birth and end: the methods that its configuration wants are chosen, what it holds is made and freed.
 * What it does in a step is in trainer.c; the struct that both see is in trainer_inside.h. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/str.h"
#include "learner/finite.h"
#include "learner/micro_tokens.h"
#include "learner/trainer_inside.h"

static int choose_methods(trainer *t, error *err)
{
    const trainer_config *c = &t->config;
    if (objective_weighing(&c->objectives) == 0)
        return error_set(err, ERR_ARGUMENT,
                         "reward.objectives has no objective with a weight above 0: there is nothing to learn");

    for (int i = 0; METHODS[i]; i++) {
        const method *m = METHODS[i];
        if (!m->wanted(c)) continue;
        if (m->check && m->check(c, err) != OK) return err ? err->code : ERR_UNSUPPORTED;
        t->methods[t->n++] = m;
    }
    return OK;
}

/* ---- what it takes ---- */

/* A LoRA alone steps another table than the model's; its method states those moments itself. */
static uint64_t moments_bytes(const trainer_config *c, const param_table *t, int learners)
{
    return c->lora.rank > 0 ? 0 : 2 * sizeof(float) * (uint64_t)t->total / (uint64_t)(learners > 1 ? learners : 1);
}

void trainer_need(const trainer_config *c, const device *dev, const param_table *t, int learners, int tokens,
                  memory_need *need)
{
    const pass_size size = { .T = tokens, .n_out = tokens, .sides = pass_cotangents(c), .recompute = c->recompute };
    need->bytes[MEMORY_WEIGHTS] += weights_bytes(dev, t);
    need->bytes[MEMORY_GRADIENTS] += sizeof(float) * (uint64_t)t->total;
    need->bytes[MEMORY_MOMENTS] += moments_bytes(c, t, learners);
    if (tokens > 0) need->bytes[MEMORY_ACTIVATIONS] += model_pass_bytes(dev, t, &size);
    if (learners > 1 && c->moo.over == MOO_OVER_NOTHING) /* slabs, until the last micro-batch is exchanged */
        need->bytes[MEMORY_GRADIENTS] += bucket_slab_bytes(&c->moo.bucket, t);

    const method_place place = { .config = c, .dev = dev, .table = t, .learners = learners, .tokens = tokens };
    for (int i = 0; METHODS[i]; i++)
        if (METHODS[i]->need && METHODS[i]->wanted(c)) METHODS[i]->need(&place, need);
}

int trainer_tokens(const trainer_config *c, const device *dev, const param_table *t, int learners)
{
    memory_need fixed = { 0 };
    if (c->micro_tokens > 0) return c->micro_tokens;
    trainer_need(c, dev, t, learners, 0, &fixed);
    const micro_budget budget = {
        .memory = memory_size(""), .learners = learners, .beside = memory_need_total(&fixed), .recompute = c->recompute
    };
    return micro_tokens_for(dev, t, &budget);
}

/* ---- birth ---- */

/* What a recipe may leave open. */
static void fill_in(trainer_config *c, const weights *w)
{
    c->micro_tokens = trainer_tokens(c, w->dev, w->table, many_learners(c) ? c->comm->size : 1);
    if (c->epochs < 1) c->epochs = 1;
    if (c->temperature <= 0) c->temperature = 1; /* greedy sampling is recorded at temperature 1 */
}

/* Under the device's guard: what is made so far is in `t`. */
static int open_parts(void *ctx, error *err)
{
    trainer *t = ctx;
    trainer_parts *p = &t->parts;
    device *dev = p->w->dev;
    if (finite_check(dev, p->w->table, p->w->data, "the model's weights", err) != OK)
        return err ? err->code : ERR_STATE;
    p->grads = device_alloc(dev, sizeof(float) * (size_t)p->w->table->total);
    p->arena = arena_new(1 << 20);

    p->trained = p->w;
    p->trained_grads = p->grads;
    for (int i = 0; i < t->n; i++)
        if (t->methods[i]->open) {
            const int rc = t->methods[i]->open(p, &t->own[i], err);
            if (rc != OK) return rc;
        }

    /* An adapter is small: every learner steps all of it. */
    p->optimizer = optimizer_new(&t->config.optim, p->trained, p->lora ? NULL : p->shard, err);
    if (!p->optimizer) return ERR_MEMORY;
    if (p->n_cuts > 0) optimizer_cut(p->optimizer, p->cuts, p->n_cuts);
    return OK;
}

trainer *trainer_new(const trainer_config *config, weights *w, error *err)
{
    trainer *t = xcalloc(1, sizeof *t);
    *t = (trainer){ .config = *config, .picked = config->micro_tokens <= 0 };
    t->parts = (trainer_parts){ .config = &t->config, .w = w };
    fill_in(&t->config, w);
    if (choose_methods(t, err) == OK && device_guard(w->dev, open_parts, t, err) == OK) return t;
    trainer_free(t);
    return NULL;
}

void trainer_free(trainer *t)
{
    if (!t) return;
    trainer_parts *p = &t->parts;
    device *dev = p->w->dev;
    optimizer_free(p->optimizer, dev);
    for (int i = t->n - 1; i >= 0; i--)
        if (t->methods[i]->close) t->methods[i]->close(p, t->own[i]);

    bucket_set_free(p->buckets); /* before the shard that it exchanges by */
    shard_free(p->shard);
    weights_free(p->reference);
    if (p->trained_grads != p->grads) device_free(dev, p->trained_grads);
    device_free(dev, p->grads);
    lora_free(p->lora);
    arena_free(p->arena);
    state_free(t->before);
    free(t);
}

int trainer_check(const trainer *t, error *err)
{
    const trainer_parts *p = &t->parts;
    const weights *moving = t->config.reference_every > 0 ? p->reference : NULL;
    int rc = optimizer_check(p->optimizer, p->trained, err);
    if (rc == OK && p->lora) rc = finite_check(p->w->dev, p->w->table, p->w->data, "the weights", err);
    if (rc == OK && moving) rc = finite_check(p->w->dev, p->w->table, moving->data, "the reference's weights", err);
    return rc;
}

int64_t trainer_version(const trainer *t) { return t->parts.w->version; }
int trainer_micro_tokens(const trainer *t) { return t->config.micro_tokens; }
bool trainer_whole(const trainer *t) { return !t->touched; }
optimizer *trainer_optimizer(trainer *t) { return t->parts.optimizer; }
lora *trainer_lora(trainer *t) { return t->parts.lora; }
weights *trainer_moving_reference(trainer *t) { return t->config.reference_every > 0 ? t->parts.reference : NULL; }

/* ---- memory ---- */

/* Whose gradients and means the numbers are: the names of objectives and data groups, in order. */
static void name_what_is_weighed(const trainer_config *c, saved_state *s)
{
    str names = { 0 };
    for (int k = 0; k < c->objectives.n; k++) str_item(&names, " ", c->objectives.items[k].name);
    state_same(s, "objectives", str_text(&names));
    str_clear(&names);
    for (int g = 0; g < c->moo.n_groups; g++) str_item(&names, " ", c->moo.groups[g]);
    state_same(s, "groups", str_text(&names));
    str_free(&names);
}

void trainer_state(trainer *t, saved_state *s)
{
    double micro_tokens = t->config.micro_tokens;
    state_section(s, "trainer", 1);
    state_numbers(s, "micro_tokens", &micro_tokens, 1, 1, INT32_MAX);
    if (t->picked) t->config.micro_tokens = (int)micro_tokens;
    name_what_is_weighed(&t->config, s);

    for (int i = 0; i < t->n; i++)
        if (t->methods[i]->state) t->methods[i]->state(t->own[i], &t->parts, s);
}
