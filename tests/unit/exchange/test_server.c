/* SPDX-License-Identifier: MIT */
/* What the server does of itself: versions, steps and evaluations, what is on record, what is sent to whom. */
#include "served.h"

/* A trainer that ends does not wait until its last version was looked at. */
static void the_last_version_is_on_record_though_nobody_looks_again(void **state)
{
    (void)state;
    error err = { 0 };
    fixture *s = open_fixture();
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = 1, .hash = HASH, .groups = 1, .episodes = 2 };
    v->file = test_file_nameless("weights");
    assert_int_equal(queue_push(s->versions, v, 0), OK);
    assert_trained(s, 0, 0, 0);
    test_ok(server_finish(s->server, &err), &err);
    assert_trained(s, 1, 1, 2);
    close_fixture(s);
}

/* Killed between a checkpoint and the record of its step: the run that continues has it. */
static void a_checkpoint_whose_step_is_not_on_record_is_recorded(void **state)
{
    (void)state;
    error err = { 0 };
    for (int known = 0; known < 2; known++) {
        fixture *s = open_fixture();
        come(s, ANN);
        want(s, ANN, GROUP);
        for (uint32_t i = 0; i < GROUP; i++) deliver(s, ANN, episode_of(s, task_id(false, 1, i), 0));
        if (known) test_ok(store_put_step(s->store, 1, HASH, 7, 8, &err), &err);
        server_free(s->server);
        open_server(s);
        test_ok(server_restore(s->server, 1, &err), &err);
        publish(s, 1);
        assert_trained(s, 1, known ? 7 : 1, known ? 8 : GROUP);
        close_fixture(s);
    }
}

/* What was kept is taken for what it says. A machine's failure says nothing of its task, which is played again, whoever
 * wrote it there; so is what could not be true. */
static void a_failed_or_forged_episode_on_record_is_played_again(void **state)
{
    (void)state;
    error err = { 0 };
    static const char *const KINDS[] = { "good", "failed", "forged" };
    for (int kind = 0; kind < 3; kind++) {
        fixture *s = open_fixture();
        come(s, ANN);
        want(s, ANN, GROUP);
        const task *given = &s->given[ANN];
        episode *e = episode_of(s, given->id, 0);
        if (kind == 1) failed(e);
        if (kind == 2) honest_say(&e->text, "and more");
        task t = *given;
        t.row = xstrdup(dataset_row(s->rows, given->prompt_id));
        test_ok(store_put_episode(s->store, &t, e, &err), &err);
        episode_free(e);
        server_free(s->server);
        open_server(s);
        test_ok(server_restore(s->server, 0, &err), &err);
        publish(s, 0);
        come(s, ANN);
        come(s, JIM);
        s->sent[ANN][MSG_TASK] = 0;
        want(s, ANN, GROUP);
        want(s, JIM, GROUP);
        const int played = kind == 0;
        if (s->sent[ANN][MSG_TASK] != GROUP - played || s->sent[JIM][MSG_SCORE_REQUEST] != played)
            fail_msg("%s: %d tasks were asked for, %d scores", KINDS[kind], s->sent[ANN][MSG_TASK],
                     s->sent[JIM][MSG_SCORE_REQUEST]);
        assert_true(stats(s).failed == 0 && stats(s).dropped == 0);
        for (uint32_t i = 0; i < GROUP; i++) deliver(s, ANN, episode_of(s, task_id(false, 1, i), 0));
        assert_int_equal(stats(s).episodes, GROUP - played);
        task_reset(&t);
        close_fixture(s);
    }
}

static int count_row(void *ctx, const char *row, episode *e, score *sc)
{
    (void)row;
    int *n = ctx;
    n[e->step]++;
    episode_free(e);
    score_free(sc);
    return 0;
}

/* Of the steps that were trained, the episodes of the last `keep_episodes` stay, and of those ahead all. */
static void old_episodes_go_with_the_step_that_makes_them_old(void **state)
{
    (void)state;
    error err = { 0 };
    for (int64_t keep = 0; keep <= 2; keep += 2) {
        int left[6] = { 0 };
        fixture *s = open_fixture();
        for (int64_t step = 1; step <= 5; step++) {
            task t = { .id = task_id(false, step, 0), .step = step, .row = xstrdup("{}") };
            episode *e = episode_for(t.id, 0);
            test_ok(store_put_episode(s->store, &t, e, &err), &err);
            episode_free(e);
            task_reset(&t);
        }
        server_free(s->server);
        s->keep_episodes = keep;
        open_server(s);
        publish(s, 0);
        for (int64_t version = 1; version <= 4; version++) publish(s, version);
        test_ok(store_read(s->store, -1, -1, 0, count_row, left, &err), &err);
        for (int step = 1; step <= 5; step++) assert_int_equal(left[step], keep == 0 || step > 4 - keep);
        assert_trained(s, 4, 0, 0);
        close_fixture(s);
    }
}

