/* troupe import: a model of another program's format -> a Hugging Face folder. */
#include <stdio.h>
#include <string.h>

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

static int check(const arguments *a, const char *from, error *err)
{
    if (!from || strcmp(from, "llama2.c") != 0)
        return error_set(err, ERR_ARGUMENT, "--from %s: expected llama2.c", from ? from : "is missing");
    if (a->n_positional != 3 || a->n_overrides > 0)
        return error_set(err, ERR_ARGUMENT, "expected MODEL.bin TOKENIZER.bin OUT, found %d words", a->n_positional);
    return OK;
}

int cmd_import(int argc, char **argv)
{
    const char *from = NULL;
    arguments a;
    error err = { 0 };
    const flag flags[] = { { "--from", &from, NULL }, { 0 } };
    int rc = arguments_parse(&a, argc, argv, flags, &err);
    if (rc == OK && a.help) return usage(stdout);
    if (rc == OK) rc = check(&a, from, &err);
    if (rc == OK) rc = import_llama2c(a.positional[0], a.positional[1], a.positional[2], &err);
    if (rc == OK)
        printf("%s: written; try: troupe probe --model %s --text 'Once upon a time' --greedy 40\n", a.positional[2],
               a.positional[2]);
    if (rc != OK) fprintf(stderr, "troupe: import: %s\n", err.text);
    return rc == OK ? 0 : rc == ERR_ARGUMENT ? 2 : 1;
}
