/* SPDX-License-Identifier: MIT */
/* options - the keys of what is shown when: rows of data, worked examples, and help on the way. */
#pragma once

#include "base/option.h"
#include "curriculum/sampler.h"
#include "curriculum/shot_schedule.h"

typedef struct curriculum_options {
    char train[OPTION_PATH_BYTES], test[OPTION_PATH_BYTES]; /* data; test may be "" */
    sampler_config sampler;
    int64_t templated, hinted, demonstrations; /* samples of a group */
    char shots_file[OPTION_PATH_BYTES];        /* "" without shots */
    shot_schedule *shots;                      /* by steps; NULL without shots, or by success (sampler.ladder) */
} curriculum_options;

extern const option_table DATA_OPTIONS, CURRICULUM_OPTIONS; /* both of a curriculum_options */

/* What other rooms' keys mean to the sampler. complexity [n_templates] is borrowed. */
void curriculum_options_join(curriculum_options *o, uint64_t seed, int64_t group_size, const double *complexity,
                             int n_templates);
void curriculum_options_reset(curriculum_options *o); /* frees what it holds */
