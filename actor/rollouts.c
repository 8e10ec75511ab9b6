/* SPDX-License-Identifier: MIT */
#include "actor/rollouts.h"

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

/* Behind the words of a tool that were too many. It is not the tool's, so it doesn't count as one of their tokens. */
static const char CUT[] = "...[truncated]";

typedef struct rollout {
    task *task;
    episode *episode;
    dialect_parser *parser; /* of the turn that is being written */
    uint64_t stream;        /* 0: none */
    uint64_t call;          /* tool call under way; 0: none */
    dialect_result asked;   /* the calls of the last turn, until their results are spliced in */
    size_t answered;        /* how many of them have their result */
    uint32_t first_call;    /* of them, among the episode's */
    str turn, text, transcript;
    int32_t sampled;
    int64_t began_ms;
    bool over;
} rollout;

struct rollouts {
    rollout_config config;
    vec(rollout *) all;
    idmap *by_call;
    sampled_token *tokens; /* [max_streams of the engine] */
    int n_tokens;
    token_ids ids; /* scratch */
    str bytes;     /* scratch */
};

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

static void rollout_free(rollouts *s, rollout *p)
{
    if (p->call) {
        router_cancel(s->config.router, p->call);
        idmap_remove(s->by_call, p->call);
    }
    if (p->stream) engine_end(s->config.engine, p->stream);
    dialect_parser_free(p->parser);
    dialect_result_reset(&p->asked);
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

static void finish(rollouts *s, rollout *p, stop_reason stop)
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

static void fail(rollouts *s, rollout *p, failure why, const char *sentence)
{
    if (why == FAIL_PROMPT) episode_clear(p->episode); /* a prompt beyond the context is beyond the wire, too */
    p->episode->failed = why;
    p->episode->failure_text = xstrdup(sentence);
    finish(s, p, STOP_ERROR);
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
 * of this turn or the next: else a "<" left over and "answer>42</answer>" behind it would be an answer that the policy
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
    free(e->environment), e->environment = xstrdup(s->config.environment);
    free(e->template_name), e->template_name = xstrdup(s->config.dialect_name);
    free(e->data_group), e->data_group = task_data_group(p->task);
    e->n_shots = p->task->n_shots;
}

/* Appends to s->ids. An episode is one text: only its first piece may get a prefix space. */
static int encode(rollouts *s, const char *text, size_t len, bool specials, error *err)
{
    return tokenizer_encode_on(s->config.tokenizer, text, len, specials, &s->ids, err);
}

/* Pieces are tokenized one by one: every token has one role, and an example is cut where play would cut the same
 * episode, so that it shows the policy the very tokens that it will read and should write. */
static int write_prompt(rollouts *s, rollout *p, error *err)
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
        const prompt_piece *piece = &pieces.data[i];
        rc = i == 0 ? tokenizer_encode(s->config.tokenizer, piece->text, piece->len, !piece->plain, &s->ids, err)
                    : encode(s, piece->text, piece->len, !piece->plain, err);
        if (rc == OK) trajectory_append(&p->episode->tokens, piece->role, s->ids.data, s->ids.len);
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
static int feed_ids(rollouts *s, rollout *p, size_t n, size_t *used, dialect_result *r, error *err)
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
static int usable_hint(rollouts *s, rollout *p, size_t *n, dialect_result *r, error *err)
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
static int give_hint(rollouts *s, rollout *p, error *err)
{
    json_t *row = NULL;
    dialect_result r = { 0 };
    const char *text = p->task->hint > 0 ? demonstration_of(p->task, &row) : NULL;
    s->ids.len = 0;
    int rc = text ? encode(s, text, strlen(text), true, err) : OK;
    json_decref(row);
    size_t n = (size_t)((double)p->task->hint * (double)s->ids.len);
    const bool whole = p->task->hint >= 1 && n > 0;
    if (rc == OK && n > 0) rc = usable_hint(s, p, &n, &r, err);
    if (rc != OK || n == 0) return dialect_result_reset(&r), rc;
    turn *begun = episode_add_turn(p->episode);
    begun->start = p->episode->tokens.n;
    begun->call = -1;
    trajectory_append(&p->episode->tokens, TOKEN_HINT, s->ids.data, n);
    p->episode->tokens.n_prompt = p->episode->tokens.n;
    p->episode->hint_len = (int32_t)n;
    str_clear(&s->bytes);
    tokenizer_decode(s->config.tokenizer, s->ids.data, n, true, &s->bytes);
    trajectory_wrote(&p->episode->tokens, s->bytes.len);
    write_text(p, &s->bytes);
    if (r.event == DIALECT_ANSWER)
        on_event(s, p, &r, p->began_ms);
    else if (whole && n == s->ids.len)
        close_turn(p, 0), finish(s, p, STOP_EOS);
    dialect_result_reset(&r);
    return OK;
}

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
    return p->stream ? OK : err ? err->code : ERR_FULL;
}

