/* SPDX-License-Identifier: MIT */
/* Whose answers count, and what an answer that is late, forged, beyond the limits or unreadable costs its sender. */
#include "served.h"

static void only_who_was_given_a_task_delivers_it(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    come(s, BEN);
    want(s, ANN, GROUP);
    const uint64_t id = s->last[ANN];
    deliver(s, BEN, episode_of(s, id, 0));
    assert_int_equal(s->sent[BEN][MSG_EPISODE_ACK], 0);
    assert_int_equal(stats(s).episodes, 0);
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_UNASKED], 1);
    assert_non_null(strstr(s->said, "was not assigned"));
    deliver(s, ANN, episode_of(s, id, 0));
    assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], 1);
    assert_int_equal(stats(s).episodes, 1);
    deliver(s, BEN, episode_of(s, id, 0)); /* it is done: whoever still has one may forget it */
    assert_int_equal(s->sent[BEN][MSG_EPISODE_ACK], 1);
    assert_int_equal(stats(s).episodes, 1);
    close_fixture(s);
}

static void who_was_only_slow_may_still_deliver(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, JIM);
    come(s, ANN);
    want(s, ANN, 1);
    const uint64_t id = s->last[ANN];
    s->fakes.now_ms += 200000;
    s->fakes.tick(s->fakes.server_ctx);
    one_turn(s);
    come(s, BEN);
    want(s, BEN, GROUP);
    assert_int_equal(s->sent[BEN][MSG_TASK], GROUP);
    deliver(s, ANN, episode_of(s, id, 0));
    assert_int_equal(stats(s).episodes, 1);
    assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], 1);
    close_fixture(s);
}

static void only_who_was_asked_for_a_score_gives_it(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN), come(s, JIM), come(s, JOE);
    want(s, ANN, 1);
    give_score(s, JIM, s->last[ANN], 1); /* there is no episode yet */
    deliver(s, ANN, episode_of(s, s->last[ANN], 0));
    give_score(s, JIM, s->last[ANN], 1); /* no worker is asked yet */
    want(s, JIM, 1);
    const uint64_t id = s->last[JIM];
    give_score(s, JOE, id, 1);
    assert_int_equal(stats(s).scores, 0);
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_UNASKED], 3);
    give_score(s, JIM, id, 1);
    assert_int_equal(stats(s).scores, 1);
    give_score(s, JIM, id, 0.5); /* twice */
    assert_int_equal(stats(s).scores, 1);
    close_fixture(s);
}

/* News of a failed play counts once, however often and however late it comes. */
static void a_failure_counts_against_the_attempt_it_speaks_of(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    want(s, ANN, 1);
    const uint64_t id = s->last[ANN];
    for (int i = 0; i < 5; i++) deliver(s, ANN, failed(episode_of(s, id, 0)));
    assert_true(stats(s).failed == 1 && stats(s).retried == 1 && stats(s).dropped == 0);
    want(s, ANN, 1);
    assert_int_equal(s->last[ANN], id);
    assert_int_equal(s->attempt[ANN], 1);
    deliver(s, ANN, failed(episode_of(s, id, 0)));
    assert_int_equal(stats(s).failed, 1);
    deliver(s, ANN, failed(episode_of(s, id, 1)));
    assert_true(stats(s).failed == 2 && stats(s).dropped == 0 && stats(s).given_up == 0);
    want(s, ANN, 1);
    deliver(s, ANN, failed(episode_of(s, id, 2)));
    assert_true(stats(s).failed == 3 && stats(s).dropped == 1 && stats(s).given_up == 1); /* max_attempts */
    close_fixture(s);
}

static void spoil_id(episode *e) { e->tokens.ids[0] = 50; }
static void spoil_weights(episode *e) { e->tokens.segments[0].weight_hash++; }
static void spoil_version(episode *e) { e->tokens.segments[0].version = 1; }
static void spoil_sample(episode *e) { e->sample ^= 1; }
static void spoil_group(episode *e) { e->group ^= 1; }
static void spoil_step(episode *e) { e->step++; }
static void spoil_eval(episode *e) { e->eval = true; }
static void spoil_prompt(episode *e) { e->prompt_id ^= 1; }
static void spoil_template(episode *e) { e->template_id = 1; }
static void spoil_shots(episode *e) { e->n_shots = 2; }
static void spoil_logprob(episode *e) { e->tokens.logprob[2] = -1e30f; }
static void spoil_length(episode *e)
{
    for (int i = 0; i < 30; i++) trajectory_append(&e->tokens, TOKEN_OBSERVATION, (const int32_t[]){ 1 }, 1);
}

