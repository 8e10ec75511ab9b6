/* SPDX-License-Identifier: MIT */
/* Several learners step a model with experts as one does. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "recorded.h"

enum { RANKS = 2, SIZE = 6, STEPS = 2 };

typedef struct rank {
    pthread_t thread;
    const char *folder;
    const trainer_config *config;
    int place, ranks;
    float *data; /* the policy's, after the steps */
    int64_t n;
    uint64_t hash;
} rank;

static void *train(void *ctx)
{
    static const double REWARDS[SIZE] = { 1, 0, 0.5, 0, 1, 1 };
    rank *me = ctx;
    tiny t = tiny_open_of(TINY_EXPERTS, 3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config config = *me->config;
    if (me->ranks > 1 && !(config.comm = comm_local(me->folder, me->place, me->ranks, 20000, &err)))
        fail_msg("%s", err.text);
    trainer *tr = trainer_new(&config, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    for (int i = 0; i < STEPS; i++) {
        group *g = recorded_group(&t, REWARDS, SIZE);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true(metrics_get(m, "training/rollout_logprobs_differing", -1) == 0);
        group_free(g);
    }

    me->n = t.table->total;
    me->hash = weights_hash(t.w);
    me->data = xmalloc(sizeof(float) * (size_t)me->n);
    device_copy_out(t.dev, me->data, t.w->data, sizeof(float) * (size_t)me->n);
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
    comm_free(config.comm);
    return NULL;
}

static void two_learners_step_experts_as_one_does(void **state)
{
    (void)state;
    trainer_config c = config_of(1e-3);
    rank one = { .config = &c, .ranks = 1 }, ranks[RANKS];
    char *folder = test_folder_new();
    tiny before = tiny_open_of(TINY_EXPERTS, 3);
    train(&one);
    for (int r = 0; r < RANKS; r++) {
        ranks[r] = (rank){ .folder = folder, .config = &c, .place = r, .ranks = RANKS };
        assert_int_equal(pthread_create(&ranks[r].thread, NULL, train, &ranks[r]), 0);
    }
    for (int r = 0; r < RANKS; r++) pthread_join(ranks[r].thread, NULL);

    assert_true(ranks[0].hash == ranks[1].hash);
    assert_true(one.hash != before.w->hash);
    for (int64_t i = 0; i < one.n; i++) /* AdamW turns roundings of small gradients into parts of a step of 1e-3 */
        test_near((double)ranks[0].data[i], (double)one.data[i], 2e-4, "a parameter");
    for (int r = 0; r < RANKS; r++) free(ranks[r].data);
    free(one.data);
    tiny_close(&before);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_learners_step_experts_as_one_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
