/* SPDX-License-Identifier: MIT */
#include "actor/rollouts_inner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { RESULTS_AT_ONCE = 64 };

rollouts *rollouts_new(const rollout_config *config, error *err)
{
    (void)err;
    rollouts *s = xcalloc(1, sizeof *s);
    s->config = *config;
    s->by_call = idmap_new();
    s->n_tokens = engine_capacity(config->engine);
    s->tokens = xcalloc((size_t)s->n_tokens, sizeof *s->tokens);
    return s;
}

/* The environment keeps nothing for it any more. */
static void leave(rollouts *s, const rollout *p)
{
    if (s->config.plays && s->config.router) router_leave(s->config.router, p->play);
}

static void rollout_free(rollouts *s, rollout *p)
{
    if (p->call) {
        router_cancel(s->config.router, p->call);
        idmap_remove(s->by_call, p->call);
    }

    leave(s, p);
    if (p->stream) engine_end(s->config.engine, p->stream);

    dialect_parser_free(p->parser);
    dialect_result_reset(&p->asked);
    free(p->answer);
    episode_free(p->episode);
    task_free(p->task);
    str_free(&p->turn);
    str_free(&p->text);
    str_free(&p->transcript);
    free(p);
}

void rollouts_free(rollouts *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->all.len; i++) rollout_free(s, s->all.data[i]);
    vec_free(&s->all);
    idmap_free(s->by_call);
    vec_free(&s->ids);
    str_free(&s->bytes);
    free(s->tokens);
    free(s);
}

int rollouts_in_flight(const rollouts *s) { return (int)s->all.len; }

const episode *rollouts_first(const rollouts *s) { return s->all.len > 0 ? s->all.data[0]->episode : NULL; }

/* ---- the end of an episode ---- */

void rollout_finish(rollouts *s, rollout *p, stop_reason stop)
{
    episode *e = p->episode;
    if (p->stream) engine_end(s->config.engine, p->stream);

    leave(s, p);
    p->stream = 0;
    p->over = true;
    e->stop = stop;
    e->wall_ms = (double)(clock_ms() - p->began_ms);
    e->text = str_take(&p->text);
    e->transcript = str_take(&p->transcript);
}

void rollout_fail(rollouts *s, rollout *p, failure why, const char *sentence)
{
    if (why == FAIL_PROMPT) episode_clear(p->episode); /* a prompt beyond the context is beyond the wire, too */
    p->episode->failed = why;
    p->episode->failure_text = xstrdup(sentence);
    rollout_finish(s, p, STOP_ERROR);
}

/* A NUL would end the text for whoever judges it, so it is written as another byte. */
static void write_text(rollout *p, const str *bytes)
{
    str *const texts[] = { &p->turn, &p->text, &p->transcript };
    for (int i = 0; i < 3; i++) {
        const size_t begin = texts[i]->len;
        str_add(texts[i], bytes->data, bytes->len);
        for (char *c = texts[i]->data + begin; bytes->len > 0 && c < texts[i]->data + texts[i]->len; c++)
            if (!*c) *c = NUL_WRITTEN;
    }
}

/* The border between what the policy wrote and what follows. A token may straddle it: "</python><" ends in the token
 * "><". The last `rest` bytes lie beyond the close. They are tokens of the episode, trained on like any, but no words
 * of this turn or the next: else a "<" left over and "answer>42</answer>" after it would be an answer that the policy
 * never gave. */
static void close_turn(rollout *p, size_t rest)
{
    turn *t = &p->episode->turns[p->episode->n_turns - 1];
    rest = rest < p->turn.len ? rest : p->turn.len;

    if (rest > 0) {
        t->residue = xstrndup(p->turn.data + p->turn.len - rest, rest);
        str_cut(&p->turn, p->turn.len - rest);
        str_cut(&p->text, p->text.len - rest);
        trajectory_unwrote(&p->episode->tokens, rest);
    }

    t->text = str_take(&p->turn);
    t->end = p->episode->tokens.n;
    t->call = -1;
}

static void on_event(rollouts *s, rollout *p, dialect_result *r, int64_t now_ms);

/* ---- the prompt ---- */

static void describe(rollouts *s, rollout *p)
{
    episode *e = p->episode;
    free(e->environment);
    free(e->template_name);
    free(e->data_group);
    e->environment = xstrdup(s->config.environment);
    e->template_name = xstrdup(s->config.dialect_name);
    e->data_group = task_data_group(p->task);
    e->n_shots = p->task->n_shots;
}

static void begin_turn(episode *e)
{
    turn *begun = episode_add_turn(e);
    begun->start = e->tokens.n;
    begun->call = -1;
}

/* The hint is the beginning of what the policy should write: it is read as if the policy had written it, so a
 * demonstration that ends with its answer ends the episode. */
