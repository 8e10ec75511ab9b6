/* SPDX-License-Identifier: MIT */
/* troupe import: a model of another program's format -> a Hugging Face folder. */
#include <stdio.h>

#include "cli/verbs.h"
#include "model/import_llama2c.h"

static const char USAGE[] =
    "usage: troupe import --from llama2.c MODEL.bin TOKENIZER.bin OUT\n\n"
    "Writes a Hugging Face folder (config.json, model.safetensors, tokenizer.json) from llama2.c's legacy\n"
    "checkpoint and its tokenizer. `transformers` and every verb that takes --model read it.\n\n"
    "example: troupe import --from llama2.c stories260K.bin tok512.bin models/stories260k\n";

static int run_verb(call *c, error *err)
{
    static const char *const FORMATS[] = { "llama2.c", NULL };
    int from = -1;
    const flag flags[] = { { .name = "--from", .choice = &from, .choices = FORMATS }, { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    int rc = from < 0 ? error_set(err, ERR_ARGUMENT, "--from is missing: expected llama2.c") : OK;
    if (rc == OK)
        rc = import_llama2c(c->arguments.positional[0], c->arguments.positional[1], c->arguments.positional[2], err);
    if (rc == OK)
        printf("%s: written; try: troupe probe --model %s --text 'Once upon a time' --greedy 40\n",
               c->arguments.positional[2], c->arguments.positional[2]);
    return call_checked(c, rc);
}

const verb VERB_IMPORT = { .name = "import",
                           .synopsis = "--from llama2.c MODEL.bin TOKENIZER.bin OUT",
                           .help = "a Hugging Face folder from another format",
                           .usage = USAGE,
                           .words = "MODEL.bin TOKENIZER.bin OUT",
                           .min_words = 3,
                           .max_words = 3,
                           .run = run_verb };
