/* SPDX-License-Identifier: MIT */
/* probe_text - what a model computed for one text (model/probe), for people or for programs. */
#pragma once

#include <stdio.h>

#include "model/probe.h"

/* {"ids":[],"token_logprobs":[],"last_logits":[],"greedy_ids":[]}: one logprob less than ids; nine digits a float,
 * which name it exactly, and null for what is not a number. */
void probe_print_json(FILE *out, const probe *p);
/* A line a token with its logprob and text, the likeliest next tokens, and what greedy decoding continues with. */
void probe_print_table(FILE *out, const probe *p);