static int give_hint(rollouts *s, rollout *p, error *err)
{
    dialect_result r = { 0 };
    size_t n = 0;
    bool whole = false;
    const int rc = rollout_choose_hint(s, p, &n, &whole, &r, err);
    if (rc != OK || n == 0) {
        dialect_result_reset(&r);
        return rc;
    }

    episode *e = p->episode;
    begin_turn(e);
    trajectory_append(&e->tokens, TOKEN_HINT, s->ids.data, n);
    e->tokens.n_prompt = e->tokens.n;
    e->hint_len = (int32_t)n;

    /* All of its bytes are its last token's: they count as one piece of text. */
    str_clear(&s->bytes);
    tokenizer_decode(s->config.tokenizer, s->ids.data, n, true, &s->bytes);
    trajectory_wrote(&e->tokens, s->bytes.len);
    write_text(p, &s->bytes);

    if (r.event == DIALECT_ANSWER) {
        on_event(s, p, &r, p->began_ms);
    } else if (whole) {
        close_turn(p, 0);
        rollout_finish(s, p, STOP_EOS);
    }
    dialect_result_reset(&r);
    return OK;
}

/* Into the engine. ERR_FULL: it has no stream for it. */
static int enter(rollouts *s, rollout *p, error *err)
{
    const task *t = p->task;
    const stream_options options = { .seed = t->seed,
                                     .group = t->group,
                                     .sample = t->sample,
                                     .temperature = t->temperature,
                                     .top_p = s->config.top_p > 0 ? s->config.top_p : 1,
                                     .owner = p };
    p->stream = engine_submit(s->config.engine, p->episode->tokens.ids, p->episode->tokens.n, &options, err);
    return p->stream ? OK : err->code;
}

/* To a stream that samples, if its demonstration has not ended the episode already. */
int rollout_go_in(rollouts *s, rollout *p, error *err)
{
    const int rc = p->over ? OK : enter(s, p, err);
    if (rc != OK) return rc;

    const int context = engine_context(s->config.engine);
    if (p->episode->tokens.n <= (uint32_t)context) return OK;
    return error_set(err, ERR_LIMIT, "a demonstration of %" PRIu32 " tokens with its prompt, in a context of %d",
                     p->episode->tokens.n, context);
}

int rollout_start(rollouts *s, rollout *p, error *err)
{
    int rc = rollout_write_prompt(s, p, err);
    if (rc == OK) rc = rollout_new_parser(s, p, err);
    if (rc == OK) rc = give_hint(s, p, err);
    return rc == OK ? rollout_go_in(s, p, err) : rc;
}

int rollouts_begin(rollouts *s, const task *t, int64_t now_ms, error *err)
{
    rollout *p = xcalloc(1, sizeof *p);
    p->task = task_copy(t);
    p->episode = episode_new(t);
    p->began_ms = now_ms;
    p->play = ++s->plays;
    describe(s, p);

    error why = { 0 };
    if (s->config.record) p->episode->opening = xstrdup(s->config.record->opening);
    if (s->config.plays && !s->config.record) {
        vec_push(&s->all, p);
        rollout_reset(s, p, now_ms);
        return OK;
    }
    const int rc = rollout_start(s, p, &why);
    if (rc == ERR_FULL) { /* nothing is wrong with the task: it may begin once a stream is free */
        rollout_free(s, p);
        return error_set(err, ERR_FULL, "%s", why.text);
    }
    if (rc != OK) rollout_fail(s, p, FAIL_PROMPT, why.text);
    vec_push(&s->all, p);
    return OK;
}

/* ---- what tools and the environment say ---- */

static void on_result(rollouts *s, tool_result *r, int64_t now_ms)
{
    rollout *p = idmap_get(s->by_call, r->call);
    if (!p) return; /* its rollout is over */

    idmap_remove(s->by_call, r->call);
    p->call = 0;
    if (p->opens) {
        rollout_open(s, p, r);
        return;
    }
    p->episode->calls[p->episode->n_calls - 1].ms = r->ms;
    p->episode->tool_ms += r->ms;

    if (r->failed != FAIL_NONE) {
        rollout_fail(s, p, r->failed, r->text ? r->text : "the tool was lost");
        return;
    }
    rollout_settle(s, p, r, now_ms);
}

/* ---- what the policy writes ---- */

static void on_answer(rollouts *s, rollout *p, const char *answer, int64_t now_ms)
{
    if (!s->config.plays) {
        p->episode->answer = xstrdup(answer);
        rollout_finish(s, p, STOP_ANSWER);
        return;
    }
    p->answer = xstrdup(answer);
    rollout_say(s, p, answer, now_ms);
}

static void on_event(rollouts *s, rollout *p, dialect_result *r, int64_t now_ms)
{
    close_turn(p, r->rest);
    free(p->answer);
    p->answer = NULL;
    if (r->event == DIALECT_ANSWER) {
        on_answer(s, p, r->answer, now_ms);
    } else if (r->event == DIALECT_CALLS) {
        /* The calls change owner: the caller resets what is left in *r. */
        const dialect_result calls = *r;
        *r = (dialect_result){ .event = DIALECT_CALLS };
        rollout_call(s, p, calls, now_ms);
    }
}

