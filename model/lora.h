/* SPDX-License-Identifier: MIT */
/* lora - low-rank adapters (Hu et al. 2021): W = W0 + (alpha / rank) B A for chosen matrices, W0 frozen.
 *
 * The model always computes with the merged W: forward, decode and export are those of any other model, so an actor and
 * a learner agree to the bit and a merged folder is exactly what was trained. Backward makes dW; lora_project turns it
 * into the adapter's gradients, dA = s B^T dW and dB = s dW A^T, which are those of the unmerged product. What is saved
 * is the optimizer: its moments, and its choice of directions, are the adapter's only.
 *
 * An adapter's A [rank, in] and B [out, rank] are parameters like others, in a table of their own, named as PEFT names
 * them: the optimizer and checkpoints need no second code. */
#pragma once

#include "model/weights.h"

typedef struct lora_config {
    int rank; /* 0: no adapter */
    float alpha;
    uint32_t targets; /* bit 1 << param_kind; 0: every matrix of the layers; where they have experts, of attention */
} lora_config;

typedef struct lora {
    lora_config config;
    const param_table *model; /* borrowed */
    param_table *table;       /* A and B of each adapted matrix, in the model's order */
    const param **of;         /* [table->n / 2] the matrix that items 2 i (A) and 2 i + 1 (B) belong to */
    weights *w;               /* the adapter's parameters, never packed */
    float *frozen;            /* W0 of the adapted matrices, one after the other, on the device */
} lora;

/* The bit that stands for a matrix in lora_config's targets, by its name in PEFT: "q_proj", "k_proj", "v_proj",
 * "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj" or "gate_up_proj". 0: no matrix has that name. */
uint32_t lora_target(const char *name);

/* ERR_UNSUPPORTED, by name, for targets that are matrices of experts in this model. */
int lora_check(const lora_config *config, const model_config *model, error *err);
/* Floats of an adapter's matrices, and of the parameters that they are added to. */
int64_t lora_floats(const lora_config *config, const param_table *model, int64_t *frozen);
/* An adapter for `base` as it is now: A uniform in +-1/sqrt(in) (as PEFT), B zero, so W = W0. ERR_ARGUMENT: a rank that
 * is no rank, or targets of which the model has none. */
lora *lora_new(const lora_config *config, const weights *base, uint64_t seed, error *err);
void lora_free(lora *l);
/* W = W0 + s B A into `w`, of the same shapes as the base; the caller seals. */
void lora_merge(const lora *l, weights *w);
/* From grads [model total], dL/dW of every parameter, to out [table total], dL/dA and dL/dB; what was in out goes. */
void lora_project(const lora *l, const float *grads, float *out);

/* A PEFT folder: adapter_config.json and adapter_model.safetensors. base: what base_model_name_or_path says. */
int lora_save(const lora *l, const char *dir, const char *base, error *err);
/* The adapter of a PEFT folder for `base`. Refuses what isn't a plain LoRA on these matrices. */
lora *lora_load(const char *dir, const weights *base, error *err);
/* Reads A and B (of the same configuration) into an adapter that is there already. */
int lora_load_into(lora *l, const char *dir, error *err);
