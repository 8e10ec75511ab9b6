/* SPDX-License-Identifier: MIT */
/* templates - which text that says how to go about a prompt the next group tries (TemplateRL, arXiv 2505.15692).
 *
 * A bandit: each template is an arm. A row is offered the NEAREST templates whose complexity is closest to its own; of
 * those the one with the highest upper confidence bound is shown,
 *
 *     wins / n + sqrt(2 log N / n)        n, N: episodes of this template, of all        (UCB1, Auer et al. 2002)
 *
 * and one that was never shown comes before all that were. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"
#include "base/state.h"
#include "rollout/dataset.h"

typedef struct template_bandit template_bandit;

/* complexity [n]: of the templates, copied; NaN: any. rows: their "complexity" is read; borrowed for this call. NULL
 * and `err` for a row that is not JSON. */
template_bandit *template_bandit_new(const double *complexity, int n, const dataset *rows, error *err);
void template_bandit_free(template_bandit *b); /* NULL is allowed */

/* An episode with `template_id` (from 1; others are ignored) was scored. */
void template_bandit_learn(template_bandit *b, int32_t template_id, bool right);
/* For row `row`, < the size of the data set: a template's number, from 1. */
int32_t template_bandit_pick(const template_bandit *b, uint64_t row);
/* sampler/template/K/wins: the share of right answers under template K, once it was shown. */
void template_bandit_metrics(const template_bandit *b, metrics *out);

/* Section "templates": what it remembers. */
void template_bandit_state(template_bandit *b, saved_state *s);
