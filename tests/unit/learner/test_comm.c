/* SPDX-License-Identifier: MIT */
/* Several learners, as threads: the same weights as one, and not more bytes than promised. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "learner/methods/isolation.h"
#include "learner/methods/mixture.h"
#include "learner/methods/reference.h"
#include "defaults.h"
#include "recorded.h"

enum { MAX_RANKS = 4, STEPS = 4, GROUPS = 6, SIZE = 4 };

/* ---- the ways in which numbers pass ---- */

typedef struct rank {
    comm *c;
    pthread_t thread;
    const void *given;
    double number;
    int place;
} rank;

static void on_all_ranks(int n, void *(*life)(void *), rank *ranks, const void *given)
{
    comm *all[MAX_RANKS];
    comm_threads(n, all);
    for (int r = 0; r < n; r++) ranks[r] = (rank){ .c = all[r], .given = given };
    for (int r = 0; r < n; r++) assert_int_equal(pthread_create(&ranks[r].thread, NULL, life, &ranks[r]), 0);
    for (int r = 0; r < n; r++) pthread_join(ranks[r].thread, NULL);
}

static void *pass_numbers(void *ctx)
{
    rank *me = ctx;
    comm *c = me->c;
    double x[2] = { c->rank + 1, 0.1 * c->rank };
    comm_sum(c, x, 2);
    int word = c->rank == 0 ? 77 : 0;
    comm_broadcast(c, &word, sizeof word);
    float whole[4 * COMM_UNIT] = { 0 };
    const int64_t begins[] = { 0, 2 * COMM_UNIT, 3 * COMM_UNIT, 3 * COMM_UNIT, 4 * COMM_UNIT };
    for (int64_t i = begins[c->rank]; i < begins[c->rank + 1]; i++) whole[i] = (float)(100 * c->rank + i);
    comm_gather_pieces(c, whole, begins);
    float out[4 * COMM_UNIT], in[4 * COMM_UNIT];
    const int64_t each[] = { COMM_UNIT, COMM_UNIT, COMM_UNIT, COMM_UNIT };
    for (int i = 0; i < 4 * COMM_UNIT; i++) {
        const int to = i / COMM_UNIT;
        out[i] = (float)(10 * c->rank + to);
    }
    comm_exchanged(c, comm_exchange_begin(c, &(comm_exchange){ out, each, in, each }), true);
    bool right = x[0] == 10 && fabs(x[1] - 0.6) < 1e-12 && word == 77;
    for (int i = 0; i < 4 * COMM_UNIT; i++) {
        const int owner = i < 2 * COMM_UNIT ? 0 : i < 3 * COMM_UNIT ? 1 : 3, from = i / COMM_UNIT;
        right &= whole[i] == (float)(100 * owner + i) && in[i] == (float)(10 * from + c->rank);
    }
    me->number = right;
    comm_free(c);
    return NULL;
}

static void numbers_arrive_where_they_should(void **state)
{
    (void)state;
    rank ranks[MAX_RANKS];
    on_all_ranks(MAX_RANKS, pass_numbers, ranks, NULL);
    for (int r = 0; r < MAX_RANKS; r++) assert_true(ranks[r].number == 1);
}

/* ---- ranks that meet in a folder ---- */

static void *meet_and_pass_numbers(void *ctx)
{
    rank *me = ctx;
    error err = { 0 };
    me->c = comm_local(me->given, me->place, MAX_RANKS, 20000, &err);
    return me->c ? pass_numbers(me) : NULL;
}

static void *exchange_megabytes(void *ctx)
{
    enum { EACH = 3 << 20 }; /* more than any socket's buffer */
    rank *me = ctx;
    error err = { 0 };
    comm *c = me->c = comm_local(me->given, me->place, 2, 20000, &err);
    if (!c) return NULL;
    float *out = xmalloc(2 * sizeof *out * EACH), *in = xcalloc(2 * (size_t)EACH, sizeof *in);
    for (int i = 0; i < 2 * EACH; i++) out[i] = (float)(c->rank + 2 * i);
    const int64_t each[] = { EACH, EACH };
    void *pending = comm_exchange_begin(c, &(comm_exchange){ out, each, in, each });
    while (!comm_exchanged(c, pending, false)) {
    }
    me->number = 1;
    for (int i = 0; i < 2 * EACH; i++) {
        const int from = i / EACH, at = i % EACH + c->rank * EACH;
        if (in[i] != (float)(from + 2 * at)) me->number = 0;
    }
    free(out), free(in);
    comm_free(c);
    return NULL;
}

