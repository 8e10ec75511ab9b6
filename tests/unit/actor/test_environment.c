/* SPDX-License-Identifier: MIT */
/* Episodes that are played in an environment, whose words are written here: how they begin, what is told of each turn,
 * and how they end. Each that is played to its end is held against exchange and witness. */
#include "scripted.h"

/* ---- the environment ---- */

/* What it says to a step. */
typedef struct answer {
    const char *text, *outcome;
    failure failed;
} answer;

typedef struct world {
    const char *opening;
    failure failed; /* of each reset */
    answer says[8];
    bool holds;          /* it says nothing for now */
    uint64_t pending;    /* the call under way; 0: none */
    bool opens;          /* it is a reset */
    size_t steps;        /* asked so far */
    str told;            /* a line for each step: name, arguments, turn */
    uint64_t starts[16]; /* of the resets */
    uint64_t plays[16];
    size_t resets;
    str row; /* of the last reset */
    uint64_t start_of_step, play_of_step;
    uint64_t left[64];
    size_t n_left, n_cancelled;
} world;

typedef struct part {
    world *world;
    const char *name;
} part;

static int reset(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    world *w = ((part *)self)->world;
    (void)arguments, (void)now_ms, (void)err;
    w->pending = call;
    w->opens = true;
    w->starts[w->resets % 16] = ctx->start;
    w->plays[w->resets++ % 16] = ctx->play;
    str_clear(&w->row);
    str_puts(&w->row, ctx->row);
    return OK;
}

static int step(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    const part *p = self;
    (void)now_ms, (void)err;
    p->world->pending = call;
    p->world->opens = false;
    p->world->steps++;
    p->world->start_of_step = ctx->start;
    p->world->play_of_step = ctx->play;
    str_printf(&p->world->told, "%s %s %s\n", p->name, arguments, ctx->turn);
    return OK;
}

static int take(void *self, int64_t now_ms, tool_result *out, int max)
{
    world *w = ((part *)self)->world;
    (void)now_ms;
    if (!w->pending || w->holds || max < 1) return 0;
    const answer says = w->opens ? (answer){ w->opening, NULL, w->failed } : w->says[w->steps - 1];
    *out = (tool_result){ .call = w->pending,
                          .ok = says.failed == FAIL_NONE,
                          .failed = says.failed,
                          .text = xstrdup(says.text),
                          .ms = 2,
                          .outcome = xstrdup(says.outcome) };
    w->pending = 0;
    return 1;
}

static void cancel(void *self, uint64_t call)
{
    (void)call;
    ((part *)self)->world->n_cancelled++;
    ((part *)self)->world->pending = 0;
}
static void leave(void *self, uint64_t play)
{
    world *w = ((part *)self)->world;
    w->left[w->n_left++ % 64] = play;
}
static int no_fds(void *self, struct pollfd *out, int max) { return (void)self, (void)out, (void)max, 0; }
static int nothing(void *self, int64_t now_ms, tool_result *out, int max)
{
    return (void)self, (void)now_ms, (void)out, (void)max, 0;
}
static int64_t never(void *self) { return (void)self, INT64_MAX; }
static void part_free(void *self) { (void)self; }

static void add_part(router *r, part *p, bool own, bool listens)
{
    error err = { 0 };
    const tool t = { .name = p->name,
                     .description = "",
                     .parameters = own ? "{}" : "{\"type\":\"object\",\"properties\":{\"to\":{\"type\":\"string\"}}}",
                     .self = p,
                     .begin = listens ? reset : step,
                     .cancel = cancel,
                     .fds = no_fds,
                     .poll = listens ? take : nothing,
                     .deadline_ms = never,
                     .free = part_free,
                     .leave = listens ? leave : NULL,
                     .own = own,
                     .once = !listens };
    test_ok(router_add(r, &t, &err), &err);
}

/* ---- playing ---- */

