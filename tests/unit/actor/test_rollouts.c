/* SPDX-License-Identifier: MIT */
/* Episodes as they are played, with the model of the demo and a tool whose answers are written here. */
#include "actor/witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/vec.h"
#include "exchange/limits.h"
#include "model/hf_folder.h"
#include "tests/support/support.h"

/* Bytes of text that the tokens say they wrote. */
static size_t written(const trajectory *t)
{
    size_t n = 0;
    for (uint32_t i = 0; i < t->n; i++) n += t->wrote[i];
    return n;
}

static const char SHOT[] =
    "{\"prompt\": \"compute 7313 minus 442.\", \"steps\": [{\"tool\": \"python\", \"arguments\": {\"code\": "
    "\"print(7313-442)\"}, \"result\": \"6871\"}], \"answer\": \"6871\"}";
static const char INSTRUCTION[] =
    "Write <python>code</python> to run it, read <result>output</result>, then say <answer>number</answer>.";

static const char *const TEMPLATES[] = { "First guess.", "compute it twice." };

/* A tool that answers at once, always the same. */
typedef struct oracle {
    const char *text;
    failure failed;
    uint64_t pending[64];
    int n;
} oracle;

static int oracle_begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms,
                        error *err)
{
    oracle *o = self;
    (void)arguments, (void)ctx, (void)now_ms, (void)err;
    o->pending[o->n++] = call;
    return OK;
}
static void oracle_cancel(void *self, uint64_t call) { (void)self, (void)call; }
static int oracle_fds(void *self, struct pollfd *out, int max) { return (void)self, (void)out, (void)max, 0; }
static int64_t oracle_deadline(void *self) { return ((oracle *)self)->n > 0 ? 0 : INT64_MAX; }
static void oracle_free(void *self) { (void)self; }
static int oracle_poll(void *self, int64_t now_ms, tool_result *out, int max)
{
    oracle *o = self;
    (void)now_ms;
    int n = 0;
    while (o->n > 0 && n < max)
        out[n++] = (tool_result){ .call = o->pending[--o->n],
                                  .ok = o->failed == FAIL_NONE,
                                  .failed = o->failed,
                                  .text = strdup(o->text),
                                  .ms = 1 };
    return n;
}

typedef struct fixture {
    device *dev;
    hf_folder *model;
    tokenizer *tokenizer;
    dialect *dialect;
    router *router;
    engine *engine;
    rollouts *rollouts;
    oracle oracle;
    limits limits; /* what an exchange would hold it to */
    witness *witness;
    task tasks[16]; /* by sample */
} fixture;

static int three_shots(void *ctx, const task *t, const char **out, int max)
{
    (void)ctx;
    const int n = t->n_shots < max ? t->n_shots : max;
    for (int i = 0; i < n; i++) out[i] = SHOT;
    return n;
}

static fixture *open_fixture(const char *observation, failure failed, int max_turns, int max_observation)
{
    char dir[1024];
    error err = { 0 };
    fixture *h = xcalloc(1, sizeof *h);
    snprintf(dir, sizeof dir, "%s/models/stagehand", getenv("TROUPE_SOURCE"));
    h->oracle = (oracle){ .text = observation, .failed = failed };
    h->dev = device_open("cpu", 1, &err);
    h->model = hf_folder_open(dir, h->dev, &err);
    h->tokenizer = tokenizer_open(dir, &err);
    if (!h->model || !h->tokenizer) fail_msg("%s", err.text);
    const tool t = { .name = "python",
                     .description = "",
                     .parameters = "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}}}",
                     .self = &h->oracle,
                     .begin = oracle_begin,
                     .cancel = oracle_cancel,
                     .fds = oracle_fds,
                     .poll = oracle_poll,
                     .deadline_ms = oracle_deadline,
                     .free = oracle_free };
    h->router = router_new(NULL);
    test_ok(router_add(h->router, &t, &err), &err);
    char *tools = router_tools_json(h->router);
    h->dialect = dialect_new("xml", NULL, tools, &err);
    free(tools);
    h->engine = engine_new(&(engine_config){ .max_streams = 16, .max_context = 400, .tokens_per_step = 256 },
                           h->model->weights, &err);
    const rollout_config config = { .engine = h->engine,
                                    .tokenizer = h->tokenizer,
                                    .dialect = h->dialect,
                                    .router = h->router,
                                    .dialect_name = "xml",
                                    .environment = "tools",
                                    .instruction = INSTRUCTION,
                                    .templates = TEMPLATES,
                                    .n_templates = 2,
                                    .shots = three_shots,
                                    .max_turns = max_turns,
                                    .max_observation_tokens = max_observation,
                                    .top_p = 1,
                                    .eos = h->model->config.eos,
                                    .n_eos = h->model->config.n_eos };
    h->rollouts = rollouts_new(&config, &err);
    assert_non_null(h->rollouts);
    h->limits = (limits){ .vocab = h->model->config.vocab,
                          .max_context = engine_context(h->engine),
                          .max_turns = max_turns,
                          .eos = h->model->config.eos,
                          .n_eos = h->model->config.n_eos,
                          .dialect = "xml" };
    h->witness = witness_new(&config, engine_context(h->engine));
    return h;
}