static void in_a_folder(int n, void *(*life)(void *))
{
    rank ranks[MAX_RANKS];
    char *folder = test_folder_new();
    for (int r = n - 1; r >= 0; r--) { /* the last first: it has to wait for the others' names */
        ranks[r] = (rank){ .given = folder, .place = r };
        assert_int_equal(pthread_create(&ranks[r].thread, NULL, life, &ranks[r]), 0);
    }
    for (int r = 0; r < n; r++) pthread_join(ranks[r].thread, NULL);
    for (int r = 0; r < n; r++) {
        char name[1100];
        snprintf(name, sizeof name, "%s/learner-%d", folder, r);
        assert_true(ranks[r].number == 1);
        assert_int_not_equal(access(name, F_OK), 0); /* who is started again must not find who is about to end */
    }
    test_folder_remove(folder);
}

static void processes_meet_in_a_folder(void **state)
{
    (void)state;
    in_a_folder(MAX_RANKS, meet_and_pass_numbers);
    in_a_folder(2, exchange_megabytes);
}

static void who_does_not_come_is_named(void **state)
{
    (void)state;
    error err = { 0 };
    char *folder = test_folder_new();
    assert_null(comm_local(folder, 1, 2, 50, &err));
    assert_int_equal(err.code, ERR_PEER);
    assert_non_null(strstr(err.text, "learner 1 did not connect"));
    assert_null(comm_local(folder, 0, 2, 50, &err));
    assert_non_null(strstr(err.text, "not all learners connected"));
    assert_null(comm_local("/nowhere/at/all", 0, 2, 50, &err));
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    test_folder_remove(folder);
}

/* A process of rank `place`; its words go to `errors`. */
static pid_t rank_out_of_step(const char *folder, int place, const char *errors)
{
    const pid_t pid = fork();
    if (pid != 0) return pid;
    int64_t number = place, all[2];
    if (!freopen(errors, "we", stderr)) _exit(1);
    comm *c = comm_local(folder, place, 2, 20000, NULL);
    if (!c) _exit(1);
    if (place == 0)
        comm_broadcast(c, &number, sizeof number);
    else
        comm_gather(c, &number, sizeof number, all);
    for (;;) pause(); /* whoever has seen it ends the other */
}

/* The promise: a rank that is in another operation is found out and named; neither trains on the other's numbers. */
static void ranks_out_of_step_are_named(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1100];
    snprintf(path, sizeof path, "%s/errors", folder);
    const pid_t first = rank_out_of_step(folder, 0, "/dev/null"), second = rank_out_of_step(folder, 1, path);
    int status = 0;
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == RANK_AGAIN);
    kill(first, SIGKILL);
    waitpid(first, &status, 0);

    size_t len = 0;
    error err = { 0 };
    char *said = file_read(path, 1 << 16, &len, &err);
    if (!said) fail_msg("%s", err.text);
    assert_non_null(strstr(said, "learner 1 sent operation"));
    free(said);
    test_folder_remove(folder);
}

/* A rank that meets the others and then does nothing but `life`. */
static pid_t rank_that(void (*life)(comm *c), const char *folder, int place, const char *errors)
{
    const pid_t pid = fork();
    if (pid != 0) return pid;
    if (!freopen(errors, "we", stderr)) _exit(1);
    comm *c = comm_local(folder, place, 3, 20000, NULL);
    if (!c) _exit(1);
    comm_watch(c); /* all are there: it returns */
    comm_sum(c, (double[]){ 1 }, 1);
    life(c);
    _exit(2);
}

static void watch_others(comm *c)
{
    for (;;) comm_watch(c);
}

static void send_and_go(comm *c)
{
    const int64_t word = 7;
    int64_t all[3];
    alarm(1); /* the others don't take part: it is killed in the call, its words sent */
    comm_gather(c, &word, sizeof word, all);
}

static void wait_for_the_end(comm *c)
{
    (void)c;
    for (;;) pause();
}

/* The promise: a rank that waits for something else still sees at once that another has gone, though it has just sent
 * something that is not yet read. */
