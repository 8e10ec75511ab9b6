/* SPDX-License-Identifier: MIT */
/* group - the G episodes of one prompt at one step, with their scores: what a learner normalises over. */
#pragma once

#include "rollout/episode.h"
#include "rollout/score.h"

typedef struct group {
    uint64_t id, prompt_id;
    int64_t step;
    uint32_t size;      /* G asked for */
    episode **episodes; /* [n], in order of sample; owned. n < size when the machinery lost some */
    score **scores;     /* [n] */
    uint32_t n;
} group;

group *group_new(uint64_t id, uint64_t prompt_id, int64_t step, uint32_t size);
void group_free(group *g);
/* Takes both; keeps the order of samples whatever the order of arrival.
 * ERR_STATE for a sample that is there already. */
int group_add(group *g, episode *e, score *s, error *err);
