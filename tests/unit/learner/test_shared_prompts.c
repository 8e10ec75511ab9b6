/* SPDX-License-Identifier: MIT */
/* A step whose episodes share their prompts against the same step without: the logprobs have the same bits, and the
 * gradients are the same up to rounding, whatever is made of them. */
#include "learner/trainer.h"

#include <stdio.h>
#include <stdlib.h>

#include "learner/methods/era.h"
#include "learner/methods/mixture.h"
#include "recorded.h"

enum { GROUPS = 3, SIZE = 5, PROMPT = 24 };

/* Samples of one prompt, but the last, which was shown less; of each group one is given its first tokens. */
static group *group_of(const tiny *t, int g)
{
    group *made = group_new(task_id(false, 1, (uint32_t)(g * SIZE)), (uint64_t)g, 1, SIZE);
    error err = { 0 };
    for (uint32_t i = 0; i < SIZE; i++) {
        episode *e = made_episode(i, i + 1 < SIZE ? PROMPT : PROMPT / 3, 0, 0, -1);
        e->tokens.ids[1] = 20 + g;
        if (i == 2) {
            trajectory_append(&e->tokens, TOKEN_HINT, (const int32_t[]){ 9, 4, 6 }, 3);
            e->hint_len = 3;
        }
        for (uint32_t n = 0; n < 3 + (i + (uint32_t)g) % 5; n++)
            trajectory_append_sampled(&e->tokens, (int32_t)(2 + (n * 7 + i) % 9), -1, 0, 42);

        free(e->data_group);
        e->data_group = strdup(g % 2 ? "de" : "en");
        record_true_logprobs(t, e);
        score *s = made_score(i, "accuracy", (i * 3 + (uint32_t)g) % 4 == 0);
        test_ok(score_set(s, "brevity", 0.1 * (double)((i * 5 + (uint32_t)g) % 7), &err), &err);
        test_ok(group_add(made, e, s, &err), &err);
    }
    return made;
}

/* What a step leaves: its gradient, in the first moments, and how far learner and sampler are apart. */
typedef struct stepped {
    float *gradient;
    int64_t n;
    double differing, computed, unshared;
    double aux_loss, load_max; /* of routers; -1: none was told */
} stepped;