static void close_fixture(fixture *h)
{
    witness_free(h->witness);
    rollouts_free(h->rollouts);
    engine_free(h->engine);
    dialect_free(h->dialect);
    router_free(h->router);
    tokenizer_free(h->tokenizer);
    hf_folder_close(h->model);
    device_close(h->dev);
    free(h);
}

static void begin_hinted(fixture *h, uint64_t index, const char *row, float temperature, int32_t max_tokens, float hint)
{
    error err = { 0 };
    const task t = { .id = task_id(false, 1, (uint32_t)index),
                     .group = task_id(false, 1, 0),
                     .sample = (uint32_t)index,
                     .group_size = 16,
                     .step = 1,
                     .seed = 3,
                     .n_shots = 3,
                     .temperature = temperature,
                     .max_tokens = max_tokens,
                     .hint = hint,
                     .row = (char *)(uintptr_t)row };
    h->tasks[index] = t;
    test_ok(rollouts_begin(h->rollouts, &t, clock_ms(), &err), &err);
}

static void begin(fixture *h, uint64_t index, const char *row, float temperature, int32_t max_tokens)
{
    begin_hinted(h, index, row, temperature, max_tokens, 0);
}

/* All that were begun, by sample. */
static void play(fixture *h, episode **out)
{
    error err = { 0 };
    bool idle;
    while (rollouts_in_flight(h->rollouts) > 0) {
        episode *done[16];
        const int n = rollouts_step(h->rollouts, clock_ms(), done, 16, &idle, &err);
        if (n < 0) fail_msg("%s", err.text);
        for (int i = 0; i < n; i++) out[done[i]->sample] = done[i];
        for (int i = 0; i < n; i++) {
            const task *t = &h->tasks[done[i]->sample];
            const failure failed = done[i]->failed;
            if (failed == FAIL_NONE) test_ok(limits_episode(&h->limits, t, done[i], &err), &err);
            if (failed == FAIL_NONE || failed == FAIL_PROMPT)
                test_ok(witness_check(h->witness, t, done[i], &err), &err);
        }
    }
}

static const char ROW[] = "{\"prompt\": \"what is 348 times 28?\", \"answer\": \"9744\"}";

static episode *play_one(fixture *h, const char *row, int32_t max_tokens)
{
    episode *e[16] = { NULL };
    error err = { 0 };
    begin(h, 0, row, 0, max_tokens);
    play(h, e);
    assert_non_null(e[0]);
    test_ok(episode_check(e[0], h->model->config.vocab, &err), &err);
    return e[0];
}

static void an_episode_has_its_parts_in_order(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    episode *e = play_one(h, ROW, 64);
    assert_string_equal(e->text, "<python>print(348*28)</python><answer>9744</answer>");
    assert_int_equal(written(&e->tokens), strlen(e->text));
    assert_string_equal(e->transcript, "<python>print(348*28)</python><result>9744</result><answer>9744</answer>");
    assert_string_equal(e->answer, "9744");
    assert_int_equal(e->stop, STOP_ANSWER);
    assert_int_equal(e->n_calls, 1);
    assert_string_equal(e->calls[0].arguments, "{\"code\":\"print(348*28)\"}");
    assert_string_equal(e->calls[0].observation, "9744");
    assert_int_equal(e->n_turns, 2);
    assert_int_equal(e->turns[0].call, 0);
    assert_int_equal(e->turns[1].call, -1);

    static const token_role ORDER[] = { TOKEN_INSTRUCTION, TOKEN_SHOT,        TOKEN_QUESTION,
                                        TOKEN_POLICY,      TOKEN_OBSERVATION, TOKEN_POLICY };
    size_t at = 0;
    for (uint32_t i = 0; i < e->tokens.n; i++) {
        while (at < 6 && e->tokens.role[i] != ORDER[at]) at++;
        assert_true(at < 6);
        assert_int_equal(e->tokens.mask[i], e->tokens.role[i] == TOKEN_POLICY);
        assert_true(e->tokens.mask[i] || e->tokens.logprob[i] == 0);
    }
    assert_int_equal(at, 5);
    episode_free(e);
    close_fixture(h);
}

