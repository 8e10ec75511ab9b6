/* SPDX-License-Identifier: MIT */
#include "learner/pass.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "model/transformer.h"

/* What the reference policy says of the batch, in the device's scratch memory. */
static const activations *reference_forward(const pass *p, const packed_batch *b, error *err)
{
    const forward_options options = { .temperature = (float)p->config->temperature };
    const activations *acts = model_forward(p->reference, &b->tokens, &options);
    return device_sync(p->w->dev, err) == OK ? acts : NULL;
}

static const float *logprobs_of(const pass *p, const packed_batch *b, const activations *acts)
{
    float *copy = arena_array(p->step, float, b->tokens.n_out);
    device_copy_out(p->w->dev, copy, acts->logprob, sizeof(float) * (size_t)b->tokens.n_out);
    return copy;
}

/* Logprobs of the reference policy for the same targets, [n_out] in the arena. */
const float *pass_reference(const pass *p, const packed_batch *b, error *err)
{
    const activations *acts = reference_forward(p, b, err);
    return acts ? logprobs_of(p, b, acts) : NULL;
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

/* What tokens [n] of episode s, from output i on, get by rewards on spans; NULL: nothing. */
static const double *credit_at(const loss_batch *l, int i, int n, int s, int k)
{
    const advantage_table *t = l->table;
    if (!t->has_spans) return NULL;
    const double *of = k < 0 ? t->tokens[s] : t->tokens_by_objective[(size_t)k * (size_t)t->S + (size_t)s];
    if (!of) return NULL;
    double *credit = arena_array(l->step, double, n);
    for (int j = 0; j < n; j++) credit[j] = of[l->b->token[i + j]] / (l->era_scale ? (double)l->era_scale[i] : 1);
    return credit;
}

/* The episode whose first output is i, with the advantage of objective k or the scalar (k < 0). */
static loss_episode episode_at(const loss_batch *l, int i, int k)
{
    const packed_batch *b = l->b;
    const int s = b->episode[i];
    int n = 1, n_imitated = 0;
    while (i + n < b->tokens.n_out && b->episode[i + n] == s) n++;
    while (n_imitated < n && b->imitated[i + n_imitated]) n_imitated++;
    const double A = k < 0 ? l->table->scalar[s] : l->table->by_objective[(size_t)k * (size_t)l->table->S + (size_t)s];
    return (loss_episode){ .n = n,
                           .n_imitated = n_imitated,
                           .logprob = l->logprob + i,
                           .behaviour = l->behaviour + i,
                           .old = l->old ? l->old + i : NULL,
                           .reference = l->reference ? l->reference + i : NULL,
                           .advantage = l->era_scale ? A / (double)l->era_scale[i] : A,
                           .credit = credit_at(l, i, n, s, k),
                           .success_rate = l->table->success_rate[s] };
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

/* One row an objective, and one more for the KL term where there is one: it is no objective. */
static void gradients_by_objective(const pass *p, const loss_batch *l, float *gradient)
{
    const int K = p->config->objectives.n, n = l->b->tokens.n_out;
    loss_config alone = p->config->loss;
    loss_sums unread = { 0 };
    alone.kl = 0;
    for (int k = 0; k < K; k++) {
        /* Imitation counts once, with the heaviest objective; a guide is as good as each says. */
        alone.imitation =
            k == 0 || p->config->loss.imitation == IMITATION_GUIDE ? p->config->loss.imitation : IMITATION_NONE;
        gradients_of(&alone, l, k, gradient + (size_t)k * (size_t)n, &unread);
    }
    alone.imitation = p->config->loss.imitation;
    if (p->config->loss.kl <= 0) return;
    const loss_config whole = p->config->loss;
    float *kl = gradient + (size_t)K * (size_t)n, *without = arena_array(p->step, float, n);
    gradients_of(&whole, l, 0, kl, &unread);
    gradients_of(&alone, l, 0, without, &unread);
    for (int i = 0; i < n; i++) kl[i] -= without[i];
}

/* What comes of the reward, and what of imitation: two rows. */
static void gradients_by_part(const pass *p, const loss_batch *l, float *gradient)
{
    const loss_config reward = mixed_loss(p, true, false), imitation = mixed_loss(p, false, true);
    loss_sums unread = { 0 };
    gradients_of(&reward, l, -1, gradient, &unread);
    gradients_of(&imitation, l, -1, gradient + l->b->tokens.n_out, &unread);
}

/* Weights from the Gram matrix of the gradients with respect to logprobs: K vectors of n_out numbers, not K models. The
 * weighted sum (and the KL row) ends up in row 0. */
static int combine_by_token(const pass *p, const loss_batch *l, float *gradient, error *err)
{
    const int K = p->config->objectives.n, n = l->b->tokens.n_out, rows = K + (p->config->loss.kl > 0);
    double G[MOO_MAX * MOO_MAX] = { 0 }, w[MOO_MAX + 1];
    moo_config c = p->config->moo.bucket.moo;
    for (int k = 0; k < K; k++) c.pref[k] = p->config->objectives.items[k].weight;
    for (int a = 0; a < K; a++)
        for (int b = 0; b < K; b++)
            for (int i = 0; i < n; i++)
                G[a * K + b] += (double)gradient[(size_t)a * (size_t)n + (size_t)i] *
                                (double)gradient[(size_t)b * (size_t)n + (size_t)i];
    const rng_key order = { p->config->seed, (uint64_t)p->w->version };
    if (moo_solve(&c, G, K, NULL, order, p->by_token, w, err) != OK) return error_within(err, "gradients of logprobs");
    w[K] = 1;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < rows; k++) sum += w[k] * (double)gradient[(size_t)k * (size_t)n + (size_t)i];
        gradient[i] = (float)sum;
    }
    return OK;
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

/* ---- ASFT: imitated tokens are held near the reference, over the whole vocabulary ---- */

static void anchor_episode(const pass *p, const micro_batch *m, const activations *acts, const activations *reference,
                           int begin, int n, double weight, step_sums *sums)
{
    const int V = p->w->table->config.vocab;
    const size_t size = (size_t)n * (size_t)V;
    float *z = xmalloc(3 * sizeof *z * size), *ref = z + size, *dz = ref + size;
    model_logits(p->w, acts, begin, n, z);
    model_logits(p->reference, reference, begin, n, ref);
    for (int i = 0; i < n; i++) {
        const size_t row = (size_t)i * (size_t)V;
        const double kl = loss_anchor(V, z + row, ref + row, p->config->temperature, weight, dz + row);
        sums->loss.imitated_kl += kl;
        sums->loss.loss += weight * kl;
    }
    if (m->learns) model_add_logit_gradients(p->w, acts, begin, n, dz);
    free(z);
}

static void anchor_imitated(const pass *p, const micro_batch *m, const activations *acts, const activations *reference,
                            step_sums *sums)
{
    const packed_batch *b = m->b;
    const loss_config *c = &p->config->loss;
    for (int i = 0, n; i < b->tokens.n_out; i += n) {
        const int s = b->episode[i];
        int n_imitated = 0;
        for (n = 0; i + n < b->tokens.n_out && b->episode[i + n] == s; n++) n_imitated += b->imitated[i + n];
        const double weight = c->imitation_weight * c->anchor * loss_token_weight(c, m->scale, n - n_imitated);
        if (n_imitated > 0 && m->table->scalar[s] >= 0)
            anchor_episode(p, m, acts, reference, i, n_imitated, weight, sums);
    }
}

/* ---- the pass ---- */

/* dL/dlogprob [rows, n_out] on the host, a row a cotangent; NULL and `err` where they can't be reconciled. */
static float *loss_of(const pass *p, const micro_batch *m, const activations *acts, const float *reference,
                      step_sums *sums, error *err)
{
    const int n = m->b->tokens.n_out;
    float *logprob = arena_array(p->step, float, n), *entropy = arena_array(p->step, float, n);
    float *gradient = arena_array(p->step, float, n *(MOO_MAX + 1));
    device_copy_out(p->w->dev, logprob, acts->logprob, sizeof(float) * (size_t)n);
    device_copy_out(p->w->dev, entropy, acts->entropy, sizeof(float) * (size_t)n);
    if (p->scale_logits && p->scale_logits(p, m, acts, entropy, logprob, err) != OK) return NULL;
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
    const loss_config whole = mixed_loss(p, true, true);
    gradients_of(&whole, &l, -1, gradient, &sums->loss);
    if (p->by_part) gradients_by_part(p, &l, gradient);
    if (moo_of_rewards(&p->config->moo)) gradients_by_objective(p, &l, gradient);
    if (p->config->moo.by_token && combine_by_token(p, &l, gradient, err) != OK) return NULL;
    for (int i = 0; i < n; i++) sums->entropy += (double)entropy[i];
    if (!m->first->old) m->first->old = logprob;
    return gradient;
}

int pass_micro(const pass *p, const micro_batch *m, step_sums *sums, error *err)
{
    device *dev = p->w->dev;
    const packed_batch *b = m->b;
    const forward_options options = { .temperature = (float)p->config->temperature,
                                      .recompute = p->config->recompute,
                                      .keep = m->learns };
    const int64_t began = clock_us();
    device_scratch_reset(dev);
    const bool compared = p->config->loss.kl > 0 || p->config->loss.imitation == IMITATION_ASFT;
    const activations *reference = compared ? reference_forward(p, b, err) : NULL;
    if (compared && !reference) return err ? err->code : ERR_DEVICE;
    const activations *acts = model_forward(p->w, &b->tokens, &options);
    if (device_sync(dev, err) != OK) return err ? err->code : ERR_DEVICE;
    const float *gradient = loss_of(p, m, acts, reference ? logprobs_of(p, b, reference) : NULL, sums, err);
    if (gradient && p->config->loss.imitation == IMITATION_ASFT) anchor_imitated(p, m, acts, reference, sums);
    const int64_t lost = clock_us();
    sums->forward_us += lost - began;
    if (!gradient) return err ? err->code : ERR_STATE;
    if (!m->learns) return OK;
    const grad_split split = split_of(p, b);
    const size_t bytes = sizeof(float) * (size_t)b->tokens.n_out * (size_t)cotangents(&split);
    float *on_device = device_scratch(dev, bytes);
    device_copy_in(dev, on_device, gradient, bytes);
    model_backward(p->w, &b->tokens, acts, on_device, &split, p->buckets ? NULL : p->grads,
                   p->buckets ? bucket_sink(p->buckets, m->last) : NULL);
    const int rc = device_sync(dev, err);
    sums->backward_us += clock_us() - lost;
    return rc;
}
