/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "run/silence.h"
#include "tests/support/support.h"

enum { G = 4 };

typedef struct act {
    const char *text, *answer, *error; /* error: the episode has no score */
    const char *note;                  /* why the objective is missing */
    const char *name;                  /* of its objective; NULL: accuracy */
    double reward;
    stop_reason stop;
    const char *observation; /* of a call that failed */
    const char *opening;     /* an environment's */
} act;

static void fill(episode *e, score *sc, const act *a)
{
    e->text = xstrdup(a->text ? a->text : "x");
    e->answer = xstrdup(a->answer);
    e->stop = a->stop;
    e->opening = xstrdup(a->opening);
    if (a->observation) {
        tool_call *c = episode_add_call(e);
        c->name = xstrdup("python"), c->arguments = xstrdup("{}"), c->observation = xstrdup(a->observation);
    }
    if (a->error) {
        sc->status = SCORE_SCRIPT, sc->error = xstrdup(a->error);
        return;
    }
    sc->error = a->note ? xstrdup(a->note) : NULL;
    assert_int_equal(score_set(sc, a->name ? a->name : "accuracy", a->reward, NULL), OK);
}

static group *group_of(uint64_t id, const act *acts)
{
    group *g = group_new(id, id, 1, G);
    for (uint32_t i = 0; i < G; i++) {
        const task t = { .id = id * G + i, .group = id, .sample = i, .group_size = G };
        episode *e = episode_new(&t);
        score *sc = calloc(1, sizeof *sc);
        fill(e, sc, &acts[i]);
        assert_int_equal(group_add(g, e, sc, NULL), OK);
    }
    return g;
}

static const objective_set ACCURACY = { .items = { { .name = "accuracy", .weight = 1, .min = -INFINITY } }, .n = 1 };

static silence new_silence(int64_t patience)
{
    silence s;
    silence_init(&s, &(silence_config){ .patience = patience,
                                        .objectives = &ACCURACY,
                                        .script = "reward.lua",
                                        .dialect = "xml",
                                        .prompts = 1,
                                        .group_size = G,
                                        .temperature = 0.01,
                                        .max_tokens = 7 });
    return s;
}

/* One step of one group; what was said, in a place of its own. */
static const char *step(silence *s, int64_t at, const act *acts, bool signal, bool *over)
{
    static char sentence[480];
    metrics *m = metrics_new();
    group *g = acts ? group_of(1, acts) : NULL;
    metrics_set(m, "training/signal", signal);
    *over = silence_step(s, (const group *const *)&g, acts ? 1 : 0, at, m, acts ? "" : "a prompt of 500 tokens",
                         sentence, sizeof sentence);
    group_free(g);
    metrics_free(m);
    return sentence;
}

static void the_first_silent_step_says_why(void **state)
{
    (void)state;
    static const struct {
        act acts[G];
        const char *says[3];
    } ALL[] = {
        { { { .error = "r.lua:3: boom" }, { .error = "r.lua:3: boom" }, { .error = "b" }, { .error = "c" } },
          { "4 of 4 episodes have no score", "r.lua:3: boom" } },
        { { { .name = "acuracy" }, { .name = "acuracy" }, { .name = "acuracy" }, { .name = "acuracy" } },
          { "reward.lua returns no objective 'accuracy', but acuracy", "did you mean 'acuracy'?",
            "reward.objectives" } },
        { { { .reward = NAN }, { .reward = NAN }, { .reward = NAN }, { .reward = NAN } }, { "missing (NaN)" } },
        { { { .reward = NAN, .note = "objective 'accuracy' is 5000" },
            { .reward = NAN },
            { .reward = NAN },
            { .reward = NAN } },
          { "every reward is missing (objective 'accuracy' is 5000)" } },
        { { { .text = "a", .answer = "1", .reward = 0.1 },
            { .text = "b", .answer = "1", .reward = 0.1 },
            { .text = "c", .answer = "1", .reward = 0.1 },
            { .text = "d", .answer = "1", .reward = 0.1 } },
          { "all 4 episodes have the same reward (0.1)", "the same for every answer" } },
        { { { .text = "a", .stop = STOP_LENGTH },
            { .text = "b", .stop = STOP_LENGTH },
            { .text = "c", .stop = STOP_LENGTH },
            { .text = "d", .stop = STOP_LENGTH } },
          { "the same reward (0)", "rollout.max_tokens = 7" } },
        { { { .text = "a", .observation = "no disk" },
            { .text = "b", .observation = "x" },
            { .text = "c", .observation = "x" },
            { .text = "d", .observation = "x" } },
          { "all 4 tool calls failed", "no disk" } },
        { { { .text = "a", .answer = "1" },
            { .text = "a", .answer = "1" },
            { .text = "a", .answer = "1" },
            { .text = "a", .answer = "1" } },
          { "all alike", "temperature = 0.01" } },
        { { { .text = "a" }, { .text = "b" }, { .text = "c" }, { .text = "d" } },
          { "none ended with an answer", "dialect xml" } },
        { { { .text = "a", .opening = "{}" },
            { .text = "b", .opening = "{}" },
            { .text = "c", .opening = "{}" },
            { .text = "d", .opening = "{}" } },
          { "the same reward (0)", "nothing was rewarded" } },
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        bool over;
        silence s = new_silence(3);
        const char *said = step(&s, 1, ALL[i].acts, false, &over);
        for (int k = 0; k < 3 && ALL[i].says[k]; k++)
            if (!strstr(said, ALL[i].says[k])) fail_msg("case %zu: expected '%s' in: %s", i, ALL[i].says[k], said);
        assert_non_null(strstr(said, "step 1 had nothing to learn from"));
        assert_non_null(strstr(said, "after 3 such steps"));
        assert_false(over);
    }
    bool over;
    silence s = new_silence(3);
    assert_non_null(strstr(step(&s, 1, NULL, false, &over), "no episode could be played: a prompt of 500 tokens"));
}