int rollouts_begin(rollouts *s, const task *t, int64_t now_ms, error *err)
{
    error why = { 0 };
    rollout *p = xcalloc(1, sizeof *p);
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
        rollout_free(s, p);
        return error_set(err, ERR_FULL, "%s", why.text);
    }
    if (rc != OK) fail(s, p, FAIL_PROMPT, why.text);
    vec_push(&s->all, p);
    return OK;
}

/* ---- observations ---- */

/* How many of a tool's bytes the policy is shown: at most `limit` of them as tokens (0: all), whole characters. */
static int shown_bytes(rollouts *s, const char *words, size_t n_words, size_t limit, size_t *shown, error *err)
{
    const size_t begin = s->ids.len;
    int rc = encode(s, words, n_words, false, err);
    *shown = n_words;
    if (rc == OK && limit > 0 && s->ids.len - begin > limit) {
        str_clear(&s->bytes);
        tokenizer_decode(s->config.tokenizer, s->ids.data + begin, limit, true, &s->bytes);
        *shown = s->bytes.len < n_words ? s->bytes.len : n_words - 1;
        while (*shown > 0 && ((unsigned char)words[*shown] & 0xC0) == 0x80) --*shown;
    }
    s->ids.len = begin;
    return rc;
}

/* On record an observation stands as it was cut. What was kept of it may be more tokens than it was, since words are
 * cut into tokens by what follows them: up to twice as many are taken for it. */
static int is_cut_already(rollouts *s, const char *words, size_t n, bool *is, error *err)
{
    const size_t limit = (size_t)s->config.max_observation_tokens, mark = sizeof CUT - 1;
    size_t shown = 0;
    *is = s->config.record && n >= mark && strcmp(words + n - mark, CUT) == 0;
    if (*is && shown_bytes(s, words, n - mark, 2 * limit, &shown, err) != OK) return err->code;
    *is = *is && shown == n - mark;
    return OK;
}

/* Keeps of an observation what is shown of it, and says where something was left out. */
static int cut_observation(rollouts *s, tool_call *call, error *err)
{
    const size_t n = strlen(call->observation), limit = (size_t)s->config.max_observation_tokens;
    bool cut;
    size_t shown;
    if (is_cut_already(s, call->observation, n, &cut, err) != OK) return err->code;
    if (shown_bytes(s, call->observation, n, limit, &shown, err) != OK) return err->code;
    if (shown == n || cut) return OK;
    str kept = { 0 };
    str_add(&kept, call->observation, shown);
    str_puts(&kept, CUT);
    free(call->observation);
    call->observation = str_take(&kept);
    return OK;
}

/* How many bytes at the end of `said` are the beginning of `text`: it says them already. */
static size_t overlap(const char *said, const str *text)
{
    const size_t len = said ? strlen(said) : 0;
    for (size_t n = len < text->len ? len : text->len; n > 0; n--)
        if (memcmp(said + len - n, text->data, n) == 0) return n;
    return 0;
}

/* One part of an observation: ids to s->ids, text to the transcript. */
static int splice_part(rollouts *s, rollout *p, const char *text, size_t len, bool specials, error *err)
{
    str_add(&p->transcript, text, len);
    return encode(s, text, len, specials, err);
}

