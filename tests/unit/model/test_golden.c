/* SPDX-License-Identifier: MIT */
#include "tests/unit/model/golden.h"

static void a_tied_llama_computes_what_transformers_computes(void **state)
{
    (void)state;
    check_folder("llama_tied");
}

/* bf16, in three shards, with an untied head, another rope_theta and norm_eps. */
static void an_untied_llama_computes_what_transformers_computes(void **state)
{
    (void)state;
    golden g = golden_open("llama_untied");
    assert_true(!g.model->config.tied && g.model->config.n_eos == 2 && g.model->config.ropes[0].theta == 500000.0f);
    golden_close(&g);
    check_folder("llama_untied");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tied_llama_computes_what_transformers_computes),
        cmocka_unit_test(an_untied_llama_computes_what_transformers_computes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
