/* SPDX-License-Identifier: MIT */
/* shared_prompts - which of a step's episodes begin with the same prompt, so that it is computed once.
 *
 *     episode 4    P P P P p  a a a        P p: the prompt, all that stands before the first token that was sampled
 *     episode 5    P P P P p  b b          or given
 *     packed       P P P P    p a a    p b             (an episode's last token is only a target)
 *                  prefix     after it
 *
 * The prompt's last token is computed by each episode for itself: what it predicts is the episode's own, so that no
 * output lies in a prefix. Prompts are told by their tokens, never by the group: samples of one group may have seen
 * other examples, hints or templates. */
#pragma once

#include "base/arena.h"
#include "learner/advantage.h"

typedef struct shared_prompts {
    int *first;   /* [S] the first of the packed episodes with the same prompt */
    int *tokens;  /* [S] of the prefix; 0 where no other episode has it */
    int *sharers; /* [S] how many packed episodes have the prompt, itself included */
} shared_prompts;

/* Of the episodes which[n] of the table; moves those with the same prompt up after their first. Only within a
 * partition: partition [S] as in pack_options, or NULL. */
shared_prompts shared_prompts_find(arena *a, const advantage_table *table, const int *partition, int *which, int n);
/* Each episode by itself. */
shared_prompts shared_prompts_none(arena *a, const advantage_table *table);