typedef struct stage {
    tokenizer *tokenizer;
    dialect *dialect;
    router *router;
    world world;
    part parts[3];
    int32_t eos[3];
    engine engine;
    token_ids ids;
    task task;
    rollout_config config;
    limits limits;
    rollouts *rollouts;
} stage;

static const char DOOR[] = "{\"prompt\": \"Door?\"}";
static const char DONE[] = "{\"done\": true}";

static stage *open_stage(const char *dialect_name)
{
    error err = { 0 };
    stage *s = xcalloc(1, sizeof *s);
    s->tokenizer = small_tokenizer(false);
    s->world.opening = DOOR;
    for (int i = 0; i < 3; i++)
        s->parts[i] = (part){ &s->world, (const char *[]){ ROUTER_RESET, ROUTER_SAY, "move" }[i] };
    s->router = router_new(NULL);
    for (int i = 0; i < 3; i++) add_part(s->router, &s->parts[i], i < 2, i == 0);
    char *tools = router_tools_json(s->router);
    s->dialect = dialect_new(dialect_name, NULL, tools, &err);
    if (!s->dialect) fail_msg("%s", err.text);
    free(tools);

    static const char *const ENDS[] = { "<|endoftext|>", "<|im_end|>", "<|eot_id|>" };
    for (int i = 0; i < 3; i++) s->eos[i] = tokenizer_id(s->tokenizer, ENDS[i]);
    s->engine.room = 10000;
    s->task = (task){ .id = 1, .group = 1, .group_size = 1, .max_tokens = 1000, .row = (char *)(uintptr_t)ROW };
    s->config = (rollout_config){ .engine = &s->engine,
                                  .tokenizer = s->tokenizer,
                                  .dialect = s->dialect,
                                  .router = s->router,
                                  .plays = true,
                                  .dialect_name = dialect_name,
                                  .environment = EPISODE_ENVIRONMENT,
                                  .instruction = "",
                                  .max_turns = 4,
                                  .max_observation_tokens = 64,
                                  .top_p = 1,
                                  .eos = s->eos,
                                  .n_eos = 3 };
    s->limits = (limits){ .vocab = tokenizer_vocab(s->tokenizer),
                          .max_context = (int64_t)s->engine.room,
                          .max_turns = 4,
                          .eos = s->eos,
                          .n_eos = 3,
                          .environment = true,
                          .dialect = dialect_name };
    return s;
}

static void close_stage(stage *s)
{
    rollouts_free(s->rollouts);
    dialect_free(s->dialect);
    router_free(s->router);
    tokenizer_free(s->tokenizer);
    str_free(&s->world.told);
    str_free(&s->world.row);
    vec_free(&s->ids);
    free(s);
}

static void says(stage *s, const char *text) { add_ids(s->tokenizer, text, &s->ids); }

static void start(stage *s, const task *t)
{
    error err = { 0 };
    s->engine.script = s->ids.data;
    s->engine.n = s->ids.len;
    if (!s->rollouts) s->rollouts = rollouts_new(&s->config, &err);
    test_ok(rollouts_begin(s->rollouts, t, clock_ms(), &err), &err);
}

/* Rounds that hand out `max` episodes at most, until there is one, or nothing goes on. */
static episode *rounds(stage *s, int max)
{
    error err = { 0 };
    episode *done = NULL;
    bool idle = false;
    for (int round = 0; !done && (!idle || s->world.pending) && round < 10000; round++)
        if (rollouts_step(s->rollouts, clock_ms(), &done, max, &idle, &err) < 0) fail_msg("%s", err.text);
    return done;
}

static int check(stage *s, const episode *e, error *err)
{
    s->limits.max_turns = s->config.max_turns;
    int rc = limits_episode(&s->limits, &s->task, e, err);
    witness *w = witness_new(&s->config, (int)s->engine.room);
    if (rc == OK) rc = witness_check(w, &s->task, e, err);
    witness_free(w);
    return rc;
}

