/* SPDX-License-Identifier: MIT */
/* learner_thread - the learner's training thread: complete steps come in by one queue, new versions go out by another.
 *
 *     exchange (I/O thread) --step_batch--> train, write metrics, checkpoint --new_version--> exchange
 *
 * It owns the weights and their device. It ends after the last step and its evaluation, when it is asked to stop, or
 * when something fails; then the versions' queue is closed, which wakes the I/O thread. A checkpoint is always its last
 * act. */
#pragma once

#include <stdatomic.h>
#include <pthread.h>

#include "curriculum/sampler.h"
#include "exchange/server.h"
#include "learner/trainer.h"
#include "model/hf_folder.h"
#include "recipe/recipe.h"
#include "run/exchange_metrics.h"
#include "run/rows_ahead.h"
#include "run/silence.h"
#include "run/stall.h"
#include "show/sinks.h"

typedef struct learner_thread_config {
    const recipe *recipe;
    const char *run_dir;
    hf_folder *model;       /* its weights are the trained ones; borrowed */
    const char *checkpoint; /* folder to resume from, or NULL */
    comm *comm;             /* several learners; borrowed, NULL: one */
    const dataset *rows;    /* that are played; borrowed */
    sampler *sampler;       /* borrowed; NULL: rows come in turn */
    uint32_t prompts;       /* rows a step takes of it */
    queue *steps, *versions;
    weights_stage *stage; /* where versions are written; borrowed */
    sinks *sinks;
    logger *log;
} learner_thread_config;

typedef struct learner_thread {
    learner_thread_config config;
    trainer *trainer;
    silence silence;
    metrics *metrics;
    pthread_t thread;
    bool started;
    atomic_bool stop, over, working; /* working: in a step or an evaluation */
    pthread_mutex_t lock;
    server_stats stats; /* under the lock: what the I/O thread last told */
    int64_t saved;      /* version of the newest checkpoint; -1: none */
    rows_ahead ahead;
    step_clock last;
    stall stall; /* the I/O thread's */
    int rc;
    error err;
} learner_thread;

/* Loads the checkpoint when there is one. */
int learner_thread_open(learner_thread *l, const learner_thread_config *config, error *err);
int learner_thread_start(learner_thread *l, error *err);
void learner_thread_tell(learner_thread *l, const server_stats *stats);
/* ERR_TIMEOUT and a sentence when its thread has stood still inside a step, without CPU time, for stall_seconds of the
 * recipe: it can't be ended, so the process has to be. Asked now and then by the I/O thread. */
int learner_thread_hangs(learner_thread *l, error *err);
void learner_thread_stop(learner_thread *l); /* after the step under way; does not wait */
/* Waits for the end of the thread (after `over`, or after learner_thread_stop): OK, ERR_INTERRUPTED, or why it
 * failed. */
int learner_thread_close(learner_thread *l, error *err);
