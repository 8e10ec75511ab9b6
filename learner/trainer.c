/* SPDX-License-Identifier: MIT */
#include "learner/trainer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/str.h"
#include "learner/finite.h"
#include "learner/methods/preference.h"
#include "learner/micro_tokens.h"
#include "learner/pass.h"
#include "rollout/signal.h"

/* Two episodes are enough to see that actor and learner disagree when a step has nothing to learn from. */
enum { CHECKED_EPISODES = 2, MOST_LEARNERS = 4096 };

struct trainer {
    trainer_config config;
    weights *w;         /* borrowed */
    weights *reference; /* a copy; NULL without a KL */
    lora *lora;         /* NULL: every parameter is trained */
    optimizer *optimizer;
    bucket_set *buckets; /* NULL: one gradient */
    shard *shard;        /* of several learners; NULL: one */
    moo_state by_token;
    pivot_state pivot;
    double mu;            /* the mixture's */
    bucket_set *measure;  /* of steps that measure it; NULL: none does */
    shard *measured;      /* its pieces, the same as the shard's */
    isolation *isolation; /* NULL: every parameter moves */
    double *squares;      /* [its blocks] */
    float *grads;         /* [total] */
    float *lora_grads;    /* [the adapter's total] */
    arena *step;
    bool touched;        /* weights or moments are no longer those of the version: an update has begun */
    saved_state *before; /* what was remembered when the step began; NULL: it has not */
    bool picked;         /* micro_tokens is ours, not the recipe's */
};

static void copy_weights(weights *to, const weights *from)
{
    device_ops(from->dev)->zero(from->dev, to->data, from->table->total);
    device_ops(from->dev)->add(from->dev, to->data, from->data, from->table->total);
    weights_seal(to, from->version);
}

static bool needs_reference(const trainer_config *c)
{
    return c->loss.kl > 0 || c->reward_kl > 0 || c->loss.given == GIVEN_ASFT;
}

static bool many_learners(const trainer_config *c) { return c->comm && c->comm->size > 1; }

/* The preferences of reward dimensions are the reward's weights. */
static bucket_set *buckets_of(const trainer_config *config, const weights *w)
{
    const moo_plan *m = &config->moo;
    bucket_config c = m->bucket;
    if (m->over == MOO_OVER_NOTHING && many_learners(config)) /* one gradient: buckets are only what is exchanged */
        return bucket_set_new(&(bucket_config){ .moo = moo_default(MOO_SUM) }, w->table, w->dev, 1, 0);
    if (m->over == MOO_OVER_NOTHING || m->by_token) return NULL;
    const int n = config->objectives.n, each = m->over == MOO_OVER_BOTH ? m->n_groups : 1;
    if (m->over == MOO_OVER_GROUPS) return bucket_set_new(&c, w->table, w->dev, m->n_groups, 0);
    for (int k = 0; k < n * each; k++) c.moo.pref[k] = config->objectives.items[k / each].weight;
    return bucket_set_new(&c, w->table, w->dev, n * each, config->loss.kl > 0 ? each : 0);
}

/* The mixture's gradients are added as they are; what is looked at is their products. */
static bucket_set *measure_of(const trainer_config *c, const weights *w)
{
    const bucket_config sum = { .moo = moo_default(MOO_SUM) };
    return c->mixture.start > 0 ? bucket_set_new(&sum, w->table, w->dev, MIXTURE_ROWS, 0) : NULL;
}

static int refuse(const trainer_config *c, error *err)
{
    if (objective_weighing(&c->objectives) == 0)
        return error_set(err, ERR_ARGUMENT,
                         "reward.objectives has no objective with a weight above 0: there is nothing to learn");
    if (many_learners(c) && (c->moo.by_token || c->moo.bucket.by_micro_batch))
        return error_set(err, ERR_UNSUPPORTED, "moo.%s: several learners have different micro-batches",
                         c->moo.by_token ? "bucket = \"token\"" : "by_micro_batch");
    if (c->mixture.start > 0 && c->moo.over != MOO_OVER_NOTHING)
        return error_set(err, ERR_UNSUPPORTED, "algorithm.mixture with moo.method: both would weigh gradients");
    return OK;
}