/* The dialect's frame may hold control tokens; a tool's words never do (it could print the end of a turn), so they are
 * encoded by themselves. Of the frame is left out what the policy's residue has said. */
static int splice_parts(rollouts *s, rollout *p, const dialect_frame *frame, error *err)
{
    const turn *t = &p->episode->turns[p->episode->n_turns - 1];
    const size_t said = overlap(t->residue, &frame->parts[0]);
    int rc = OK;
    str words = { 0 };
    s->ids.len = 0;
    for (size_t i = 0; rc == OK && i < frame->n; i++) {
        const str *part = &frame->parts[i];
        const size_t from = i == 0 ? said : 0;
        rc = splice_part(s, p, part->len ? part->data + from : "", part->len - from, true, err);
        if (rc != OK || i + 1 == frame->n) break;
        tool_call *call = &p->episode->calls[p->first_call + i];
        str_clear(&words);
        rc = cut_observation(s, call, err);
        if (rc == OK)
            rc = dialect_payload(s->config.dialect, call->observation, strlen(call->observation), &words, err);
        if (rc == OK) rc = splice_part(s, p, words.len ? words.data : "", words.len, false, err);
    }
    str_free(&words);
    return rc;
}

static int make_frame(rollouts *s, const rollout *p, dialect_frame *frame, error *err)
{
    const size_t n = p->asked.n_calls;
    const char **names = xcalloc(n, sizeof *names);
    bool *ok = xcalloc(n, sizeof *ok);
    for (size_t i = 0; i < n; i++) {
        names[i] = p->episode->calls[p->first_call + i].name;
        ok[i] = p->episode->calls[p->first_call + i].ok;
    }
    const char *written = p->episode->turns[p->episode->n_turns - 1].text;
    const int rc = dialect_observation(s->config.dialect, names, ok, n, written, frame, err);
    free(names);
    free(ok);
    return rc;
}

static int next_turn(rollouts *s, rollout *p, error *err)
{
    dialect_result_reset(&p->asked);
    dialect_parser_free(p->parser);
    p->parser = dialect_parser_new(s->config.dialect, err);
    return p->parser ? OK : ERR_SCRIPT;
}

/* Splices the results of a turn's calls behind what was sampled; the episode goes on, or ends for want of room. */
static void splice(rollouts *s, rollout *p)
{
    error err = { 0 };
    dialect_frame frame = { 0 };
    const size_t said = p->transcript.len;
    int rc = make_frame(s, p, &frame, &err);
    if (rc == OK) rc = splice_parts(s, p, &frame, &err);
    if (rc == OK) rc = next_turn(s, p, &err);
    dialect_frame_reset(&frame);
    if (rc != OK) {
        fail(s, p, FAIL_ENGINE, err.text);
        return;
    }
    /* Tokens that find no room were never read: the record ends before them. */
    if (engine_append(s->config.engine, p->stream, s->ids.data, s->ids.len, &err) == OK) {
        trajectory_append(&p->episode->tokens, TOKEN_OBSERVATION, s->ids.data, s->ids.len);
    } else {
        str_cut(&p->transcript, said);
        finish(s, p, STOP_LENGTH);
    }
    if (!p->over && p->sampled >= p->task->max_tokens) finish(s, p, STOP_LENGTH);
}

static void settle(rollout *p, const char *words, bool ok)
{
    tool_call *call = &p->episode->calls[p->episode->n_calls - 1];
    call->observation = xstrdup(words);
    call->ok = ok;
    p->answered++;
}

/* The last call went as it is on record. False: it isn't there. */
static bool recall(const rollouts *s, rollout *p)
{
    const episode *record = s->config.record;
    const uint32_t at = p->episode->n_calls - 1;
    if (at >= record->n_calls || !record->calls[at].observation) return false;
    p->episode->calls[at].ms = record->calls[at].ms;
    p->episode->tool_ms += record->calls[at].ms;
    settle(p, record->calls[at].observation, record->calls[at].ok);
    return true;
}

