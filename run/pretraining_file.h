/* SPDX-License-Identifier: MIT */
/* pretraining_file - what a pretraining's Lua file says: its keys, and the function that writes its documents.
 *
 *     return { model = DIR, steps = 1600, document = function(rng, progress) return TEXT end }
 *
 * A document is a function of (seed, its number, progress) alone, as long as the script draws from rng and keeps
 * nothing: rng(n) is 1..n, and the i-th draw for document d depends on (seed, d, i). Keys that are no number may stand
 * there for other programs (words, questions); a number that no key has is a mistyped key, and is refused. */
#pragma once

#include "base/option.h"
#include "base/str.h"
#include "lua/vm.h"

typedef struct pretraining_keys {
    char model[OPTION_PATH_BYTES]; /* folder with config.json and tokenizer.json */
    char out[OPTION_PATH_BYTES];   /* folder to write; the model's when the file names none */
    int64_t steps, tokens_per_step, max_sequence, micro_tokens;
    double lr, beta1, beta2, clip_norm, weight_decay;
    int64_t warmup; /* steps */
    double init_std;
    int64_t seed, threads, report_every;
} pretraining_keys;

extern const option_table PRETRAINING_OPTIONS;

typedef struct pretraining_file {
    pretraining_keys keys;
    vm *vm;
    int document; /* reference to the function in the VM */
    uint64_t documents;
    double progress;
    str text;
} pretraining_file;

/* words [n]: "key=value" of the command line, whose paths are relative to where one is; those in the file to its
 * folder. An error has file, line and key. Close it after an error, too. */
int pretraining_file_open(pretraining_file *f, const char *path, const char *const *words, int n, error *err);
void pretraining_file_close(pretraining_file *f);

/* The next document, for a training of which the share `progress` [0, 1) is done: *text, borrowed until the next call.
 * ERR_SCRIPT, ERR_LIMIT: the function raised, or took too long. */
int pretraining_file_next(pretraining_file *f, double progress, const str **text, error *err);