static void get_on(fixture *s, peer_id peer, uint64_t tokens)
{
    say(s, peer, (message){ .type = MSG_HEARTBEAT, .heartbeat = { .version = 0, .tokens = tokens } });
}

/* It keeps its task for eight leases and no longer, and nothing but more tokens than before counts. */
static void a_slow_actor_keeps_its_task_while_its_tokens_grow(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    want(s, ANN, 1);
    come(s, JIM);
    want(s, JIM, 1);
    for (int i = 1; i <= 9; i++) {
        s->fakes.now_ms += LEASE_MS - 1;
        get_on(s, ANN, (uint64_t)i);
        get_on(s, JIM, (uint64_t)i); /* a reward worker, who plays nothing */
        s->fakes.tick(s->fakes.server_ctx);
        assert_int_equal(stats(s).lost, i == 9);
    }

    come(s, BEN);
    want(s, BEN, 1);
    get_on(s, BEN, 5);
    const uint64_t lost = stats(s).lost;
    s->fakes.now_ms += LEASE_MS - 1;
    get_on(s, BEN, 5); /* no more than it had */
    s->fakes.tick(s->fakes.server_ctx);
    assert_int_equal(stats(s).lost, lost);
    s->fakes.now_ms += 1;
    s->fakes.tick(s->fakes.server_ctx);
    assert_int_equal(stats(s).lost, lost + 1);
    close_fixture(s);
}

static void an_actor_with_old_weights_is_told_again_but_not_at_once(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    come(s, JIM);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    const message old = { .type = MSG_HEARTBEAT, .heartbeat = { .version = -1 } };
    say(s, ANN, old);
    s->fakes.now_ms += REPEAT_MS - 1;
    say(s, ANN, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1); /* it may be loading them */
    s->fakes.now_ms += 1;
    say(s, ANN, (message){ .type = MSG_HEARTBEAT, .heartbeat = { .version = 0 } });
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1); /* it has them */
    say(s, ANN, old);
    say(s, JIM, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 2);
    say(s, ANN, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 2);
    s->fakes.now_ms += REPEAT_MS;
    say(s, ANN, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 3);
    assert_int_equal(s->sent[JIM][MSG_WEIGHTS], 0);
    close_fixture(s);
}

static void chunks_are_sent_to_who_reads(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    const message get = { .type = MSG_WEIGHTS_GET, .weights_get = { .version = 0, .offset = 0 } };
    say(s, ANN, get);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS_CHUNK], 1);
    s->full[ANN] = true;
    say(s, ANN, get);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS_CHUNK], 1);
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_UNREAD], 1);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    close_fixture(s);
}

static void work_that_can_not_be_sent_waits_or_goes_to_another_and_is_not_lost(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    s->full[ANN] = true;
    want(s, ANN, GROUP);
    assert_int_equal(s->sent[ANN][MSG_TASK], 0);
    come(s, BEN);
    want(s, BEN, 1);
    assert_int_equal(s->sent[BEN][MSG_TASK], 1);
    s->full[ANN] = false;
    want(s, BEN, 0);
    assert_int_equal(s->sent[ANN][MSG_TASK], 0); /* until it has read */
    s->fakes.server.on_room(s->fakes.server.ctx, ANN);
    one_turn(s);
    assert_int_equal(s->sent[ANN][MSG_TASK], 1);
    assert_int_equal(stats(s).lost, 0);
    deliver(s, BEN, episode_of(s, s->last[BEN], 0));
    come(s, JIM);
    s->full[JIM] = true;
    want(s, JIM, 4);
    assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], 0);
    s->full[JIM] = false;
    s->fakes.server.on_room(s->fakes.server.ctx, JIM);
    one_turn(s);
    assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], 1);
    assert_int_equal(stats(s).lost, 0);
    close_fixture(s);
}

static void push(fixture *s, int64_t version, bool evaluate)
{
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = version, .hash = HASH, .evaluate = evaluate };
    v->file = test_file_nameless("weights");
    assert_int_equal(queue_push(s->versions, v, 0), OK);
    s->fakes.look(s->fakes.server_ctx);
    one_turn(s);
}

/* An evaluation is played by the weights that it is of: the next ones wait until its last question is answered. */
static void a_version_waits_for_the_end_of_an_evaluation(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    server_free(s->server);
    s->evaluates = true;
    open_server(s);
    come(s, ANN);
    push(s, 0, true);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    push(s, 1, false);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    want(s, ANN, 1);
    assert_true(s->given[ANN].eval);
    episode *e = failed(episode_new(&s->given[ANN]));
    e->failed = FAIL_PROMPT; /* an answer, too: it can't be played */
    e->text = xstrdup("");
    e->transcript = xstrdup("");
    deliver(s, ANN, e);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 2);
    close_fixture(s);
}

