/* SPDX-License-Identifier: MIT */
/* model_folder - makes a model folder for a user: whole or not at all, and never over anything that isn't ours.
 *
 *     model_folder_begin   OUT.part-N is made, beside OUT
 *     (the caller fills it)
 *     model_folder_end     it changes places with OUT, synced; the OUT of before goes
 *
 * Replacing means removing. An OUT that is there is replaced when it is empty, or when Troupe wrote it: its weights
 * bear our mark (in the metadata of model.safetensors), and no other file than a model's lies beside them. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum { MODEL_FOLDER_BYTES = 1200 };

/* Metadata for safetensors_write of a model: PyTorch's format, and our mark. */
extern const char *const MODEL_METADATA[];

typedef struct model_folder {
    char target[MODEL_FOLDER_BYTES]; /* OUT without slashes at its end */
    char part[MODEL_FOLDER_BYTES + 32];
    bool in_place; /* OUT is where the config comes from */
} model_folder;

/* OK where `dir` is missing or may be replaced; else ERR_ARGUMENT and what is in the way. `from` is the folder whose
 * config and tokenizer will be copied (NULL: none); when it is `dir` itself, it may have no weights yet. */
int model_folder_check(const char *dir, const char *from, error *err);
int model_folder_begin(model_folder *f, const char *dir, const char *from, error *err);
/* With `keep` the folder is put in its place. Without, and after an error, it is removed and OUT stays as it was. */
int model_folder_end(model_folder *f, bool keep, error *err);

/* The files that go from one model folder to the next as they are: NULL-terminated, config.json first. */
extern const char *const MODEL_SIDE_FILES[];
