#include "learner/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "learner/pack.h"
#include "model/transformer.h"

/* Two episodes are enough to see that actor and learner disagree when a step has nothing to learn from. */
enum { CHECKED_EPISODES = 2, DEFAULT_MICRO_TOKENS = 16384 };

struct trainer {
    trainer_config config;
    weights *w;         /* borrowed */
    weights *reference; /* frozen copy; NULL without a KL term */
    lora *lora;         /* NULL: every parameter is trained */
    optimizer *optimizer;
    float *grads;      /* [total] */
    float *lora_grads; /* [the adapter's total] */
    arena *step;
};

typedef struct step_sums {
    loss_sums loss;
    double entropy;
    bool has_gradient;
} step_sums;

static weights *frozen_copy(const weights *w, error *err)
{
    weights *copy = weights_new(w->dev, w->table, err);
    if (!copy) return NULL;
    device_ops(w->dev)->zero(w->dev, copy->data, w->table->total);
    device_ops(w->dev)->add(w->dev, copy->data, w->data, w->table->total);
    weights_seal(copy, w->version);
    return copy;
}

trainer *trainer_new(const trainer_config *config, weights *w, error *err)
{
    if (config->objectives.n == 0) {
        error_set(err, ERR_ARGUMENT, "reward.objectives names no objective: there is nothing to learn");
        return NULL;
    }
    trainer *t = xcalloc(1, sizeof *t);
    t->config = *config;
    if (t->config.micro_tokens <= 0) t->config.micro_tokens = DEFAULT_MICRO_TOKENS;
    if (t->config.temperature <= 0) t->config.temperature = 1; /* greedy sampling is recorded at temperature 1 */
    t->w = w;
    t->grads = device_alloc(w->dev, sizeof(float) * (size_t)w->table->total);
    t->step = arena_new(1 << 20);
    if (config->lora.rank > 0 && (t->lora = lora_new(&config->lora, w, config->seed, err)))
        t->lora_grads = device_alloc(w->dev, sizeof(float) * (size_t)t->lora->table->total);
    if (config->lora.rank == 0 || t->lora) t->optimizer = optimizer_new(&config->optim, t->lora ? t->lora->w : w, err);
    if (config->loss.kl > 0) t->reference = frozen_copy(w, err);
    if (!t->optimizer || (config->loss.kl > 0 && !t->reference)) {
        trainer_free(t);
        return NULL;
    }
    return t;
}

void trainer_free(trainer *t)
{
    if (!t) return;
    optimizer_free(t->optimizer, t->w->dev);
    weights_free(t->reference);
    device_free(t->w->dev, t->grads);
    device_free(t->w->dev, t->lora_grads);
    lora_free(t->lora);
    arena_free(t->step);
    free(t);
}

int64_t trainer_version(const trainer *t) { return t->w->version; }
optimizer *trainer_optimizer(trainer *t) { return t->optimizer; }
lora *trainer_lora(trainer *t) { return t->lora; }

/* Logprobs of the reference policy for the same targets, [n_out] in the arena; NULL without a KL term. */
static const float *reference_logprobs(trainer *t, const packed_batch *b, error *err)
{
    if (!t->reference) return NULL;
    const forward_options options = { .temperature = (float)t->config.temperature };
    const activations *acts = model_forward(t->reference, &b->tokens, &options);
    if (device_sync(t->w->dev, err) != OK) return NULL;
    float *copy = arena_array(t->step, float, b->tokens.n_out);
    device_copy_out(t->w->dev, copy, acts->logprob, sizeof(float) * (size_t)b->tokens.n_out);
    return copy;
}

/* dL/dlogprob [n_out] on the host. */
static float *loss_of(trainer *t, const packed_batch *b, const loss_scale *scale, const activations *acts,
                      const float *reference, step_sums *sums)
{
    const int n = b->tokens.n_out;
    float *logprob = arena_array(t->step, float, n), *entropy = arena_array(t->step, float, n);
    float *slope = arena_array(t->step, float, n);
    device_copy_out(t->w->dev, logprob, acts->logprob, sizeof(float) * (size_t)n);
    device_copy_out(t->w->dev, entropy, acts->entropy, sizeof(float) * (size_t)n);
    for (int i = 0; i < n; i++) {
        const loss_token token = { .logprob = (double)logprob[i],
                                   .behaviour = b->behaviour[i],
                                   .reference = reference ? (double)reference[i] : 0,
                                   .advantage = b->advantage[i],
                                   .sequence_tokens = b->sequence_tokens[i] };
        slope[i] = (float)loss_gradient(&t->config.loss, scale, &token, &sums->loss);
        sums->entropy += (double)entropy[i];
        sums->has_gradient |= slope[i] != 0;
    }
    return slope;
}