static void who_goes_between_two_calls_is_missed(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1100];
    snprintf(path, sizeof path, "%s/errors", folder);
    const pid_t first = rank_that(watch_others, folder, 0, path);
    const pid_t second = rank_that(wait_for_the_end, folder, 1, "/dev/null");
    const pid_t third = rank_that(send_and_go, folder, 2, "/dev/null");
    int status = 0;
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == RANK_AGAIN);
    kill(second, SIGKILL);
    waitpid(second, &status, 0);
    waitpid(third, &status, 0);

    char *said = test_file_read(folder, "errors");
    assert_non_null(strstr(said, "learner 3 has closed its connection"));
    free(said);
    test_folder_remove(folder);
}

/* ---- training ---- */

typedef struct plan {
    trainer_config config;
    double sent, ring, full;
    double signal;    /* signal-to-noise ratio of "de", or of accuracy; 0 without many objectives */
    int size, silent; /* silent: last steps in which all rewards are equal */
    float *weights[MAX_RANKS];
    float *moments[MAX_RANKS];
} plan;

static const char *const PARTITIONS[] = { "de", "en", "fr" };

static group *group_of(const tiny *t, int g)
{
    group *made = group_new(task_id(false, 1, (uint32_t)(g * SIZE)), (uint64_t)g, 1, SIZE);
    error err = { 0 };
    for (uint32_t i = 0; i < SIZE; i++) {
        episode *e = made_episode(i, 3 + g % 3, 3 + (int)(i + (uint32_t)g) % 5, 0, -1);
        score *s = made_score(i, "accuracy", (i * 3 + (uint32_t)g) % 4 == 0);
        test_ok(score_set(s, "brevity", 0.1 * (double)((i * 5 + (uint32_t)g) % 7), &err), &err);
        free(e->data_group);
        e->data_group = xstrdup(PARTITIONS[g % 3]);
        record_true_logprobs(t, e);
        test_ok(group_add(made, e, s, &err), &err);
    }
    return made;
}

static void silence(group *g)
{
    error err = { 0 };
    for (uint32_t i = 0; i < g->n; i++) {
        test_ok(score_set(g->scores[i], "accuracy", i % 2 ? 0.3 : 0.1 + 0.2, &err), &err); /* equal up to rounding */
        test_ok(score_set(g->scores[i], "brevity", 0.7, &err), &err);
    }
}

static void *train(void *ctx)
{
    rank *me = ctx;
    plan *p = (plan *)(uintptr_t)me->given;
    const int place = me->c->rank;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config config = p->config;
    config.comm = me->c;
    trainer *tr = trainer_new(&config, t.w, &err);
    group *groups[GROUPS];
    if (!tr) fail_msg("%s", err.text);
    for (int step = 0; step < STEPS + p->silent; step++) {
        for (int g = 0; g < GROUPS; g++) groups[g] = group_of(&t, g + step);
        for (int g = 0; g < GROUPS && step >= STEPS; g++) silence(groups[g]);
        test_ok(trainer_step(tr, (const group *const *)groups, GROUPS, m, &err), &err);
        for (int g = 0; g < GROUPS; g++) group_free(groups[g]);
    }
    if (place == 0) {
        p->sent = metrics_get(m, "comm/bytes_sent", 0);
        p->ring = metrics_get(m, "comm/bytes_ring_allreduce", 0);
        p->full = metrics_get(m, "comm/bytes_full_gradients", 0);
        p->signal = metrics_get(m, "moo/snr/de", metrics_get(m, "moo/snr/accuracy", 0));
    }
    const size_t n = (size_t)t.table->total;
    p->weights[place] = xmalloc(sizeof(float) * n);
    memcpy(p->weights[place], t.w->data, sizeof(float) * n);
    const weights *trained = trainer_lora(tr) ? trainer_lora(tr)->w : t.w;
    float *both = xmalloc(2 * sizeof(float) * (size_t)trained->table->total);
    optimizer_export(trainer_optimizer(tr), trained, both, both + trained->table->total);
    p->moments[place] = both;
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
    comm_free(me->c);
    return NULL;
}

static int64_t total_of(void)
{
    tiny t = tiny_open(3);
    const int64_t n = t.table->total;
    tiny_close(&t);
    return n;
}

static double farthest(const float *a, const float *b, int64_t n)
{
    double max = 0;
    for (int64_t i = 0; i < n; i++) max = fmax(max, fabs((double)a[i] - (double)b[i]));
    return max;
}

