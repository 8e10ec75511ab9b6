/* SPDX-License-Identifier: MIT */
#include "run/learner_thread.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/str.h"
#include "show/batch_metrics.h"
#include "run/ranks.h"
#include "learner/checkpoint.h"
#include "learner/micro_tokens.h"

static const double MAX_STEP = 9007199254740992; /* 2^53: whole numbers up to here are exact */

enum { WAIT_MS = 500 };

/* ---- out: versions and checkpoints ---- */

static picked_row *rows_ahead(const learner_thread *l, int64_t step)
{
    return l->ahead + (size_t)(step % (l->config.recipe->exchange.max_staleness + 1)) * l->config.prompts;
}

static int64_t rows_kept(const learner_thread *l)
{
    return (l->config.recipe->exchange.max_staleness + 1) * l->config.prompts;
}

/* Section "rows_ahead": the last step that was given its rows, and the rows of those that may have begun. */
static void rows_ahead_state(learner_thread *l, saved_state *s)
{
    const int64_t n = rows_kept(l);
    const double last_row = (double)dataset_size(l->config.rows) - 1;
    double picked = (double)l->picked, *rows = xcalloc(3 * (size_t)n + 1, sizeof *rows);
    double *hints = rows + n, *templates = hints + n;
    for (int64_t i = 0; i < n; i++) {
        rows[i] = (double)l->ahead[i].row;
        hints[i] = (double)l->ahead[i].hint;
        templates[i] = l->ahead[i].template_id;
    }

    state_section(s, "rows_ahead", 1);
    state_numbers(s, "picked", &picked, 1, 0, MAX_STEP);
    state_numbers(s, "rows", rows, n, 0, last_row);
    state_numbers(s, "hints", hints, n, 0, 1);
    state_numbers(s, "templates", templates, n, 0, SAMPLER_TEMPLATES);

    if (state_loading(s)) l->restored = (int64_t)picked;
    for (int64_t i = 0; state_loading(s) && i < n; i++)
        l->ahead[i] = (picked_row){ (uint64_t)rows[i], (float)hints[i], (int32_t)templates[i] };
    free(rows);
}

/* memory.state, in both directions: the trainer's sections, then those of what chooses rows. */
static void memory_state(learner_thread *l, saved_state *s)
{
    trainer_state(l->trainer, s);
    if (!l->config.sampler) return;
    sampler_state(l->config.sampler, s);
    rows_ahead_state(l, s);
}

static checkpoint_parts parts_of(const learner_thread *l)
{
    return (checkpoint_parts){ .w = l->config.model->weights,
                               .adapter = trainer_lora(l->trainer),
                               .o = trainer_optimizer(l->trainer),
                               .reference = trainer_moving_reference(l->trainer) };
}

/* Saving and loading take a little memory of the device themselves: both under its guard. */
typedef struct keeping {
    learner_thread *l;
    const checkpoint_parts *parts;
    checkpoint_state *state;
} keeping;

static int save_parts(void *ctx, error *err)
{
    const keeping *k = ctx;
    const recipe *r = k->l->config.recipe;
    const int rc = checkpoint_save(k->l->config.run_dir, r->run.model, k->parts, (uint64_t)r->run.seed, err);
    return rc == OK ? checkpoint_prune(k->l->config.run_dir, r->run.keep_checkpoints, k->parts->w->version, err) : rc;
}

static int load_parts(void *ctx, error *err)
{
    const keeping *k = ctx;
    const char *dir = k->l->config.checkpoint;
    const int rc = checkpoint_load(dir, k->parts, k->state, err);
    return rc == OK && trainer_check(k->l->trainer, err) != OK ? error_within(err, "%s", dir) : rc;
}

static int load_memory(learner_thread *l, error *err)
{
    saved_state *memory = checkpoint_memory(l->config.checkpoint, err);
    if (!memory) return err->code;
    memory_state(l, memory);
    const int rc = state_end(memory, err);
    state_free(memory);
    return rc;
}

static int save(learner_thread *l, error *err)
{
    if (l->saved == trainer_version(l->trainer)) return OK;
    checkpoint_parts parts = parts_of(l);
    ranks_save(l->config.comm);
    saved_state *memory = state_new();
    memory_state(l, memory);
    parts.memory = memory;
    const int rc = device_guard(l->config.model->weights->dev, save_parts, &(keeping){ l, &parts, NULL }, err);
    state_free(memory);
    if (rc == OK) l->saved = trainer_version(l->trainer);
    return rc;
}

