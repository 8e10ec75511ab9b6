/* SPDX-License-Identifier: MIT */
/* adapter - a LoRA in the trainer's step: the optimizer steps the adapter's matrices (small: several learners step
 * all of it, each), and the policy is the model with the adapter merged. */
#include "learner/finite.h"
#include "learner/method.h"

static int read_targets(void *config, const json_t *value, option_reading *r)
{
    lora_config *c = &((trainer_config *)config)->lora;
    const size_t n = json_array_size(value);

    if (n == 0) return option_expected(r, "lora.targets", "a list of matrices: { \"q_proj\", \"v_proj\" }");
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(value, i));
        const uint32_t bit = name ? lora_target(name) : 0;
        if (!bit)
            return option_expected(
                r, "lora.targets",
                "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, qkv_proj, gate_up_proj");
        c->targets |= bit;
    }
    return OK;
}

#define AT(member) OPTION_AT(trainer_config, member)

static const option ROWS[] = {
    { "lora.rank", OPTION_WHOLE, AT(lora.rank), 0, 4096, "0",
      .help = "rank of low-rank adapters; 0: every parameter is trained",
      .more = "LoRA (arXiv 2106.09685): only two thin matrices beside each chosen one are trained. Saves the "
              "moments' memory, not the forward pass's. `troupe export` merges an adapter.",
      .elsewhere = "lora_rank lora_r lora.r" },
    { "lora.alpha", OPTION_NUMBER, AT(lora.alpha), 0, 1e6, "16", .help = "an adapter counts alpha / rank",
      .more = "Change it with the rank to keep the adapters' size; it acts like a factor on their learning rate.",
      .elsewhere = "lora_alpha" },
    { "lora.targets", OPTION_VALUE, 0, 0, 0, 0, "all", .read = read_targets,
      .help = "list of the matrices that have adapters; absent: all of every layer",
      .more =
          "Out of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; models whose q, k and v, or gate "
          "and up, are one matrix have qkv_proj and gate_up_proj instead. In a model with experts: attention's only.",
      .elsewhere = "target_modules" },
    { 0 },
};

static const option_table OPTIONS = { .after = "optim.freeze_every", .rows = ROWS };

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

/* The matrices with their panels, gradient and moments; and what they are added to, kept as it was. */
static void need(const method_place *m, memory_need *to)
{
    int64_t frozen;
    const uint64_t floats = sizeof(float) * (uint64_t)lora_floats(&m->config->lora, m->table, &frozen);
    to->bytes[MEMORY_WEIGHTS] += 2 * floats + sizeof(float) * (uint64_t)frozen;
    to->bytes[MEMORY_GRADIENTS] += floats;
    to->bytes[MEMORY_MOMENTS] += 2 * floats;
}

const method METHOD_LORA = {
    .name = "lora",
    .options = &OPTIONS,
    .wanted = wanted,
    .open = open,
    .at = { [AT_UPDATE] = project, [AT_UPDATED] = merge },
    .need = need,
};