static const act SAME[G] = { { .text = "a", .answer = "1", .reward = 0.5 },
                             { .text = "b", .answer = "1", .reward = 0.5 },
                             { .text = "c", .answer = "1", .reward = 0.5 },
                             { .text = "d", .answer = "1", .reward = 0.5 } };
static const act MIXED[G] = { { .text = "a", .answer = "1", .reward = 0 },
                              { .text = "b", .answer = "1", .reward = 1 },
                              { .text = "c", .answer = "1", .reward = 0 },
                              { .text = "d", .answer = "1", .reward = 0 } };
static const act RIGHT[G] = { { .text = "a", .answer = "1", .reward = 1 },
                              { .text = "b", .answer = "1", .reward = 1 },
                              { .text = "c", .answer = "1", .reward = 1 },
                              { .text = "d", .answer = "1", .reward = 1 } };

static void patience_is_of_steps_in_a_row(void **state)
{
    (void)state;
    bool over;
    silence s = new_silence(3);
    assert_string_not_equal(step(&s, 1, SAME, false, &over), "");
    assert_string_equal(step(&s, 2, SAME, false, &over), ""); /* once is enough */
    assert_false(over);
    step(&s, 3, MIXED, true, &over);
    for (int64_t i = 4; i <= 5; i++) step(&s, i, SAME, false, &over), assert_false(over);
    assert_non_null(strstr(step(&s, 6, SAME, false, &over), "3 such steps in a row; patience = 0 would continue"));
    assert_true(over);
    s = new_silence(0);
    for (int64_t i = 1; i <= 100; i++) step(&s, i, SAME, false, &over), assert_false(over);
}

/* Everything right is success: said once, and never too much of it. A reward of 1 for all from the start is not:
 * nothing shows that it isn't a constant. */
static void a_solved_run_is_no_failure(void **state)
{
    (void)state;
    bool over;
    silence s = new_silence(3);
    step(&s, 1, MIXED, true, &over);
    assert_non_null(strstr(step(&s, 2, RIGHT, false, &over), "4 of 4 episodes have the best reward (1)"));
    for (int64_t i = 3; i <= 100; i++) {
        assert_string_equal(step(&s, i, RIGHT, false, &over), "");
        assert_false(over);
    }
    s = new_silence(3);
    assert_non_null(strstr(step(&s, 1, RIGHT, false, &over), "all 4 episodes have the same reward (1)"));
    step(&s, 2, RIGHT, false, &over);
    step(&s, 3, RIGHT, false, &over);
    assert_true(over);
}

static void a_resumed_run_knows_that_it_had_a_signal(void **state)
{
    (void)state;
    bool over;
    char *dir = test_folder_new();
    silence s = new_silence(3);
    silence_recall(&s, dir); /* no metrics yet */
    assert_false(s.had_signal);
    test_file_write(dir, "metrics.jsonl",
                    "{\"event\": \"step\", \"step\": 1, \"training/signal\": 1, \"reward/mean\": 0.2}\n"
                    "{\"event\": \"step\", \"step\": 2, \"training/signal\": 0, \"reward/mean\": 1}\n");
    silence_recall(&s, dir);
    for (int64_t i = 3; i <= 10; i++) step(&s, i, RIGHT, false, &over), assert_false(over);
    test_folder_remove(dir);
}

