/* SPDX-License-Identifier: MIT */
/* One of several learners is refused memory in a step, anywhere in it: the others are called out of what they do, all
 * come together, and what they have is that of the step before. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "recorded.h"

enum { RANKS = 3, SIZE = 6 };

typedef struct report {
    int64_t version;
    int code;
    bool whole;
} report;

typedef struct rank {
    pthread_t thread;
    const char *folder;
    const trainer_config *config;
    int place, starved, request; /* rank `starved` is refused its request-th in the second step */
    bool kept;                   /* what it calls whole is what it was */
    int rc;                      /* of the second step */
    report all[RANKS];
    float *moments; /* exported afterwards */
    size_t n;
} rank;

/* A jump leaves what the step held in malloc's memory behind (device_guard): that is no leak to report. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static void leave(void *ctx) { device_leave(ctx, &(error){ .code = ERR_PEER, .text = "another one failed" }); }

typedef struct exporting {
    trainer *tr;
    const weights *w;
    float *to;
} exporting;

static int export_moments(void *ctx, error *err)
{
    const exporting *x = ctx;
    (void)err;
    optimizer_export(trainer_optimizer(x->tr), x->w, x->to, x->to + x->w->table->total);
    return OK;
}

static float *moments_now(trainer *tr, const tiny *t, size_t *n)
{
    error err = { 0 };
    const weights *w = trainer_lora(tr) ? trainer_lora(tr)->w : t->w;
    *n = 2 * (size_t)w->table->total;
    exporting x = { tr, w, xmalloc(sizeof(float) * *n) };
    test_ok(device_guard(t->dev, export_moments, &x, &err), &err);
    return x.to;
}

static void *train(void *ctx)
{
    static const double REWARDS[SIZE] = { 1, 0, 0.5, 0, 1, 1 };
    rank *me = ctx;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config config = *me->config;
    comm *c = config.comm = comm_local(me->folder, me->place, RANKS, 20000, &err);
    if (!c) fail_msg("%s", err.text);
    comm_on_failure(c, leave, t.dev);
    trainer *tr = trainer_new(&config, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    group *g = recorded_group(&t, REWARDS, SIZE);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    const uint64_t before = weights_hash(t.w);

    device_scratch_drop(t.dev);
    if (me->place == me->starved) device_starve(t.dev, me->request);
    me->rc = trainer_step(tr, (const group *const *)&g, 1, m, &err);
    device_starve(t.dev, -1);

    const report mine = { trainer_version(tr), me->rc, trainer_whole(tr) };
    me->kept = me->rc == OK || !mine.whole || weights_hash(t.w) == before;
    assert_true(me->rc == OK || comm_regroup(c, &mine, sizeof mine, me->all));
    me->moments = moments_now(tr, &t, &me->n); /* collective: they are in step again */
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
    comm_free(c);
    return NULL;
}

/* True: the request was not reached, and the step went well. `whole` counts the failures that left all ranks whole. */
static bool failing_step(const trainer_config *config, int starved, int request, int *whole)
{
    rank ranks[RANKS];
    char *folder = test_folder_new();
    bool all_whole = true;
    for (int r = 0; r < RANKS; r++) {
        ranks[r] = (rank){ .folder = folder, .config = config, .place = r, .starved = starved, .request = request };
        assert_int_equal(pthread_create(&ranks[r].thread, NULL, train, &ranks[r]), 0);
    }
    for (int r = 0; r < RANKS; r++) pthread_join(ranks[r].thread, NULL);

    const bool well = ranks[0].rc == OK;
    for (int r = 0; r < RANKS; r++) {
        const int expected = r == starved ? ERR_MEMORY : ERR_PEER;
        if (ranks[r].rc != (well ? OK : expected)) fail_msg("request %d: rank %d: %d", request, r, ranks[r].rc);
        if (!ranks[r].kept) fail_msg("request %d: rank %d calls changed weights whole", request, r);
        for (int of = 0; of < RANKS && !well; of++) {
            assert_int_equal(ranks[r].all[of].code, of == starved ? ERR_MEMORY : ERR_PEER);
            all_whole = all_whole && ranks[r].all[of].whole && ranks[r].all[of].version == 1;
        }
    }
    *whole += !well && all_whole;
    for (int r = 1; r < RANKS && all_whole; r++)
        assert_memory_equal(ranks[r].moments, ranks[0].moments, sizeof(float) * ranks[0].n);
    for (int r = 0; r < RANKS; r++) free(ranks[r].moments);
    test_folder_remove(folder);
    return well;
}

static void requests_may_fail(const trainer_config *config, int starved, int stride)
{
    int n = 0, whole = 0, failed = 0;
    for (; !failing_step(config, starved, n, &whole); n += stride) failed++;
    print_message("learner %d: %d of %d failures left all of them whole\n", starved + 1, whole, failed);
    if (failed < 8 || whole < failed / 2) fail_msg("%d failures, %d of them whole", failed, whole);
}

static void a_learner_without_memory_calls_the_others_out_of_the_step(void **state)
{
    (void)state;
    trainer_config c = config_of(1e-3);
    c.micro_tokens = 10; /* several micro-batches */
    requests_may_fail(&c, 0, 3);
    requests_may_fail(&c, 2, 3);
    c.loss.kl = 0.1;
    requests_may_fail(&c, 1, 5);
}

static void so_it_does_with_an_adapter(void **state)
{
    (void)state;
    trainer_config c = config_of(1e-3);
    c.micro_tokens = 10;
    c.lora = (lora_config){ .rank = 2, .alpha = 4, .targets = lora_target("q_proj") };
    requests_may_fail(&c, 1, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_learner_without_memory_calls_the_others_out_of_the_step),
        cmocka_unit_test(so_it_does_with_an_adapter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