static int micro_step(trainer *t, const packed_batch *b, const loss_scale *scale, bool learns, step_sums *sums,
                      error *err)
{
    device *dev = t->w->dev;
    const forward_options options = { .temperature = (float)t->config.temperature,
                                      .recompute = t->config.recompute,
                                      .keep = learns };
    device_scratch_reset(dev);
    const float *reference = reference_logprobs(t, b, err);
    if (t->reference && !reference) return err ? err->code : ERR_DEVICE;
    const activations *acts = model_forward(t->w, &b->tokens, &options);
    if (device_sync(dev, err) != OK) return err ? err->code : ERR_DEVICE;
    const float *slope = loss_of(t, b, scale, acts, reference, sums);
    if (!learns) return OK;
    const size_t bytes = sizeof(float) * (size_t)b->tokens.n_out;
    float *on_device = device_scratch(dev, bytes);
    device_copy_in(dev, on_device, slope, bytes);
    model_backward(t->w, &b->tokens, acts, on_device, 1, t->grads, NULL);
    return device_sync(dev, err);
}

static void objective_metrics(const trainer *t, const advantage_table *table, metrics *out)
{
    char name[96];
    double scalar = 0;
    for (int k = 0; k < table->K; k++) {
        const objective *o = &t->config.objectives.items[k];
        const objective_stats *s = &table->stats[k];
        if (s->scored) scalar += o->weight * s->mean;
        if (s->scored) snprintf(name, sizeof name, "reward/%s/mean", o->name), metrics_set(out, name, s->mean);
        snprintf(name, sizeof name, "reward/%s/std", o->name), metrics_set(out, name, s->std);
        snprintf(name, sizeof name, "reward/%s/frac_zero_std", o->name), metrics_set(out, name, s->dead_groups);
        snprintf(name, sizeof name, "reward/%s/missing", o->name), metrics_set(out, name, s->missing);
    }
    metrics_set(out, "reward/mean",
                scalar); /* raw and weighted: the per-objective means above are raw and unweighted */
}

static void loss_metrics(const step_sums *s, metrics *out)
{
    const double n = s->loss.tokens > 0 ? s->loss.tokens : 1;
    metrics_set(out, "actor/pg_loss", s->loss.loss);
    metrics_set(out, "actor/entropy", s->entropy / n);
    metrics_set(out, "actor/ppo_kl", s->loss.kl_old / n);
    metrics_set(out, "actor/kl_loss", s->loss.kl_reference / n);
    metrics_set(out, "actor/ratio/mean", s->loss.ratio / n);
    metrics_set(out, "actor/ratio/max", s->loss.ratio_max);
    metrics_set(out, "actor/pg_clipfrac", (s->loss.clipped_high + s->loss.clipped_low) / n);
    metrics_set(out, "actor/pg_clipfrac_lower", s->loss.clipped_low / n);
    metrics_set(out, "training/importance_weight/mean", s->loss.weight / n);
    metrics_set(out, "training/rollout_probs_diff_mean", s->loss.gap_sum / n);
    metrics_set(out, "training/rollout_probs_diff_max", s->loss.gap_max);
    metrics_set(out, "training/rollout_logprobs_differing", s->loss.differing);
    metrics_set(out, "training/tokens_trained", s->loss.tokens);
}

static int update(trainer *t, metrics *out, error *err)
{
    optim_report report;
    weights *trained = t->lora ? t->lora->w : t->w;
    if (t->lora) lora_project(t->lora, t->grads, t->lora_grads);
    if (optimizer_step(t->optimizer, trained, t->lora ? t->lora_grads : t->grads, &report, err) != OK)
        return err ? err->code : ERR_STATE;
    if (t->lora) lora_merge(t->lora, t->w);
    metrics_set(out, "actor/grad_norm", report.grad_norm);
    metrics_set(out, "actor/lr", report.lr);
    return OK;
}

int trainer_step(trainer *t, const group *const *groups, int n_groups, metrics *out, error *err)
{
    const int64_t began = clock_us();
    device *dev = t->w->dev;
    arena_reset(t->step);
    const advantage_table *table =
        advantage_compute(t->step, &t->config.advantage, &t->config.objectives, groups, n_groups);
    const pack_plan *plan = pack_groups(t->step, table, t->config.micro_tokens, CHECKED_EPISODES);
    const loss_scale scale = { .tokens = fmax(1, plan->tokens), .episodes = fmax(1, plan->counted) };
    bool learns = false; /* the check episodes of a step without signal get no backward pass */
    for (int s = 0; s < table->S; s++) learns |= table->counts[s] && table->scalar[s] != 0;

    step_sums sums = { 0 };
    device_ops(dev)->zero(dev, t->grads, t->w->table->total);
    for (int i = 0; i < plan->n; i++)
        if (micro_step(t, &plan->batches[i], &scale, learns, &sums, err) != OK)
            return error_within(err, "step %" PRId64, t->w->version + 1);
    if (sums.has_gradient && update(t, out, err) != OK) return error_within(err, "step %" PRId64, t->w->version + 1);
    weights_seal(t->w, t->w->version + 1);

    objective_metrics(t, table, out);
    loss_metrics(&sums, out);
    metrics_set(out, "training/episodes_trained", sums.has_gradient ? plan->episodes : 0);
    metrics_set(out, "timing_s/update_actor", (double)(clock_us() - began) * 1e-6);
    return OK;
}
