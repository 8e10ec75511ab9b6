/* optimizer - AdamW over the flat parameter array: clipping by the global norm, warm-up, schedule, fp32 moments. */
#pragma once

#include <stdint.h>

#include "model/weights.h"

typedef enum lr_schedule { LR_CONSTANT, LR_COSINE } lr_schedule;

typedef struct optim_config {
    double lr, beta1, beta2, eps, weight_decay; /* decay acts on matrices, never on norms */
    double clip_norm;                           /* 0: no clipping */
    int64_t warmup;                             /* steps of linear warm-up */
    lr_schedule schedule;
    int64_t total_steps; /* for LR_COSINE: down to a tenth of lr */
} optim_config;

optim_config optim_default(void);

typedef struct optimizer {
    optim_config config;
    float *m, *v; /* [table->total] on the weights' device */
    int64_t step; /* updates done */
} optimizer;

optimizer *optimizer_new(const optim_config *config, const weights *w, error *err);
void optimizer_free(optimizer *o, device *dev);
/* The learning rate of update `step` (from 1). */
double optimizer_lr(const optim_config *config, int64_t step);

typedef struct optim_report {
    double grad_norm, lr;
} optim_report;

/* One update of w->data by grads [table->total]. ERR_STATE, and nothing changed, when the norm is not finite. The
 * caller seals the weights afterwards. */
int optimizer_step(optimizer *o, weights *w, const float *grads, optim_report *report, error *err);