/* 1, 2 and 4 learners: weights within 1e-6 of one's, of all ranks the same bits, moments too. */
static void check(const char *what, const trainer_config *config, double max_bytes)
{
    const int64_t n = total_of();
    plan alone = { .config = *config };
    rank ranks[MAX_RANKS];
    on_all_ranks(1, train, ranks, &alone);
    for (int size = 2; size <= MAX_RANKS; size *= 2) {
        plan p = { .config = *config, .size = size };
        on_all_ranks(size, train, ranks, &p);
        const double apart = farthest(alone.weights[0], p.weights[0], n);
        print_message("%s, %d learners: weights within %.1e; %.0f bytes, %.2f of a ring's, %.2f of full gradients\n",
                      what, size, apart, p.sent, p.sent / p.ring, p.sent / p.full);
        assert_true(apart < 1e-6);
        test_near(p.signal, alone.signal, 1e-4, "the gate sees the same");
        assert_true(p.sent <= max_bytes * p.ring * 1.05);
        for (int r = 1; r < size; r++) assert_memory_equal(p.weights[0], p.weights[r], sizeof(float) * (size_t)n);
        if (config->lora.rank == 0) assert_true(farthest(alone.moments[0], p.moments[size - 1], n) < 1e-6);
        for (int r = 0; r < size; r++) free(p.weights[r]), free(p.moments[r]);
    }
    free(alone.weights[0]);
    free(alone.moments[0]);
}

static trainer_config learners_config(void)
{
    trainer_config c = {
        .advantage = advantage_default(1), .loss = loss_default(), .optim = optim_default(), .seed = 1
    };
    error err = { 0 };
    test_ok(objective_add(&c.objectives, "accuracy", 1, &err), &err);
    c.optim.lr = 1e-5, c.optim.warmup = 0, c.optim.weight_decay = 0.1;
    c.micro_tokens = 40; /* several micro-batches a rank */
    c.shared_prompts = true;
    return c;
}

static void one_gradient_is_the_same_on_many_learners(void **state)
{
    (void)state;
    trainer_config c = learners_config();
    check("one gradient", &c, 1);
    c.loss.kl = 0.1, c.epochs = 2;
    SETTINGS_SET(&c, REWARD_KL, (reward_kl_config){ 0.1 });
    check("with a KL, two epochs", &c, 1);
    c = learners_config();
    SETTINGS_SET(&c, ISOLATION, (isolation_config){ .freeze = 0.3, .protect = 0.1, .every = 1, .keep = 0.9 });
    check("some blocks frozen", &c, 1);
    c = learners_config();
    c.loss.imitation = IMITATION_SFT, c.loss.imitation_weight = 1;
    SETTINGS_SET(&c, MIXTURE, (mixture_config){ .start = 0.5, .rate = 0.3, .every = 2 });
    check("a learned mixture", &c, 3);
}

static void data_groups_are_reconciled_the_same_on_many_learners(void **state)
{
    (void)state;
    trainer_config c = learners_config();
    c.moo = (moo_plan){ .over = MOO_OVER_GROUPS, .n_groups = 3 };
    for (int k = 0; k < 3; k++) snprintf(c.moo.groups[k], GROUP_NAME, "%s", PARTITIONS[k]);
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_CAGRAD), .scope = BUCKET_LAYER, .gate = 0.1, .refresh = 1 };
    check("data groups, CAGrad by layer", &c, 2); /* a rank sends its own objectives, not all three */
    c.moo.bucket.moo = moo_default(MOO_MGDA);
    c.moo.bucket.scope = BUCKET_TENSOR;
    check("data groups, MGDA by tensor", &c, 2);
}

static void reward_dimensions_are_reconciled_the_same_on_many_learners(void **state)
{
    (void)state;
    trainer_config c = learners_config();
    error err = { 0 };
    test_ok(objective_add(&c.objectives, "brevity", 0.5, &err), &err);
    c.moo = (moo_plan){ .over = MOO_OVER_REWARDS };
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_PCGRAD), .scope = BUCKET_LAYER, .gate = 0.1, .refresh = 1 };
    c.loss.kl = 0.05; /* a third row, which is no objective */
    check("reward dimensions, PCGrad", &c, 2);
    c.loss.kl = 0;
    c.moo.over = MOO_OVER_BOTH, c.moo.n_groups = 3;
    for (int k = 0; k < 3; k++) snprintf(c.moo.groups[k], GROUP_NAME, "%s", PARTITIONS[k]);
    check("each reward of each data group", &c, 4);
    c.loss.kl = 0.05;
    check("each reward of each data group, and a KL", &c, 5);
}

