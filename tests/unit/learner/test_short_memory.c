/* SPDX-License-Identifier: MIT */
/* What a trainer does when memory is short: refused at any request, it says so, its weights are whole or known not to
 * be, and how much it wants depends on the machine alone. */
#include <stdio.h>
#include <stdlib.h>

#include "learner/micro_tokens.h"
#include "learner/pretrain.h"
#include "defaults.h"
#include "recorded.h"

/* One step of a trainer that is refused its n-th request. True: it needed no more than n. */
static bool starved_step(const trainer_config *c, int n)
{
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    const double rewards[] = { 1, 0, 0.5, 0 };
    group *g = recorded_group(&t, rewards, 4);
    device_scratch_drop(t.dev);
    const uint64_t before = weights_hash(t.w);
    device_starve(t.dev, n);
    trainer *tr = trainer_new(c, t.w, &err);
    int rc = tr ? trainer_step(tr, (const group *const *)&g, 1, m, &err) : err.code;
    device_starve(t.dev, -1);
    if (rc != OK && (rc != ERR_MEMORY || !strstr(err.text, "out of memory: "))) fail_msg("request %d: %s", n, err.text);
    if (rc != OK && tr && trainer_whole(tr) && weights_hash(t.w) != before)
        fail_msg("request %d: the weights changed, and the trainer calls them whole", n);
    if (rc != OK && tr) assert_int_equal(trainer_version(tr), 0);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
    return rc == OK;
}

/* Each `stride`-th of them. */
static void requests_may_fail(const trainer_config *c, int stride)
{
    int n = 0;
    while (!starved_step(c, n)) n += stride;
    if (n < 40) fail_msg("only %d requests were made", n);
}

static void a_trainer_survives_the_refusal_of_any_request(void **state)
{
    (void)state;
    trainer_config c = config_of(1e-3);
    c.micro_tokens = 10; /* several micro-batches */
    requests_may_fail(&c, 1);
    c.loss.kl = 0.1, c.epochs = 2;
    requests_may_fail(&c, 3);
    c.lora = (lora_config){ .rank = 2, .alpha = 4, .targets = lora_target("q_proj") };
    requests_may_fail(&c, 3);
}

static int counting(void *ctx, double progress, int32_t *out, int max, int *n, error *err)
{
    (void)ctx, (void)progress, (void)err;
    for (*n = 0; *n < max; (*n)++) out[*n] = *n % 30;
    return OK;
}

static void so_does_a_pretrainer(void **state)
{
    (void)state;
    bool done = false;
    for (int n = 0; !done; n++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        pretrain_report r;
        const pretrain_config c = {
            .steps = 1, .tokens_per_step = 24, .max_sequence = 12, .optim = optim_default(), .next = counting
        };
        device_starve(t.dev, n);
        pretrainer *p = pretrainer_new(&c, t.w, &err);
        const int rc = p ? pretrainer_step(p, &r, &err) : err.code;
        if (rc != OK && rc != ERR_MEMORY) fail_msg("request %d: %s", n, err.text);
        done = rc == OK;
        device_starve(t.dev, -1);
        pretrainer_free(p);
        tiny_close(&t);
        assert_true(n > 20 || !done);
    }
}

/* SmolLM2-135M's shape; only the table is made. */
static const char SMALL_LM[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\","
    " \"vocab_size\": 49152, \"hidden_size\": 576, \"intermediate_size\": 1536, \"num_hidden_layers\": 30,"
    " \"num_attention_heads\": 9, \"num_key_value_heads\": 3, \"max_position_embeddings\": 8192,"
    " \"rms_norm_eps\": 1e-5, \"rope_theta\": 100000.0, \"tie_word_embeddings\": true, \"eos_token_id\": 2}";

static int tokens_for(const device *dev, const param_table *t, uint64_t memory, int learners, bool recompute)
{
    const micro_budget budget = {
        .memory = memory, .learners = learners, .beside = micro_tokens_beside(dev, t), .recompute = recompute
    };
    return micro_tokens_for(dev, t, &budget);
}

static void how_many_tokens_depends_on_model_and_machine_alone(void **state)
{
    (void)state;
    tiny t = tiny_open(1);
    error err = { 0 };
    model_config config;
    test_ok(model_config_parse(&config, SMALL_LM, strlen(SMALL_LM), "small", &err), &err);
    param_table *large = param_table_new(&config, &err);
    const uint64_t GB = (uint64_t)1 << 30;
    assert_int_equal(tokens_for(t.dev, t.table, 1 * GB + GB / 2, 1, false), 16384); /* what a small model always had */
    assert_int_equal(tokens_for(t.dev, large, 24 * GB, 1, false), 1024);
    assert_int_equal(tokens_for(t.dev, large, 8 * GB, 1, false), 1024); /* more than a sixth, less than half */
    assert_true(tokens_for(t.dev, large, 6 * GB, 1, false) < 1024);
    assert_int_equal(tokens_for(t.dev, large, 128 * GB, 1, false), 16384);
    assert_true(tokens_for(t.dev, large, 64 * GB, 1, true) > tokens_for(t.dev, large, 64 * GB, 1, false));

    int before = 0;
    for (uint64_t gb = 1; gb <= 256; gb *= 2) {
        const int now = tokens_for(t.dev, large, gb * GB, 1, false);
        assert_true(now >= before && now >= 256 && now <= 16384);
        assert_true(tokens_for(t.dev, large, gb * GB, 4, false) <= now);
        before = now;
    }
    assert_int_equal(tokens_for(t.dev, large, UINT64_MAX, 1, false), 16384); /* nothing is known */
    param_table_free(large);
    tiny_close(&t);
}

/* The size is part of the sums: a run continues with the one it began with, unless the recipe names another. */
static void a_resumed_trainer_keeps_the_size_it_began_with(void **state)
{
    (void)state;
    tiny t = tiny_open(1);
    error err = { 0 };
    trainer_config c = config_of(1e-3);
    saved_state *memory = state_new();
    c.micro_tokens = 96;
    trainer *began = trainer_new(&c, t.w, &err);
    trainer_state(began, memory);
    c.micro_tokens = 0;
    trainer *open = trainer_new(&c, t.w, &err);
    state_rewind(memory);
    trainer_state(open, memory);
    test_ok(state_end(memory, &err), &err);
    assert_int_equal(trainer_micro_tokens(open), 96);
    c.micro_tokens = 48;
    trainer *named = trainer_new(&c, t.w, &err);
    state_rewind(memory);
    trainer_state(named, memory);
    test_ok(state_end(memory, &err), &err);
    assert_int_equal(trainer_micro_tokens(named), 48);
    trainer_free(began);
    trainer_free(open);
    trainer_free(named);
    state_free(memory);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trainer_survives_the_refusal_of_any_request),
        cmocka_unit_test(so_does_a_pretrainer),
        cmocka_unit_test(how_many_tokens_depends_on_model_and_machine_alone),
        cmocka_unit_test(a_resumed_trainer_keeps_the_size_it_began_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
