/* SPDX-License-Identifier: MIT */
/* checkpoint - a Hugging Face folder that `transformers` loads, plus what an exact resume needs.
 *
 *     step-N/   config.json, tokenizer files, model.safetensors (fp32)
 *               adapter/                with a LoRA: a folder that `peft` loads
 *               optimizer.safetensors   m and v, flat, in parameter order
 *               reference.safetensors   with a reference that moves
 *               memory.state            what methods, buckets and the sampler remember, by name (base/state.h)
 *               state.json              step, counts, and size and hash of every file (learner/checkpoint_files.h)
 *
 * It is written into a folder of another name, synced and renamed: a step-N is whole or not there, on a full disk
 * too. */
#pragma once

#include "base/state.h"
#include "learner/checkpoint_files.h"
#include "learner/optimizer.h"
#include "model/lora.h"

/* What a checkpoint holds; all borrowed. */
typedef struct checkpoint_parts {
    weights *w;
    lora *adapter; /* what `o` trains; NULL: the weights themselves */
    optimizer *o;
    weights *reference;        /* NULL: it doesn't move, so it is made again */
    const saved_state *memory; /* to be saved: what else is remembered from step to step; NULL: nothing */
} checkpoint_parts;

/* Writes RUN_DIR/checkpoints/step-N. `model_dir`: where config and tokenizer files are copied from. On an error nothing
 * of it is left, and the sentence says how much room it needs. */
int checkpoint_save(const char *run_dir, const char *model_dir, const checkpoint_parts *parts, uint64_t seed,
                    error *err);
/* Loads weights (sealed with the checkpoint's version), optimizer and reference; verifies the weights' hash. The files
 * are held against their hashes by checkpoint_latest. */
int checkpoint_load(const char *dir, const checkpoint_parts *parts, checkpoint_state *state, error *err);
/* What is in memory.state, to be walked by those who wrote it; the caller frees. */
saved_state *checkpoint_memory(const char *dir, error *err);
