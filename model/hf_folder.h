/* SPDX-License-Identifier: MIT */
/* hf_folder - opens a Hugging Face model folder, and writes one back that `transformers` loads. */
#pragma once

#include "model/weights.h"

typedef struct hf_folder {
    char dir[1024];
    model_config config;
    param_table *table;
    weights *weights; /* sealed with version 0 */
} hf_folder;

/* Reads config.json and model.safetensors (or the shards model.safetensors.index.json names). Memory is taken once the
 * files are known to hold every parameter; ERR_MEMORY when there is not enough of it. */
hf_folder *hf_folder_open(const char *dir, device *dev, error *err);
void hf_folder_close(hf_folder *f);
/* What hf_folder_open would say of the files, without a device and without reading the numbers. */
int hf_folder_check(const char *dir, error *err);
/* Reads config.json only (weights NULL): for a model that is about to be initialised. */
hf_folder *hf_folder_open_config(const char *dir, device *dev, error *err);

/* Writes config.json and the tokenizer files of `from_dir` as they are (but for the dtype that config.json names), and
 * `w` as model.safetensors, into `dir`. The folder appears whole or not at all; a model of ours that was there is
 * replaced, also when it is `from_dir` (model/model_folder.h says what is refused). */
int hf_folder_write(const char *dir, const char *from_dir, const weights *w, tensor_dtype dtype, error *err);
/* The same into the folder `dir`, which is there, with config.json as it is: for a caller that makes a folder of more
 * than a model. */
int hf_folder_fill(const char *dir, const char *from_dir, const weights *w, tensor_dtype dtype, error *err);
