/* SPDX-License-Identifier: MIT */
/* fuzz_folder - the small JSON files of a model's folder: which shard holds what, what ends a generation, what an
 * adapter was made with. Any bytes are read as what they say, or refused with a sentence.
 *
 * Input: model.safetensors.index.json, a line "====", generation_config.json, a line "====", adapter_config.json. */
#include "model/hf_folder.h"
#include "model/lora.h"
#include "tests/fuzz/files.h"
#include "tests/unit/learner/tiny.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tiny model;

/* config.json, one shard with all tensors, and an adapter. */
static void make_folder(void)
{
    error err = { 0 };
    const lora_config config = { .rank = 2, .alpha = 4, .targets = lora_target("q_proj") };
    char from[256], to[256];
    fuzz_put("config.json", (str_view){ TINY_CONFIG, sizeof TINY_CONFIG - 1 });
    model = tiny_open(5);
    lora *l = lora_new(&config, model.w, 1, &err);
    if (!l || hf_folder_fill(fuzz_folder(), fuzz_folder(), model.w, DTYPE_F32, &err) != OK ||
        lora_save(l, fuzz_folder(), "base", &err) != OK ||
        rename(fuzz_path(from, sizeof from, "model.safetensors"), fuzz_path(to, sizeof to, "all.safetensors")) != 0)
        fprintf(stderr, "%s\n", err.text), abort();
    lora_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    if (!model.w) make_folder();
    fuzz_put("model.safetensors.index.json", fuzz_part(&data, &size));
    fuzz_put("generation_config.json", fuzz_part(&data, &size));
    fuzz_put("adapter_config.json", fuzz_part(&data, &size));
    hf_folder *f = hf_folder_open(fuzz_folder(), model.dev, &err);
    if (!f) fuzz_failed(err.code, &err);
    hf_folder_close(f);
    err = (error){ 0 };
    lora *l = lora_load(fuzz_folder(), model.w, &err);
    if (!l) fuzz_failed(err.code, &err);
    lora_free(l);
    return 0;
}
