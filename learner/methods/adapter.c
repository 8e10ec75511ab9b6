/* SPDX-License-Identifier: MIT */
/* adapter - a LoRA in the trainer's step: the optimizer steps the adapter's matrices (small: several learners step
 * all of it, each), and the policy is the model with the adapter merged. */
#include "learner/finite.h"
#include "learner/method.h"

static bool wanted(const trainer_config *c) { return c->lora.rank > 0; }

static int open(trainer_parts *p, void **self, error *err)
{
    (void)self;
    if (!(p->lora = lora_new(&p->config->lora, p->w, p->config->seed, err))) return err ? err->code : ERR_ARGUMENT;
    p->trained = p->lora->w;
    p->trained_grads = device_alloc(p->w->dev, sizeof(float) * (size_t)p->lora->table->total);
    return OK;
}

/* The whole model's gradient becomes that of the adapter. */
static int project(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    trainer_parts *p = s->parts;
    if (p->shard) shard_gather(p->shard, p->w->dev, p->grads);
    lora_project(p->lora, p->grads, p->trained_grads);
    return OK;
}

static int merge(void *self, train_step *s, error *err)
{
    (void)self;
    trainer_parts *p = s->parts;
    lora_merge(p->lora, p->w);
    return finite_check(p->w->dev, p->w->table, p->w->data, "the weights", err);
}

extern const method METHOD_LORA;
const method METHOD_LORA = {
    .name = "lora",
    .wanted = wanted,
    .open = open,
    .at = { [AT_UPDATE] = project, [AT_UPDATED] = merge },
};