/* The environment keeps nothing for this play, and was told so of no other. */
static void was_left(const world *w, uint64_t play)
{
    assert_true(w->n_left > 0);
    for (size_t i = 0; i < w->n_left; i++) assert_int_equal(w->left[i], play);
}

static episode *play(stage *s)
{
    error err = { 0 };
    start(s, &s->task);
    assert_null(rounds(s, 0)); /* over, and not handed out yet */
    was_left(&s->world, 1);
    episode *e = rounds(s, 1);
    assert_non_null(e);
    was_left(&s->world, 1);
    if (e->failed == FAIL_NONE) test_ok(check(s, e, &err), &err);
    assert_string_equal(e->opening ? e->opening : s->world.opening, s->world.opening);
    return e;
}

static char *decoded(const stage *s, const episode *e, uint32_t begin, uint32_t end)
{
    str text = { 0 };
    tokenizer_decode(s->tokenizer, e->tokens.ids + begin, end - begin, true, &text);
    return str_take(&text);
}

static void reads(const stage *s, const episode *e, uint32_t begin, uint32_t end, const char *want)
{
    char *text = decoded(s, e, begin, end);
    assert_string_equal(text, want);
    free(text);
}

/* ---- how it begins ---- */

static void what_a_reset_says_is_the_prompt(void **state)
{
    (void)state;
    static const char MESSAGES[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"Go?\"}]}";
    static const struct {
        const char *dialect, *row, *opening, *prompt;
    } CASES[] = {
        { "xml", ROW, DOOR, "Q: Door?\nA: " },           { "xml", ROW, MESSAGES, "Q: Go?\nA: " },
        { "xml", ROW, "{}", "Q: what?\nA: " },           { "xml", "{\"size\": 4}", DOOR, "Q: Door?\nA: " },
        { "llama3", MESSAGES, DOOR, "Door?<|eot_id|>" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        stage *s = open_stage(CASES[i].dialect);
        s->world.opening = CASES[i].opening;
        s->task.row = (char *)(uintptr_t)CASES[i].row;
        s->world.says[0] = (answer){ "", DONE, FAIL_NONE };
        says(s, "a<|endoftext|>");
        episode *e = play(s);
        assert_int_equal(e->stop, STOP_DONE);
        assert_string_equal(s->world.row.data, CASES[i].row);
        char *prompt = decoded(s, e, 0, e->tokens.n_prompt);
        if (!strstr(prompt, CASES[i].prompt) || strstr(prompt, i == 4 ? "Go?" : "none"))
            fail_msg("%zu: '%s'", i, prompt);
        free(prompt);
        episode_free(e);
        close_stage(s);
    }
}

/* What is compared with each other begins in the same way. */
static void samples_of_a_row_begin_alike(void **state)
{
    (void)state;
    stage *s = open_stage("xml");
    s->world.holds = true;
    task t[6];
    for (size_t i = 0; i < 6; i++) t[i] = s->task;
    t[1].id = 2, t[1].sample = 1, t[1].step = 7, t[1].group = 9;
    t[2].prompt_id = 1;
    t[3].seed = 1;
    t[4].eval = true;
    t[5].prompt_id = 2;
    for (size_t i = 0; i < 6; i++) start(s, &t[i]);
    const uint64_t *starts = s->world.starts;
    assert_int_equal(starts[0], starts[1]);
    for (size_t i = 2; i < 6; i++)
        for (size_t k = i + 1; k <= 6; k++) assert_true(starts[i] != starts[k % 6]);
    for (size_t i = 0; i < 6; i++) assert_int_equal(s->world.plays[i], i + 1);
    close_stage(s);
}

static void a_reset_that_fails_is_asked_again_and_costs_the_episode(void **state)
{
    (void)state;
    stage *s = open_stage("xml");
    s->world.opening = "it does not start";
    s->world.failed = FAIL_TOOL_LOST;
    episode *e = play(s);
    assert_int_equal(e->failed, FAIL_TOOL_LOST);
    assert_int_equal(e->stop, STOP_ERROR);
    assert_string_equal(e->failure_text, "it does not start");
    assert_null(e->opening);
    assert_int_equal(s->world.resets, 4);
    episode_free(e);
    close_stage(s);
}

static void where_the_engine_is_full_it_waits(void **state)
{
    (void)state;
    for (int full = 1; full <= 3; full++) {
        stage *s = open_stage("xml");
        s->engine.full = full;
        s->world.says[0] = (answer){ "", DONE, FAIL_NONE };
        says(s, "a<|endoftext|>");
        start(s, &s->task);
        error err = { 0 };
        episode *e = NULL;
        bool idle;
        for (int round = 0; !e && round < 100; round++)
            if (rollouts_step(s->rollouts, clock_ms(), &e, 1, &idle, &err) < 0) fail_msg("%s", err.text);
        assert_non_null(e);
        assert_int_equal(s->world.resets, 1);
        assert_int_equal(e->failed, FAIL_NONE);
        test_ok(check(s, e, &err), &err);
        episode_free(e);
        close_stage(s);
    }
}

/* What would never fit doesn't wait for ever. */
static void a_prompt_beyond_the_context_fails(void **state)
{
    (void)state;
    for (int full = 0; full <= 1; full++) {
        stage *s = open_stage("xml");
        s->engine.full = full;
        s->engine.room = 5;
        episode *e = play(s);
        assert_int_equal(e->failed, FAIL_PROMPT);
        assert_non_null(strstr(e->failure_text, "tokens"));
        episode_free(e);
        close_stage(s);
    }
}

/* ---- what it is told, and says ---- */

static const struct {
    const char *dialect, *wrote, *told, *turn; /* turn: without the token that ended it */
    const char *reads;                         /* after it */
} TURNS[] = {
    { "xml", "go left<|endoftext|>", "go left", "go left", "<result>A \"wall\"<|im_end|></result>" },
    { "xml", "I <answer>left</answer>", "left", "I <answer>left</answer>", "<result>A \"wall\"<|im_end|></result>" },
    { "qwen", "<think>hm</think>left<|im_end|>", "left", "<think>hm</think>left",
      "\n<|im_start|>user\nA \"wall\"<|im_end|><|im_end|>\n<|im_start|>assistant\n" },
    { "qwen", "left<|endoftext|>", "left", "left",
      "<|im_end|>\n<|im_start|>user\nA \"wall\"<|im_end|><|im_end|>\n<|im_start|>assistant\n" },
    { "llama3", "left<|eot_id|>", "left", "left",
      "<|start_header_id|>user<|end_header_id|>\n\nA \"wall\"<|im_end|><|eot_id|><|start_header_id|>assistant"
      "<|end_header_id|>\n\n" },
    { "react", "Answer: left\n", "left", "Answer: left\n", "Observation: A \"wall\"<|im_end|>\n" },
};

static void a_turn_without_a_call_goes_to_the_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof TURNS / sizeof *TURNS; i++) {
        char told[200], arguments[100];
        stage *s = open_stage(TURNS[i].dialect);
        s->world.says[0] = (answer){ "A \"wall\"<|im_end|>", "{\"rewards\": {\"reward\": 1}}", FAIL_NONE };
        s->world.says[1] = (answer){ "the end", DONE, FAIL_NONE };
        says(s, TURNS[i].wrote);
        says(s, "b<|endoftext|>");
        episode *e = play(s);

        snprintf(arguments, sizeof arguments, "{\"text\":\"%s\"}", TURNS[i].told);
        snprintf(told, sizeof told, ROUTER_SAY " %s %s\n", arguments, TURNS[i].turn);
        if (strncmp(s->world.told.data, told, strlen(told)) != 0) fail_msg("%zu: %s", i, s->world.told.data);
        assert_int_equal(s->world.start_of_step, s->world.starts[0]);
        assert_int_equal(s->world.play_of_step, s->world.plays[0]);

        assert_int_equal(e->n_calls, 2);
        assert_string_equal(e->calls[0].name, "");
        assert_string_equal(e->calls[0].arguments, arguments);
        assert_string_equal(e->calls[0].observation, "A \"wall\"<|im_end|>");
        assert_string_equal(e->calls[0].outcome, "{\"rewards\": {\"reward\": 1}}");
        assert_true(e->calls[0].ok);
        assert_string_equal(e->calls[1].observation, "the end");
        assert_int_equal(e->turns[0].call, 0);
        assert_int_equal(e->turns[1].call, 1);
        test_near(e->tool_ms, 4, 0, "tool_ms");

        /* Nothing of it is trained on, and its words are only words. */
        int32_t ends = 0, framed = 0;
        reads(s, e, e->turns[0].end, e->turns[1].start, TURNS[i].reads);
        for (uint32_t k = e->turns[0].end; k < e->turns[1].start; k++) {
            assert_int_equal(e->tokens.role[k], TOKEN_OBSERVATION);
            assert_int_equal(e->tokens.mask[k], 0);
            ends += e->tokens.ids[k] == s->eos[1];
        }
        for (const char *c = TURNS[i].reads; (c = strstr(c, "<|im_end|>")); c++) framed++;
        assert_int_equal(ends, framed - 1);
        assert_string_equal(e->turns[0].text, TURNS[i].wrote);
        assert_int_equal(e->turns[1].end, e->tokens.n); /* the last words are shown to no one */
        episode_free(e);
        close_stage(s);
    }
}