static bool evaluation_due(const learner_thread *l, int64_t version)
{
    const recipe *r = l->config.recipe;
    return r->run.eval_every > 0 && (version % r->run.eval_every == 0 || version == r->run.steps);
}

/* The rows of all steps that this version lets begin, by what was learned from up to it. */
static void pick_rows(learner_thread *l, new_version *v)
{
    const recipe *r = l->config.recipe;
    const int64_t newest = v->version + 1 + r->exchange.max_staleness,
                  last = newest < r->run.steps ? newest : r->run.steps;
    if (l->picked < v->version) l->picked = v->version;
    if (!l->config.sampler || last <= l->picked) return;
    v->rows_from = l->picked + 1;
    v->n_rows = (uint32_t)(last - l->picked);
    v->rows = xcalloc((size_t)v->n_rows * l->config.prompts, sizeof *v->rows);
    for (uint32_t i = 0; i < v->n_rows; i++) {
        const int64_t step = v->rows_from + i;
        picked_row *rows = rows_ahead(l, step);
        if (step > l->restored) sampler_pick(l->config.sampler, step, l->config.prompts, rows);
        memcpy(v->rows + (size_t)i * l->config.prompts, rows, sizeof *rows * l->config.prompts);
    }
    l->picked = last;
}

/* The I/O thread takes versions as long as this one lives: the queue is full only for a moment. */
static int hand_out(learner_thread *l, uint32_t groups, uint32_t episodes, error *err)
{
    const weights *w = l->config.model->weights;
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = w->version,
                        .hash = w->hash,
                        .groups = groups,
                        .episodes = episodes,
                        .evaluate = evaluation_due(l, w->version) };
    int rc = weights_encode(w, DTYPE_F32, &v->bytes, err);
    if (rc != OK) return new_version_free(v), rc;
    pick_rows(l, v);
    do rc = queue_push(l->config.versions, v, WAIT_MS);
    while (rc == ERR_TIMEOUT);
    return rc == OK ? OK : error_set(err, ERR_STATE, "the exchange is closed");
}

/* ---- in: steps and evaluations ---- */

/* What was refused so far, all of it, by reason and by peer; a reason or peer appears with its first. */
static void refusal_metrics(const refusal_counts *c, metrics *m)
{
    char name[REFUSED_NAME + 32];
    metrics_set(m, "exchange/refused", (double)c->all);
    for (int i = 0; i < N_REFUSALS; i++) {
        snprintf(name, sizeof name, "exchange/refused/%s", refusal_name((refusal)i));
        if (c->by_reason[i] > 0) metrics_set(m, name, (double)c->by_reason[i]);
    }
    for (int i = 0; i < c->n_peers; i++) {
        snprintf(name, sizeof name, "exchange/refused_of/%s", c->peers[i].name);
        metrics_set(m, name, (double)c->peers[i].n);
    }
}

static void throughput(learner_thread *l, metrics *m)
{
    pthread_mutex_lock(&l->lock);
    const server_stats stats = l->stats;
    pthread_mutex_unlock(&l->lock);
    const int64_t now = clock_ms();
    const double seconds = (double)(now - l->last_ms + 1) * 1e-3;
    metrics_set(m, "perf/throughput", (double)(stats.tokens - l->last_tokens) / seconds);
    metrics_set(m, "timing_s/step", seconds);
    metrics_set(m, "exchange/leases_lost", (double)stats.core.lost);
    metrics_set(m, "exchange/episodes_unplayable", (double)stats.core.unplayable);
    metrics_set(m, "exchange/episodes_failed", (double)stats.core.failed);
    metrics_set(m, "exchange/episodes_repeated", (double)stats.core.repeated);
    metrics_set(m, "exchange/groups_dropped", (double)stats.core.groups_dropped);
    metrics_set(m, "exchange/prompts_refilled", (double)stats.core.refilled);
    refusal_metrics(&stats.refused, m);
    metrics_set(m, "exchange/actors", stats.actors);
    metrics_set(m, "exchange/reward_workers", stats.reward_workers);
    l->last_ms = now;
    l->last_tokens = stats.tokens;
}

static int on_eval(learner_thread *l, const step_batch *b, error *err)
{
    metrics_clear(l->metrics);
    batch_eval_metrics((const group *const *)b->groups, b->n, &l->config.recipe->trainer.objectives, l->metrics);
    l->last_ms = clock_ms(); /* evaluations are not part of a step's time */
    return sinks_write(l->config.sinks, "eval", b->step, l->metrics, err);
}

