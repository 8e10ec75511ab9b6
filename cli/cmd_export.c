/* SPDX-License-Identifier: MIT */
/* troupe export: a model folder written anew: another dtype, one file, an adapter merged in. */
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"
#include "model/hf_folder.h"
#include "model/lora.h"

typedef struct request {
    const char *model, *adapter, *out;
    int dtype; /* a place in DTYPES */
} request;

static const char *const DTYPES[] = { "f32", "bf16", NULL };

static const char USAGE[] =
    "usage: troupe export --model DIR [--adapter DIR] [--dtype f32|bf16] OUT\n\n"
    "Writes a Hugging Face folder that `transformers` loads: the model's config and tokenizer files as they\n"
    "are, its weights in one model.safetensors. OUT may be a folder that Troupe wrote before.\n\n"
    "  --adapter DIR  a PEFT folder (a LoRA) to merge into the weights\n"
    "  --dtype        of the stored weights: f32 (default), bf16 (rounded to nearest)\n\n"
    "example: troupe export --model runs/demo/icrl/checkpoints/step-120 --dtype bf16 my-model\n";

/* In fp32, before anything is rounded: with --dtype bf16 a merged weight is rounded once, not adapter and base each. */
static int merge(const request *r, weights *w, error *err)
{
    lora *l = lora_load(r->adapter, w, err);
    if (!l) return err->code;
    lora_merge(l, w);
    lora_free(l);
    return OK;
}

static int run(const request *r, error *err)
{
    device *dev = device_open("cpu", 0, err); /* it reads and writes files: a GPU would only be in the way */
    hf_folder *f = dev ? hf_folder_open(r->model, dev, err) : NULL;
    int rc = f ? OK : err->code;
    if (rc == OK && r->adapter) rc = merge(r, f->weights, err);
    if (rc == OK) rc = hf_folder_write(r->out, r->model, f->weights, r->dtype == 1 ? DTYPE_BF16 : DTYPE_F32, err);

    if (rc == OK)
        printf("%s: %s, %lld parameters in %s%s\n", r->out, f->config.architecture, (long long)f->table->total,
               DTYPES[r->dtype], r->adapter ? ", adapter merged" : "");
    hf_folder_close(f);
    device_close(dev);
    return rc;
}

static int run_verb(call *c, error *err)
{
    request r = { 0 };
    const flag flags[] = { { .name = "--model", .text = &r.model },
                           { .name = "--adapter", .text = &r.adapter },
                           { .name = "--dtype", .choice = &r.dtype, .choices = DTYPES },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    r.out = c->arguments.positional[0];
    const int rc = r.model ? run(&r, err) : error_set(err, ERR_ARGUMENT, "no --model (a Hugging Face folder)");
    return call_checked(c, rc);
}

const verb VERB_EXPORT = { .name = "export",
                           .synopsis = "--model DIR [--adapter DIR] OUT",
                           .help = "write a Hugging Face folder, an adapter merged in",
                           .usage = USAGE,
                           .words = "OUT, the folder to write",
                           .min_words = 1,
                           .max_words = 1,
                           .run = run_verb };
