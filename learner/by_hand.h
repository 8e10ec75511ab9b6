/* SPDX-License-Identifier: MIT */
/* by_hand - advantages and losses of numbers that somewhere else were typed or computed: what `troupe advantage` and
 * `troupe loss` answer, and what a comparison with another library feeds both with. JSON in, JSON out; numbers are
 * written so that reading them gives the same doubles.
 *
 *     {"groups": [[1, 0, 0.5], [1, 1]], "lengths": [[12, 30, 7], [9, 9]]}          rewards; or, of several objectives,
 *     {"groups": [[{"right": 1, "brief": 0.2}, {"right": 0}]], "weights": {"right": 1, "brief": 0.5}}
 *         -> {"advantages": [[...], ...], "by_objective": {"right": [[...]], ...}}
 *
 *     {"episodes": [{"advantage": 1, "logprob": [...], "behaviour": [...], "old": [...], "reference": [...],
 *                    "success_rate": 0.5}], "max_tokens": 1024}
 *         -> {"loss": x, "gradient": [[...], ...]}                                 d loss / d logprob
 *
 * lengths are in tokens (1 where they are left out), for estimators that weigh by them. null is a missing score.
 * behaviour, old and reference are the logprob where they are left out. max_tokens is what aggregation = "constant"
 * divides by; without it the longest episode. */
#pragma once

#include <stdio.h>

#include "base/json.h"
#include "learner/trainer_config.h"

/* The algorithm.* keys, without their section: "name=dr_grpo", "clip=0.2,0.28". ERR_ARGUMENT names the word. */
int by_hand_settings(trainer_config *c, const char *const *words, int n, error *err);

/* Answers one line -> out. ERR_PARSE says what of it is not as above. */
int by_hand_advantage(const trainer_config *c, const json_t *line, FILE *out, error *err);
int by_hand_loss(const trainer_config *c, const json_t *line, FILE *out, error *err);
