/* SPDX-License-Identifier: MIT */
/* troupe pretrain: next-token training of a base model from documents that a Lua function writes. */
#include <stdio.h>

#include "cli/verbs.h"
#include "run/pretraining.h"

static const char USAGE[] =
    "usage: troupe pretrain PRETRAIN.lua [key=value ...]\n\n"
    "The file returns { model = DIR, document = function(rng, progress) return TEXT end, steps=, ... }: DIR holds\n"
    "config.json and tokenizer.json, rng(n) gives an integer in 1..n, progress goes from 0 to 1.\n\n";

static void print_keys(FILE *to)
{
    fputs("keys:\n", to);
    pretraining_print_keys(to);
    fputs("\nexample: troupe pretrain recipes/calculator/pretrain.lua steps=400 out=/tmp/base\n", to);
}

static int run_verb(call *c, error *err)
{
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;
    const pretraining_options o = { .file = c->arguments.positional[0],
                                    .words = c->arguments.overrides,
                                    .n_words = c->arguments.n_overrides };
    return run_pretraining(&o, stdout, err);
}

const verb VERB_PRETRAIN = { .name = "pretrain",
                             .synopsis = "PRETRAIN.lua [key=value ...]",
                             .help = "train a base model from a document generator",
                             .usage = USAGE,
                             .print_usage = print_keys,
                             .words = "PRETRAIN.lua",
                             .min_words = 1,
                             .max_words = 1,
                             .keys = true,
                             .run = run_verb };
