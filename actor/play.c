#include "actor/play.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/vec.h"

enum { MAX_SHOTS = 64, RESULTS_AT_ONCE = 64 };

/* Places of the sampling key's counter that no token comes to. */
static const uint64_t CALL_SEEDS = (uint64_t)1 << 48;

/* Stands for a tool's words while the dialect wraps them: see observation_ids. No tokenizer gives it a meaning. */
static const char PAYLOAD_MARK = '\x1f';

typedef struct player {
    task *task;
    episode *episode;
    dialect_parser *parser;
    uint64_t stream; /* 0: none */
    uint64_t call;   /* tool call under way; 0: none */
    str turn, text, transcript;
    int32_t sampled;
    int64_t began_ms;
    bool over;
} player;

struct stage {
    stage_config config;
    vec(player *) players;
    idmap *by_call;
    sampled_token *tokens; /* [max_streams of the engine] */
    int n_tokens;
    token_ids ids; /* scratch */
    str bytes;     /* scratch */
};

stage *stage_new(const stage_config *config, error *err)
{
    (void)err;
    stage *s = xcalloc(1, sizeof *s);
    s->config = *config;
    s->by_call = idmap_new();
    s->n_tokens = engine_capacity(config->engine);
    s->tokens = xcalloc((size_t)s->n_tokens, sizeof *s->tokens);
    return s;
}

static void player_free(stage *s, player *p)
{
    if (p->call) {
        router_cancel(s->config.router, p->call);
        idmap_remove(s->by_call, p->call);
    }
    if (p->stream) engine_end(s->config.engine, p->stream);
    dialect_parser_free(p->parser);
    episode_free(p->episode);
    task_free(p->task);
    str_free(&p->turn);
    str_free(&p->text);
    str_free(&p->transcript);
    free(p);
}

void stage_free(stage *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->players.len; i++) player_free(s, s->players.data[i]);
    vec_free(&s->players);
    idmap_free(s->by_call);
    vec_free(&s->ids);
    str_free(&s->bytes);
    free(s->tokens);
    free(s);
}

int stage_in_flight(const stage *s) { return (int)s->players.len; }

/* ---- the end of an episode ---- */

static void finish(stage *s, player *p, stop_reason stop)
{
    episode *e = p->episode;
    if (p->stream) engine_end(s->config.engine, p->stream);
    p->stream = 0;
    p->over = true;
    e->stop = stop;
    e->wall_ms = (double)(clock_ms() - p->began_ms);
    e->text = str_take(&p->text);
    e->transcript = str_take(&p->transcript);
}

static void fail(stage *s, player *p, failure why, const char *sentence)
{
    if (why == FAIL_PROMPT) episode_clear(p->episode); /* a prompt beyond the context is beyond the wire, too */
    p->episode->failed = why;
    p->episode->failure_text = xstrdup(sentence);
    finish(s, p, STOP_ERROR);
}

static void write_text(player *p, const str *bytes)
{
    str_add(&p->turn, bytes->data, bytes->len);
    str_add(&p->text, bytes->data, bytes->len);
    str_add(&p->transcript, bytes->data, bytes->len);
}

static void close_turn(player *p, int32_t call)
{
    turn *t = &p->episode->turns[p->episode->n_turns - 1];
    t->text = str_take(&p->turn);
    t->end = p->episode->tokens.n;
    t->call = call;
}

static void on_event(stage *s, player *p, const dialect_result *r, int64_t now_ms);

/* ---- the prompt ---- */

static void describe(stage *s, player *p)
{
    episode *e = p->episode;
    const char *objective = "";
    json_t *row = json_parse(p->task->row, strlen(p->task->row), "row", NULL);
    if (row) json_opt_string(row, "group", "row", "", &objective, NULL);
    free(e->environment), e->environment = xstrdup(s->config.environment);
    free(e->template_name), e->template_name = xstrdup(s->config.dialect_name);
    free(e->objective), e->objective = xstrdup(objective);
    e->n_shots = p->task->n_shots;
    json_decref(row);
}

