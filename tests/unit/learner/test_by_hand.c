/* SPDX-License-Identifier: MIT */
/* Numbers that are typed: the losses of tests/golden/losses (float64 autograd; compare_trl.py holds TRL against
 * them, too), advantages by the formulas of papers, and what is no batch. */
#include "learner/by_hand.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

typedef int by_hand(const trainer_config *c, const json_t *line, FILE *out, error *err);

/* The answer to `line` by these settings (NULL-terminated), or NULL. */
static json_t *answer_of(by_hand *answer, const json_t *line, const char *const *words, error *err)
{
    trainer_config *c = xcalloc(1, sizeof *c);
    char *text = NULL;
    size_t len = 0;
    int n = 0;
    FILE *out = open_memstream(&text, &len);
    while (words[n]) n++;
    int rc = by_hand_settings(c, words, n, err);
    if (rc == OK) rc = answer(c, line, out, err);
    fclose(out);
    json_t *said = rc == OK ? json_parse(text, len, "answer", err) : NULL;
    free(text);
    free(c);
    return said;
}

static json_t *parsed(const char *text)
{
    error err = { 0 };
    json_t *j = json_parse(text, strlen(text), "test", &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

/* ---- losses ---- */

static json_t *batch_of(const json_t *golden)
{
    json_t *line = json_object(), *episodes = json_deep_copy(json_object_get(golden, "episodes"));
    for (size_t i = 0; i < json_array_size(episodes); i++)
        json_object_set(json_array_get(episodes, i), "success_rate", json_object_get(golden, "right"));
    json_object_set_new(line, "episodes", episodes);
    json_object_set(line, "max_tokens", json_object_get(golden, "constant"));
    return line;
}

static void check_case(const json_t *golden, const json_t *c, const json_t *line)
{
    enum { SETTINGS_N = 13, BYTES = 64 };
    char text[SETTINGS_N][BYTES];
    const char *words[SETTINGS_N + 1] = { NULL };
    const char *kind = json_string_value(json_object_get(c, "kind"));
#define NUMBER(of, key) json_number_value(json_object_get(of, key))
#define WORD(of, key) json_string_value(json_object_get(of, key))
    const bool dual = json_is_true(json_object_get(c, "dual"));
    int n = 0;
    snprintf(text[n++], BYTES, "loss=%s", kind);
    snprintf(text[n++], BYTES, "clip=%g,%g", NUMBER(golden, "low"), NUMBER(golden, "high"));
    snprintf(text[n++], BYTES, "dual_clip=%g", dual ? NUMBER(golden, "dual_clip") : 0);
    snprintf(text[n++], BYTES, "ratio_cap=%g", NUMBER(golden, "ratio_cap"));
    snprintf(text[n++], BYTES, "tau=%g", NUMBER(golden, "tau"));
    snprintf(text[n++], BYTES, "nft_weight=%g", NUMBER(c, "nft"));
    snprintf(text[n++], BYTES, "kl=%g", NUMBER(c, "kl"));
    snprintf(text[n++], BYTES, "kl_kind=%s", WORD(c, "kl_kind"));
    snprintf(text[n++], BYTES, "aggregation=%s", WORD(c, "aggregation"));
    snprintf(text[n++], BYTES, "correction=%s", WORD(c, "correction"));
    snprintf(text[n++], BYTES, "tis_cap=%.17g", NUMBER(golden, "tis_cap"));
    snprintf(text[n++], BYTES, "floor=%.17g", 1 / NUMBER(golden, "tis_cap"));
    snprintf(text[n++], BYTES, "band=%g", NUMBER(golden, "band"));
    for (int i = 0; i < n; i++) words[i] = text[i];

    error err = { 0 };
    json_t *said = answer_of(by_hand_loss, line, words, &err);
    if (!said) fail_msg("%s: %s", kind, err.text);
    test_near(NUMBER(said, "loss"), NUMBER(c, "loss"), 1e-9, kind);
    const json_t *got = json_object_get(said, "gradient"), *want = json_object_get(c, "grad");
    assert_int_equal(json_array_size(got), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++)
        for (size_t k = 0; k < json_array_size(json_array_get(want, i)); k++) {
            const double g = json_number_value(json_array_get(json_array_get(want, i), k));
            test_near(json_number_value(json_array_get(json_array_get(got, i), k)), g, 1e-7 + 1e-6 * fabs(g), kind);
        }
    json_decref(said);
}

static void typed_losses_are_those_of_float64_autograd(void **state)
{
    (void)state;
    char path[1100];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/tests/golden/losses/losses.json", getenv("TROUPE_SOURCE"));
    json_t *golden = json_parse_file(path, &err);
    if (!golden) fail_msg("%s", err.text);
    json_t *line = batch_of(golden);
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 40);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(golden, json_array_get(cases, i), line);
    json_decref(line);
    json_decref(golden);
}

/* ---- advantages ---- */

static void advantages_are(const char *line_text, const char *const *words, const double *want, size_t n)
{
    error err = { 0 };
    json_t *line = parsed(line_text), *said = answer_of(by_hand_advantage, line, words, &err);
    if (!said) fail_msg("%s: %s", line_text, err.text);
    const json_t *groups = json_object_get(said, "advantages");
    size_t at = 0;
    for (size_t g = 0; g < json_array_size(groups); g++)
        for (size_t i = 0; i < json_array_size(json_array_get(groups, g)); i++, at++) {
            assert_true(at < n);
            test_near(json_number_value(json_array_get(json_array_get(groups, g), i)), want[at], 1e-5, line_text);
        }
    assert_int_equal(at, n);
    json_decref(said);
    json_decref(line);
}

#define BY(...)                                                                                                        \
    (const char *const[]) { __VA_ARGS__, NULL }

static void typed_advantages_are_those_of_the_formulas(void **state)
{
    (void)state;
    /* (r - mean) / std, of the sample: rewards 1, 0, 0, 1 have mean 1/2 and std 0.57735; a group of equals has none. */
    const double grpo[] = { 0.866024, -0.866024, -0.866024, 0.866024, 0, 0 };
    advantages_are("{\"groups\": [[1, 0, 0, 1], [1, 1]]}", BY("name=grpo"), grpo, 6);
    advantages_are("{\"groups\": [[1, 0, 0, 1]]}", BY("name=dr_grpo"), (double[]){ .5, -.5, -.5, .5 }, 4);
    /* Leave one out: 1 - (0 + 0) / 2, 0 - (1 + 0) / 2. */
    advantages_are("{\"groups\": [[1, 0, 0]]}", BY("name=rloo"), (double[]){ 1, -.5, -.5 }, 3);
    /* Baseline weighed by length: (1 * 3 + 0 * 1) / 4. */
    advantages_are("{\"groups\": [[1, 0]], \"lengths\": [[3, 1]]}", BY("name=opo"), (double[]){ .25, -.75 }, 2);
    /* A setting wins over what the name stands for. A missing score is in no mean. */
    advantages_are("{\"groups\": [[1, 0, 0, 1], [1, 1]]}", BY("std=group", "name=dr_grpo"), grpo, 6);
    advantages_are("{\"groups\": [[1, 0, null]]}", BY("std=none", "name=grpo"), (double[]){ .5, -.5, 0 }, 3);
}

static void objectives_have_weights_and_rows_of_their_own(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *line = parsed("{\"groups\": [[{\"a\": 1, \"b\": 0}, {\"a\": 0, \"b\": 1}, {\"a\": 0, \"b\": 0}]], "
                          "\"weights\": {\"a\": 2, \"b\": 1}}");
    json_t *said = answer_of(by_hand_advantage, line, BY("std=none"), &err);
    if (!said) fail_msg("%s", err.text);
    const json_t *by = json_object_get(said, "by_objective");
    test_near(json_number_value(json_array_get(json_array_get(json_object_get(by, "a"), 0), 0)), 2.0 / 3, 1e-9, "a");
    test_near(json_number_value(json_array_get(json_array_get(json_object_get(by, "b"), 0), 0)), -1.0 / 3, 1e-9, "b");
    json_decref(said);
    json_decref(line);
}

static void what_is_no_batch_is_named(void **state)
{
    (void)state;
    static const struct {
        by_hand *answer;
        const char *line, *word, *why;
    } BAD[] = {
        { by_hand_advantage, "{}", "name=grpo", "\"groups\" is missing" },
        { by_hand_advantage, "{\"groups\": [1]}", "name=grpo", "group 1 is no list of rewards" },
        { by_hand_advantage, "{\"groups\": [[\"x\"]]}", "name=grpo", "group 1, sample 1: a reward is a number" },
        { by_hand_advantage, "{\"groups\": [[1]], \"lengths\": [[-1]]}", "name=grpo", "is no number of tokens" },
        { by_hand_advantage, "{\"groups\": [[1]], \"weights\": {\"a\": -1}}", "name=grpo", "a" },
        { by_hand_advantage, "{\"groups\": [[1]]}", "name=grop", "no algorithm 'grop' (did you mean 'grpo'?)" },
        { by_hand_advantage, "{\"groups\": [[1]]}", "menn=group", "did you mean 'mean'?" },
        { by_hand_advantage, "{\"groups\": [[1]]}", "mean=x", "'mean=x' is no value of algorithm.mean" },
        { by_hand_loss, "{}", "name=grpo", "\"episodes\" is missing" },
        { by_hand_loss, "{\"episodes\": [{\"advantage\": 1}]}", "name=grpo", "episode 1: \"logprob\" is missing" },
        { by_hand_loss, "{\"episodes\": [{\"logprob\": [1]}]}", "name=grpo", "\"advantage\" is missing" },
        { by_hand_loss, "{\"episodes\": [{\"advantage\": 1, \"logprob\": [-1], \"old\": [1, 2]}]}", "name=grpo",
          "\"old\" has 2 numbers, \"logprob\" 1" },
        { by_hand_loss, "{\"episodes\": [{\"advantage\": 1, \"logprob\": [\"x\"]}]}", "name=grpo",
          "item 1 is no number" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        json_t *line = parsed(BAD[i].line);
        assert_null(answer_of(BAD[i].answer, line, BY(BAD[i].word), &err));
        if (!strstr(err.text, BAD[i].why)) fail_msg("%s: expected '%s' in: %s", BAD[i].line, BAD[i].why, err.text);
        json_decref(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_losses_are_those_of_float64_autograd),
        cmocka_unit_test(typed_advantages_are_those_of_the_formulas),
        cmocka_unit_test(objectives_have_weights_and_rows_of_their_own),
        cmocka_unit_test(what_is_no_batch_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