/* Tells the person at the terminal of a step that taught nothing. ERR_STATE when these were enough. */
static int watch_silence(learner_thread *l, const step_batch *b, error *err)
{
    char sentence[480];
    pthread_mutex_lock(&l->lock);
    const server_stats stats = l->stats;
    pthread_mutex_unlock(&l->lock);
    const bool over = silence_step(&l->silence, (const group *const *)b->groups, b->n, b->step, l->metrics,
                                   stats.core.failure, sentence, sizeof sentence);
    if (over) return error_set(err, ERR_STATE, "%s", sentence);
    if (sentence[0]) log_warn(l->config.log, "%s", sentence);
    if (sentence[0]) sinks_say(l->config.sinks, sentence);
    return OK;
}

static int on_step(learner_thread *l, const step_batch *b, error *err)
{
    const recipe *r = l->config.recipe;
    uint32_t episodes = 0;
    metrics_clear(l->metrics);
    for (uint32_t i = 0; i < b->n; i++) episodes += b->groups[i]->n;
    ranks_step(l->config.comm, b);
    if (trainer_step(l->trainer, (const group *const *)b->groups, (int)b->n, l->metrics, err) != OK) return err->code;
    batch_step_metrics((const group *const *)b->groups, b->n, b->step, l->metrics);
    if (l->config.sampler) {
        sampler_learn(l->config.sampler, (const group *const *)b->groups, b->n, r->trainer.objectives.items[0].name);
        sampler_metrics(l->config.sampler, l->metrics);
    }
    throughput(l, l->metrics);
    if (sinks_write(l->config.sinks, "step", b->step, l->metrics, err) != OK) return err->code;
    if (watch_silence(l, b, err) != OK) return save(l, NULL), err->code;
    if (((r->run.checkpoint_every > 0 && b->step % r->run.checkpoint_every == 0) || b->step == r->run.steps) &&
        save(l, err) != OK)
        return err->code;
    return hand_out(l, b->n, episodes, err);
}

static bool finished(const learner_thread *l, bool last_was_eval)
{
    const int64_t version = trainer_version(l->trainer);
    return version >= l->config.recipe->run.steps && (last_was_eval || !evaluation_due(l, version));
}

static bool alone(const learner_thread *l) { return !l->config.comm || l->config.comm->size == 1; }

/* What is in memory when there is no more of it, here or at another learner: the scratch goes, the last whole version
 * is saved, and the sentence says which key to turn. */
static int step_was_lost(learner_thread *l, error *err)
{
    const recipe *r = l->config.recipe;
    ranks_left left = { .whole = trainer_whole(l->trainer), .code = err->code };
    char keys[160] = "";
    error why = { 0 };
    device_scratch_drop(l->config.model->weights->dev);
    snprintf(left.sentence, sizeof left.sentence, "%s", err->text);
    if (!ranks_regroup(l->config.comm, l->trainer, err, &left) && !alone(l)) left.whole = false;
    const bool saved = left.whole && save(l, &why) == OK;
    if (left.code == ERR_MEMORY)
        snprintf(keys, sizeof keys, "; lower learner.micro_tokens (%d now) or rollout.max_context (%d now)",
                 trainer_micro_tokens(l->trainer), r->actor.max_context);
    return error_set(err, left.code, "%s%s; %s", left.sentence, keys,
                     saved ? "its checkpoint is written" : "it can be resumed from the newest checkpoint");
}

static int train(learner_thread *l, error *err)
{
    bool over = false;
    if (hand_out(l, 0, 0, err) != OK) return err->code;
    over = finished(l, false);
    while (!over && !l->stop) {
        void *item;
        const int got = queue_pop(l->config.steps, &item, WAIT_MS);
        if (got == ERR_TIMEOUT) continue;
        if (got != OK) break;
        step_batch *b = item;
        l->working = true;
        const int rc = b->eval ? on_eval(l, b, err) : on_step(l, b, err);
        l->working = false;
        over = rc == OK && finished(l, b->eval && b->step == trainer_version(l->trainer));
        step_batch_free(b);
        if (rc == ERR_MEMORY || rc == ERR_PEER) return step_was_lost(l, err);
        if (rc != OK) return rc;
    }
    const int saved = save(l, err);
    if (saved == ERR_MEMORY || saved == ERR_PEER) return step_was_lost(l, err);
    if (saved != OK) return saved;
    return over ? OK
                : error_set(err, ERR_INTERRUPTED, "stopped at step %" PRId64 "; its checkpoint is written",
                            trainer_version(l->trainer));
}

static void *run(void *ctx)
{
    learner_thread *l = ctx;
    l->last_ms = clock_ms();
    l->rc = train(l, &l->err);
    ranks_end(l->config.comm);
    l->over = true;
    queue_close(l->config.versions);
    return NULL;
}