/* Who only comes and goes can't fill the disk: few lines, and what they don't say is counted in them. */
static void comings_and_goings_are_logged_at_a_bounded_rate(void **state)
{
    (void)state;
    enum { TIMES = 5000 };
    char path[400];
    fixture *s = open_fixture();
    snprintf(path, sizeof path, "%s/log", s->dir);
    FILE *f = fopen(path, "w+");
    assert_non_null(f);
    server_free(s->server);
    s->log = logger_new(fileno(f), "learner", LOG_INFO, false);
    open_server(s);
    for (int i = 0; i < TIMES; i++) {
        come(s, BEN);
        leave(s, BEN);
    }
    s->fakes.now_ms += 10000;
    come(s, BEN);
    char *said = test_file_read(s->dir, "log");
    int lines = 0;
    for (const char *c = said; *c; c++) lines += *c == '\n';
    assert_true(lines >= 10 && lines < 100);
    assert_non_null(strstr(said, "peer-2 has connected"));
    snprintf(path, sizeof path, "(and %d more connected or left)", 2 * TIMES - 64);
    if (!strstr(said, path)) fail_msg("expected '%s' in: %s", path, said);
    free(said);
    logger *log = s->log;
    close_fixture(s);
    logger_free(log);
    fclose(f);
}

/* One episode alone has nothing to be compared with: it has no signal, and its group is left out and counted. */
static void a_group_of_one_is_left_out(void **state)
{
    (void)state;
    void *item = NULL;
    fixture *s = open_fixture();
    come(s, ANN);
    come(s, JIM);
    want(s, ANN, 2);
    episode *e = failed(episode_of(s, task_id(false, 1, 0), 0));
    e->failed = FAIL_PROMPT;
    deliver(s, ANN, e);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 1), 0));
    want(s, JIM, 1);
    give_score(s, JIM, task_id(false, 1, 1), 1);
    assert_int_equal(queue_pop(s->steps, &item, 0), OK);
    assert_int_equal(((step_batch *)item)->n, 0);
    assert_int_equal(stats(s).groups_dropped, 1);
    step_batch_free(item);
    close_fixture(s);
}

/* A step's worth of answers: both episodes of step 1, and their scores. */
static void finish_step(fixture *s)
{
    want(s, ANN, GROUP);
    want(s, JIM, GROUP);
    for (uint32_t i = 0; i < GROUP; i++) deliver(s, ANN, episode_of(s, task_id(false, 1, i), 0));
    for (uint32_t i = 0; i < GROUP; i++) give_score(s, JIM, task_id(false, 1, i), 1);
}

/* Every ten seconds that nothing is finished in, and not while nothing is to be played: then the trainer is at work. */
static void who_waits_is_told_every_ten_seconds_for_what(void **state)
{
    (void)state;
    char said[200] = "";
    fixture *s = open_fixture();
    come(s, ANN), come(s, JIM);
    s->fakes.now_ms += 9999;
    assert_false(server_reminder(s->server, said, sizeof said));
    s->fakes.now_ms += 1;
    assert_true(server_reminder(s->server, said, sizeof said));
    assert_string_equal(said,
                        "2 episodes (0 being played, 0 being scored) with 1 actors and 1 reward workers connected");
    assert_false(server_reminder(s->server, said, sizeof said));

    s->fakes.now_ms += 9999;
    finish_step(s); /* nothing is open until the next version */
    s->fakes.now_ms += 60000;
    assert_false(server_reminder(s->server, said, sizeof said));
    publish(s, 1);
    s->fakes.now_ms += 9999;
    assert_false(server_reminder(s->server, said, sizeof said)); /* counted from when there was something to wait for */
    s->fakes.now_ms += 1;
    assert_true(server_reminder(s->server, said, sizeof said));
    close_fixture(s);
}

/* Ten seconds count from the last step, where later steps' tasks are open all along. */
static void a_step_that_is_finished_puts_the_reminder_off(void **state)
{
    (void)state;
    char said[200];
    fixture *s = open_fixture();
    server_free(s->server);
    s->max_staleness = 1;
    open_server(s);
    publish(s, 0);
    come(s, ANN), come(s, JIM);
    s->fakes.now_ms += 9000;
    finish_step(s);
    assert_int_equal(core_open_tasks(server_core(s->server)), GROUP); /* step 2 */
    s->fakes.now_ms += 9000;
    assert_false(server_reminder(s->server, said, sizeof said));
    s->fakes.now_ms += 1000;
    assert_true(server_reminder(s->server, said, sizeof said));
    close_fixture(s);
}

/* ---- workers without a recipe ---- */

