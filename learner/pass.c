/* SPDX-License-Identifier: MIT */
#include "learner/pass.h"

#include <string.h>

#include "base/clock.h"
#include "learner/methods/mixture.h"
#include "model/transformer.h"

/* What the reference policy says of the batch, in the device's scratch memory. */
static const activations *reference_forward(const pass *p, const packed_batch *b, error *err)
{
    const forward_options options = { .temperature = (float)p->config->temperature };
    const activations *acts = model_forward(p->reference, &b->tokens, &options);
    return device_sync(p->w->dev, err) == OK ? acts : NULL;
}

static float *copied_out(const pass *p, const float *on_device, int n)
{
    float *copy = arena_array(p->step, float, n);
    device_copy_out(p->w->dev, copy, on_device, sizeof(float) * (size_t)n);
    return copy;
}

/* Logprobs of the reference policy for the same targets, [n_out] in the arena. */
const float *pass_reference(const pass *p, const packed_batch *b, error *err)
{
    const activations *acts = reference_forward(p, b, err);
    return acts ? copied_out(p, acts->logprob, b->tokens.n_out) : NULL;
}

/* Tokens of a micro-batch as the loss wants them, on the host. */
typedef struct loss_batch {
    const packed_batch *b;
    const loss_scale *scale;
    const advantage_table *table;
    const float *logprob, *old, *reference; /* [n_out]; old: of the step's first update; NULL: as logprob */
    const double *behaviour;                /* [n_out] */
    const float *era_scale;                 /* [n_out] ERA's scales; NULL: all 1 */
    arena *step;
} loss_batch;

/* An episode's logits are all scaled alike: its first output i speaks for it. */
static double era_scale_at(const loss_batch *l, int i) { return l->era_scale ? (double)l->era_scale[i] : 1; }

/* What tokens [n] of episode s, from output i on, get by rewards on spans; NULL: nothing. */
static const double *credit_at(const loss_batch *l, int i, int n, int s, int k)
{
    const advantage_table *t = l->table;
    if (!t->has_spans) return NULL;
    const double *of = k < 0 ? t->tokens[s] : t->tokens_by_objective[(size_t)k * (size_t)t->S + (size_t)s];
    if (!of) return NULL;

    const double scale = era_scale_at(l, i);
    double *credit = arena_array(l->step, double, n);
    for (int j = 0; j < n; j++) credit[j] = of[l->b->token[i + j]] / scale;
    return credit;
}

/* The episode whose first output is i, with the advantage of objective k or the scalar (k < 0). */
static loss_episode episode_at(const loss_batch *l, int i, int k)
{
    const packed_batch *b = l->b;
    const advantage_table *t = l->table;
    const int s = b->episode[i];

    int n = 1, n_imitated = 0;
    while (i + n < b->tokens.n_out && b->episode[i + n] == s) n++;
    while (n_imitated < n && b->imitated[i + n_imitated]) n_imitated++;

    /* Logits k z have k times the gradient: A / k keeps the update's size (ERA, 2510.08549). */
    const double A = k < 0 ? t->scalar[s] : t->by_objective[(size_t)k * (size_t)t->S + (size_t)s];
    return (loss_episode){ .n = n,
                           .n_imitated = n_imitated,
                           .logprob = l->logprob + i,
                           .behaviour = l->behaviour + i,
                           .old = l->old ? l->old + i : NULL,
                           .reference = l->reference ? l->reference + i : NULL,
                           .advantage = A / era_scale_at(l, i),
                           .credit = credit_at(l, i, n, s, k),
                           .success_rate = t->success_rate[s] };
}

/* The loss with the mixture's weights; `reward` and `imitation` say which of its parts. */
static loss_config mixed_loss(const pass *p, bool reward, bool imitation)
{
    loss_config c = p->config->loss;
    if (p->mixture < 0) return c;
    c.imitation_share = reward ? p->mixture : 1;
    c.imitation_weight *= imitation ? p->mixture : 0;
    return c;
}

/* dL/dlogprob [n_out] of one choice of advantages: of objective k, or of the scalar (k < 0). */
static void gradients_of(const loss_config *c, const loss_batch *l, int k, float *gradient, loss_sums *sums)
{
    for (int i = 0; i < l->b->tokens.n_out;) {
        const loss_episode e = episode_at(l, i, k);
        loss_gradient(c, l->scale, &e, gradient + i, sums);
        i += e.n;
    }
}