/* Pieces are tokenized one by one: a dialect ends each where the split pattern would break anyway, and every token has
 * one role. */
static int write_prompt(stage *s, player *p, error *err)
{
    const char *shots[MAX_SHOTS];
    prompt_pieces pieces = { 0 };
    int n = 0, rc = OK;
    if (p->task->n_shots > 0 && s->config.shots) n = s->config.shots(s->config.shots_ctx, p->task, shots, MAX_SHOTS);
    str instruction = { 0 };
    str_puts(&instruction, s->config.instruction);
    if (p->task->template_id > 0 && p->task->template_id <= s->config.n_templates)
        str_printf(&instruction, "%s%s", instruction.len ? "\n" : "", s->config.templates[p->task->template_id - 1]);
    rc = dialect_prompt(s->config.dialect, instruction.data, shots, n, p->task->row, &pieces, err);
    str_free(&instruction);
    for (size_t i = 0; rc == OK && i < pieces.len; i++) {
        s->ids.len = 0;
        rc = tokenizer_encode(s->config.tokenizer, pieces.data[i].text, pieces.data[i].len, true, &s->ids, err);
        if (rc == OK) trajectory_append(&p->episode->tokens, pieces.data[i].role, s->ids.data, s->ids.len);
    }
    prompt_pieces_free(&pieces);
    p->episode->tokens.n_prompt = p->episode->tokens.n;
    return rc;
}

/* The row's demonstration, or NULL; it lives as long as *row. */
static const char *demonstration_of(const task *t, json_t **row)
{
    const char *text = NULL;
    *row = json_parse(t->row, strlen(t->row), "row", NULL);
    if (*row) json_opt_string(*row, "demonstration", "row", NULL, &text, NULL);
    return text && *text ? text : NULL;
}

/* Feeds s->ids[0 .. n) to the parser, token by token; *used: how many until something was closed, that one included. */
static int feed_ids(stage *s, player *p, size_t n, size_t *used, dialect_result *r, error *err)
{
    int rc = OK;
    *used = 0;
    while (rc == OK && *used < n && r->event == DIALECT_MORE) {
        dialect_result_reset(r);
        str_clear(&s->bytes);
        tokenizer_decode_one(s->config.tokenizer, s->ids.data[(*used)++], true, &s->bytes);
        rc = dialect_feed(p->parser, s->bytes.data ? s->bytes.data : "", s->bytes.len, r, err);
    }
    return rc;
}

/* How many of s->ids[0 .. n) can be given: an answer ends them, and a tool is only called by the policy, so they end
 * before the token that would close a call. The parser has read them afterwards. */
static int usable_hint(stage *s, player *p, size_t *n, dialect_result *r, error *err)
{
    size_t used;
    int rc = feed_ids(s, p, *n, &used, r, err);
    if (rc != OK || r->event == DIALECT_MORE || r->event == DIALECT_ANSWER) return *n = used, rc;
    *n = used - 1;
    dialect_result_reset(r);
    dialect_parser_free(p->parser);
    p->parser = dialect_parser_new(s->config.dialect, err);
    return p->parser ? feed_ids(s, p, *n, &used, r, err) : ERR_SCRIPT;
}

/* The hint is the beginning of what the policy should write: it is read as if the policy had written it, so a
 * demonstration that ends with its answer ends the episode. */
