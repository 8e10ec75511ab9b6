/* SPDX-License-Identifier: MIT */
#include "exchange/limits.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "exchange/coherence.h"
#include "proto/codec.h"
#include "rollout/signal.h"

/* No tokenizer writes a text whose tokens are longer than this on average. */
enum { BYTES_A_TOKEN = 256 };
/* What a token costs on the wire beside the texts: id, logprob, mask, role, wrote. */
enum { TOKEN_RECORD_BYTES = 16 };
/* text, transcript, answer, the turns together, the calls' arguments and observations together, the opening. */
enum { TEXTS_OF_AN_EPISODE = 7 };
enum { SMALL_BYTES = 4 << 10, ROOM_BYTES = 64 << 10, SCORE_BYTES = 6 << 20 };

static size_t text_bytes(const limits *l) { return (size_t)l->max_context * BYTES_A_TOKEN + ROOM_BYTES; }

size_t limits_message_bytes(const limits *l, message_type type)
{
    if (type == MSG_SCORE) return SCORE_BYTES;
    if (type != MSG_EPISODE) return SMALL_BYTES;

    if (l->max_context <= 0 || l->max_context > MAX_MESSAGE_BYTES) return MAX_MESSAGE_BYTES;
    const size_t outcomes = l->environment ? (size_t)l->max_turns * OUTCOME_BYTES : 0;
    const size_t max =
        ROOM_BYTES + (size_t)l->max_context * TOKEN_RECORD_BYTES + TEXTS_OF_AN_EPISODE * text_bytes(l) + outcomes;
    return max < MAX_MESSAGE_BYTES ? max : MAX_MESSAGE_BYTES;
}

/* ---- episodes ---- */

static int check_sizes(const limits *l, const task *t, const episode *e, error *err)
{
    const uint32_t sampled = trajectory_sampled(&e->tokens);

    if (e->tokens.n > l->max_context)
        return error_set(err, ERR_PARSE, "%" PRIu32 " tokens (rollout.max_context is %" PRId64 ")", e->tokens.n,
                         l->max_context);
    if (sampled > (uint32_t)t->max_tokens)
        return error_set(err, ERR_PARSE, "%" PRIu32 " sampled tokens (the task's max_tokens is %" PRId32 ")", sampled,
                         t->max_tokens);

    /* After the last call that it may make, the policy has one more turn to answer in. */
    if (e->n_calls > l->max_turns || e->n_turns > l->max_turns + 1)
        return error_set(err, ERR_PARSE, "%" PRIu32 " turns with %" PRIu32 " tool calls (env.max_turns is %" PRId64 ")",
                         e->n_turns, e->n_calls, l->max_turns);
    if (e->hint_len < 0 || (uint32_t)e->hint_len > e->tokens.n_prompt || e->n_shots != t->n_shots)
        return error_set(err, ERR_PARSE, "%" PRId32 " shots and %" PRId32 " hint tokens (the task shows %" PRId32 ")",
                         e->n_shots, e->hint_len, t->n_shots);
    return OK;
}

static int check_text(const limits *l, const char *what, const char *text, size_t *all, error *err)
{
    const size_t len = text ? strlen(text) : 0, max = text_bytes(l);
    *all += len;
    if (*all <= max) return OK;
    return error_set(err, ERR_PARSE, "%s: %zu bytes (a context of %" PRId64 " tokens holds %zu at most)", what, *all,
                     l->max_context, max);
}

/* Each kind of text together is no longer than what the context can hold. */
static int check_texts(const limits *l, const episode *e, error *err)
{
    const char *const whole[] = { e->text, e->transcript, e->answer, e->data_group, e->opening };
    static const char *const names[] = { "text", "transcript", "answer", "data group", "opening" };
    size_t turns = 0, arguments = 0, observations = 0;

    for (int i = 0; i < 5; i++) {
        size_t alone = 0;
        if (check_text(l, names[i], whole[i], &alone, err) != OK) return ERR_PARSE;
    }

    for (uint32_t i = 0; i < e->n_turns; i++)
        if (check_text(l, "turns", e->turns[i].text, &turns, err) != OK) return ERR_PARSE;
    for (uint32_t i = 0; i < e->n_calls; i++)
        if (check_text(l, "arguments", e->calls[i].arguments, &arguments, err) != OK ||
            check_text(l, "observations", e->calls[i].observation, &observations, err) != OK)
            return ERR_PARSE;
    return OK;
}

/* trajectory_check has seen ids, masks and segments. */
static int check_tokens(const limits *l, const episode *e, error *err)
{
    const trajectory *tr = &e->tokens;
    uint64_t wrote = 0;
    for (uint32_t i = 0; i < tr->n; i++) {
        if (tr->mask[i] && tr->logprob[i] < MIN_LOGPROB)
            return error_set(err, ERR_PARSE,
                             "token %" PRIu32
                             ": behaviour logprob %g is impossible (the smallest that is sampled is %g)",
                             i, (double)tr->logprob[i], (double)MIN_LOGPROB);
        if (i >= tr->n_prompt && tr->role[i] != TOKEN_POLICY && tr->role[i] != TOKEN_OBSERVATION)
            return error_set(err, ERR_PARSE, "token %" PRIu32 ": role %u after the prompt", i, tr->role[i]);

        wrote += tr->wrote[i];
    }
    if (wrote <= text_bytes(l)) return OK;
    return error_set(err, ERR_PARSE, "its tokens claim to decode to %" PRIu64 " bytes", wrote);
}

int limits_episode(const limits *l, const task *t, const episode *e, error *err)
{
    if (l->max_context > 0 && check_sizes(l, t, e, err) != OK) return ERR_PARSE; /* first: the rest walks it */
    if (episode_check(e, l->vocab, err) != OK) return ERR_PARSE;
    if (l->max_context <= 0) return OK;
    if (check_texts(l, e, err) != OK || check_tokens(l, e, err) != OK) return ERR_PARSE;
    return coherence_check(l, t, e, err);
}

/* ---- scores ---- */

/* Spans of one objective lie together; its value is their mean. */
static int check_spans(const score *s, size_t len, error *err)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        const reward_span *m = &s->spans[i];
        const double value = score_get(s, m->name);
        const bool last = i + 1 == s->n_spans || strcmp(m->name, m[1].name) != 0;

        if (m->end < 1 || m->end > len)
            return error_set(err, ERR_PARSE, "objective '%s': a span ends at byte %" PRIu32 " of a text of %zu bytes",
                             m->name, m->end, len);

        sum += m->value;
        n++;

        if (!last) continue;
        if (!isfinite(value) || signal_between(value, sum / n) != 0)
            return error_set(err, ERR_PARSE, "objective '%s' is %g, but the mean of its spans is %g", m->name, value,
                             sum / n);
        sum = 0;
        n = 0;
    }
    return OK;
}

int limits_score(const episode *e, const score *s, error *err)
{
    if (score_check(s, err) != OK) return ERR_PARSE;
    if (!(s->ms >= 0) || isinf(s->ms)) return error_set(err, ERR_PARSE, "impossible scoring time: %g ms", s->ms);
    if (s->status != SCORE_OK && (s->n_values > 0 || s->n_spans > 0))
        return error_set(err, ERR_PARSE,
                         "%d objectives and %" PRIu32 " spans, although its status says that there is no score",
                         s->n_values, s->n_spans);
    return check_spans(s, e->text ? strlen(e->text) : 0, err);
}
