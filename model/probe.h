/* SPDX-License-Identifier: MIT */
/* probe - what a model computes for one text: the same numbers that a run works with.
 *
 *     ids        i_0  i_1 ... i_n-1 | i_n ...            what was asked | what greedy decoding continues with
 *     logprobs        i_1 ... i_n-1                      log p of each token, given those before it
 *     logits                   [V]                       after i_n-1
 *
 * Probabilities come from the packed forward that the learner uses, the continuation from the paged decode that the
 * actor uses. */
#pragma once

#include "kernels/device.h"
#include "model/hf_folder.h"
#include "model/tokenizer/tokenizer.h"

typedef struct probe_request {
    const char *model;    /* a folder with config.json and model.safetensors */
    const char *text;     /* read by the model's tokenizer, added tokens that are written out too; NULL: `ids` */
    const token_ids *ids; /* for a model that may have no tokenizer; NULL with a text */
    int greedy;           /* how many tokens to add; an end token is one like others */
    const char *device;   /* "cpu", "cuda:0", "auto" */
    precision precision;
} probe_request;

typedef struct probe {
    device *dev;
    hf_folder *model;
    tokenizer *tokenizer; /* NULL: the folder has none, and ids were given */
    token_ids ids;        /* [n + greedy] */
    size_t n;             /* of what was asked */
    int32_t *positions;   /* [n + greedy] 0, 1, ... */
    float *logprobs;      /* [n - 1] */
    float *logits;        /* [V] */
} probe;

/* Computes all of it into `p` (zeroed). ERR_ARGUMENT: no token, one that the vocabulary hasn't, or more than the model
 * has positions. ERR_STATE: logits that are not finite. Other errors are of device, folder or tokenizer. probe_reset
 * frees, also after an error. */
int probe_run(probe *p, const probe_request *r, error *err);
void probe_reset(probe *p);

/* The token of the largest logit [V]; of equal ones the first. */
int32_t probe_likeliest(const float *logits, int V);