static int give_hint(stage *s, player *p, error *err)
{
    json_t *row = NULL;
    dialect_result r = { 0 };
    const char *text = p->task->hint > 0 ? demonstration_of(p->task, &row) : NULL;
    s->ids.len = 0;
    int rc = text ? tokenizer_encode(s->config.tokenizer, text, strlen(text), true, &s->ids, err) : OK;
    json_decref(row);
    size_t n = (size_t)((double)p->task->hint * (double)s->ids.len);
    const bool whole = p->task->hint >= 1 && n > 0;
    if (rc == OK && n > 0) rc = usable_hint(s, p, &n, &r, err);
    if (rc != OK || n == 0) return dialect_result_reset(&r), rc;
    turn *begun = episode_add_turn(p->episode);
    begun->start = p->episode->tokens.n;
    begun->call = -1;
    trajectory_append(&p->episode->tokens, ROLE_HINT, s->ids.data, n);
    p->episode->tokens.n_prompt = p->episode->tokens.n;
    p->episode->hint_len = (int32_t)n;
    str_clear(&s->bytes);
    tokenizer_decode(s->config.tokenizer, s->ids.data, n, true, &s->bytes);
    trajectory_wrote(&p->episode->tokens, s->bytes.len);
    write_text(p, &s->bytes);
    if (r.event == DIALECT_ANSWER)
        on_event(s, p, &r, p->began_ms);
    else if (whole && n == s->ids.len)
        close_turn(p, -1), finish(s, p, STOP_EOS);
    dialect_result_reset(&r);
    return OK;
}

static int enter(stage *s, player *p, error *err)
{
    const task *t = p->task;
    const stream_options options = { .seed = t->seed,
                                     .group = t->group,
                                     .sample = t->sample,
                                     .temperature = t->temperature,
                                     .top_p = s->config.top_p > 0 ? s->config.top_p : 1,
                                     .owner = p };
    p->stream = engine_submit(s->config.engine, p->episode->tokens.ids, p->episode->tokens.n, &options, err);
    return p->stream ? OK : err ? err->code : ERR_FULL;
}

int stage_begin(stage *s, const task *t, int64_t now_ms, error *err)
{
    error why = { 0 };
    player *p = xcalloc(1, sizeof *p);
    p->task = task_copy(t);
    p->episode = episode_new(t);
    p->began_ms = now_ms;
    describe(s, p);
    int rc = write_prompt(s, p, &why);
    if (rc == OK) rc = (p->parser = dialect_parser_new(s->config.dialect, &why)) ? OK : ERR_SCRIPT;
    if (rc == OK) rc = give_hint(s, p, &why);
    if (rc == OK && !p->over) rc = enter(s, p, &why);
    if (rc == OK && p->episode->tokens.n > (uint32_t)engine_context(s->config.engine))
        rc = error_set(&why, ERR_LIMIT, "a demonstration of %" PRIu32 " tokens with its prompt, in a context of %d",
                       p->episode->tokens.n, engine_context(s->config.engine));
    if (rc == ERR_FULL) {
        player_free(s, p);
        return error_set(err, ERR_FULL, "%s", why.text);
    }
    if (rc != OK) fail(s, p, FAIL_PROMPT, why.text);
    vec_push(&s->players, p);
    return OK;
}

/* ---- observations ---- */

static int encode(stage *s, const char *text, size_t len, bool specials, error *err)
{
    return tokenizer_encode(s->config.tokenizer, text, len, specials, &s->ids, err);
}

/* The ids of what the policy will read: the dialect's wrapper may hold control tokens, the tool's words never do (a
 * tool could otherwise print the end of a turn). So the wrapper is made around a mark, and the words are encoded as
 * plain text in its place, cut to their budget. *kept: how many bytes of the words were kept. */
