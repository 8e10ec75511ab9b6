/* SPDX-License-Identifier: MIT */
/* credit - rewards on spans of an answer (a sentence, a turn), and which tokens they are for.
 *
 *     A_j = (v_j - mean) / (std + eps)   over all spans of the objective in the group (or the batch, as `mean` and
 *                                        `std` of advantage_config have it; leave-one-out and length: group)
 *
 *     to the span          each of its tokens gets A_j
 *                          fine-grained rewards (arXiv 2306.01693), credit in its place
 *     to the return        each token gets the sum of A_j of its own span and of all after it
 *                          process supervision of GRPO (2402.03300, section 4.1.3)
 *     to the whole answer  the mean of its spans is one number, as if the script had returned that
 *
 * A token belongs to the span in which its last byte lies; after the last span it gets nothing. What an
 * objective says in spans is not said once more by its mean: that one is for statistics and constraints. */
#pragma once

#include "base/arena.h"
#include "base/words.h"
#include "learner/objective.h"
#include "rollout/group.h"

#define CREDIT_TOS(X)                                                                                                  \
    X(CREDIT_SPAN, "span", "each span's tokens get its own advantage")                                                 \
    X(CREDIT_RETURN, "return", "a token gets the sum of its own span's and all later ones'")                           \
    X(CREDIT_WHOLE, "whole", "the mean of the spans is one reward for the whole answer")

typedef enum credit_to { CREDIT_TOS(WORDS_MEMBER) } credit_to;

struct advantage_config;
struct advantage_table;

/* Fills the table's `tokens` and `tokens_by_objective`, all else of it being there. eps and weights [S, K] (NULL: none)
 * are advantage_compute's. */
void credit_spans(arena *a, const struct advantage_config *config, double eps, const objective_set *objectives,
                  const group *const *groups, int n_groups, const double *weights, struct advantage_table *table);