/* The KL term alone: the loss with it less the loss without, whichever objective's advantages both have. */
static void gradient_of_kl(const pass *p, const loss_batch *l, const loss_config *without_kl, float *gradient)
{
    const int n = l->b->tokens.n_out;
    float *without = arena_array(p->step, float, n);
    loss_sums unread = { 0 };
    gradients_of(&p->config->loss, l, 0, gradient, &unread);
    gradients_of(without_kl, l, 0, without, &unread);
    for (int i = 0; i < n; i++) gradient[i] -= without[i];
}

/* One row an objective, and one more for the KL term where there is one: it is no objective. */
static void gradients_by_objective(const pass *p, const loss_batch *l, float *gradient)
{
    const int K = p->config->objectives.n;
    const size_t n = (size_t)l->b->tokens.n_out;
    loss_config without_kl = p->config->loss;
    without_kl.kl = 0;
    loss_config policy_alone = without_kl;
    policy_alone.imitation = IMITATION_NONE;

    /* Imitation counts once, with the heaviest objective; a guide is as good as each says. */
    const bool guided = without_kl.imitation == IMITATION_GUIDE;
    loss_sums unread = { 0 };
    for (int k = 0; k < K; k++) {
        const loss_config *c = k == 0 || guided ? &without_kl : &policy_alone;
        gradients_of(c, l, k, gradient + (size_t)k * n, &unread);
    }

    if (p->config->loss.kl > 0) gradient_of_kl(p, l, &without_kl, gradient + (size_t)K * n);
}

/* What comes of the reward, and what of imitation: two rows. */
static void gradients_by_part(const pass *p, const loss_batch *l, float *gradient)
{
    const loss_config reward = mixed_loss(p, true, false), imitation = mixed_loss(p, false, true);
    loss_sums unread = { 0 };
    gradients_of(&reward, l, -1, gradient, &unread);
    gradients_of(&imitation, l, -1, gradient + l->b->tokens.n_out, &unread);
}

/* How the batch's gradients come about: K cotangents, one with partitions, some with partitions each, or one. */
static grad_split split_of(const pass *p, const packed_batch *b)
{
    const moo_plan *m = &p->config->moo;
    const int n = p->config->objectives.n, kl = p->config->loss.kl > 0;
    if (p->by_part) return (grad_split){ MIXTURE_ROWS, b->sequences, 2 };
    if (m->over == MOO_OVER_GROUPS) return (grad_split){ m->n_groups, b->sequences, m->n_groups };
    if (m->over == MOO_OVER_BOTH) return (grad_split){ (n + kl) * m->n_groups, b->sequences, m->n_groups };
    if (m->over == MOO_OVER_REWARDS && !m->by_token) return (grad_split){ .K = n + kl };
    return (grad_split){ .K = 1 };
}

int pass_cotangents(const trainer_config *c)
{
    if (!moo_of_rewards(&c->moo) || c->moo.by_token) return 1;
    return c->objectives.n + (c->loss.kl > 0);
}

static int cotangents(const grad_split *s) { return s->n_partitions > 0 ? s->K / s->n_partitions : s->K; }

/* ---- scaled logits ---- */

/* The sampler knew nothing of the scaling: its logprobs move as far as those of the policy at the first update did, so
 * that their distance stays what staleness made it. */
static const double *behaviour_of(const pass *p, const micro_batch *m, const float *old)
{
    const int n = m->b->tokens.n_out;
    if (!m->first->scale) return m->b->behaviour;
    double *moved = arena_array(p->step, double, n);
    for (int i = 0; i < n; i++) moved[i] = m->b->behaviour[i] + ((double)old[i] - (double)m->first->raw[i]);
    return moved;
}

/* ---- the pass ---- */