/* ---- life ---- */

static void say_size(const learner_thread *l)
{
    char text[32];
    const recipe *r = l->config.recipe;
    log_info(l->config.log, "learner.micro_tokens is %d%s: about %s", trainer_micro_tokens(l->trainer),
             r->trainer.micro_tokens > 0 ? "" : " (auto)",
             memory_text((uint64_t)(micro_token_bytes(&l->config.model->config, r->trainer.recompute) *
                                    trainer_micro_tokens(l->trainer)),
                         text, sizeof text));
}

static silence_config silence_settings(const recipe *r)
{
    return (silence_config){ .patience = r->run.patience,
                             .objectives = &r->trainer.objectives,
                             .script = r->reward.script,
                             .dialect = r->prompt.dialect,
                             .prompts = (uint32_t)r->exchange.prompts_per_step,
                             .group_size = (uint32_t)r->exchange.group,
                             .temperature = r->exchange.temperature,
                             .max_tokens = r->exchange.max_tokens };
}

int learner_thread_open(learner_thread *l, const learner_thread_config *config, error *err)
{
    const silence_config quiet = silence_settings(config->recipe);
    checkpoint_state state;
    *l = (learner_thread){ .config = *config, .saved = -1 };
    pthread_mutex_init(&l->lock, NULL);
    l->metrics = metrics_new();
    silence_init(&l->silence, &quiet);
    if (config->checkpoint) silence_recall(&l->silence, config->run_dir);
    trainer_config tc = config->recipe->trainer;
    tc.rows = config->rows;
    tc.comm = config->comm;
    l->trainer = trainer_new(&tc, config->model->weights, err);
    if (!l->trainer && err->code == ERR_MEMORY)
        return error_set(
            err, ERR_MEMORY,
            "%s; weights, gradient and moments of %.3g parameters don't fit: lora.rank makes moments small", err->text,
            (double)config->model->table->total);
    if (!l->trainer) return err->code;
    if (config->sampler) l->ahead = xcalloc((size_t)rows_kept(l), sizeof *l->ahead);
    if (!config->checkpoint) return say_size(l), OK;
    const checkpoint_parts parts = parts_of(l);
    const int rc = device_guard(config->model->weights->dev, load_parts, &(keeping){ l, &parts, &state }, err);
    if (rc != OK || load_memory(l, err) != OK) return err->code;
    say_size(l);
    l->saved = state.step;
    if (state.seed == (uint64_t)config->recipe->run.seed) return OK;
    return error_set(err, ERR_STATE, "%s was made with seed %" PRIu64 ", the recipe has %" PRId64, config->checkpoint,
                     state.seed, config->recipe->run.seed);
}

int learner_thread_start(learner_thread *l, error *err)
{
    const int rc = pthread_create(&l->thread, NULL, run, l);
    l->started = rc == 0;
    if (l->started) pthread_setname_np(l->thread, "training");
    return rc == 0 ? OK : error_sys(err, rc, "the training thread");
}

void learner_thread_tell(learner_thread *l, const server_stats *stats)
{
    pthread_mutex_lock(&l->lock);
    l->stats = *stats;
    pthread_mutex_unlock(&l->lock);
}

/* Others may be waited for inside a step, and a GPU computes without us: only one learner on a CPU is known to hang. */
int learner_thread_hangs(learner_thread *l, error *err)
{
    const weights *w = l->config.model->weights;
    const bool should_compute = alone(l) && l->working && device_view(w->dev, w->data);
    const int64_t still_ms = stall_look(&l->stall, should_compute ? stall_cpu_ms(l->thread) : -1, clock_ms());
    if ((double)still_ms < l->config.recipe->run.stall_seconds * 1000) return OK;
    return error_set(err, ERR_TIMEOUT,
                     "the training thread has had no CPU time in step %" PRId64
                     " for %d s (stall_seconds = %g): it hangs",
                     trainer_version(l->trainer) + 1, (int)(still_ms / 1000), l->config.recipe->run.stall_seconds);
}

void learner_thread_stop(learner_thread *l)
{
    l->stop = true;
    queue_close(l->config.steps);
}

int learner_thread_close(learner_thread *l, error *err)
{
    int rc = OK;
    if (l->started) {
        pthread_join(l->thread, NULL);
        rc = l->rc == OK ? OK : error_set(err, l->rc, "%s", l->err.text);
    }
    trainer_free(l->trainer);
    metrics_free(l->metrics);
    free(l->ahead);
    pthread_mutex_destroy(&l->lock);
    return rc;
}
