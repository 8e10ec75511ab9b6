/* SPDX-License-Identifier: MIT */
#include "learner/step_metrics.h"

#include <math.h>
#include <stdio.h>

/* An objective without a score has no mean, not 0. */
static void objective_metrics(const objective *o, const objective_stats *s, metrics *out)
{
    char name[96];
    const struct {
        const char *what;
        double value;
        bool known;
    } figures[] = {
        { "mean", s->mean, s->scored > 0 },
        { "std", s->std, s->scored > 0 },
        { "frac_zero_std", s->dead_groups, s->scored > 0 },
        { "missing", s->missing, true },
        { "unmet", s->unmet, isfinite(o->min) && s->scored > 0 },
    };

    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        if (!figures[i].known) continue;
        snprintf(name, sizeof name, "reward/%s/%s", o->name, figures[i].what);
        metrics_set(out, name, figures[i].value);
    }
}

/* By objective the rewards are raw and unweighted; reward/mean weighs them. */
static void reward_metrics(const objective_set *objectives, const advantage_table *table, metrics *out)
{
    double scalar = 0;
    bool scored = false;
    for (int k = 0; k < table->K && table->S > 0; k++) {
        const objective_stats *s = &table->stats[k];
        objective_metrics(&objectives->items[k], s, out);
        scored |= s->scored > 0;
        if (s->scored) scalar += objectives->items[k].weight * s->mean;
    }
    if (scored) metrics_set(out, "reward/mean", scalar);
}

static void loss_metrics(const step_sums *s, metrics *out)
{
    const double n = s->loss.tokens;
    if (s->loss.imitated > 0) metrics_set(out, "training/tokens_given", s->loss.imitated);
    if (s->loss.imitated > 0) metrics_set(out, "actor/given_nll", -s->loss.imitated_logprob / s->loss.imitated);
    if (s->loss.imitated_kl > 0) metrics_set(out, "actor/given_kl", s->loss.imitated_kl / s->loss.imitated);

    if (n <= 0) return; /* nothing was looked at: no figure, rather than a 0 */
    metrics_set(out, "actor/pg_loss", s->loss.loss);
    metrics_set(out, "actor/entropy", s->entropy / n);
    metrics_set(out, "actor/ppo_kl", s->loss.kl_old / n);
    metrics_set(out, "actor/kl_loss", s->loss.kl_reference / n);
    metrics_set(out, "actor/ratio/mean", s->loss.ratio / n);
    metrics_set(out, "actor/ratio/max", s->loss.ratio_max);
    metrics_set(out, "actor/pg_clipfrac", (s->loss.clipped_high + s->loss.clipped_low) / n);
    metrics_set(out, "actor/pg_clipfrac_lower", s->loss.clipped_low / n);
    metrics_set(out, "training/importance_weight/mean", s->loss.weight / n);
    metrics_set(out, "training/importance_weight/rejected", s->loss.rejected / n);
    metrics_set(out, "training/rollout_probs_diff_mean", s->loss.gap_sum / n);
    metrics_set(out, "training/rollout_probs_diff_max", s->loss.gap_max);
    metrics_set(out, "training/rollout_logprobs_differing", s->loss.differing);
}

/* How evenly routers share out the tokens (Fedus et al. 2021, equation 4): experts times the sum over them of the share
 * of tokens that chose one and its mean probability; the number of choices a token has where all are chosen alike. It
 * is looked at, not trained on. */
static void router_metrics(const expert_layers *x, const step_sums *s, metrics *out)
{
    double rows = 0, aux = 0, max = 0;
    for (int e = 0; s->routed && e < x->n; e++) rows += s->routed[e] / x->chosen;
    if (rows <= 0) return;

    for (int e = 0; e < x->n; e++) {
        aux += x->n * (s->routed[e] / rows) * (s->router_p[e] / rows);
        max = fmax(max, s->routed[e] / rows);
    }
    metrics_set(out, "actor/router/aux_loss", aux);
    metrics_set(out, "actor/router/load_max", max * x->n / x->chosen);
}

/* One count: what the step's updates were made of. Logprobs that were only looked at are not in it. */
static void count_metrics(const train_step *s, metrics *out)
{
    metrics_set(out, "training/signal", s->plan->signal);
    if (!s->plan->learns) metrics_set(out, "actor/grad_norm", 0);
    metrics_set(out, "training/tokens_trained", s->moved ? s->sums.loss.tokens : 0);
    metrics_set(out, "training/episodes_trained", s->moved ? s->plan->trained : 0);
    metrics_set(out, "training/tokens_computed", s->sums.computed);
    metrics_set(out, "training/tokens_unshared", s->sums.unshared);
}

void step_metrics(const train_step *s)
{
    reward_metrics(&s->parts->config->objectives, s->table, s->out);
    loss_metrics(&s->sums, s->out);
    router_metrics(&s->parts->w->table->config.experts, &s->sums, s->out);
    count_metrics(s, s->out);
    metrics_set(s->out, "timing_s/forward", (double)s->sums.forward_us * 1e-6);
    metrics_set(s->out, "timing_s/backward", (double)s->sums.backward_us * 1e-6);
}
