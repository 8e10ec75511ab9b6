/* SPDX-License-Identifier: MIT */
#include "learner/trainer.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "learner/step_gradient.h"
#include "learner/step_metrics.h"
#include "learner/trainer_inside.h"

/* Two episodes are enough to see that actor and learner disagree when a step has nothing to learn from. */
enum { CHECKED_EPISODES = 2 };

/* ---- what a step may have to take back ---- */

static void remember(trainer *t)
{
    t->before = state_new();
    trainer_state(t, t->before);
}

/* Without a signal, what is remembered from step to step - cosines, trends, importances - learns nothing either; nor
 * does it from a step that fails. */
static void recall(trainer *t)
{
    state_rewind(t->before);
    trainer_state(t, t->before);
    const int rc = state_end(t->before, NULL);
    assert(rc == OK); /* it was written by the same walk */
    (void)rc;
}

static void forget(trainer *t)
{
    state_free(t->before);
    t->before = NULL;
}

/* ---- the stages of a step ---- */

int trainer_ask_methods(trainer *t, step_point point, train_step *s, error *err)
{
    for (int i = 0; i < t->n; i++) {
        if (!t->methods[i]->at[point]) continue;
        const int rc = t->methods[i]->at[point](t->own[i], s, err);
        if (rc != OK) return rc;
    }
    return OK;
}

/* Who hands groups over has held them against the run's limits; what no sampler could have drawn is not trained on even
 * if they have not. */
static int check_groups(const trainer *t, const train_step *s, error *err)
{
    const int vocab = t->parts.w->table->config.vocab;
    for (int g = 0; g < s->n_groups; g++)
        for (uint32_t i = 0; i < s->groups[g]->n; i++) {
            const episode *e = s->groups[g]->episodes[i];
            if (trajectory_check(&e->tokens, vocab, err) != OK)
                return error_within(err, "sample %" PRIu32 " of row %" PRIu64, e->sample, s->groups[g]->prompt_id + 1);
        }
    return OK;
}

/* What is taken off a reward comes before its baseline: then the advantages are computed once more. */
static int find_advantages(trainer *t, train_step *s, error *err)
{
    const trainer_config *c = &t->config;
    arena *a = t->parts.arena;

    int rc = trainer_ask_methods(t, AT_GATHER, s, err);
    if (rc == OK) rc = trainer_ask_methods(t, AT_WEIGH, s, err);
    if (rc != OK) return rc;
    s->table = advantage_compute(a, &c->advantage, &c->objectives, s->groups, s->n_groups, &s->extra);

    rc = trainer_ask_methods(t, AT_CREDIT, s, err);
    if (rc == OK && s->extra.penalty)
        s->table = advantage_compute(a, &c->advantage, &c->objectives, s->groups, s->n_groups, &s->extra);
    return rc;
}

static int make_plan(trainer *t, train_step *s, error *err)
{
    const int rc = trainer_ask_methods(t, AT_PLAN, s, err);
    if (rc == OK) s->plan = pack_groups(t->parts.arena, s->table, &s->options);
    return rc;
}

/* One update by the step's gradient, and none where that is exactly 0: then nothing but the metrics changes. Without a
 * signal the gradient is a KL's, and the update by that alone. */
static int update(trainer *t, train_step *s, error *err)
{
    const int64_t began = clock_us();
    const trainer_parts *p = &t->parts;
    optim_report report;
    if (trainer_ask_methods(t, AT_UPDATE, s, err) != OK) return ERR_STATE;

    /* From here on a failure leaves weights that are of no version: trainer_whole says so. */
    t->touched = true;
    int (*const step)(optimizer *, weights *, const float *, int64_t, optim_report *, error *) =
        s->plan->signal ? optimizer_step : optimizer_pull;
    if (step(p->optimizer, p->trained, p->trained_grads, s->version, &report, err) != OK) return ERR_STATE;
    s->moved |= report.grad_norm > 0;
    t->touched = s->moved;
    if (report.grad_norm > 0 && trainer_ask_methods(t, AT_UPDATED, s, err) != OK) return ERR_STATE;

    metrics_set(s->out, "timing_s/optimizer", (double)(clock_us() - began) * 1e-6);
    metrics_set(s->out, "actor/grad_norm", report.grad_norm);
    metrics_set(s->out, "actor/lr", report.lr);
    return OK;
}

/* The step's updates: as many passes over the batch as there are epochs. What the metrics show is the last pass. Where
 * a pass leaves everything as it is, so would those after it. */