static int observation_ids(stage *s, const char *wrapped, size_t len, const char *words, size_t n_words, size_t *kept,
                           error *err)
{
    const char *mark = memchr(wrapped, PAYLOAD_MARK, len);
    const size_t head = mark ? (size_t)(mark - wrapped) : 0, limit = (size_t)s->config.max_observation_tokens;
    s->ids.len = 0;
    *kept = n_words;
    if (encode(s, wrapped, head, true, err) != OK) return err->code;
    const size_t begin = s->ids.len;
    if (encode(s, words, n_words, false, err) != OK) return err->code;
    if (limit > 0 && s->ids.len - begin > limit) {
        s->ids.len = begin + limit;
        str_clear(&s->bytes);
        tokenizer_decode(s->config.tokenizer, s->ids.data + begin, limit, true, &s->bytes);
        *kept = s->bytes.len < n_words ? s->bytes.len : n_words;
    }
    if (!mark) return OK; /* the dialect leaves the words out of its observation: so do we */
    return encode(s, mark + 1, len - head - 1, true, err);
}

/* Splices an observation behind what was sampled; the episode goes on, or ends for want of room. */
static void observe(stage *s, player *p, tool_call *call, const char *words, size_t n_words, bool ok)
{
    error err = { 0 };
    str wrapped = { 0 };
    size_t kept = 0;
    int rc = dialect_observation(s->config.dialect, call->name, &PAYLOAD_MARK, 1, ok, &wrapped, &err);
    if (rc == OK) rc = observation_ids(s, wrapped.data, wrapped.len, words, n_words, &kept, &err);
    if (rc != OK) {
        fail(s, p, FAIL_ENGINE, err.text);
    } else {
        const char *mark = memchr(wrapped.data, PAYLOAD_MARK, wrapped.len);
        const size_t head = mark ? (size_t)(mark - wrapped.data) : 0;
        call->observation = xstrndup(words, kept);
        call->ok = ok;
        str_add(&p->transcript, wrapped.data, head);
        str_add(&p->transcript, words, kept);
        if (mark) str_add(&p->transcript, mark + 1, wrapped.len - head - 1);
        /* Tokens that find no room were never read: the record ends before them. */
        if (engine_append(s->config.engine, p->stream, s->ids.data, s->ids.len, &err) == OK)
            trajectory_append(&p->episode->tokens, ROLE_OBSERVATION, s->ids.data, s->ids.len);
        else
            finish(s, p, STOP_LENGTH);
        if (!p->over && p->sampled >= p->task->max_tokens) finish(s, p, STOP_LENGTH);
    }
    str_free(&wrapped);
}

static void on_result(stage *s, tool_result *r)
{
    player *p = idmap_get(s->by_call, r->call);
    if (p) {
        tool_call *call = &p->episode->calls[p->episode->n_calls - 1];
        idmap_remove(s->by_call, r->call);
        p->call = 0;
        call->ms = r->ms;
        p->episode->tool_ms += r->ms;
        if (r->failed != FAIL_NONE)
            fail(s, p, r->failed, r->text ? r->text : "the tool was lost");
        else
            observe(s, p, call, r->text, strlen(r->text), r->ok);
    }
    free(r->text);
}

/* ---- what the policy writes ---- */

/* The same for the same call of the same episode, whoever plays it, and whether for the first time. */
static uint64_t call_seed(const player *p)
{
    uint32_t bits[4];
    const rng_key key = { p->task->seed, p->task->group };
    rng_philox(key, p->task->sample, CALL_SEEDS + p->episode->n_calls, bits);
    return (uint64_t)bits[0] << 32 | bits[1];
}

static void on_call(stage *s, player *p, const char *name, const char *arguments, const char *bad, int64_t now_ms)
{
    if (p->episode->n_calls >= (uint32_t)s->config.max_turns || (!s->config.router && !bad)) {
        finish(s, p, STOP_TURNS);
        return;
    }
    tool_call *call = episode_add_call(p->episode);
    p->episode->turns[p->episode->n_turns - 1].call = (int32_t)p->episode->n_calls - 1;
    call->name = xstrdup(name);
    call->arguments = xstrdup(arguments);
    if (bad) {
        observe(s, p, call, bad, strlen(bad), false);
        return;
    }
    const tool_context context = { call_seed(p), p->task->id, p->task->row };
    p->call = router_begin(s->config.router, name, arguments, &context, now_ms);
    idmap_set(s->by_call, p->call, p);
}