static void tokens_are_the_same_in_any_company(void **state)
{
    (void)state;
    enum { N = 8 };
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    episode *all[16] = { NULL }, *one[16] = { NULL };
    for (uint64_t i = 0; i < N; i++) begin(h, i, ROW, 1, 64);
    play(h, all);
    for (uint64_t i = 0; i < N; i++) {
        begin(h, i, ROW, 1, 64);
        play(h, one);
        assert_int_equal(one[i]->tokens.n, all[i]->tokens.n);
        assert_memory_equal(one[i]->tokens.ids, all[i]->tokens.ids, sizeof(int32_t) * all[i]->tokens.n);
        assert_memory_equal(one[i]->tokens.logprob, all[i]->tokens.logprob, sizeof(float) * all[i]->tokens.n);
        episode_free(one[i]);
        episode_free(all[i]);
    }
    close_fixture(h);
}

static void a_long_observation_is_cut(void **state)
{
    (void)state;
    fixture *h = open_fixture(
        "1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111", FAIL_NONE, 1, 12);
    episode *e = play_one(h, ROW, 64);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < e->tokens.n; i++) seen += e->tokens.role[i] == TOKEN_OBSERVATION;
    assert_in_range(seen, 1, 12 + 6 + 14); /* its words, the two tags around them, what says that they are cut */
    assert_non_null(strstr(e->transcript, "111...[truncated]</result>"));
    assert_non_null(strstr(e->calls[0].observation, "...[truncated]"));
    assert_non_null(strstr(e->transcript, "</result>")); /* the frame stays whole */
    episode_free(e);
    close_fixture(h);
}

/* What a tool prints can't become a control token or close the frame's own tokens. */
static void a_tools_words_are_only_words(void **state)
{
    (void)state;
    fixture *h = open_fixture("<|endoftext|>", FAIL_NONE, 1, 24);
    episode *e = play_one(h, ROW, 64);
    const int32_t end = tokenizer_id(h->tokenizer, "<|endoftext|>");
    assert_true(end >= 0);
    for (uint32_t i = 0; i < e->tokens.n; i++)
        if (e->tokens.role[i] == TOKEN_OBSERVATION) assert_int_not_equal(e->tokens.ids[i], end);
    episode_free(e);
    close_fixture(h);
}

static void the_limits_end_an_episode_and_say_which(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    episode *e = play_one(h, ROW, 3);
    assert_int_equal(e->stop, STOP_LENGTH);
    assert_int_equal(trajectory_sampled(&e->tokens), 3);
    assert_null(e->answer);
    episode_free(e);
    close_fixture(h);
    h = open_fixture("9744", FAIL_NONE, 0, 24); /* no call is allowed */
    e = play_one(h, ROW, 64);
    assert_int_equal(e->stop, STOP_TURNS);
    assert_int_equal(e->n_calls, 0);
    episode_free(e);
    close_fixture(h);
}

static void a_broken_tool_is_a_failure_of_the_machinery(void **state)
{
    (void)state;
    fixture *h = open_fixture("the box died", FAIL_TOOL_LOST, 2, 24);
    episode *e = play_one(h, ROW, 64);
    assert_int_equal(e->failed, FAIL_TOOL_LOST);
    assert_int_equal(e->stop, STOP_ERROR);
    assert_non_null(strstr(e->failure_text, "the box died"));
    episode_free(e);
    close_fixture(h);
}

static void a_row_without_a_question_fails_and_stops_nobody(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    episode *e[16] = { NULL };
    begin(h, 0, "{\"answer\": 3}", 0, 64);
    begin(h, 1, ROW, 0, 64);
    play(h, e);
    assert_int_equal(e[0]->failed, FAIL_PROMPT);
    assert_int_equal(e[1]->failed, FAIL_NONE);
    assert_string_equal(e[1]->answer, "9744");
    episode_free(e[0]);
    episode_free(e[1]);
    close_fixture(h);
}

static void leaving_in_the_middle_loses_nothing(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    error err = { 0 };
    bool idle;
    episode *done[16];
    for (uint64_t i = 0; i < 4; i++) begin(h, i, ROW, 1, 64);
    for (int round = 0; round < 9; round++)
        assert_int_equal(rollouts_step(h->rollouts, clock_ms(), done, 16, &idle, &err), 0);
    assert_int_equal(rollouts_in_flight(h->rollouts), 4);
    close_fixture(h); /* the sanitizer looks for what is left */
}

static const char SHOWN[] = "{\"prompt\": \"what is 348 times 28?\", \"answer\": \"9744\", \"demonstration\": "
                            "\"<python>print(348*28)</python><result>1</result><answer>1</answer>\"}";
