/* SPDX-License-Identifier: MIT */
/* pretraining - a base model made from nothing but its config and tokenizer, by next-token training
 * (learner/pretrain.h) on documents that a Lua function writes (run/pretraining_file.h).
 *
 *     file -> weights drawn anew -> steps -> OUT, a Hugging Face folder, put in place whole
 *
 * OUT is begun before the first step: whether it can be written is not to be found out hours later. */
#pragma once

#include <stdio.h>

#include "base/error.h"

typedef struct pretraining_options {
    const char *file;         /* its path */
    const char *const *words; /* [n_words] "key=value" */
    int n_words;
} pretraining_options;

/* Trains and writes; lines of progress go to `to`. Takes SIGINT and SIGTERM for this process: ERR_INTERRUPTED, and
 * nothing is written. After any other error nothing is, either. */
int run_pretraining(const pretraining_options *o, FILE *to, error *err);

/* The file's keys, with their defaults and help, a line each. */
void pretraining_print_keys(FILE *to);
