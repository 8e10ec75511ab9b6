/* checkpoint - a Hugging Face folder that `transformers` loads, plus what an exact resume needs.
 *
 *     step-N/   config.json, tokenizer files, model.safetensors (fp32)      written first, whole
 *               adapter/                                                    with a LoRA: a folder that `peft` loads
 *               optimizer.safetensors                                       m and v, flat, in parameter order
 *               reference.safetensors                                       with a reference that moves
 *               memory.state                                                what buckets and the sampler of rows
 * remember state.json                                                  written last: without it there is no checkpoint
 */
#pragma once

#include "learner/optimizer.h"
#include "model/lora.h"

typedef struct checkpoint_state {
    int64_t step;    /* policy version */
    int64_t updates; /* optimizer steps (a step without signal makes none) */
    uint64_t weight_hash;
    uint64_t seed;
} checkpoint_state;

/* What a checkpoint holds; all borrowed. */
typedef struct checkpoint_parts {
    weights *w;
    lora *adapter; /* what `o` trains; NULL: the weights themselves */
    optimizer *o;
    weights *reference; /* NULL: it doesn't move, so it is made again */
    double *memory;     /* [n_memory] what else is remembered from step to step */
    int64_t n_memory;
} checkpoint_parts;

/* Writes RUN_DIR/checkpoints/step-N. `model_dir`: where config and tokenizer files are copied from. */
int checkpoint_save(const char *run_dir, const char *model_dir, const checkpoint_parts *parts, uint64_t seed,
                    error *err);
/* The newest complete checkpoint of a run: its folder into `dir`. ERR_NOT_FOUND: there is none. */
int checkpoint_latest(const char *run_dir, char *dir, size_t size, checkpoint_state *state, error *err);
/* Loads weights (sealed with the checkpoint's version), optimizer and memory; verifies the hash. */
int checkpoint_load(const char *dir, const checkpoint_parts *parts, checkpoint_state *state, error *err);