static void a_call_goes_to_the_environments_tool(void **state)
{
    (void)state;
    stage *s = open_stage("xml");
    s->world.says[0] = (answer){ "a door", NULL, FAIL_NONE };
    s->world.says[1] = (answer){ "the end", DONE, FAIL_NONE };
    says(s, "so <move>left</move>");
    says(s, "<move>up</move>");
    episode *e = play(s);
    assert_string_equal(s->world.told.data, "move {\"to\":\"left\"} so <move>left</move>\n"
                                            "move {\"to\":\"up\"} <move>up</move>\n");
    assert_int_equal(e->stop, STOP_DONE);
    assert_null(e->answer);
    assert_null(e->calls[0].outcome);
    assert_string_equal(e->calls[1].outcome, DONE);
    assert_string_equal(e->transcript, "so <move>left</move><result>a door</result><move>up</move>");
    episode_free(e);
    close_stage(s);
}

/* ---- how it ends ---- */

#define QWEN(to) "<tool_call>\n{\"name\": \"move\", \"arguments\": {\"to\": \"" to "\"}}\n</tool_call>"

static void done_in_the_middle_of_a_turns_calls_is_done(void **state)
{
    (void)state;
    stage *s = open_stage("qwen");
    s->world.says[0] = (answer){ "1", "{\"done\": false}", FAIL_NONE };
    s->world.says[1] = (answer){ "2", DONE, FAIL_NONE };
    says(s, QWEN("a") "\n" QWEN("b") "\n" QWEN("c") "<|im_end|>");
    episode *e = play(s);
    assert_int_equal(e->stop, STOP_DONE);
    assert_int_equal(e->n_calls, 2);
    assert_int_equal(s->world.steps, 2);
    assert_null(e->answer);
    assert_int_equal(e->turns[0].end, e->tokens.n);
    episode_free(e);
    close_stage(s);
}

