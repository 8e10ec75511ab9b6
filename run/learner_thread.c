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
#include "run/keeping.h"
#include "run/ranks.h"
#include "show/batch_metrics.h"

enum { WAIT_MS = 500 }; /* after which a wait looks whether it is to stop */

/* ---- out: versions and checkpoints ---- */

/* What is remembered of rows, beside the trainer's own. */
static void remember_rows(void *ctx, saved_state *s)
{
    learner_thread *l = ctx;
    if (!l->config.sampler) return;
    sampler_state(l->config.sampler, s);
    rows_ahead_state(&l->ahead, s);
}

static keeping keeping_of(learner_thread *l)
{
    return (keeping){ .recipe = l->config.recipe,
                      .run_dir = l->config.run_dir,
                      .trainer = l->trainer,
                      .w = l->config.model->weights,
                      .remember = remember_rows,
                      .ctx = l };
}

static int save(learner_thread *l, error *err)
{
    if (l->saved == trainer_version(l->trainer)) return OK;
    ranks_save(l->config.comm); /* all take part: each has the moments of its own shard */

    const keeping k = keeping_of(l);
    const int rc = keeping_save(&k, err);
    if (rc == OK) l->saved = trainer_version(l->trainer);
    return rc;
}

static bool evaluation_due(const learner_thread *l, int64_t version)
{
    const recipe *r = l->config.recipe;
    return r->run.eval_every > 0 && (version % r->run.eval_every == 0 || version == r->run.steps);
}

static int write_weights(void *w, const char *path, error *err) { return weights_save(w, path, DTYPE_F32, err); }

/* The I/O thread takes versions as long as this one lives: the queue is full only for a moment. */
static int hand_out(learner_thread *l, uint32_t groups, uint32_t episodes, error *err)
{
    weights *w = l->config.model->weights;
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = w->version,
                        .hash = w->hash,
                        .groups = groups,
                        .episodes = episodes,
                        .evaluate = evaluation_due(l, w->version) };
    if (weights_stage_write(l->config.stage, w->version, write_weights, w, &v->file, err) != OK) {
        v->file = 0;
        new_version_free(v);
        return err->code;
    }
    rows_ahead_pick(&l->ahead, v);

    int rc;
    do {
        rc = queue_push(l->config.versions, v, WAIT_MS);
    } while (rc == ERR_TIMEOUT);
    if (rc == OK) return OK;
    new_version_free(v);
    return error_set(err, ERR_STATE, "the exchange is closed");
}

/* ---- in: steps and evaluations ---- */

/* What the I/O thread last told. */
static server_stats told_stats(learner_thread *l)
{
    pthread_mutex_lock(&l->lock);
    const server_stats stats = l->stats;
    pthread_mutex_unlock(&l->lock);
    return stats;
}

static int on_eval(learner_thread *l, const step_batch *b, error *err)
{
    const objective_set *objectives = &l->config.recipe->trainer.objectives;
    metrics_clear(l->metrics);
    batch_eval_metrics((const group *const *)b->groups, b->n, objectives, l->metrics);
    l->last.ms = clock_ms(); /* evaluations are not part of a step's time */
    return sinks_write(l->config.sinks, "eval", b->step, l->metrics, err);
}

/* Tells the person at the terminal of a step that taught nothing. ERR_STATE when these were enough. */
static int watch_silence(learner_thread *l, const step_batch *b, error *err)
{
    const server_stats stats = told_stats(l);
    char sentence[480];
    const bool over = silence_step(&l->silence, (const group *const *)b->groups, b->n, b->step, l->metrics,
                                   stats.core.failure, sentence, sizeof sentence);
    if (over) return error_set(err, ERR_STATE, "%s", sentence);
    if (!sentence[0]) return OK;

    log_warn(l->config.log, "%s", sentence);
    sinks_say(l->config.sinks, sentence);
    return OK;
}

static bool checkpoint_due(const learner_thread *l, int64_t step)
{
    const run_options *run = &l->config.recipe->run;
    return step == run->steps || (run->checkpoint_every > 0 && step % run->checkpoint_every == 0);
}

/* What chooses rows learns from the step, by the first objective. */
static void teach_sampler(const learner_thread *l, const step_batch *b)
{
    sampler *s = l->config.sampler;
    if (!s) return;
    const char *first = l->config.recipe->trainer.objectives.items[0].name;
    sampler_learn(s, (const group *const *)b->groups, b->n, first);
    sampler_metrics(s, l->metrics);
}

static int train_on(learner_thread *l, const step_batch *b, error *err)
{
    const group *const *groups = (const group *const *)b->groups;
    metrics_clear(l->metrics);
    ranks_step(l->config.comm, b);
    if (trainer_step(l->trainer, groups, (int)b->n, l->metrics, err) != OK) return err->code;

    batch_step_metrics(groups, b->n, b->step, l->metrics);
    silence_metrics(&l->silence, groups, b->n, l->metrics);
    teach_sampler(l, b);
    const server_stats stats = told_stats(l);
    exchange_metrics(&l->last, &stats, clock_ms(), l->metrics);
    return sinks_write(l->config.sinks, "step", b->step, l->metrics, err);
}

static int on_step(learner_thread *l, const step_batch *b, error *err)
{
    uint32_t episodes = 0;
    for (uint32_t i = 0; i < b->n; i++) episodes += b->groups[i]->n;

    if (train_on(l, b, err) != OK) return err->code;
    if (watch_silence(l, b, err) != OK) {
        save(l, NULL); /* what it has learned before is worth keeping */
        return err->code;
    }
    if (checkpoint_due(l, b->step) && save(l, err) != OK) return err->code;
    return hand_out(l, b->n, episodes, err);
}