/* The optimizer's runs are cut into the blocks that isolation may freeze. */
static void isolate(trainer *t)
{
    t->isolation = isolation_new(&t->config.isolation, t->lora ? t->lora->table : t->w->table, 0);
    if (!t->isolation) return;
    const int n = isolation_count(t->isolation);
    slice *blocks = xcalloc((size_t)n, sizeof *blocks);
    for (int i = 0; i < n; i++) {
        const isolation_block *b = &isolation_blocks(t->isolation)[i];
        blocks[i] = (slice){ b->begin, b->count };
    }
    optimizer_cut(t->optimizer, blocks, n);
    t->squares = xcalloc((size_t)n, sizeof *t->squares);
    free(blocks);
}

/* Under the device's guard: what is made so far is in `t`. */
static int fill(void *ctx, error *err)
{
    trainer *t = ctx;
    trainer_config *c = &t->config;
    weights *w = t->w;
    if (finite_check(w->dev, w->table, w->data, "the model's weights", err) != OK) return err ? err->code : ERR_STATE;
    t->grads = device_alloc(w->dev, sizeof(float) * (size_t)w->table->total);
    t->step = arena_new(1 << 20);
    t->buckets = buckets_of(c, w);
    t->measure = measure_of(c, w);
    t->mu = c->mixture.start;
    if (many_learners(c)) t->shard = bucket_set_spread(t->buckets, c->comm);
    if (many_learners(c) && t->measure) t->measured = bucket_set_spread(t->measure, c->comm);
    if (c->lora.rank > 0 && !(t->lora = lora_new(&c->lora, w, c->seed, err))) return err ? err->code : ERR_ARGUMENT;
    if (t->lora) t->lora_grads = device_alloc(w->dev, sizeof(float) * (size_t)t->lora->table->total);
    t->optimizer = optimizer_new(&c->optim, t->lora ? t->lora->w : w, t->lora ? NULL : t->shard, err);
    if (!t->optimizer) return ERR_MEMORY;
    isolate(t);
    if (!needs_reference(c)) return OK;
    if (!(t->reference = weights_new(w->dev, w->table, err))) return ERR_MEMORY;
    copy_weights(t->reference, w);
    return OK;
}

trainer *trainer_new(const trainer_config *config, weights *w, error *err)
{
    if (refuse(config, err) != OK) return NULL;
    trainer *t = xcalloc(1, sizeof *t);
    *t = (trainer){ .config = *config, .w = w, .picked = config->micro_tokens <= 0 };
    const int learners = many_learners(config) ? config->comm->size : 1;
    if (t->picked) t->config.micro_tokens = micro_tokens_for(w, memory_size(""), learners, config->recompute);
    if (t->config.epochs < 1) t->config.epochs = 1;
    if (t->config.temperature <= 0) t->config.temperature = 1; /* greedy sampling is recorded at temperature 1 */
    if (t->config.mixture.every < 1) t->config.mixture.every = 1;
    if (device_guard(w->dev, fill, t, err) == OK) return t;
    trainer_free(t);
    return NULL;
}

void trainer_free(trainer *t)
{
    if (!t) return;
    optimizer_free(t->optimizer, t->w->dev);
    isolation_free(t->isolation);
    free(t->squares);
    bucket_set_free(t->buckets);
    bucket_set_free(t->measure);
    shard_free(t->shard);
    shard_free(t->measured);
    weights_free(t->reference);
    device_free(t->w->dev, t->grads);
    device_free(t->w->dev, t->lora_grads);
    lora_free(t->lora);
    arena_free(t->step);
    state_free(t->before);
    free(t);
}

int trainer_check(const trainer *t, error *err)
{
    const weights *moving = t->config.reference_every > 0 ? t->reference : NULL;
    int rc = optimizer_check(t->optimizer, t->lora ? t->lora->w : t->w, err);
    if (rc == OK && t->lora) rc = finite_check(t->w->dev, t->w->table, t->w->data, "the weights", err);
    if (rc == OK && moving) rc = finite_check(t->w->dev, t->w->table, moving->data, "the reference's weights", err);
    return rc;
}

