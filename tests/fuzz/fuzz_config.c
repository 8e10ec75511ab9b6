/* SPDX-License-Identifier: MIT */
/* fuzz_config - any bytes are a config.json or an error with a sentence;
 * what is accepted has shapes a table can hold. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shapes(const model_config *c)
{
    if (c->vocab < 1 || c->width < 1 || c->layers < 1 || c->heads < 1 || c->ffn < 1 || c->max_position < 1) abort();
    if (c->kv_heads < 1 || c->heads % c->kv_heads != 0 || c->head_dim < 2 || c->head_dim % 2 != 0) abort();
    if (!(c->ropes[0].theta > 0) || !(c->norm_eps > 0) || !strstr(c->architecture, "ForCausalLM")) abort();
    for (int l = 0; l < c->layers; l++) {
        const layer_attention *a = &c->attention[l];
        if (a->window < 0 || (a->rope != ROPE_NONE && !(c->ropes[a->rope].theta > 0))) abort();
    }
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] < 0 || c->eos[i] >= c->vocab) abort();
    if (c->n_eos < 0 || c->n_eos > MAX_EOS || c->bos >= c->vocab) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_config c;
    error err = { 0 };
    const int rc = model_config_parse(&c, (const char *)data, size, "input", &err);
    if (rc != OK) {
        if (err.code != rc || (rc != ERR_PARSE && rc != ERR_UNSUPPORTED) || !*err.text) abort();
        return 0;
    }
    check_shapes(&c);
    param_table_free(param_table_new(&c, &err));
    return 0;
}
