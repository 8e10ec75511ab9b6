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

#include "learner/advantage.h"

/* Fills the table's `tokens` and `tokens_by_objective`, all else of it being there. eps and weights [S, K] (NULL: none)
 * are advantage_compute's. */
void credit_spans(arena *a, const advantage_config *config, double eps, const objective_set *objectives,
                  const group *const *groups, int n_groups, const double *weights, advantage_table *table);