int64_t trainer_version(const trainer *t) { return t->w->version; }
int trainer_micro_tokens(const trainer *t) { return t->config.micro_tokens; }
bool trainer_whole(const trainer *t) { return !t->touched; }
optimizer *trainer_optimizer(trainer *t) { return t->optimizer; }
lora *trainer_lora(trainer *t) { return t->lora; }
weights *trainer_moving_reference(trainer *t) { return t->config.reference_every > 0 ? t->reference : NULL; }

/* Whose gradients and means the numbers are: the names of objectives and data groups, in order. */
static void name_what_is_weighed(const trainer_config *c, saved_state *s)
{
    str names = { 0 };
    for (int k = 0; k < c->objectives.n; k++) str_printf(&names, "%s%s", k > 0 ? " " : "", c->objectives.items[k].name);
    state_same(s, "objectives", names.data ? names.data : "");
    str_clear(&names);
    for (int g = 0; g < c->moo.n_groups; g++) str_printf(&names, "%s%s", g > 0 ? " " : "", c->moo.groups[g]);
    state_same(s, "groups", names.data ? names.data : "");
    str_free(&names);
}

/* Where the recipe leaves the size of micro-batches open, it is the one that the run began with: sums are taken
 * micro-batch by micro-batch. */
static void micro_tokens_state(trainer *t, saved_state *s)
{
    double size = t->config.micro_tokens;
    state_numbers(s, "micro_tokens", &size, 1, 1, INT32_MAX);
    if (t->picked) t->config.micro_tokens = (int)size;
}

void trainer_state(trainer *t, saved_state *s)
{
    state_section(s, "trainer", 1);
    micro_tokens_state(t, s);
    name_what_is_weighed(&t->config, s);
    if (t->measure) mixture_state(&t->mu, s);
    if (t->config.pivot.window > 0) pivot_state_walk(&t->pivot, &t->config.pivot, s);
    if (t->isolation) isolation_state(t->isolation, s);
    if (t->buckets)
        bucket_state(t->buckets, s);
    else if (t->config.moo.by_token)
        moo_state_walk(&t->by_token, s);
}

/* What was remembered before the step, once more. */
static void recall(trainer *t)
{
    state_rewind(t->before);
    trainer_state(t, t->before);
    const int rc = state_end(t->before, NULL);
    assert(rc == OK); /* it has just been written by the same walk */
    (void)rc;
}

/* Whether the step under way keeps the mixture's gradients apart. */
static bool measures(const trainer *t) { return mixture_measures(&t->config.mixture, t->w->version + 1); }

static pass pass_of(trainer *t)
{
    return (pass){ .config = &t->config,
                   .w = t->w,
                   .reference = t->reference,
                   .buckets = measures(t) ? t->measure : t->buckets,
                   .grads = t->grads,
                   .by_token = &t->by_token,
                   .step = t->step,
                   .mixture = t->measure ? mixture_at(&t->config.mixture, t->mu, t->w->version + 1) : -1,
                   .by_part = measures(t) };
}

static void objective_metrics(const trainer *t, const advantage_table *table, metrics *out)
{
    char name[96];
    double scalar = 0;
    bool scored = false;
    for (int k = 0; k < table->K && table->S > 0; k++) {
        const objective *o = &t->config.objectives.items[k];
        const objective_stats *s = &table->stats[k];
        scored |= s->scored > 0;
        if (s->scored) scalar += o->weight * s->mean;
        if (s->scored) snprintf(name, sizeof name, "reward/%s/mean", o->name), metrics_set(out, name, s->mean);
        if (s->scored) snprintf(name, sizeof name, "reward/%s/std", o->name), metrics_set(out, name, s->std);
        if (s->scored)
            snprintf(name, sizeof name, "reward/%s/frac_zero_std", o->name), metrics_set(out, name, s->dead_groups);
        snprintf(name, sizeof name, "reward/%s/missing", o->name), metrics_set(out, name, s->missing);
        if (!isfinite(o->least) || !s->scored) continue;
        snprintf(name, sizeof name, "reward/%s/unmet", o->name), metrics_set(out, name, s->unmet);
    }
    /* Raw and weighted: the per-objective means above are raw and unweighted. What nobody scored has no mean, not 0. */
    if (scored) metrics_set(out, "reward/mean", scalar);
}

