/* SPDX-License-Identifier: MIT */
/* troupe import: a model of another program's format -> a Hugging Face folder. */
#include <stdio.h>

#include "cli/arguments.h"
#include "cli/verbs.h"
#include "model/import_llama2c.h"

static int usage(FILE *to)
{
    fprintf(to, "usage: troupe import --from llama2.c MODEL.bin TOKENIZER.bin OUT\n\n"
                "Writes a Hugging Face folder (config.json, model.safetensors, tokenizer.json) from llama2.c's legacy\n"
                "checkpoint and its tokenizer. `transformers` and every verb that takes --model read it.\n\n"
                "example: troupe import --from llama2.c stories260K.bin tok512.bin models/stories260k\n");
    return to == stdout ? 0 : 2;
}

int cmd_import(int argc, char **argv)
{
    static const char *const FORMATS[] = { "llama2.c", NULL };
    int from = -1;
    arguments a;
    error err = { 0 };
    const flag flags[] = { { .name = "--from", .choice = &from, .choices = FORMATS }, { 0 } };
    const syntax s = { .flags = flags, .words = "MODEL.bin TOKENIZER.bin OUT", .least = 3, .most = 3, .usage = usage };
    const int status = arguments_open(&a, argc, argv, &s);
    if (status >= 0) return status;
    int rc = from < 0 ? error_set(&err, ERR_ARGUMENT, "--from is missing: expected llama2.c") : OK;
    if (rc == OK) rc = import_llama2c(a.positional[0], a.positional[1], a.positional[2], &err);
    if (rc == OK)
        printf("%s: written; try: troupe probe --model %s --text 'Once upon a time' --greedy 40\n", a.positional[2],
               a.positional[2]);
    if (rc != OK) fprintf(stderr, "troupe: import: %s\n", err.text);
    return rc == OK ? 0 : rc == ERR_ARGUMENT ? 2 : 1;
}
