/* SPDX-License-Identifier: MIT */
/* troupe import: a model of another program's format -> a Hugging Face folder. */
#include <stdio.h>

#include "cli/verbs.h"
#include "model/import_gguf.h"
#include "model/import_llama2c.h"

static const char USAGE[] =
    "usage: troupe import MODEL.gguf OUT\n"
    "       troupe import --from llama2.c MODEL.bin TOKENIZER.bin OUT\n\n"
    "Writes a Hugging Face folder (config.json, model.safetensors, tokenizer.json, chat template) from a model of\n"
    "llama.cpp (GGUF 2 and 3: llama, qwen2, qwen3, gemma2, gemma3, mistral3, smollm3, seed_oss, olmo2, granite,\n"
    "phi3, chatglm, glm4; F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K), or from llama2.c's legacy checkpoint and its\n"
    "tokenizer. `transformers` and every verb that takes --model read it.\n\n"
    "example: troupe import SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2\n";

enum { LLAMA2C, GGUF }; /* places in FORMATS */
static const char *const FORMATS[] = { "llama2.c", "gguf", NULL };

static int import_model(const call *c, int from, error *err)
{
    /* verbs.c has counted two or three words; which of the two it is depends on the format */
    const char *const *words = c->arguments.positional;
    const int n = c->arguments.n_positional;
    if (from == LLAMA2C && n != 3)
        return error_set(err, ERR_ARGUMENT, "--from llama2.c takes MODEL.bin TOKENIZER.bin OUT, found %d words", n);
    if (from == LLAMA2C) return import_llama2c(words[0], words[1], words[2], err);

    if (n != 2)
        return error_set(err, ERR_ARGUMENT,
                         "expected MODEL.gguf OUT, or --from llama2.c MODEL.bin TOKENIZER.bin OUT, found %d words", n);
    return import_gguf(words[0], words[1], err);
}

static int run_verb(call *c, error *err)
{
    int from = GGUF;
    const flag flags[] = { { .name = "--from", .choice = &from, .choices = FORMATS }, { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    const int rc = import_model(c, from, err);
    const char *out = c->arguments.positional[c->arguments.n_positional - 1];
    if (rc == OK) printf("%s: written; try: troupe probe --model %s --text 'Once upon a time' --greedy 40\n", out, out);
    return call_checked(c, rc);
}

const verb VERB_IMPORT = { .name = "import",
                           .synopsis = "MODEL.gguf OUT",
                           .help = "a Hugging Face folder from another format",
                           .usage = USAGE,
                           .words = "MODEL.gguf OUT, or --from llama2.c MODEL.bin TOKENIZER.bin OUT",
                           .min_words = 2,
                           .max_words = 3,
                           .run = run_verb };