/* Refused at once, the task handed out anew; its attempts are not used up; its sender is dismissed after three. */
static void what_is_beyond_the_limits_costs_its_sender_and_not_the_task(void **state)
{
    (void)state;
    static void (*const SPOIL[])(episode *) = { spoil_id,       spoil_weights, spoil_version, spoil_sample,
                                                spoil_group,    spoil_step,    spoil_eval,    spoil_prompt,
                                                spoil_template, spoil_shots,   spoil_logprob, spoil_length };
    for (size_t i = 0; i < sizeof SPOIL / sizeof *SPOIL; i++) {
        fixture *s = open_fixture();
        const uint64_t id = task_id(false, 1, 0);
        come(s, ANN);
        want(s, ANN, GROUP);
        for (int n = 0; n < MAX_REFUSED_IN_A_ROW; n++) {
            assert_int_equal(server_statistics(s->server).actors, 1);
            episode *e = episode_of(s, id, (uint32_t)n);
            SPOIL[i](e);
            deliver(s, ANN, e);
            assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], n + 1); /* it is not to be sent again */
            assert_int_equal(stats(s).refused, n + 1);
            want(s, ANN, 1);
            if (n < MAX_REFUSED_IN_A_ROW - 1) assert_true(s->last[ANN] == id && s->attempt[ANN] == (uint32_t)n + 1);
        }
        assert_true(stats(s).episodes == 0 && stats(s).dropped == 0 && stats(s).failed == 0);
        assert_int_equal(server_statistics(s->server).actors, 0); /* dismissed */
        come(s, BEN);
        want(s, BEN, GROUP);
        assert_int_equal(s->sent[BEN][MSG_TASK], GROUP);
        deliver(s, BEN, episode_of(s, id, 3));
        assert_int_equal(stats(s).episodes, 1);
        close_fixture(s);
    }
}

/* It is refused as what is beyond the limits is. That a prompt can't be made is believed if the witness can't make it
 * either: else any worker could have rows left out. Of other failures it knows nothing. */
static void an_episode_that_its_witness_doubts_is_refused(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    want(s, ANN, GROUP);
    const uint64_t id = task_id(false, 1, 0);
    s->doubts = "a replay gives another";
    deliver(s, ANN, episode_of(s, id, 0));
    assert_int_equal(stats(s).refused, 1);
    assert_non_null(strstr(s->said, "a replay gives another"));
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_EPISODE], 1);

    want(s, ANN, 1);
    deliver(s, ANN, honest_failure(episode_of(s, id, 1), FAIL_PROMPT));
    assert_true(stats(s).refused == 2 && stats(s).unplayable == 0);

    want(s, ANN, 1);
    deliver(s, ANN, honest_failure(episode_of(s, id, 2), FAIL_TOOL_LOST));
    assert_true(stats(s).refused == 2 && stats(s).failed == 1);

    want(s, ANN, 1);
    s->doubts = NULL;
    deliver(s, ANN, honest_failure(episode_of(s, id, 3), FAIL_PROMPT));
    assert_true(stats(s).refused == 2 && stats(s).unplayable == 1);
    close_fixture(s);
}

/* A refill that an earlier life had opened, and this one may open yet: the episode is kept nowhere, so its actor must
 * not forget it. */
static void an_episode_of_a_refill_to_come_is_not_acknowledged(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    server_free(s->server);
    s->refills = 1;
    open_server(s);
    publish(s, 0);
    come(s, ANN);
    deliver(s, ANN, episode_of(s, task_id(false, 1, GROUP), 0));
    assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], 0);
    assert_true(stats(s).repeated == 0 && stats(s).episodes == 0);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 2 * GROUP), 0)); /* of no refill that there can be */
    assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], 1);
    close_fixture(s);
}

/* A run that goes on from a checkpoint knows the versions that are on record, and has no hash for another. */
static void tokens_of_a_version_that_was_never_published_are_refused(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    server_free(s->server);
    s->max_staleness = 1;
    open_server(s);
    publish(s, 1);
    come(s, ANN);
    want(s, ANN, GROUP);
    assert_true(s->given[ANN].min_version == 0 && s->given[ANN].max_version == 1);
    episode *e = episode_of(s, s->given[ANN].id, 0);
    e->tokens.segments[0].version = 0;
    e->tokens.segments[0].weight_hash = 0;
    deliver(s, ANN, e);
    assert_true(stats(s).refused == 1 && stats(s).episodes == 0);
    assert_non_null(strstr(s->said, "tokens sampled by policy version 0, which was never published"));
    close_fixture(s);
}

/* Version 0 exists, but step 2 of a run without staleness is version 1's. */
static void tokens_of_a_version_that_the_task_does_not_allow_are_refused(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    publish(s, 1);
    want(s, ANN, GROUP);
    want(s, ANN, GROUP);
    assert_int_equal(s->sent[ANN][MSG_TASK], 2 * GROUP);
    episode *e = episode_of(s, task_id(false, 2, 0), 0);
    e->tokens.segments[0].version = 0;
    deliver(s, ANN, e);
    assert_int_equal(stats(s).refused, 1);
    assert_non_null(strstr(s->said, "tokens sampled by policy version 0 (the task allows 1 to 1)"));
    close_fixture(s);
}