static void loss_metrics(const step_sums *s, metrics *out)
{
    const double n = s->loss.tokens;
    if (s->loss.given > 0) metrics_set(out, "training/tokens_given", s->loss.given);
    if (s->loss.given > 0) metrics_set(out, "actor/given_nll", -s->loss.given_logprob / s->loss.given);
    if (s->loss.given_kl > 0) metrics_set(out, "actor/given_kl", s->loss.given_kl / s->loss.given);
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

/* Which blocks this update may move, by what earlier ones have shown; and what this one shows. */
static void freeze_blocks(trainer *t, const weights *trained, const float *grads, int owner, metrics *out)
{
    const int n = isolation_count(t->isolation);
    const bool *mask = isolation_mask(t->isolation, t->optimizer->step + 1, owner);
    double frozen = 0;
    for (int i = 0; i < n; i++) frozen += mask[i];
    optimizer_freeze(t->optimizer, mask);
    metrics_set(out, "actor/frozen_blocks", frozen / n);
    if (t->config.isolation.protect <= 0) return;
    optimizer_squares(t->optimizer, trained, grads, t->squares, n);
    isolation_learn(t->isolation, owner, t->squares);
}

/* One update by the step's gradient, and none where that is exactly 0: then nothing but the metrics changes. Without a
 * signal the gradient is a KL's, and the update by that alone. */
static int update(trainer *t, int owner, bool signal, bool *moved, metrics *out, error *err)
{
    const int64_t began = clock_us();
    optim_report report;
    double norm = 1;
    weights *trained = t->lora ? t->lora->w : t->w;
    const float *grads = t->lora ? t->lora_grads : t->grads;
    if (t->lora && t->shard) shard_gather(t->shard, t->w->dev, t->grads); /* an adapter is small: all step all of it */
    if (t->lora) lora_project(t->lora, t->grads, t->lora_grads);
    if (t->isolation && optimizer_norm(t->optimizer, trained, grads, &norm, err) != OK) return ERR_STATE;
    if (t->isolation && norm > 0) freeze_blocks(t, trained, grads, owner, out);
    t->touched = true;
    if ((signal ? optimizer_step : optimizer_pull)(t->optimizer, trained, grads, &report, err) != OK) return ERR_STATE;
    t->touched = *moved || report.grad_norm > 0;
    *moved |= report.grad_norm > 0;
    if (t->lora && report.grad_norm > 0) {
        lora_merge(t->lora, t->w);
        if (finite_check(t->w->dev, t->w->table, t->w->data, "the weights", err) != OK) return ERR_STATE;
    }
    metrics_set(out, "timing_s/optimizer", (double)(clock_us() - began) * 1e-6);
    metrics_set(out, "actor/grad_norm", report.grad_norm);
    metrics_set(out, "actor/lr", report.lr);
    return OK;
}

/* Each episode's data group -> [S] in the arena; NULL without groups, or with `err` for a group nobody has named. */
static int *owners_of(trainer *t, const advantage_table *table, error *err)
{
    const moo_plan *m = &t->config.moo;
    int *owner = arena_array(t->step, int, table->S);
    for (int s = 0; s < table->S; s++) {
        const char *name = table->episodes[s]->objective ? table->episodes[s]->objective : "";
        int k = 0;
        while (k < m->n_groups && strcmp(m->groups[k], name) != 0) k++;
        if (k == m->n_groups) {
            error_set(err, ERR_STATE, "a row of group '%.60s': moo.groups does not name it", name);
            return NULL;
        }
        owner[s] = k;
    }
    return owner;
}

static void share_of(const trainer *t, pack_options *o)
{
    const int64_t behind = t->config.oldest_token;
    o->given = t->config.loss.given != GIVEN_NOT;
    o->oldest = behind > 0 ? t->w->version - behind : 0;
    if (!t->shard) return;
    o->rank = t->config.comm->rank;
    o->ranks = t->config.comm->size;
}

/* Kimi's leash is slack where pi is pi_old: in a step's first update, unless pi_old is the sampler's policy. */
static bool leash_moves(const trainer_config *c)
{
    return c->loss.kind == LOSS_KIMI && c->loss.tau > 0 && (c->epochs > 1 || c->loss.correction == CORRECTION_NONE);
}

/* Even and odd samples. */
static int *halves_of(trainer *t, const advantage_table *table)
{
    int *half = arena_array(t->step, int, table->S);
    for (int s = 0; s < table->S; s++) half[s] = (int)(table->episodes[s]->sample % 2);
    return half;
}

static int plan_step(trainer *t, const advantage_table *table, pack_plan **plan, error *err)
{
    pack_options o = { .max_tokens = t->config.micro_tokens,
                       .check = CHECKED_EPISODES,
                       .kl = t->config.loss.kl > 0,
                       .leash = leash_moves(&t->config),
                       .by_objective = moo_of_rewards(&t->config.moo) };
    share_of(t, &o);
    if (moo_of_groups(&t->config.moo)) {
        if (!(o.owner = owners_of(t, table, err))) return err ? err->code : ERR_STATE;
        o.owners = t->config.moo.n_groups;
    }
    if (measures(t)) o.owner = halves_of(t, table), o.owners = 2;
    *plan = pack_groups(t->step, table, &o);
    return OK;
}

/* The mixture of the steps to come, after one that measured. */
static void learn_mixture(trainer *t, const step_sums *sums, metrics *out)
{
    double G[MIXTURE_ROWS * MIXTURE_ROWS] = { 0 };
    if (!t->measure) return;
    metrics_set(out, "actor/mixture", mixture_at(&t->config.mixture, t->mu, t->w->version + 1));
    if (!measures(t)) return;
    for (int b = 0; b < bucket_count(t->measure); b++)
        for (int i = 0; i < MIXTURE_ROWS * MIXTURE_ROWS; i++) G[i] += bucket_at(t->measure, b).G[i];
    const double slope = mixture_slope(G, t->mu);
    metrics_set(out, "actor/mixture_slope", slope);
    t->mu = mixture_learn(&t->config.mixture, t->mu, slope, sums->entropy / fmax(1, sums->loss.tokens));
}

/* The names of K gradients: an objective's, a group's, or "accuracy@de". */
static void moo_metrics(const trainer *t, metrics *out)
{
    const char *names[MOO_MOST];
    const moo_plan *m = &t->config.moo;
    const int n = t->config.objectives.n, each = moo_of_groups(m) ? m->n_groups : 1;
    if (!t->buckets || m->over == MOO_OVER_NOTHING) return;
    for (int k = 0; k < (moo_of_rewards(m) ? n * each : each); k++) {
        const char *reward = t->config.objectives.items[k / each].name,
                   *owner = moo_of_groups(m) ? m->groups[k % each] : "";
        str joined = { 0 };
        str_printf(&joined, "%s%s%s", moo_of_rewards(m) ? reward : "", m->over == MOO_OVER_BOTH ? "@" : "", owner);
        names[k] = memcpy(arena_alloc(t->step, joined.len + 1), joined.data, joined.len + 1);
        str_free(&joined);
    }
    bucket_metrics(t->buckets, names, out);
}

/* Which ranks have which of the rows of K gradients: data groups whose episodes they have, or everything. */
static const bool *contributions(trainer *t, const pack_plan *plan, const bucket_set *buckets)
{
    const int owners = moo_of_groups(&t->config.moo) ? t->config.moo.n_groups : measures(t) ? 2 : 1;
    const int size = t->config.comm->size, rows = bucket_rows(buckets);
    bool *has = arena_array(t->step, bool, size *rows);
    for (int i = 0; i < size * rows; i++) has[i] = plan->shares[i / rows * owners + i % rows % owners];
    return has;
}

/* What the ranks have seen, together. */
static void sum_over_ranks(const trainer *t, step_sums *sums)
{
    const int size = t->shard ? t->config.comm->size : 1;
    step_sums mine = *sums, *all = arena_array(t->step, step_sums, size);
    if (size == 1) return;
    comm_gather(t->config.comm, &mine, sizeof mine, all);
    *sums = (step_sums){ 0 };
    for (int r = 0; r < size; r++) {
        loss_sums_add(&sums->loss, &all[r].loss);
        sums->entropy += all[r].entropy;
        if (all[r].forward_us > sums->forward_us) sums->forward_us = all[r].forward_us;
        if (all[r].backward_us > sums->backward_us) sums->backward_us = all[r].backward_us;
    }
}

/* Forward and backward of all micro-batches: t->grads is the step's gradient. */
static int gradient_of(trainer *t, const pack_plan *plan, const advantage_table *table, first_look *first,
                       step_sums *sums, error *err)
{
    const pass p = pass_of(t);
    const loss_scale scale = { .tokens = fmax(1, plan->tokens), .episodes = fmax(1, plan->counted) };
    device_ops(t->w->dev)->zero(t->w->dev, t->grads, t->w->table->total);
    if (p.buckets) bucket_begin(p.buckets, t->w->version + 1, t->config.seed, t->grads);
    if (t->shard) bucket_contributions(p.buckets, contributions(t, plan, p.buckets));
    for (int i = 0; i < plan->n; i++) {
        const micro_batch m = { &plan->batches[i], &scale, table, &first[i], plan->learns, i + 1 == plan->n };
        if (pass_micro(&p, &m, sums, err) != OK) return err ? err->code : ERR_DEVICE;
    }
    if (t->shard && plan->learns && plan->n == 0) bucket_nothing(p.buckets);
    return p.buckets ? bucket_finish(p.buckets, err) : OK;
}

/* The data group most of the step's episodes are of. */
static int task_of(const trainer *t, const advantage_table *table)
{
    int votes[ISOLATION_TASKS] = { 0 }, best = 0;
    for (int s = 0; s < table->S; s++) {
        const char *name = table->episodes[s]->objective ? table->episodes[s]->objective : "";
        const int k = isolation_task(t->isolation, name);
        if (++votes[k] > votes[best]) best = k;
    }
    return best;
}

/* The step's updates: as many passes over the batch as there are epochs. What the metrics show is the last pass. Where
 * a pass leaves everything as it is, so would those after it. */
static int train(trainer *t, const pack_plan *plan, const advantage_table *table, step_sums *sums, bool *moved,
                 metrics *out, error *err)
{
    first_look *first = arena_zalloc(t->step, sizeof *first * (size_t)(plan->n + 1));
    const int epochs = plan->learns ? t->config.epochs : 1;
    const int owner = t->isolation ? task_of(t, table) : 0;
    int rc = OK;
    for (int e = 0; rc == OK && e < epochs && (e == 0 || *moved); e++) {
        *sums = (step_sums){ 0 };
        if (e > 0) weights_seal(t->w, t->w->version); /* what the last update changed */
        rc = gradient_of(t, plan, table, first, sums, err);
        if (rc == OK) sum_over_ranks(t, sums);
        if (rc == OK && plan->learns) rc = update(t, owner, plan->signal, moved, out, err);
    }
    return rc;
}

/* What each episode's distance from the reference costs it, [S] in the arena: the sum of log mu - log ref over what the
 * policy wrote. */
static double *kl_penalties(trainer *t, const advantage_table *table, metrics *out, error *err)
{
    pack_options everything = { .max_tokens = t->config.micro_tokens, .everything = true };
    share_of(t, &everything);
    everything.given = false;
    const pack_plan *plan = pack_groups(t->step, table, &everything);
    const pass p = pass_of(t);
    double *penalty = arena_zalloc(t->step, sizeof *penalty * (size_t)(table->S + 1)), sum = 0;
    for (int n = 0; n < plan->n; n++) {
        const packed_batch *b = &plan->batches[n];
        device_scratch_reset(t->w->dev);
        const float *reference = pass_reference(&p, b, err);
        if (!reference) return NULL;
        for (int i = 0; i < b->tokens.n_out; i++)
            penalty[b->episode[i]] +=
                t->config.reward_kl * signal_between_logprobs(b->behaviour[i], (double)reference[i]);
    }
    if (t->shard) comm_sum(t->config.comm, penalty, table->S);
    for (int s = 0; s < table->S; s++) sum += penalty[s];
    metrics_set(out, "actor/reward_kl_penalty", table->S ? sum / table->S : 0);
    return penalty;
}

/* MOA: weights by trend (times the recipe's), and the episodes that elimination drops. */
static void follow_trend(trainer *t, const group *const *groups, int n_groups, advantage_extra *extra, metrics *out)
{
    const objective_set *o = &t->config.objectives;
    double means[MAX_OBJECTIVES], w[MAX_OBJECTIVES];
    char name[96];
    const advantage_table *plain = advantage_compute(t->step, &t->config.advantage, o, groups, n_groups, NULL);
    for (int k = 0; k < o->n; k++) means[k] = plain->stats[k].mean;
    pivot_weights(&t->config.pivot, &t->pivot, o, means, w);
    double *own = arena_array(t->step, double, plain->S * o->n);
    for (int i = 0; i < plain->S * o->n; i++) own[i] = w[i % o->n] * objective_weighing(o) * o->items[i % o->n].weight;
    bool *drop = arena_zalloc(t->step, sizeof *drop * (size_t)(plain->S + 1));
    if (t->config.pivot.eliminate) pivot_eliminate(o, w, groups, n_groups, drop);
    double dropped = 0;
    for (int s = 0; s < plain->S; s++) dropped += drop[s];
    for (int k = 0; k < o->n; k++)
        snprintf(name, sizeof name, "reward/%s/weight", o->items[k].name), metrics_set(out, name, w[k]);
    metrics_set(out, "reward/eliminated", plain->S ? dropped / plain->S : 0);
    extra->weights = own, extra->drop = drop;
}

static const advantage_table *advantages(trainer *t, const group *const *groups, int n_groups, metrics *out, error *err)
{
    const trainer_config *c = &t->config;
    advantage_extra extra = { 0 };
    if (c->pivot.window > 0) follow_trend(t, groups, n_groups, &extra, out);
    if (c->preference[0] && c->rows) {
        extra.weights = preference_weights(t->step, c->rows, c->preference, &c->objectives, groups, n_groups, err);
        if (!extra.weights) return NULL;
    }
    const advantage_table *table = advantage_compute(t->step, &c->advantage, &c->objectives, groups, n_groups, &extra);
    if (c->reward_kl <= 0) return table;
    extra.penalty = kl_penalties(t, table, out, err);
    return extra.penalty ? advantage_compute(t->step, &c->advantage, &c->objectives, groups, n_groups, &extra) : NULL;
}

/* Learners whose weights drift apart would train on without a word: look at every step. */
static int same_everywhere(const trainer *t, error *err)
{
    uint64_t hashes[MOST_LEARNERS];
    if (!t->shard) return OK;
    comm_gather(t->config.comm, &t->w->hash, sizeof t->w->hash, hashes);
    for (int r = 0; r < t->config.comm->size; r++)
        if (hashes[r] != hashes[0])
            return error_set(err, ERR_STATE,
                             "learner %d has other weights than learner 1: different machines or builds?", r + 1);
    return OK;
}

/* Bytes that left this learner, beside what other ways would have sent. */
static void comm_metrics(trainer *t, uint64_t sent_before, metrics *out)
{
    if (!t->shard) return;
    const double R = t->config.comm->size, model = sizeof(float) * (double)t->w->table->total;
    metrics_set(out, "comm/learners", R);
    metrics_set(out, "comm/bytes_sent", (double)(t->config.comm->sent - sent_before));
    metrics_set(out, "comm/bytes_ring_allreduce", 2 * (R - 1) / R * model * t->config.epochs);
    metrics_set(out, "comm/bytes_full_gradients", bucket_rows(t->buckets) * 2 * (R - 1) / R * model * t->config.epochs);
}

/* One count: what the step's updates were made of. Logprobs that were only looked at are not in it. */
static void count_metrics(const pack_plan *plan, const step_sums *sums, bool moved, metrics *out)
{
    metrics_set(out, "training/signal", plan->signal);
    if (!plan->learns) metrics_set(out, "actor/grad_norm", 0);
    metrics_set(out, "training/tokens_trained", moved ? sums->loss.tokens : 0);
    metrics_set(out, "training/episodes_trained", moved ? plan->trained : 0);
}

/* ---- a step ---- */

/* Without a signal, what is remembered from step to step - cosines, trends, importances - learns nothing either; nor
 * does it from a step that fails. */
static void keep_memory(trainer *t)
{
    state_free(t->before);
    t->before = state_new();
    trainer_state(t, t->before);
}

/* Who hands groups over has held them against the run's limits; what no sampler could have drawn is not trained on even
 * if they have not. */
static int check_groups(const trainer *t, const group *const *groups, int n_groups, error *err)
{
    for (int g = 0; g < n_groups; g++)
        for (uint32_t i = 0; i < groups[g]->n; i++)
            if (trajectory_check(&groups[g]->episodes[i]->tokens, t->w->table->config.vocab, err) != OK)
                return error_within(err, "sample %" PRIu32 " of row %" PRIu64, groups[g]->episodes[i]->sample,
                                    groups[g]->prompt_id + 1);
    return OK;
}

static int learn(trainer *t, const group *const *groups, int n_groups, int64_t version, metrics *out, error *err)
{
    const uint64_t sent = t->shard ? t->config.comm->sent : 0;
    step_sums sums = { 0 };
    pack_plan *plan = NULL;
    bool moved = false;
    const advantage_table *table = advantages(t, groups, n_groups, out, err);
    int rc = table ? plan_step(t, table, &plan, err) : ERR_DEVICE;
    if (rc == OK) rc = train(t, plan, table, &sums, &moved, out, err);
    if (rc == OK && plan->signal) learn_mixture(t, &sums, out);
    if (rc == OK && !plan->signal) recall(t);
    if (rc != OK) return rc;
    weights_seal(t->w, version);
    if (same_everywhere(t, err) != OK) return ERR_STATE;
    objective_metrics(t, table, out);
    loss_metrics(&sums, out);
    count_metrics(plan, &sums, moved, out);
    comm_metrics(t, sent, out);
    if (plan->learns) moo_metrics(t, out);
    metrics_set(out, "timing_s/forward", (double)sums.forward_us * 1e-6);
    metrics_set(out, "timing_s/backward", (double)sums.backward_us * 1e-6);
    return OK;
}

static int step(trainer *t, const group *const *groups, int n_groups, metrics *out, error *err)
{
    const int64_t began = clock_us(), version = t->w->version + 1;
    arena_reset(t->step);
    keep_memory(t);
    if (check_groups(t, groups, n_groups, err) != OK || learn(t, groups, n_groups, version, out, err) != OK)
        return error_within(err, "step %" PRId64, version);
    if (trainer_moving_reference(t) && version % t->config.reference_every == 0) copy_weights(t->reference, t->w);
    metrics_set(out, "timing_s/update_actor", (double)(clock_us() - began) * 1e-6);
    return OK;
}

typedef struct stepping {
    trainer *t;
    const group *const *groups;
    int n_groups;
    metrics *out;
} stepping;

static int step_guarded(void *ctx, error *err)
{
    const stepping *s = ctx;
    return step(s->t, s->groups, s->n_groups, s->out, err);
}

int trainer_step(trainer *t, const group *const *groups, int n_groups, metrics *out, error *err)
{
    t->touched = false;
    state_free(t->before);
    t->before = NULL;
    const int rc = device_guard(t->w->dev, step_guarded, &(stepping){ t, groups, n_groups, out }, err);
    if (rc != OK && t->before && trainer_whole(t)) recall(t);
    if (rc == OK) t->touched = false;
    return rc;
}
