/* SPDX-License-Identifier: MIT */
/* memory_need - what a process takes, by part. Each room says its own, next to where it takes it (weights_bytes,
 * model_pass_bytes, engine_need, trainer_need, ...); run/memory_plan.h joins them. */
#pragma once

#include <stdint.h>

#include "base/words.h"

#define MEMORY_PARTS(X)                                                                                                \
    X(MEMORY_WEIGHTS, "weights", "parameters, and the panels of their matrices")                                       \
    X(MEMORY_GRADIENTS, "gradients", "one a parameter; of many gradients, one each")                                   \
    X(MEMORY_MOMENTS, "moments", "AdamW's two a trained parameter")                                                    \
    X(MEMORY_ACTIVATIONS, "activations", "of the tokens that are computed at once")                                    \
    X(MEMORY_PAGES, "keys and values", "of all episodes in flight, each as long as it may become")                     \
    X(MEMORY_PUBLISHING, "publishing", "versions on their way to the actors")                                          \
    X(MEMORY_PROGRAM, "program", "libraries, tokenizer, scripts, episodes")

typedef enum memory_part { MEMORY_PARTS(WORDS_MEMBER) N_MEMORY_PARTS } memory_part;

extern const word_row MEMORY_PART_WORDS[];

typedef struct memory_need {
    uint64_t bytes[N_MEMORY_PARTS];
} memory_need;

static inline uint64_t memory_need_total(const memory_need *n)
{
    uint64_t total = 0;
    for (int i = 0; i < N_MEMORY_PARTS; i++) total += n->bytes[i];
    return total;
}