static void a_score_beyond_its_bounds_is_asked_of_another(void **state)
{
    (void)state;
    static const double BAD[] = { 1e300, -1e300, INFINITY, 1001 };
    for (size_t i = 0; i < 4; i++) {
        fixture *s = open_fixture();
        come(s, ANN), come(s, JIM);
        want(s, ANN, 1);
        deliver(s, ANN, episode_of(s, s->last[ANN], 0));
        want(s, JIM, 1);
        const uint64_t id = s->last[JIM];
        come(s, JOE);
        want(s, JOE, 1);
        give_score(s, JIM, id, BAD[i]);
        assert_int_equal(stats(s).scores, 0);
        assert_int_equal(stats(s).scores_refused, 1);
        assert_int_equal(s->last[JOE], id);
        give_score(s, JOE, id, 1);
        assert_int_equal(stats(s).scores, 1);
        close_fixture(s);
    }
}

static void an_answer_that_can_not_be_read_ends_its_lease_at_once(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN), come(s, BEN), come(s, JIM), come(s, JOE);
    want(s, ANN, 1);
    want(s, BEN, 1);
    const uint64_t id = s->last[ANN];
    want(s, BEN, 1);
    unreadable(s, ANN, s->last[BEN]); /* about a task of another: ends what it holds itself */
    assert_int_equal(s->last[BEN], id);
    assert_int_equal(s->sent[BEN][MSG_TASK], 2);
    deliver(s, BEN, episode_of(s, id, s->attempt[BEN]));
    assert_int_equal(stats(s).episodes, 1);
    want(s, JIM, 1);
    assert_int_equal(s->last[JIM], id);
    want(s, JOE, 1);
    unreadable(s, JIM, id);
    assert_int_equal(s->last[JOE], id);
    give_score(s, JOE, id, 1);
    assert_int_equal(stats(s).scores, 1);
    for (int i = 0; i < 2; i++) unreadable(s, ANN, 0); /* three in a row, by now */
    assert_int_equal(server_statistics(s->server).actors, 1);
    close_fixture(s);
}

/* Tasks that are taken by those who come only to leave stay as good as they were. */
static void who_only_takes_and_leaves_uses_nothing_up(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    for (int i = 0; i < 100; i++) {
        come(s, ANN);
        want(s, ANN, UINT32_MAX);
        assert_int_equal(s->sent[ANN][MSG_TASK], GROUP * (i + 1));
        leave(s, ANN);
    }
    assert_true(stats(s).lost == 200 && stats(s).dropped == 0 && stats(s).failed == 0);
    come(s, BEN);
    want(s, BEN, GROUP);
    deliver(s, BEN, episode_of(s, s->last[BEN], 0));
    assert_int_equal(stats(s).episodes, 1);
    close_fixture(s);
}

/* A worker that is known to work, and ends again and again with this task in its hands: the task is given up. */
static void a_task_that_takes_good_workers_with_it_is_given_up(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, JIM);
    come(s, ANN);
    want(s, ANN, GROUP);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 1), 0));
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(stats(s).dropped, 0);
        want(s, ANN, 1);
        s->fakes.now_ms += 200000; /* beyond its lease */
        s->fakes.tick(s->fakes.server_ctx);
        one_turn(s);
        assert_int_equal(stats(s).lost, i);
    }
    assert_true(stats(s).dropped == 1 && stats(s).failed == 1);
    close_fixture(s);
}

/* A lost score is asked again, and what was lost is on record. */
static void a_score_that_is_lost_is_asked_again(void **state)
{
    (void)state;
    fixture *s = open_fixture();
    come(s, ANN);
    want(s, ANN, 1);
    deliver(s, ANN, episode_of(s, s->last[ANN], 0));
    for (int i = 1; i <= 20; i++) {
        come(s, JIM);
        want(s, JIM, 1);
        assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], i);
        leave(s, JIM);
        assert_int_equal(stats(s).lost, i);
    }
    come(s, JOE);
    want(s, JOE, 1);
    give_score(s, JOE, s->last[JOE], 1);
    assert_true(stats(s).scores == 1 && stats(s).failed == 0);
    close_fixture(s);
}

/* ---- episodes that get no score ---- */

static void fail_to_score(fixture *s, peer_id peer, uint64_t id)
{
    score *sc = xcalloc(1, sizeof *sc);
    *sc = (score){ .task = id, .status = SCORE_MACHINE, .error = xstrdup("the judge died") };
    say(s, peer, (message){ .type = MSG_SCORE, .score = { sc } });
}

