/* SPDX-License-Identifier: MIT */
/* A run of models with experts from end to end: made, trained, exported, the same whoever played. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

/* What both families say of a model of a few thousand parameters with the tokenizer of models/stagehand. */
#define SHAPE                                                                                                          \
    "\"vocab_size\": 701, \"hidden_size\": 32, \"intermediate_size\": 48, \"hidden_act\": \"silu\","                   \
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8,"              \
    " \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0,"                              \
    " \"num_experts_per_tok\": 2, \"tie_word_embeddings\": false, \"eos_token_id\": 0, "

static const char QWEN[] = "{\"architectures\": [\"Qwen3MoeForCausalLM\"], \"model_type\": \"qwen3_moe\", " SHAPE
                           "\"num_experts\": 4, \"moe_intermediate_size\": 24, \"norm_topk_prob\": true,"
                           " \"decoder_sparse_step\": 1, \"mlp_only_layers\": [0]}";
static const char MIXTRAL[] =
    "{\"architectures\": [\"MixtralForCausalLM\"], \"model_type\": \"mixtral\", " SHAPE "\"num_local_experts\": 4}";

/* A random policy calls no tool: it is paid for the length of what it says, so that each step has a gradient. */
static const char REWARD[] = "return function(task, episode) return { accuracy = #episode.text % 7 / 7 } end\n";

static const char RUN[] = "$TROUPE train $RECIPE model=model reward.script=r.lua --run-dir %s steps=3 eval_every=0"
                          " checkpoint_every=3 optim.lr=1e-3 rollout.group=4 rollout.prompts_per_step=2"
                          " rollout.max_tokens=24 actors=%d";

static void train(const char *run, int actors)
{
    str command = { 0 };
    str_printf(&command, RUN, run, actors);
    SHELL(0, command.data, "");
    str_free(&command);
}

static void is_trained(const char *config)
{
    double differing[3], aux[3], signal[3];
    need_sandbox(); /* the recipe has a tool, which a random policy hardly calls */
    test_file_write(".", "config.json", config);
    SHELL(0,
          "mkdir shape && mv config.json shape && cp $MODEL/tokenizer*.json $MODEL/special_tokens_map.json shape && "
          "$TROUPE pretrain ${RECIPE%recipe.lua}pretrain.lua model=shape tokenizer=shape steps=1 out=model",
          "");
    test_file_write(".", "r.lua", REWARD);
    train("one", 1);
    train("two", 2);
    SHELL(0, "cmp one/checkpoints/step-3/model.safetensors two/checkpoints/step-3/model.safetensors && echo same",
          "same");

    assert_int_equal(metric_values("one", "step", "training/rollout_logprobs_differing", differing, 3), 3);
    assert_int_equal(metric_values("one", "step", "actor/router/aux_loss", aux, 3), 3);
    assert_int_equal(metric_values("one", "step", "training/signal", signal, 3), 3);
    for (int i = 0; i < 3; i++) assert_true(differing[i] == 0 && aux[i] >= 1 && signal[i] == 1);

    /* What is exported computes what was trained, and is no longer what it began as. */
    SHELL(0,
          "$TROUPE export --model one/checkpoints/step-3 out && for m in model one/checkpoints/step-3 out; do "
          "$TROUPE probe --model $m --text 'Question: 12 * 3' --json > $(basename $m).json; done; "
          "cmp step-3.json out.json && ! cmp -s model.json out.json && echo trained",
          "trained");
}

static void qwen3_moe(void **state)
{
    (void)state;
    is_trained(QWEN);
}

static void mixtral(void **state)
{
    (void)state;
    is_trained(MIXTRAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(qwen3_moe, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(mixtral, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