static stepped step(const char *model, const trainer_config *config, bool shared)
{
    tiny t = tiny_open_of(model, 3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = *config;
    group *groups[GROUPS];
    c.shared_prompts = shared;
    trainer *tr = trainer_new(&c, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    for (int g = 0; g < GROUPS; g++) groups[g] = group_of(&t, g);
    test_ok(trainer_step(tr, (const group *const *)groups, GROUPS, m, &err), &err);

    const weights *trained = trainer_lora(tr) ? trainer_lora(tr)->w : t.w;
    stepped r = { .n = trained->table->total };
    r.gradient = malloc(2 * sizeof(float) * (size_t)r.n);
    optimizer_export(trainer_optimizer(tr), trained, r.gradient, r.gradient + r.n);
    r.differing = metrics_get(m, "training/rollout_logprobs_differing", -1);
    r.computed = metrics_get(m, "training/tokens_computed", -1);
    r.unshared = metrics_get(m, "training/tokens_unshared", -1);
    r.aux_loss = metrics_get(m, "actor/router/aux_loss", -1);
    r.load_max = metrics_get(m, "actor/router/load_max", -1);

    for (int g = 0; g < GROUPS; g++) group_free(groups[g]);
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
    return r;
}

static void check_model(const char *model, const char *what, const trainer_config *c)
{
    const stepped shared = step(model, c, true), apart = step(model, c, false);
    double largest = 0, farthest = 0;
    for (int64_t i = 0; i < apart.n; i++) {
        largest = fmax(largest, fabs((double)apart.gradient[i]));
        farthest = fmax(farthest, fabs((double)shared.gradient[i] - (double)apart.gradient[i]));
    }
    print_message("%s: %.0f tokens of %.0f, gradient within %.1e\n", what, shared.computed, shared.unshared,
                  farthest / largest);
    assert_true(largest > 1e-4 && farthest <= 1e-5 * largest);
    assert_true(shared.differing == 0 && apart.differing == 0);
    assert_true(apart.computed == apart.unshared && shared.unshared == apart.unshared);
    assert_true(shared.computed < 0.7 * apart.computed);
    const bool experts = model == TINY_EXPERTS; /* two of five are chosen: nearly 2, or more */
    assert_true(experts ? shared.aux_loss > 1.5 && shared.aux_loss < 5 : shared.aux_loss == -1);
    assert_true(experts ? shared.load_max >= 1 && shared.load_max <= 2.5 : shared.load_max == -1);
    free(shared.gradient);
    free(apart.gradient);
}

static void check(const char *what, const trainer_config *c) { check_model(TINY_CONFIG, what, c); }

static void one_gradient_is_the_same(void **state)
{
    (void)state;
    trainer_config c = two_config(1e-3);
    check("one gradient", &c);
    c.micro_tokens = 100;
    check("in micro-batches", &c);
    c.recompute = true;
    check("with activations made again", &c);
    c = two_config(1e-3);
    c.loss.imitation = IMITATION_SFT, c.loss.imitation_weight = 1;
    check("with imitation of hints", &c);
    SETTINGS_SET(&c, MIXTURE, (mixture_config){ .start = 0.5, .rate = 0.3, .every = 1 });
    check("with a mixture, by halves of the groups", &c);
    c = two_config(1e-3);
    SETTINGS_SET(&c, ERA, (era_config){ .k = 2, .low = 5, .high = 6 });
    check("with scaled logits", &c);
    c = two_config(1e-3);
    c.lora = (lora_config){ .rank = 4, .alpha = 8, .targets = lora_target("q_proj") | lora_target("down_proj") };
    check("an adapter's", &c);
}

static void many_gradients_are_the_same(void **state)
{
    (void)state;
    trainer_config c = two_config(1e-3);
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_CAGRAD), .scope = BUCKET_LAYER, .gate = 0.1, .refresh = 1 };
    c.moo.n_groups = 2;
    strcpy(c.moo.groups[0], "de"), strcpy(c.moo.groups[1], "en");
    c.moo.over = MOO_OVER_REWARDS;
    check("by reward", &c);
    c.moo.over = MOO_OVER_GROUPS;
    check("by data group", &c);
    c.moo.over = MOO_OVER_BOTH;
    check("by both", &c);
    c.moo.over = MOO_OVER_REWARDS;
    c.moo.by_token = true;
    check("by reward, token by token", &c);
}

/* Experts' gradients by objective, by data group and of an adapter; buckets of a layer and of a tensor. */
static void with_experts_they_are_the_same(void **state)
{
    (void)state;
    trainer_config c = two_config(1e-3);
    check_model(TINY_EXPERTS, "experts, one gradient", &c);
    c.micro_tokens = 100, c.recompute = true;
    check_model(TINY_EXPERTS, "experts, in micro-batches, made again", &c);
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_CAGRAD), .scope = BUCKET_LAYER, .gate = 0.1, .refresh = 1 };
    c.moo.n_groups = 2;
    strcpy(c.moo.groups[0], "de"), strcpy(c.moo.groups[1], "en");
    c.moo.over = MOO_OVER_REWARDS;
    check_model(TINY_EXPERTS, "experts, by reward", &c);
    c.moo.bucket.scope = BUCKET_TENSOR;
    c.moo.over = MOO_OVER_BOTH;
    check_model(TINY_EXPERTS, "experts, by both, tensor by tensor", &c);
    c = two_config(1e-3);
    c.lora = (lora_config){ .rank = 4, .alpha = 8 };
    check_model(TINY_EXPERTS, "experts, an adapter's", &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_gradient_is_the_same),
        cmocka_unit_test(many_gradients_are_the_same),
        cmocka_unit_test(with_experts_they_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