static void come_for_the_recipe(fixture *s, peer_id peer, bool up)
{
    hello_body hello = { .protocol = PROTOCOL_VERSION, .for_recipe = true, .name = "newcomer" };
    snprintf(hello.role, sizeof hello.role, "%s", peer < JIM ? "actor" : "reward");
    s->fakes.for_recipe = true;
    s->fakes.server.on_peer(s->fakes.server.ctx, peer, &hello, up, "it has the recipe");
    one_turn(s);
}

static void reopen_with(fixture *s, parcel *p)
{
    error err = { 0 };
    test_file_write(s->dir, "recipe.lua", "return {}");
    char path[400];
    snprintf(path, sizeof path, "%s/recipe.lua", s->dir);
    test_ok(parcel_add(p, "recipe.lua", path, &err), &err);
    server_free(s->server);
    s->parcel = p;
    open_server(s);
    publish(s, 1);
}

static void who_comes_for_the_recipe_gets_it_and_is_nobody_else(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    parcel *p = parcel_new();
    reopen_with(s, p);
    come_for_the_recipe(s, ANN, true);
    assert_int_equal(s->sent[ANN][MSG_WELCOME], 1);
    say(s, ANN, (message){ .type = MSG_RECIPE_GET });
    assert_int_equal(s->sent[ANN][MSG_RECIPE_CHUNK], 1);
    say(s, ANN, (message){ .type = MSG_RECIPE_GET, .recipe_get = { 0, 9 } }); /* after its end */
    say(s, ANN, (message){ .type = MSG_RECIPE_GET, .recipe_get = { 1, 0 } }); /* no such file */
    say(s, ANN, (message){ .type = MSG_RECIPE_GET, .recipe_get = { UINT32_MAX, UINT64_MAX } });
    assert_int_equal(s->sent[ANN][MSG_RECIPE_CHUNK], 1);

    str names = { 0 };
    str_puts(&names, "");
    server_peers(s->server, &names);
    assert_string_equal(names.data, "");
    assert_int_equal(server_statistics(s->server).actors, 0);
    s->fakes.now_ms += 10 * REPEAT_MS;
    say(s, ANN, (message){ .type = MSG_HEARTBEAT, .heartbeat = { .version = -1 } });
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 0);
    assert_int_equal(s->sent[ANN][MSG_TASK], 0);
    come_for_the_recipe(s, ANN, false);
    assert_int_equal(server_statistics(s->server).actors, 0);
    str_free(&names);
    close_fixture(s);
    parcel_free(p);
}

static void a_part_of_the_recipe_is_sent_to_who_reads(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    parcel *p = parcel_new();
    reopen_with(s, p);
    come_for_the_recipe(s, ANN, true);
    s->full[ANN] = true;
    say(s, ANN, (message){ .type = MSG_RECIPE_GET });
    assert_int_equal(s->fakes.counts.by_reason[REFUSAL_UNREAD], 1);
    close_fixture(s);
    parcel_free(p);
}

static void where_there_is_no_recipe_to_give_who_comes_for_it_is_sent_away(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come_for_the_recipe(s, JIM, true);
    assert_int_equal(s->sent[JIM][MSG_WELCOME], 0);
    say(s, JIM, (message){ .type = MSG_RECIPE_GET }); /* it is gone */
    assert_int_equal(s->sent[JIM][MSG_RECIPE_CHUNK], 0);
    come(s, JIM);
    assert_int_equal(s->sent[JIM][MSG_WELCOME], 1);
    assert_int_equal(server_statistics(s->server).reward_workers, 1);
    close_fixture(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_version_is_on_record_though_nobody_looks_again),
        cmocka_unit_test(a_checkpoint_whose_step_is_not_on_record_is_recorded),
        cmocka_unit_test(a_failed_or_forged_episode_on_record_is_played_again),
        cmocka_unit_test(old_episodes_go_with_the_step_that_makes_them_old),
        cmocka_unit_test(a_slow_actor_keeps_its_task_while_its_tokens_grow),
        cmocka_unit_test(an_actor_with_old_weights_is_told_again_but_not_at_once),
        cmocka_unit_test(chunks_are_sent_to_who_reads),
        cmocka_unit_test(work_that_can_not_be_sent_waits_or_goes_to_another_and_is_not_lost),
        cmocka_unit_test(a_version_waits_for_the_end_of_an_evaluation),
        cmocka_unit_test(comings_and_goings_are_logged_at_a_bounded_rate),
        cmocka_unit_test(a_group_of_one_is_left_out),
        cmocka_unit_test(who_waits_is_told_every_ten_seconds_for_what),
        cmocka_unit_test(a_step_that_is_finished_puts_the_reminder_off),
        cmocka_unit_test(who_comes_for_the_recipe_gets_it_and_is_nobody_else),
        cmocka_unit_test(a_part_of_the_recipe_is_sent_to_who_reads),
        cmocka_unit_test(where_there_is_no_recipe_to_give_who_comes_for_it_is_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
