/* SPDX-License-Identifier: MIT */
/* sft_options - the keys of supervised fine-tuning (troupe sft, run/tuning.h). A recipe that has some is one for
 * fine-tuning: it needs no reward. */
#pragma once

#include "base/option.h"

/* What of a row is learned. */
#define SFT_LOSSES(X)                                                                                                  \
    X(SFT_ANSWERS, "answers", "what the policy would have written: calls, answers, an assistant's messages")           \
    X(SFT_ALL, "all", "every token of the row, questions and results too")

typedef enum sft_loss { SFT_LOSSES(WORDS_MEMBER) } sft_loss;

typedef struct sft_options {
    sft_loss loss;
    int64_t rows_per_step, max_tokens;
    bool given; /* the recipe has such keys */
} sft_options;

extern const option_table SFT_OPTIONS;