static bool finished(const learner_thread *l, bool last_was_eval)
{
    const int64_t version = trainer_version(l->trainer);
    if (version < l->config.recipe->run.steps) return false;
    return last_was_eval || !evaluation_due(l, version); /* the evaluation of the last version comes after its step */
}

static bool alone(const learner_thread *l) { return !l->config.comm || l->config.comm->size == 1; }

/* What is in memory when there is no more of it, here or at another learner: the scratch goes, the last whole version
 * is saved, and the sentence says which key to turn. */
static int step_was_lost(learner_thread *l, error *err)
{
    ranks_left left = { .whole = trainer_whole(l->trainer), .code = err->code };
    snprintf(left.sentence, sizeof left.sentence, "%s", err->text);
    device_scratch_drop(l->config.model->weights->dev); /* saving needs memory, too */
    if (!ranks_regroup(l->config.comm, l->trainer, err, &left) && !alone(l)) left.whole = false;

    error why = { 0 };
    const bool saved = left.whole && save(l, &why) == OK;
    char keys[160] = "";
    if (left.code == ERR_MEMORY)
        snprintf(keys, sizeof keys, "; lower learner.micro_tokens (%d now) or rollout.max_context (%d now)",
                 trainer_micro_tokens(l->trainer), l->config.recipe->actor.max_context);
    return error_set(err, left.code, "%s%s; %s", left.sentence, keys,
                     saved ? "its checkpoint is written" : "it can be resumed from the newest checkpoint");
}

static int take_batch(learner_thread *l, const step_batch *b, bool *over, error *err)
{
    l->working = true;
    const int rc = b->eval ? on_eval(l, b, err) : on_step(l, b, err);
    l->working = false; /* waiting for the next batch is not hanging (learner_thread_hangs) */
    *over = rc == OK && finished(l, b->eval && b->step == trainer_version(l->trainer));
    return rc;
}

/* Until the run is over, or it is to stop. */
static int take_batches(learner_thread *l, bool *over, error *err)
{
    while (!*over && !l->stop) {
        void *item;
        const int got = queue_pop(l->config.steps, &item, WAIT_MS);
        ranks_watch(l->config.comm); /* episodes may be long in coming: the others are not met before they are here */
        if (got == ERR_TIMEOUT) continue;
        if (got != OK) break; /* closed: it is to stop */

        const int rc = take_batch(l, item, over, err);
        step_batch_free(item);
        if (rc != OK) return rc;
    }
    return OK;
}

static int train(learner_thread *l, error *err)
{
    if (hand_out(l, 0, 0, err) != OK) return err->code;
    bool over = finished(l, false);

    int rc = take_batches(l, &over, err);
    if (rc == OK) rc = save(l, err);
    if (rc == ERR_MEMORY || rc == ERR_PEER) return step_was_lost(l, err); /* ERR_PEER: another learner's step was */
    if (rc != OK || over) return rc;
    return error_set(err, ERR_INTERRUPTED, "stopped at step %" PRId64 "; its checkpoint is written",
                     trainer_version(l->trainer));
}

static void *run(void *ctx)
{
    learner_thread *l = ctx;
    l->last.ms = clock_ms();
    l->rc = train(l, &l->err);
    ranks_end(l->config.comm, l->rc == ERR_INTERRUPTED);
    l->over = true;
    queue_close(l->config.versions);
    return NULL;
}

/* ---- life ---- */

static void say_size(const learner_thread *l)
{
    const trainer_config *tc = &l->config.recipe->trainer;
    const int tokens = trainer_micro_tokens(l->trainer);
    const weights *w = l->config.model->weights;
    const char *how_set = tc->micro_tokens > 0 ? "" : " (auto)";
    const int learners = alone(l) ? 1 : l->config.comm->size;

    memory_need need = { 0 };
    char text[32];
    trainer_need(tc, w->dev, w->table, learners, tokens, &need);
    log_info(l->config.log, "learner.micro_tokens is %d%s: about %s", tokens, how_set,
             memory_text(need.bytes[MEMORY_ACTIVATIONS], text, sizeof text));
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

static int open_trainer(learner_thread *l, error *err)
{
    const learner_thread_config *c = &l->config;
    trainer_config tc = c->recipe->trainer;
    tc.rows = c->rows;
    tc.comm = c->comm;
    l->trainer = trainer_new(&tc, c->model->weights, err);
    if (l->trainer) return OK;

    if (err->code != ERR_MEMORY) return err->code;
    return error_set(err, ERR_MEMORY,
                     "%s; weights, gradient and moments of %.3g parameters don't fit: lora.rank makes moments small",
                     err->text, (double)c->model->table->total);
}

int learner_thread_open(learner_thread *l, const learner_thread_config *config, error *err)
{
    *l = (learner_thread){ .config = *config, .saved = -1 }; /* -1: not even version 0 is on disk */
    pthread_mutex_init(&l->lock, NULL);
    l->metrics = metrics_new();

    const silence_config quiet = silence_settings(config->recipe);
    silence_init(&l->silence, &quiet);
    if (config->checkpoint) silence_recall(&l->silence, config->run_dir);

    if (open_trainer(l, err) != OK) return err->code;
    rows_ahead_init(&l->ahead, config->recipe, config->rows, config->sampler, config->prompts);
    const keeping k = keeping_of(l);
    if (config->checkpoint && keeping_load(&k, config->checkpoint, &l->saved, err) != OK) return err->code;
    say_size(l);
    return OK;
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
    const int64_t cpu_ms = should_compute ? stall_cpu_ms(l->thread) : -1; /* -1: begins to count anew */
    const int64_t still_ms = stall_look(&l->stall, cpu_ms, clock_ms());
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
    rows_ahead_reset(&l->ahead);
    pthread_mutex_destroy(&l->lock);
    return rc;
}