static int train(trainer *t, train_step *s, error *err)
{
    weights *w = t->parts.w;
    first_look *first = arena_zalloc(t->parts.arena, sizeof *first * (size_t)(s->plan->n + 1));
    const int epochs = s->plan->learns ? t->config.epochs : 1;
    int rc = OK;

    for (int e = 0; rc == OK && e < epochs && (e == 0 || s->moved); e++) {
        if (e > 0) weights_seal(w, w->version); /* what the last update changed */
        rc = step_gradient(t, s, first, err);
        if (rc == OK && s->plan->learns) rc = update(t, s, err);
    }
    return rc;
}

static int learn(trainer *t, train_step *s, error *err)
{
    if (!s->plan->signal) {
        recall(t);
        return OK;
    }
    return trainer_ask_methods(t, AT_LEARN, s, err);
}

static int seal(trainer *t, train_step *s, error *err)
{
    weights_seal(t->parts.w, s->version);
    return trainer_ask_methods(t, AT_SEALED, s, err);
}

static int tell(trainer *t, train_step *s, error *err)
{
    step_metrics(s);
    return trainer_ask_methods(t, AT_METRICS, s, err);
}

/* ---- a step, top to bottom ---- */

/* Groups of scored episodes in, new weights out. Nothing is written to disk here: checkpoints are the run's
 * (checkpoint_save, between two steps). */
static int run_step(trainer *t, train_step *s, error *err)
{
    int rc = check_groups(t, s, err);
    if (rc == OK) rc = find_advantages(t, s, err);
    if (rc == OK) rc = make_plan(t, s, err);
    if (rc == OK) rc = train(t, s, err);
    if (rc == OK) rc = learn(t, s, err);
    if (rc == OK) rc = seal(t, s, err);
    return rc == OK ? tell(t, s, err) : rc;
}

/* Kimi's regulariser is 0 where pi is pi_old: in a step's first update, unless pi_old is the sampler's policy. */
static bool holds_to_old_policy(const trainer_config *c)
{
    return c->loss.kind == LOSS_KIMI && c->loss.tau > 0 && (c->epochs > 1 || c->loss.correction == CORRECTION_NONE);
}

static pack_options usual_options(const trainer *t)
{
    const trainer_config *c = &t->config;
    pack_options o = { .max_tokens = c->micro_tokens,
                       .shared_prompts = c->shared_prompts,
                       .check = CHECKED_EPISODES,
                       .kl = c->loss.kl > 0,
                       .regulariser = holds_to_old_policy(c),
                       .imitation = c->loss.imitation != IMITATION_NONE,
                       .supervised = c->supervised };

    if (c->oldest_token > 0) o.oldest = t->parts.w->version - c->oldest_token;
    if (t->parts.shard) {
        o.rank = c->comm->rank;
        o.ranks = c->comm->size;
    }
    return o;
}

static pass usual_pass(trainer *t)
{
    trainer_parts *p = &t->parts;
    return (pass){ .config = &t->config,
                   .w = p->w,
                   .reference = p->reference,
                   .buckets = p->buckets,
                   .grads = p->grads,
                   .step = p->arena,
                   .mixture = -1 };
}

typedef struct stepping {
    trainer *t;
    train_step step;
} stepping;

/* Under the device's guard. */
static int begin_step(void *ctx, error *err)
{
    stepping *x = ctx;
    trainer *t = x->t;
    const int64_t began = clock_us();

    arena_reset(t->parts.arena);
    remember(t);
    if (run_step(t, &x->step, err) != OK) return error_within(err, "step %" PRId64, x->step.version);
    metrics_set(x->step.out, "timing_s/update_actor", (double)(clock_us() - began) * 1e-6);
    return OK;
}

int trainer_step(trainer *t, const group *const *groups, int n_groups, metrics *out, error *err)
{
    stepping x = { .t = t };
    x.step = (train_step){ .parts = &t->parts,
                           .groups = groups,
                           .n_groups = n_groups,
                           .version = t->parts.w->version + 1,
                           .out = out,
                           .options = usual_options(t),
                           .pass = usual_pass(t) };

    t->touched = false;
    const int rc = device_guard(t->parts.w->dev, begin_step, &x, err);

    /* A step that failed before its update leaves no trace: the trainer can be saved as it was. */
    if (rc == OK)
        t->touched = false;
    else if (t->before && trainer_whole(t))
        recall(t);
    forget(t);
    return rc;
}