static void on_event(stage *s, player *p, const dialect_result *r, int64_t now_ms)
{
    close_turn(p, -1);
    switch (r->event) {
    case DIALECT_ANSWER:
        p->episode->answer = xstrdup(r->text);
        finish(s, p, STOP_ANSWER);
        break;
    case DIALECT_CALL:
        on_call(s, p, r->name, r->arguments, NULL, now_ms);
        break;
    case DIALECT_BAD:
        on_call(s, p, r->name ? r->name : "", "{}", r->text, now_ms);
        break;
    case DIALECT_MORE:
        break;
    }
}

static bool ends_episode(const stage *s, int32_t id)
{
    for (int i = 0; i < s->config.n_eos; i++)
        if (s->config.eos[i] == id) return true;
    return false;
}

static void record(stage *s, player *p, const sampled_token *t)
{
    episode *e = p->episode;
    if (p->turn.len == 0 && (e->n_turns == 0 || e->turns[e->n_turns - 1].text)) {
        turn *begun = episode_add_turn(e);
        begun->start = e->tokens.n;
        begun->call = -1;
    }
    trajectory_append_sampled(&e->tokens, t->id, t->logprob, t->version, t->weight_hash);
    p->sampled++;
    str_clear(&s->bytes);
    tokenizer_decode_one(s->config.tokenizer, t->id, true, &s->bytes);
    trajectory_wrote(&e->tokens, s->bytes.len);
    write_text(p, &s->bytes);
}

static void on_token(stage *s, const sampled_token *t, int64_t now_ms)
{
    player *p = t->owner;
    dialect_result r = { 0 };
    error err = { 0 };
    record(s, p, t);
    if (dialect_feed(p->parser, s->bytes.data ? s->bytes.data : "", s->bytes.len, &r, &err) != OK) {
        close_turn(p, -1);
        fail(s, p, FAIL_ENGINE, err.text);
    } else if (r.event != DIALECT_MORE) {
        on_event(s, p, &r, now_ms);
    } else if (ends_episode(s, t->id)) {
        close_turn(p, -1);
        finish(s, p, STOP_EOS);
    }
    /* A call that was closed by the last allowed token still runs: the observation may be all the reward asks for. */
    if (!p->over && (p->sampled >= p->task->max_tokens || engine_room(s->config.engine, p->stream) <= 0) && !p->call) {
        if (!p->episode->turns[p->episode->n_turns - 1].text) close_turn(p, -1);
        finish(s, p, STOP_LENGTH);
    }
    if (!p->over && r.event == DIALECT_MORE) engine_resume(s->config.engine, p->stream);
    dialect_result_reset(&r);
}

/* ---- one round ---- */

static int hand_out(stage *s, episode **out, int max)
{
    int n = 0;
    size_t kept = 0;
    for (size_t i = 0; i < s->players.len; i++) {
        player *p = s->players.data[i];
        if (!p->over || n == max) {
            s->players.data[kept++] = p;
            continue;
        }
        out[n++] = p->episode;
        p->episode = NULL;
        player_free(s, p);
    }
    s->players.len = kept;
    return n;
}

int stage_turn(stage *s, int64_t now_ms, episode **out, int max, bool *idle, error *err)
{
    tool_result results[RESULTS_AT_ONCE];
    bool busy = false;
    int n_results = 0;
    if (s->config.router) n_results = router_poll(s->config.router, now_ms, results, RESULTS_AT_ONCE);
    for (int i = 0; i < n_results; i++) on_result(s, &results[i]);
    const int n = engine_step(s->config.engine, s->tokens, &busy, err);
    if (n < 0) return n;
    for (int i = 0; i < n; i++) on_token(s, &s->tokens[i], now_ms);
    *idle = n == 0 && !busy && n_results == 0;
    return hand_out(s, out, max);
}