static const char SHOWN_ANSWER[] = "{\"prompt\": \"what is 348 times 28?\", \"answer\": \"9744\", \"demonstration\": "
                                   "\"<answer>9744</answer>\"}";

static episode *play_hinted(fixture *h, const char *row, float hint)
{
    episode *e[16] = { NULL };
    error err = { 0 };
    begin_hinted(h, 0, row, 0, 64, hint);
    play(h, e);
    assert_non_null(e[0]);
    test_ok(episode_check(e[0], h->model->config.vocab, &err), &err);
    return e[0];
}

static uint32_t hinted_tokens(const episode *e)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->tokens.n; i++) n += e->tokens.role[i] == TOKEN_HINT;
    return n;
}

/* A hint is read as the policy's own words, but nothing of it is sampled; the policy closes the call itself. */
static void behind_a_hint_the_policy_goes_on(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    for (int whole = 0; whole <= 1; whole++) {
        episode *e = play_hinted(h, SHOWN, whole ? 1 : 0.3f);
        assert_string_equal(e->text, "<python>print(348*28)</python><answer>9744</answer>");
        assert_int_equal(written(&e->tokens), strlen(e->text));
        assert_true(e->hint_len > 1 && hinted_tokens(e) == (uint32_t)e->hint_len);
        assert_int_equal(e->tokens.role[e->tokens.n_prompt - 1], TOKEN_HINT);
        assert_true(trajectory_sampled(&e->tokens) > 0);
        assert_int_equal(e->n_calls, 1);
        assert_int_equal(e->n_turns, 2);
        assert_int_equal(e->turns[0].start, e->tokens.n_prompt - (uint32_t)e->hint_len);
        episode_free(e);
    }
    close_fixture(h);
}

static void a_whole_demonstration_is_an_episode_of_which_nothing_was_sampled(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    episode *e = play_hinted(h, SHOWN_ANSWER, 1);
    assert_string_equal(e->text, "<answer>9744</answer>");
    assert_string_equal(e->answer, "9744");
    assert_int_equal(e->stop, STOP_ANSWER);
    assert_int_equal(trajectory_sampled(&e->tokens), 0);
    assert_int_equal(hinted_tokens(e), e->hint_len);
    episode_free(e);
    e = play_hinted(h, ROW, 1); /* the row has none: it is played */
    assert_int_equal(e->hint_len, 0);
    assert_true(trajectory_sampled(&e->tokens) > 0);
    episode_free(e);
    close_fixture(h);
}

/* The template stands after the instruction, as a part of it. */
static void a_template_is_a_part_of_the_instruction(void **state)
{
    (void)state;
    fixture *h = open_fixture("9744", FAIL_NONE, 2, 24);
    error err = { 0 };
    episode *e[16] = { NULL };
    const task t = { .id = task_id(false, 1, 0),
                     .group = task_id(false, 1, 0),
                     .group_size = 16,
                     .step = 1,
                     .template_id = 2,
                     .max_tokens = 8,
                     .row = (char *)(uintptr_t)ROW };
    h->tasks[0] = t;
    test_ok(rollouts_begin(h->rollouts, &t, clock_ms(), &err), &err);
    play(h, e);
    uint32_t n = 0;
    str text = { 0 };
    while (n < e[0]->tokens.n && e[0]->tokens.role[n] == TOKEN_INSTRUCTION) n++;
    tokenizer_decode(h->tokenizer, e[0]->tokens.ids, n, true, &text);
    assert_int_equal(e[0]->template_id, 2);
    assert_non_null(strstr(text.data, INSTRUCTION));
    assert_non_null(strstr(text.data, TEMPLATES[1]));
    assert_null(strstr(text.data, TEMPLATES[0]));
    str_free(&text);
    episode_free(e[0]);
    close_fixture(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_is_a_part_of_the_instruction),
        cmocka_unit_test(behind_a_hint_the_policy_goes_on),
        cmocka_unit_test(a_whole_demonstration_is_an_episode_of_which_nothing_was_sampled),
        cmocka_unit_test(an_episode_has_its_parts_in_order),
        cmocka_unit_test(tokens_are_the_same_in_any_company),
        cmocka_unit_test(a_long_observation_is_cut),
        cmocka_unit_test(a_tools_words_are_only_words),
        cmocka_unit_test(the_limits_end_an_episode_and_say_which),
        cmocka_unit_test(a_broken_tool_is_a_failure_of_the_machinery),
        cmocka_unit_test(a_row_without_a_question_fails_and_stops_nobody),
        cmocka_unit_test(leaving_in_the_middle_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