/* The answer of an episode is that of its last turn. */
static void an_answer_is_kept_where_it_was_the_last_word(void **state)
{
    (void)state;
    static const struct {
        const char *first, *last, *answer;
    } CASES[] = {
        { "<answer>1</answer>", "<answer>2</answer>", "2" },
        { "<answer>1</answer>", "<move>2</move>", NULL },
        { "<answer>1</answer>", "2<|endoftext|>", NULL },
        { "<move>1</move>", "<answer>2</answer>", "2" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        stage *s = open_stage("xml");
        s->world.says[0] = (answer){ "on", "{}", FAIL_NONE };
        s->world.says[1] = (answer){ "off", DONE, FAIL_NONE };
        says(s, CASES[i].first);
        says(s, CASES[i].last);
        episode *e = play(s);
        assert_int_equal(e->stop, STOP_DONE);
        assert_int_equal(e->answer != NULL, CASES[i].answer != NULL);
        if (e->answer) assert_string_equal(e->answer, CASES[i].answer);
        episode_free(e);
        close_stage(s);
    }
}

/* After its last step there is nothing more to say, and what was said to that one is not read. */
static void max_turns_ends_it(void **state)
{
    (void)state;
    for (int calls = 0; calls <= 1; calls++) {
        stage *s = open_stage("xml");
        s->config.max_turns = 2;
        for (int i = 0; i < 2; i++) {
            s->world.says[i] = (answer){ "on", NULL, FAIL_NONE };
            says(s, calls ? "<move>a</move>" : "a<|endoftext|>");
        }
        says(s, "b<|endoftext|>");
        episode *e = play(s);
        assert_int_equal(e->stop, STOP_TURNS);
        assert_int_equal(e->n_calls, 2);
        assert_int_equal(e->n_turns, 2);
        assert_int_equal(e->turns[1].end, e->tokens.n);
        assert_null(e->answer);
        episode_free(e);
        close_stage(s);
    }
}

static void without_tokens_it_ends_by_length(void **state)
{
    (void)state;
    stage *s = open_stage("xml");
    s->task.max_tokens = 3;
    says(s, "go left");
    episode *e = play(s);
    assert_int_equal(e->stop, STOP_LENGTH);
    assert_int_equal(s->world.steps, 0);
    episode_free(e);
    close_stage(s);
}

/* What a step would say follows from those before: it can't be asked of another instance. */
static void a_step_that_is_lost_is_not_asked_again(void **state)
{
    (void)state;
    for (int calls = 0; calls <= 1; calls++) {
        stage *s = open_stage("xml");
        s->world.says[0] = (answer){ "it died", NULL, FAIL_TOOL_LOST };
        says(s, calls ? "<move>a</move>" : "a<|endoftext|>");
        episode *e = play(s);
        assert_int_equal(e->failed, FAIL_TOOL_LOST);
        assert_string_equal(e->failure_text, "it died");
        assert_int_equal(s->world.steps, 1);
        episode_free(e);
        close_stage(s);
    }
}

static void leaving_in_the_middle_lets_go_of_the_environment(void **state)
{
    (void)state;
    for (int steps = 0; steps <= 1; steps++) {
        stage *s = open_stage("xml");
        says(s, "a<|endoftext|>");
        s->world.holds = steps == 0;
        start(s, &s->task);
        for (int round = 0; round < 50 && s->world.steps == 0; round++) {
            error err = { 0 };
            episode *e;
            bool idle;
            assert_int_equal(rollouts_step(s->rollouts, clock_ms(), &e, 1, &idle, &err), 0);
        }
        assert_int_equal(s->world.steps, steps);
        assert_int_equal(s->world.n_left, 0);
        assert_true(s->world.pending != 0);
        rollouts_free(s->rollouts);
        s->rollouts = NULL;
        assert_int_equal(s->world.n_cancelled, 1);
        was_left(&s->world, 1);
        close_stage(s);
    }
}

/* ---- what is forged ---- */

static void set(char **text, const char *to)
{
    free(*text);
    *text = xstrdup(to);
}

static void no_opening(stage *s, episode *e) { (void)s, set(&e->opening, NULL); }
static void another_opening(stage *s, episode *e) { (void)s, set(&e->opening, "{\"prompt\": \"Gate?\"}"); }
static void an_opening_of_nobody(stage *s, episode *e) { (void)e, s->limits.environment = false; }
static void a_done_of_nobody(stage *s, episode *e) { s->limits.environment = false, set(&e->opening, NULL); }
static void an_outcome_of_nobody(stage *s, episode *e) { a_done_of_nobody(s, e), e->stop = STOP_EOS; }
static void a_done_that_was_not_said(stage *s, episode *e) { (void)s, set(&e->calls[2].outcome, "{\"done\": 1}"); }
static void an_early_done(stage *s, episode *e) { (void)s, set(&e->calls[1].outcome, DONE); }
static void an_outcome_of_a_call_that_was_not_made(stage *s, episode *e) { (void)s, set(&e->calls[0].outcome, "{}"); }
static void turns_instead_of_done(stage *s, episode *e) { s->config.max_turns = 3, e->stop = STOP_TURNS; }
static void an_answer_that_was_not_given(stage *s, episode *e) { (void)s, set(&e->answer, "c"); }

static const struct {
    void (*forge)(stage *s, episode *e);
    const char *said;
} FORGED[] = {
    { no_opening, "the environment's opening is missing" },
    { another_opening, "of the prompt is" },
    { an_opening_of_nobody, "words of an environment, though env.tools has no T.env" },
    { a_done_of_nobody, "words of an environment, though env.tools has no T.env" },
    { an_outcome_of_nobody, "tool call 1 has an outcome, though env.tools has no T.env" },
    { a_done_that_was_not_said, "stop 'done', but the last call's outcome does not say so" },
    { an_early_done, "tokens (a replay gives" },
    { an_outcome_of_a_call_that_was_not_made, "call 0: outcome is present (in a replay it is missing)" },
    { turns_instead_of_done, "stop 'turns' (a replay gives 'done')" },
    { an_answer_that_was_not_given, "answer is present (in a replay it is missing)" },
};

/* A call that can't be made, one that goes on, and a turn without one that ends the episode. */
static void what_an_environment_did_not_say_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof FORGED / sizeof *FORGED; i++) {
        error err = { 0 };
        stage *s = open_stage("xml");
        s->world.says[0] = (answer){ "on", "{\"done\": false}", FAIL_NONE };
        s->world.says[1] = (answer){ "off", DONE, FAIL_NONE };
        says(s, "<move x=\"1\">a</move>");
        says(s, "<move>b</move>");
        says(s, "c<|endoftext|>");
        episode *e = play(s);
        assert_int_equal(e->n_calls, 3);
        assert_int_equal(s->world.steps, 2);
        FORGED[i].forge(s, e);
        if (check(s, e, &err) != ERR_PARSE) fail_msg("was taken: %s", FORGED[i].said);
        if (!strstr(err.text, FORGED[i].said)) fail_msg("'%s' does not say '%s'", err.text, FORGED[i].said);
        episode_free(e);
        close_stage(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_reset_says_is_the_prompt),
        cmocka_unit_test(samples_of_a_row_begin_alike),
        cmocka_unit_test(a_reset_that_fails_is_asked_again_and_costs_the_episode),
        cmocka_unit_test(where_the_engine_is_full_it_waits),
        cmocka_unit_test(a_prompt_beyond_the_context_fails),
        cmocka_unit_test(a_turn_without_a_call_goes_to_the_environment),
        cmocka_unit_test(a_call_goes_to_the_environments_tool),
        cmocka_unit_test(done_in_the_middle_of_a_turns_calls_is_done),
        cmocka_unit_test(an_answer_is_kept_where_it_was_the_last_word),
        cmocka_unit_test(max_turns_ends_it),
        cmocka_unit_test(without_tokens_it_ends_by_length),
        cmocka_unit_test(a_step_that_is_lost_is_not_asked_again),
        cmocka_unit_test(leaving_in_the_middle_lets_go_of_the_environment),
        cmocka_unit_test(what_an_environment_did_not_say_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