/* The policy has stopped, and its turn is neither a call nor an answer: it ends the episode, or is what it says to the
 * environment. */
static void on_silence(rollouts *s, rollout *p, size_t stop_bytes, int64_t now_ms)
{
    close_turn(p, 0);
    if (!s->config.plays) {
        rollout_finish(s, p, STOP_EOS);
        return;
    }
    char *words = xstrdup(p->episode->turns[p->episode->n_turns - 1].text);
    const size_t len = strlen(words);
    words[len - (stop_bytes < len ? stop_bytes : len)] = 0;
    free(p->answer);
    p->answer = NULL;
    rollout_say(s, p, words, now_ms);
    free(words);
}

static bool ends_episode(const rollouts *s, int32_t id)
{
    for (int i = 0; i < s->config.n_eos; i++)
        if (s->config.eos[i] == id) return true;
    return false;
}

static void record(rollouts *s, rollout *p, const sampled_token *t)
{
    episode *e = p->episode;
    const bool in_turn = e->n_turns > 0 && !e->turns[e->n_turns - 1].text; /* a turn has its text once it is closed */
    if (!in_turn) begin_turn(e);
    trajectory_append_sampled(&e->tokens, t->id, t->logprob, t->version, t->weight_hash);
    p->sampled++;

    str_clear(&s->bytes);
    tokenizer_decode_one(s->config.tokenizer, t->id, true, &s->bytes);
    trajectory_wrote(&e->tokens, s->bytes.len);
    write_text(p, &s->bytes);
}

/* No more is written in this turn: the policy has stopped by itself, with a token of `stop_bytes` bytes, or it has no
 * more tokens. Its last words may be an answer or a call that only the end closes; of a policy that was cut off they
 * are none, but a call that was closed before still runs: the observation may be all that the reward asks for. */
static void on_end(rollouts *s, rollout *p, bool stops, size_t stop_bytes, int64_t now_ms)
{
    dialect_result r = { 0 };
    error err = { 0 };
    const int rc = stops ? dialect_finish(p->parser, stop_bytes, &r, &err) : dialect_cut(p->parser, &r, &err);

    if (rc != OK) {
        close_turn(p, 0);
        rollout_fail(s, p, FAIL_ENGINE, err.text);
    } else if (r.event != DIALECT_MORE) {
        on_event(s, p, &r, now_ms);
    } else if (stops) {
        on_silence(s, p, stop_bytes, now_ms);
    } else {
        close_turn(p, 0);
        rollout_finish(s, p, STOP_LENGTH);
    }

    dialect_result_reset(&r);
}

static bool has_tokens_left(const rollouts *s, const rollout *p)
{
    return p->sampled < p->task->max_tokens && engine_room(s->config.engine, p->stream) > 0;
}

static void on_token(rollouts *s, const sampled_token *t, int64_t now_ms)
{
    rollout *p = t->owner;
    dialect_result r = { 0 };
    error err = { 0 };
    record(s, p, t);

    /* record has left the token's bytes in s->bytes. A call that begins within on_event uses that scratch again. */
    const bool stops = ends_episode(s, t->id);
    const size_t n_bytes = s->bytes.len;
    p->stop_bytes = stops ? n_bytes : 0;
    const int rc = dialect_feed(p->parser, s->bytes.data, n_bytes, &r, &err);
    if (rc != OK) {
        close_turn(p, 0);
        rollout_fail(s, p, FAIL_ENGINE, err.text);
    } else if (r.event != DIALECT_MORE) {
        on_event(s, p, &r, now_ms);
    } else if (stops || !has_tokens_left(s, p)) {
        on_end(s, p, stops, n_bytes, now_ms);
    } else {
        engine_resume(s->config.engine, p->stream);
    }
    dialect_result_reset(&r);
}

/* ---- one round ---- */

static int hand_out(rollouts *s, episode **out, int max)
{
    int n = 0;
    size_t kept = 0;

    for (size_t i = 0; i < s->all.len; i++) {
        rollout *p = s->all.data[i];
        if (!p->over || n == max) {
            s->all.data[kept++] = p;
            continue;
        }

        out[n++] = p->episode;
        p->episode = NULL;
        rollout_free(s, p);
    }

    s->all.len = kept;
    return n;
}

int rollouts_step(rollouts *s, int64_t now_ms, episode **out, int max, bool *idle, error *err)
{
    tool_result results[RESULTS_AT_ONCE];
    bool busy = false;
    int n_results = 0;
    if (s->config.router) n_results = router_poll(s->config.router, now_ms, results, RESULTS_AT_ONCE);
    for (int i = 0; i < n_results; i++) {
        on_result(s, &results[i], now_ms);
        tool_result_reset(&results[i]);
    }
    if (s->config.plays) rollouts_enter_waiting(s);

    const int n = engine_step(s->config.engine, s->tokens, &busy, err);
    if (n < 0) return n;
    for (int i = 0; i < n; i++) on_token(s, &s->tokens[i], now_ms);
    *idle = n == 0 && !busy && n_results == 0;
    return hand_out(s, out, max);
}
