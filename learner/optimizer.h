/* SPDX-License-Identifier: MIT */
/* optimizer - AdamW over the flat parameter array: clipping by the global norm, warm-up, schedule, fp32 moments.
 *
 * Of several learners each keeps the moments of its own pieces (shard.h) and steps those alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/words.h"
#include "learner/shard.h"
#include "model/weights.h"

#define LR_SCHEDULES(X)                                                                                                \
    X(LR_CONSTANT, "constant", "stays as it is")                                                                       \
    X(LR_LINEAR, "linear", "falls by as much in every step")                                                           \
    X(LR_COSINE, "cosine", "falls along half a cosine: slowly, fast, slowly")

typedef enum lr_schedule { LR_SCHEDULES(WORDS_MEMBER) } lr_schedule;

typedef struct optim_config {
    double lr, beta1, beta2, weight_decay; /* decay acts on matrices, never on norms */
    double clip_norm;                      /* 0: no clipping */
    int64_t warmup;                        /* updates of linear warm-up */
    lr_schedule schedule;
    double min_lr_ratio; /* share of lr that a falling schedule ends with, at total_steps and after it */
    int64_t total_steps; /* of the run */
} optim_config;

/* A run of one parameter that this optimizer steps. */
typedef struct optim_run {
    int64_t at, count; /* in the parameter table */
    int64_t place;     /* of its moments */
    int param, block;  /* block: of those the optimizer was cut by; 0 without */
    bool frozen;       /* not moved: set by optimizer_freeze */
} optim_run;

typedef struct optimizer {
    optim_config config;
    const shard *shard; /* borrowed; NULL: one learner */
    optim_run *runs;    /* [n] */
    int n;
    int64_t total; /* floats of moments: one learner's are laid out as the parameter table is */
    float *m, *v;  /* [total] on the weights' device */
    int64_t step;  /* updates done */
} optimizer;

/* Runs are cut at the borders of blocks, so that blocks can be frozen: begin, count and number of each are set by the
 * caller. Before the first update. blocks [n]. */
void optimizer_cut(optimizer *o, const slice *blocks, int n);
/* mask [blocks] true: the block is not moved. NULL: all are. */
void optimizer_freeze(optimizer *o, const bool *mask);
/* The gradient's squared length in each block -> squares [blocks]; of several learners, of their pieces together. */
void optimizer_squares(const optimizer *o, const weights *w, const float *grads, double *squares, int blocks);

/* `sh` NULL: all of the parameters. NULL and ERR_MEMORY when there is no room for the moments. */
optimizer *optimizer_new(const optim_config *config, const weights *w, const shard *sh, error *err);
void optimizer_free(optimizer *o, device *dev);
/* The learning rate of an update (from 1) in a step of the run (from 1). Both count: the warm-up is for AdamW's
 * moments, which only updates fill, and the schedule is for the run, in which a step may have no update or several.
 * With s = (step - warmup) / (total_steps - warmup), held within 0 and 1:
 *
 *     lr * min(1, update / warmup) * (r + (1 - r) * f(s))     r: min_lr_ratio; f: 1 - s, or (1 + cos(pi s)) / 2
 *
 * Nothing is remembered from step to step: a resumed run has the rates of one that never stopped. */
double optimizer_lr(const optim_config *config, int64_t update, int64_t step);

typedef struct optim_report {
    double grad_norm, lr;
} optim_report;

/* All moments, laid out as the parameter table is: m, v [table->total] on the host. Export is collective. */
void optimizer_export(const optimizer *o, const weights *w, float *m, float *v);
/* Where they lie, if that is on the host and in this layout (one learner on a CPU): then no copy is needed. */
bool optimizer_view(const optimizer *o, const weights *w, const float **m, const float **v);
/* m or v NULL: those stay as they are. */
void optimizer_import(optimizer *o, const weights *w, const float *m, const float *v);

/* The norm of grads [table->total]; of several learners, of all pieces together. ERR_STATE, and the first parameter
 * whose gradient is not finite, when it isn't. */
int optimizer_norm(const optimizer *o, const weights *w, const float *grads, double *norm, error *err);
/* One update of w->data by grads [table->total], in this step of the run (from 1); of several learners, of each one's
 * pieces, which all learners then get. The caller seals the weights afterwards.
 *
 * Where the gradient is exactly 0 there is nothing to do, and nothing is done: weights, moments, decay and the count of
 * updates stay. AdamW by itself would continue by its momentum, a move that no episode asks for.
 *
 * ERR_STATE as of optimizer_norm, and nothing changed; ERR_STATE when weights or moments are not finite afterwards,
 * with the parameter's name: they are lost, and must not be published or saved. */
int optimizer_step(optimizer *o, weights *w, const float *grads, int64_t step, optim_report *report, error *err);
/* An update of which nothing is remembered: the gradient over the second moments, without momentum and decay; moments
 * and the count of updates stay as they are. For steps that only a KL moves: what is left of earlier rewards in the
 * first moments would continue pushing, for longer than the KL could hold. Otherwise as optimizer_step. */
int optimizer_pull(optimizer *o, weights *w, const float *grads, int64_t step, optim_report *report, error *err);
/* Weights and moments as they are: ERR_STATE, with the parameter's name, where one is not finite. Collective. */
int optimizer_check(const optimizer *o, const weights *w, error *err);
