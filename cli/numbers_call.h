/* SPDX-License-Identifier: MIT */
/* numbers_call - what verbs have in common that answer lines of JSON by the algorithm.* keys: `advantage`, `loss`. */
#pragma once

#include "cli/verbs.h"
#include "learner/by_hand.h"

/* Reads the verb's words as settings, answers standard input line by line. ERR_NOT_FOUND: there is no line. */
int numbers_run(call *c, int (*answer)(const trainer_config *config, const json_t *line, FILE *out, error *err),
                error *err);