/* dL/dlogprob [rows, n_out] on the host, a row a cotangent; NULL and `err` where they can't be reconciled. */
static float *loss_of(const pass *p, const micro_batch *m, const activations *acts, const float *reference,
                      step_sums *sums, error *err)
{
    const int n = m->b->tokens.n_out;
    float *logprob = copied_out(p, acts->logprob, n);
    const float *entropy = copied_out(p, acts->entropy, n);
    if (p->scale_logits && p->scale_logits(p, m, acts, entropy, logprob, err) != OK) return NULL;

    /* The step's first update has no older policy than the one it runs: ratios of exactly 1. */
    const float *old = m->first->old ? m->first->old : logprob;
    const loss_batch l = { .b = m->b,
                           .scale = m->scale,
                           .table = m->table,
                           .logprob = logprob,
                           .old = old,
                           .reference = reference,
                           .behaviour = behaviour_of(p, m, old),
                           .era_scale = m->first->scale,
                           .step = p->step };

    /* The metrics are of the whole loss, in row 0; where gradients are kept apart, theirs take its place. */
    float *gradient = arena_array(p->step, float, n *(MOO_MAX + 1));
    const loss_config whole = mixed_loss(p, true, true);
    gradients_of(&whole, &l, -1, gradient, &sums->loss);
    if (p->by_part) gradients_by_part(p, &l, gradient);
    if (moo_of_rewards(&p->config->moo)) gradients_by_objective(p, &l, gradient);
    if (p->combine && p->combine(p, n, gradient, err) != OK) return NULL;

    for (int i = 0; i < n; i++) sums->entropy += (double)entropy[i];
    if (!m->first->old) m->first->old = logprob;
    return gradient;
}

static void note_routes(const pass *p, const activations *acts, step_sums *sums)
{
    const int experts = p->w->table->config.experts.n;
    if (experts == 0) return;
    if (!sums->routed) {
        const size_t bytes = sizeof(double) * (size_t)experts;
        sums->router_p = memset(arena_alloc(p->step, bytes), 0, bytes);
        sums->routed = memset(arena_alloc(p->step, bytes), 0, bytes);
    }
    model_router_use(p->w, acts, sums->router_p, sums->routed);
}

/* The forward pass with the loss -> what the backward pass starts from, as loss_of returns it. *acts lives in the
 * device's scratch memory. */
static float *forward(const pass *p, const micro_batch *m, const activations **acts, step_sums *sums, error *err)
{
    const packed_batch *b = m->b;
    const forward_options options = { .temperature = (float)p->config->temperature,
                                      .recompute = p->config->recompute,
                                      .keep = m->learns };
    device_scratch_reset(p->w->dev);

    const bool compared = p->config->loss.kl > 0 || p->anchor;
    const activations *reference = compared ? reference_forward(p, b, err) : NULL;
    if (compared && !reference) return NULL;
    *acts = model_forward(p->w, &b->tokens, &options);
    if (device_sync(p->w->dev, err) != OK) return NULL;
    note_routes(p, *acts, sums);

    const float *reference_logprob = reference ? copied_out(p, reference->logprob, b->tokens.n_out) : NULL;
    float *gradient = loss_of(p, m, *acts, reference_logprob, sums, err);
    if (gradient && p->anchor) p->anchor(p, m, *acts, reference, sums);
    return gradient;
}

static int backward(const pass *p, const micro_batch *m, const activations *acts, const float *gradient, error *err)
{
    device *dev = p->w->dev;
    const grad_split split = split_of(p, m->b);
    const size_t bytes = sizeof(float) * (size_t)m->b->tokens.n_out * (size_t)cotangents(&split);
    float *on_device = device_scratch(dev, bytes);
    device_copy_in(dev, on_device, gradient, bytes);

    /* Several gradients go to their buckets layer by layer, as they come; one alone is added up in place. */
    float *grads = p->buckets ? NULL : p->grads;
    const grad_sink *sink = p->buckets ? bucket_sink(p->buckets, m->last) : NULL;
    model_backward(p->w, &m->b->tokens, acts, on_device, &split, grads, sink);
    return device_sync(dev, err);
}

int pass_micro(const pass *p, const micro_batch *m, step_sums *sums, error *err)
{
    const int64_t began = clock_us();
    const activations *acts = NULL;
    const float *gradient = forward(p, m, &acts, sums, err);
    const int64_t lost = clock_us();
    sums->computed += m->b->tokens.T;
    sums->unshared += m->b->unshared;
    sums->forward_us += lost - began;
    if (!gradient) return err ? err->code : ERR_STATE;
    if (!m->learns) return OK;

    const int rc = backward(p, m, acts, gradient, err);
    sums->backward_us += clock_us() - lost;
    return rc;
}