/* ---- calls ---- */

/* The same for the same call of the same episode, whoever plays it, and whether for the first time. */
static uint64_t call_seed(const rollout *p)
{
    uint32_t bits[4];
    const rng_key key = { p->task->seed, p->task->group };
    rng_philox(key, p->task->sample, CALL_SEEDS + p->episode->n_calls, bits);
    return (uint64_t)bits[0] << 32 | bits[1];
}

/* A turn's calls run one after the other, so that a tool with a state sees them in the order in which they were
 * written. One that can't be made is answered at once. */
static void go_on_calling(rollouts *s, rollout *p, int64_t now_ms)
{
    while (p->answered < p->asked.n_calls) {
        const dialect_call *asked = &p->asked.calls[p->answered];
        const bool possible = s->config.router || s->config.record || asked->bad;
        if (p->episode->n_calls >= (uint32_t)s->config.max_turns || !possible) {
            finish(s, p, STOP_TURNS);
            return;
        }
        tool_call *call = episode_add_call(p->episode);
        call->name = xstrdup(asked->name);
        call->arguments = xstrdup(asked->arguments);
        if (asked->bad) {
            settle(p, asked->bad, false);
            continue;
        }
        if (s->config.record) {
            if (recall(s, p)) continue;
            finish(s, p, STOP_TURNS);
            return;
        }
        const tool_context context = { call_seed(p), p->task->id, p->task->row };
        p->call = router_begin(s->config.router, asked->name, asked->arguments, &context, now_ms);
        idmap_set(s->by_call, p->call, p);
        return;
    }
    splice(s, p);
}

static void on_result(rollouts *s, tool_result *r, int64_t now_ms)
{
    rollout *p = idmap_get(s->by_call, r->call);
    if (p) {
        idmap_remove(s->by_call, r->call);
        p->call = 0;
        p->episode->calls[p->episode->n_calls - 1].ms = r->ms;
        p->episode->tool_ms += r->ms;
        if (r->failed != FAIL_NONE) {
            fail(s, p, r->failed, r->text ? r->text : "the tool was lost");
        } else {
            settle(p, r->text, r->ok);
            go_on_calling(s, p, now_ms);
        }
    }
    free(r->text);
}

/* ---- what the policy writes ---- */

static void on_event(rollouts *s, rollout *p, dialect_result *r, int64_t now_ms)
{
    close_turn(p, r->rest);
    if (r->event == DIALECT_ANSWER) {
        p->episode->answer = xstrdup(r->answer);
        finish(s, p, STOP_ANSWER);
    } else if (r->event == DIALECT_CALLS) {
        p->asked = *r;
        p->answered = 0;
        p->first_call = p->episode->n_calls;
        *r = (dialect_result){ .event = DIALECT_CALLS };
        go_on_calling(s, p, now_ms);
        if (p->episode->n_calls > p->first_call)
            p->episode->turns[p->episode->n_turns - 1].call = (int32_t)p->first_call;
    }
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
        fail(s, p, FAIL_ENGINE, err.text);
    } else if (r.event != DIALECT_MORE) {
        on_event(s, p, &r, now_ms);
    } else {
        close_turn(p, 0);
        finish(s, p, stops ? STOP_EOS : STOP_LENGTH);
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
    const bool stops = ends_episode(s, t->id);
    const size_t n_bytes = s->bytes.len;
    const int rc = dialect_feed(p->parser, s->bytes.data, n_bytes, &r, &err);
    if (rc != OK) {
        close_turn(p, 0);
        fail(s, p, FAIL_ENGINE, err.text);
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
    for (int i = 0; i < n_results; i++) on_result(s, &results[i], now_ms);
    const int n = engine_step(s->config.engine, s->tokens, &busy, err);
    if (n < 0) return n;
    for (int i = 0; i < n; i++) on_token(s, &s->tokens[i], now_ms);
    *idle = n == 0 && !busy && n_results == 0;
    return hand_out(s, out, max);
}