typedef struct found {
    uint64_t task;
    int n;
    char said[200]; /* the reason of the score of `task` */
} found;

static int find_score(void *ctx, const char *row, episode *e, score *sc)
{
    found *f = ctx;
    (void)row;
    if (sc && sc->task == f->task && sc->status == SCORE_MACHINE && sc->error) {
        f->n++;
        snprintf(f->said, sizeof f->said, "%s", sc->error);
    }
    episode_free(e);
    score_free(sc);
    return 0;
}

/* Task `id`, the step's last, was asked in vain: its group is whole, with a score that is missing and not 0, and the
 * reason is on record. */
static void assert_unscored(fixture *s, uint64_t id, const char *why)
{
    error err = { 0 };
    void *item = NULL;
    assert_true(stats(s).failed == 1 && stats(s).dropped == 0 && stats(s).groups_dropped == 0);
    assert_int_equal(stats(s).waiting_scores, 0);

    assert_int_equal(queue_pop(s->steps, &item, 0), OK);
    const step_batch *b = item;
    assert_int_equal(b->n, 1);
    assert_int_equal(b->groups[0]->n, GROUP);
    const uint32_t at = task_id_index(id);
    assert_true(b->groups[0]->scores[at]->status == SCORE_MACHINE && b->groups[0]->scores[at]->n_values == 0);
    assert_true(isnan(score_get(b->groups[0]->scores[at], "accuracy")));
    test_near(score_get(b->groups[0]->scores[1 - at], "accuracy"), 1, 0, "the other episode's score");
    step_batch_free(item);

    found f = { .task = id };
    test_ok(store_read(s->store, -1, -1, 0, find_score, &f, &err), &err);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.said, why);
}

/* Both episodes are there, and the first has its score. */
static fixture *open_half_scored(void)
{
    fixture *s = open_fixture();
    come(s, ANN), come(s, JIM);
    want(s, ANN, GROUP);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 0), 0));
    want(s, JIM, 1);
    give_score(s, JIM, task_id(false, 1, 0), 1);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 1), 0));
    return s;
}

static void an_episode_whose_judges_fail_again_and_again_has_no_score(void **state)
{
    (void)state;
    const uint64_t id = task_id(false, 1, 1);
    fixture *s = open_half_scored();
    for (int i = 0; i < 3; i++) { /* max_attempts */
        assert_int_equal(stats(s).failed, 0);
        want(s, JIM, 1);
        assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], i + 2);
        fail_to_score(s, JIM, id);
        fail_to_score(s, JIM, id); /* once more of the same lease: it counts once */
    }
    assert_int_equal(stats(s).score_machines, 3);
    assert_unscored(s, id, "the judge died");
    close_fixture(s);
}

static void a_score_that_takes_good_judges_with_it_is_given_up(void **state)
{
    (void)state;
    fixture *s = open_half_scored();
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(stats(s).failed, 0);
        want(s, JIM, 1);
        s->fakes.now_ms += 100000; /* beyond its lease */
        s->fakes.tick(s->fakes.server_ctx);
        one_turn(s);
        assert_int_equal(stats(s).lost, i);
    }
    assert_int_equal(stats(s).scores, 1);
    assert_unscored(s, task_id(false, 1, 1), "gave up: 10 times the lease expired or the reward worker died");
    close_fixture(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_was_given_a_task_delivers_it),
        cmocka_unit_test(who_was_only_slow_may_still_deliver),
        cmocka_unit_test(only_who_was_asked_for_a_score_gives_it),
        cmocka_unit_test(a_failure_counts_against_the_attempt_it_speaks_of),
        cmocka_unit_test(what_is_beyond_the_limits_costs_its_sender_and_not_the_task),
        cmocka_unit_test(an_episode_that_its_witness_doubts_is_refused),
        cmocka_unit_test(an_episode_of_a_refill_to_come_is_not_acknowledged),
        cmocka_unit_test(tokens_of_a_version_that_was_never_published_are_refused),
        cmocka_unit_test(tokens_of_a_version_that_the_task_does_not_allow_are_refused),
        cmocka_unit_test(a_score_beyond_its_bounds_is_asked_of_another),
        cmocka_unit_test(an_answer_that_can_not_be_read_ends_its_lease_at_once),
        cmocka_unit_test(who_only_takes_and_leaves_uses_nothing_up),
        cmocka_unit_test(a_task_that_takes_good_workers_with_it_is_given_up),
        cmocka_unit_test(a_score_that_is_lost_is_asked_again),
        cmocka_unit_test(an_episode_whose_judges_fail_again_and_again_has_no_score),
        cmocka_unit_test(a_score_that_takes_good_judges_with_it_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
