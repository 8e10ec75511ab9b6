/* SPDX-License-Identifier: MIT */
/* reference - the policy that a KL is to: the model as the run found it, or, every so many versions, the policy of that
 * moment. In the loss the KL is learner/loss.h's; taken off the reward it is the second method of this file. */
#include "learner/methods/reference.h"

#include "learner/method.h"
#include "rollout/signal.h"

static const option ROWS[] = {
    { "algorithm.reference_every", OPTION_WHOLE, OPTION_AT(trainer_config, reference_every), 0, 1e9, "0",
      .help = "steps after which the KL's reference becomes the policy of that moment; 0: always the base model",
      .more = "A moving reference bounds how fast the policy changes instead of how far. Part of a checkpoint, so a "
              "resumed run has the same one." },
    { 0 },
};

static const option_table OPTIONS = { .after = "algorithm.reward_kl", .rows = ROWS };

static bool costs(const trainer_config *c) { return SETTINGS(c, REWARD_KL, reward_kl_config).coefficient > 0; }

static bool wanted(const trainer_config *c)
{
    return c->loss.kl > 0 || costs(c) || c->loss.imitation == IMITATION_ASFT;
}

static void copy_policy(trainer_parts *p)
{
    const struct ops *ops = device_ops(p->w->dev);
    const int64_t n = p->w->table->total;
    ops->zero(p->w->dev, p->reference->data, n);
    ops->add(p->w->dev, p->reference->data, p->w->data, n);
    weights_seal(p->reference, p->w->version);
}

static int open(trainer_parts *p, void **self, error *err)
{
    (void)self;
    if (!(p->reference = weights_new(p->w->dev, p->w->table, err))) return ERR_MEMORY;
    copy_policy(p);
    return OK;
}

static int move_on(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    const int64_t every = s->parts->config->reference_every;
    if (every > 0 && s->version % every == 0) copy_policy(s->parts);
    return OK;
}

/* Its weights, and its activations: they are there as long as the policy's. */
static void need(const method_place *m, memory_need *to)
{
    const pass_size size = { .T = m->tokens, .n_out = m->tokens };
    to->bytes[MEMORY_WEIGHTS] += weights_bytes(m->dev, m->table);
    if (m->tokens > 0) to->bytes[MEMORY_ACTIVATIONS] += model_forward_bytes(m->table, &size);
}

const method METHOD_REFERENCE = {
    .name = "reference",
    .options = &OPTIONS,
    .wanted = wanted,
    .open = open,
    .at = { [AT_SEALED] = move_on },
    .need = need,
};

/* ---- a KL as a cost of the reward ---- */

static const option COST_ROWS[] = {
    { "algorithm.reward_kl", OPTION_NUMBER, SETTINGS_AT(REWARD_KL, reward_kl_config, coefficient), 0, 100, "0.0",
      .help = "coefficient of a KL that is taken off the reward instead; 0: none",
      .more = "The episode's sum of log mu - log ref comes off the heaviest objective before it is normalised, as "
              "in PPO for RLHF. It then competes within the group; `algorithm.kl` holds all tokens alike." },
    { 0 },
};

static const option_table COST_OPTIONS = { .after = "algorithm.kl_kind", .rows = COST_ROWS };

/* What each episode's distance from the reference costs it: the coefficient times the sum of log mu - log ref over what
 * the policy wrote. An unbiased estimate of the KL, which the loss's k3 is not, once it goes through the advantage. */
static int charge(void *self, train_step *s, error *err)
{
    (void)self;
    trainer_parts *p = s->parts;
    const double coefficient = SETTINGS(p->config, REWARD_KL, reward_kl_config).coefficient;

    /* All episodes, whatever else the step packs: advantages are not final yet, so none can be left out by them. */
    pack_options everything = s->options;
    everything.check = 0;
    everything.kl = everything.regulariser = everything.imitation = false;
    everything.everything = true;
    const pack_plan *plan = pack_groups(p->arena, s->table, &everything);
    double *cost = arena_zalloc(p->arena, sizeof *cost * (size_t)(s->table->S + 1)), sum = 0;

    for (int n = 0; n < plan->n; n++) {
        const packed_batch *b = &plan->batches[n];
        device_scratch_reset(p->w->dev);
        const float *reference = pass_reference(&s->pass, b, err);
        if (!reference) return err ? err->code : ERR_DEVICE;
        for (int i = 0; i < b->tokens.n_out; i++) {
            const double log_ratio = signal_between_logprobs(b->behaviour[i], (double)reference[i]);
            cost[b->episode[i]] += coefficient * log_ratio;
        }
    }
    if (p->shard) comm_sum(p->config->comm, cost, s->table->S);

    for (int i = 0; i < s->table->S; i++) sum += cost[i];
    metrics_set(s->out, "actor/reward_kl_penalty", s->table->S ? sum / s->table->S : 0);
    s->extra.penalty = cost;
    return OK;
}

const method METHOD_REWARD_KL = {
    .name = "reward_kl",
    .options = &COST_OPTIONS,
    .wanted = costs,
    .at = { [AT_CREDIT] = charge },
};