/* The best reward is an episode's, not a step's mean: a mean is no answer that a policy could give. */
static void a_resumed_run_knows_its_best_reward(void **state)
{
    (void)state;
    static const act HALF[G] = { { .text = "a", .reward = 0.5 },
                                 { .text = "b", .reward = 0.5 },
                                 { .text = "c", .reward = 0.5 },
                                 { .text = "d", .reward = 0.5 } };
    static const act ONE_BEST[G] = { { .text = "a", .reward = 0 },
                                     { .text = "b", .reward = 1 },
                                     { .text = "c", .reward = 0.25 },
                                     { .text = "d", .reward = 0.75 } };
    bool over;
    char line[200], *dir = test_folder_new();
    metrics *m = metrics_new();
    group *g = group_of(1, ONE_BEST);
    silence s = new_silence(3);
    silence_metrics(&s, (const group *const *)&g, 1, m);
    snprintf(line, sizeof line,
             "{\"event\": \"step\", \"step\": 1, \"training/signal\": 1, \"reward/mean\": 0.5, \"reward/max\": %g}\n",
             metrics_get(m, "reward/max", -1));
    test_file_write(dir, "metrics.jsonl", line);
    silence_recall(&s, dir);
    assert_true(s.best == 1);
    assert_null(strstr(step(&s, 2, HALF, false, &over), "are solved"));
    assert_non_null(strstr(step(&s, 3, RIGHT, false, &over), "have the best reward (1)"));
    group_free(g);
    metrics_free(m);
    test_folder_remove(dir);
}

static void steps_that_teach_but_lose_some_say_so_and_say_it_again_when_there_are_many(void **state)
{
    (void)state;
    static const act ONE_FAILS[G] = { { .text = "a", .answer = "1", .reward = 0 },
                                      { .text = "b", .answer = "1", .reward = 1 },
                                      { .text = "c", .error = "r.lua:9: nil" },
                                      { .text = "d", .answer = "1", .reward = 0 } };
    bool over;
    silence s = new_silence(3);
    assert_non_null(
        strstr(step(&s, 1, ONE_FAILS, true, &over), "1 of 4 episodes have no score and are left out: r.lua:9"));
    for (int64_t i = 2; i <= 3; i++) assert_string_equal(step(&s, i, ONE_FAILS, true, &over), "");
    assert_non_null(strstr(step(&s, 4, ONE_FAILS, true, &over), "left out (4 of 16 so far): r.lua:9"));
    for (int64_t i = 5; i <= 15; i++) assert_string_equal(step(&s, i, ONE_FAILS, true, &over), "");
    assert_non_null(strstr(step(&s, 16, ONE_FAILS, true, &over), "step 16: 1 of 4 episodes"));
    s = new_silence(3);
    s.config.prompts = 2;
    assert_non_null(strstr(step(&s, 1, MIXED, true, &over), "4 of 8 episodes could not be played"));
}

/* However long a script's error and its folders are, the end of the sentence is there. */
static void a_long_reason_keeps_the_sentences_end(void **state)
{
    (void)state;
    char script[600], raised[1300];
    bool over;
    memset(script, 'd', sizeof script);
    snprintf(script + 500, 100, "/reward.lua");
    snprintf(raised, sizeof raised, "%s:3: %0600d", script, 7);
    const act acts[G] = { { .error = raised }, { .error = raised }, { .error = raised }, { .error = raised } };
    silence s = new_silence(2);
    s.config.script = script;
    assert_non_null(strstr(step(&s, 1, acts, false, &over), "have no score: reward.lua:3: 000"));
    const char *last = step(&s, 2, acts, false, &over);
    assert_true(over && strlen(last) < 330);
    assert_non_null(strstr(last, "... (2 such steps in a row; patience = 0 would continue)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_silent_step_says_why),
        cmocka_unit_test(patience_is_of_steps_in_a_row),
        cmocka_unit_test(a_solved_run_is_no_failure),
        cmocka_unit_test(a_resumed_run_knows_that_it_had_a_signal),
        cmocka_unit_test(a_resumed_run_knows_its_best_reward),
        cmocka_unit_test(a_long_reason_keeps_the_sentences_end),
        cmocka_unit_test(steps_that_teach_but_lose_some_say_so_and_say_it_again_when_there_are_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