static void an_adapter_is_the_same_on_many_learners(void **state)
{
    (void)state;
    trainer_config c = learners_config();
    c.lora = (lora_config){ .rank = 2, .alpha = 4, .targets = lora_target("q_proj") | lora_target("down_proj") };
    check("LoRA", &c, 1);
}

/* One learner's weights after silent steps, and several ones': `moves`: they are not those of before. */
static void check_silence(const char *what, const trainer_config *config, bool moves)
{
    const int64_t n = total_of();
    plan before = { .config = *config }, alone = { .config = *config, .silent = 3 };
    rank ranks[MAX_RANKS];
    on_all_ranks(1, train, ranks, &before);
    on_all_ranks(1, train, ranks, &alone);
    if ((farthest(before.weights[0], alone.weights[0], n) > 0) != moves) fail_msg("%s: moved, or not", what);
    for (int size = 2; size <= MAX_RANKS; size *= 2) {
        plan p = { .config = *config, .silent = 3 };
        on_all_ranks(size, train, ranks, &p);
        if (!(farthest(alone.weights[0], p.weights[0], n) < 1e-6)) fail_msg("%s, %d learners", what, size);
        for (int r = 1; r < size; r++) assert_memory_equal(p.weights[0], p.weights[r], sizeof(float) * (size_t)n);
        for (int r = 0; r < size; r++) free(p.weights[r]), free(p.moments[r]);
    }
    free(before.weights[0]), free(before.moments[0]);
    free(alone.weights[0]), free(alone.moments[0]);
}

static void many_learners_are_silent_together(void **state)
{
    (void)state;
    trainer_config c = learners_config();
    error err = { 0 };
    check_silence("one gradient", &c, false);
    c.loss.kl = 0.1;
    check_silence("a KL", &c, true);
    c.lora = (lora_config){ .rank = 2, .alpha = 4, .targets = lora_target("q_proj") };
    check_silence("an adapter and a KL", &c, true);
    c = learners_config();
    test_ok(objective_add(&c.objectives, "brevity", 0.5, &err), &err);
    c.moo = (moo_plan){ .over = MOO_OVER_BOTH, .n_groups = 3 };
    for (int k = 0; k < 3; k++) snprintf(c.moo.groups[k], GROUP_NAME, "%s", PARTITIONS[k]);
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_PCGRAD), .scope = BUCKET_LAYER, .gate = 0.1, .refresh = 2 };
    check_silence("each reward of each data group", &c, false);
    c.loss.kl = 0.1;
    check_silence("each reward of each data group, and a KL", &c, true);
}

static void what_ranks_can_t_agree_on_is_refused(void **state)
{
    (void)state;
    comm *both[2];
    error err = { 0 };
    tiny t = tiny_open(3);
    trainer_config c = learners_config();
    comm_threads(2, both);
    c.comm = both[0];
    c.moo = (moo_plan){ .over = MOO_OVER_GROUPS, .n_groups = 3, .bucket = { .by_micro_batch = true } };
    assert_null(trainer_new(&c, t.w, &err));
    assert_non_null(strstr(err.text, "by_micro_batch"));
    comm_free(both[0]);
    comm_free(both[1]);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_arrive_where_they_should),
        cmocka_unit_test(processes_meet_in_a_folder),
        cmocka_unit_test(who_does_not_come_is_named),
        cmocka_unit_test(who_goes_between_two_calls_is_missed),
        cmocka_unit_test(ranks_out_of_step_are_named),
        cmocka_unit_test(one_gradient_is_the_same_on_many_learners),
        cmocka_unit_test(data_groups_are_reconciled_the_same_on_many_learners),
        cmocka_unit_test(reward_dimensions_are_reconciled_the_same_on_many_learners),
        cmocka_unit_test(an_adapter_is_the_same_on_many_learners),
        cmocka_unit_test(many_learners_are_silent_together),
        cmocka_unit_test(what_ranks_can_t_agree_on_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
