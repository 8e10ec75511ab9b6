/* SPDX-License-Identifier: MIT */
#include "exchange/coherence.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

static bool is_object(const char *text)
{
    json_t *j = json_parse(text, strlen(text), "text", NULL);
    const bool object = json_is_object(j);
    json_decref(j);
    return object;
}

/* ---- names ---- */

static int check_name(const char *what, const char *found, const char *expected, error *err)
{
    if (strcmp(found, expected) == 0) return OK;
    return error_set(err, ERR_PARSE, "%s '%.60s' (the task's is '%.60s')", what, found, expected);
}

static int check_names(const limits *l, const task *t, const episode *e, error *err)
{
    char *group = task_data_group(t);
    int rc = check_name("data group", e->data_group, group, err);
    if (rc == OK) rc = check_name("environment", e->environment, EPISODE_ENVIRONMENT, err);
    if (rc == OK && l->dialect) rc = check_name("dialect", e->template_name, l->dialect, err);
    free(group);
    return rc;
}

/* ---- the prompt ---- */

static int check_prompt(const task *t, const episode *e, error *err)
{
    const trajectory *tr = &e->tokens;
    const uint32_t hint = tr->n_prompt - (uint32_t)e->hint_len;
    if (tr->n_prompt == 0) return error_set(err, ERR_PARSE, "the prompt has no tokens");

    if (e->hint_len > 0 && !(t->hint > 0))
        return error_set(err, ERR_PARSE, "the hint has %" PRId32 " tokens (the task gives none)", e->hint_len);

    for (uint32_t i = 0; i < tr->n_prompt; i++)
        if (tr->role[i] == TOKEN_OBSERVATION || (tr->role[i] == TOKEN_HINT) != (i >= hint)) /* the hint comes last */
            return error_set(err, ERR_PARSE,
                             "token %" PRIu32 ": role %u is impossible in a prompt of %" PRIu32
                             " tokens, the last %" PRId32 " of them a hint",
                             i, tr->role[i], tr->n_prompt, e->hint_len);
    return OK;
}

/* ---- the environment's words ---- */

/* Who plays in none has no one to say how an episode begins, or that it is over. */
static int check_environment(const limits *l, const episode *e, error *err)
{
    if (l->environment && !e->opening) return error_set(err, ERR_PARSE, "the environment's opening is missing");
    if (!l->environment && (e->opening || e->stop == STOP_DONE))
        return error_set(err, ERR_PARSE, "words of an environment, though env.tools has no T.env");

    for (uint32_t i = 0; i < e->n_calls; i++) {
        const char *outcome = e->calls[i].outcome;
        if (outcome && !l->environment)
            return error_set(err, ERR_PARSE, "tool call %" PRIu32 " has an outcome, though env.tools has no T.env", i);
        if (outcome && (strlen(outcome) > OUTCOME_BYTES || !is_object(outcome)))
            return error_set(err, ERR_PARSE, "tool call %" PRIu32 ": its outcome is no JSON object of up to %d bytes",
                             i, OUTCOME_BYTES);
    }
    return !e->opening || is_object(e->opening) ? OK : error_set(err, ERR_PARSE, "the opening is no JSON object");
}

/* ---- turns, and what their tokens wrote ---- */

/* Between turns there are only observations. */
static int check_observed(const trajectory *tr, uint32_t begin, uint32_t end, error *err)
{
    for (uint32_t i = begin; i < end; i++)
        if (tr->role[i] != TOKEN_OBSERVATION)
            return error_set(err, ERR_PARSE, "token %" PRIu32 " has role %u and belongs to no turn", i, tr->role[i]);
    return OK;
}

/* All of a hint's bytes are its last token's. */
static int check_turn(const episode *e, uint32_t at, error *err)
{
    const trajectory *tr = &e->tokens;
    const turn *t = &e->turns[at];
    uint64_t wrote = 0;
    for (uint32_t i = t->start; i < t->end; i++) {
        if (tr->role[i] != TOKEN_POLICY && tr->role[i] != TOKEN_HINT)
            return error_set(err, ERR_PARSE, "turn %" PRIu32 ": token %" PRIu32 " has role %u", at, i, tr->role[i]);
        wrote += tr->wrote[i];
    }
    if (wrote == strlen(t->text)) return OK;
    return error_set(err, ERR_PARSE, "turn %" PRIu32 ": its tokens decode to %" PRIu64 " bytes, its text has %zu", at,
                     wrote, strlen(t->text));
}

static int check_turns(const episode *e, error *err)
{
    const trajectory *tr = &e->tokens;
    uint32_t at = tr->n_prompt - (uint32_t)e->hint_len;
    if (e->n_turns == 0) return error_set(err, ERR_PARSE, "the episode has no turns");

    for (uint32_t i = 0; i < e->n_turns; i++) {
        const turn *t = &e->turns[i];

        /* The first turn follows the prompt at once; observations stand before the others. */
        if (t->start >= t->end || t->start < at || (i == 0 && t->start > at))
            return error_set(err, ERR_PARSE,
                             "turn %" PRIu32 ": tokens %" PRIu32 " to %" PRIu32 " do not continue at token %" PRIu32, i,
                             t->start, t->end, at);
        if (check_observed(tr, at, t->start, err) != OK || check_turn(e, i, err) != OK) return ERR_PARSE;
        at = t->end;
    }
    return check_observed(tr, at, tr->n, err);
}

/* Only sampled tokens wrote, and the hint's last one for all of it. */
static int check_wrote(const episode *e, error *err)
{
    const trajectory *tr = &e->tokens;
    for (uint32_t i = 0; i < tr->n; i++) {
        const bool writes = tr->mask[i] || (e->hint_len > 0 && i + 1 == tr->n_prompt);
        if (!writes && tr->wrote[i] > 0)
            return error_set(err, ERR_PARSE, "token %" PRIu32 " decodes to %" PRIu32 " bytes, but was not sampled", i,
                             tr->wrote[i]);
    }
    return OK;
}

/* ---- texts ---- */

static int check_text(const episode *e, error *err)
{
    const char *at = e->text;
    for (uint32_t i = 0; i < e->n_turns; i++) {
        const size_t n = strlen(e->turns[i].text);
        if (strncmp(at, e->turns[i].text, n) != 0)
            return error_set(err, ERR_PARSE, "text: byte %td differs from turn %" PRIu32, at - e->text, i);
        at += n;
    }
    if (!*at) return OK;
    return error_set(err, ERR_PARSE, "text: %zu bytes after the last turn", strlen(at));
}

/* Finds the words of a turn in the transcript from `at` on, right there for the first one, and moves after them. What
 * stands between turns is the dialect's. */
static bool pass_words(const turn *t, bool first, const char **at)
{
    str words = { 0 };
    str_puts(&words, t->text);
    if (t->residue) str_puts(&words, t->residue);
    const size_t n = words.len;
    const char *found = *at;
    if (n > 0 && first)
        found = strncmp(*at, words.data, n) == 0 ? *at : NULL;
    else if (n > 0)
        found = strstr(*at, words.data);
    str_free(&words);

    if (found) *at = found + n;
    return found != NULL;
}

static int check_transcript(const episode *e, error *err)
{
    const char *at = e->transcript;
    const turn *last = &e->turns[e->n_turns - 1];
    const size_t n = strlen(last->text) + (last->residue ? strlen(last->residue) : 0);
    for (uint32_t i = 0; i < e->n_turns; i++)
        if (!pass_words(&e->turns[i], i == 0, &at))
            return error_set(err, ERR_PARSE, "transcript: turn %" PRIu32 " is not in it", i);

    if (last->call >= 0 || !*at) return OK;

    /* It continues: an earlier place held the same words, and they stand at the very end. */
    const char *end = at + strlen(at);
    at = end - n;
    if (e->n_turns == 1 || !pass_words(last, true, &at))
        return error_set(err, ERR_PARSE, "transcript: it continues after the last turn, which called nothing");
    return OK;
}

/* Dialects of ours take the answer out of the turn's words as it stands there; another's may do what it likes. */
static int check_answer(const limits *l, const episode *e, error *err)
{
    /* An environment may end an episode by an answer or by a call. */
    if (e->stop != STOP_DONE && (e->answer != NULL) != (e->stop == STOP_ANSWER))
        return error_set(err, ERR_PARSE, "stop '%s', but an answer is %s", stop_reason_name(e->stop),
                         e->answer ? "present" : "missing");
    if (!e->answer || !l->dialect || l->submits || strstr(e->turns[e->n_turns - 1].text, e->answer)) return OK;
    return error_set(err, ERR_PARSE, "answer '%.60s' is not in the last turn", e->answer);
}

/* ---- calls ---- */

/* The first call of each turn that made any, among the episode's: 0, and then ever later ones. */
static int check_whose_calls(const episode *e, error *err)
{
    int32_t before = -1;
    for (uint32_t i = 0; i < e->n_turns; i++) {
        const int32_t call = e->turns[i].call;
        if (call < 0 && i + 1 < e->n_turns)
            return error_set(err, ERR_PARSE, "turn %" PRIu32 " makes no tool call, yet it is not the last one", i);

        /* The first call is number 0, each later one has a higher number. */
        const bool later = before < 0 ? call == 0 : call > before;
        if (call >= 0 && !later)
            return error_set(err, ERR_PARSE, "turn %" PRIu32 ": tool call %" PRId32 " after call %" PRId32, i, call,
                             before);
        if (call >= 0) before = call;
    }
    if (e->n_calls == 0 || before >= 0) return OK;
    return error_set(err, ERR_PARSE, "%" PRIu32 " tool calls belong to no turn", e->n_calls);
}

static int check_calls(const episode *e, error *err)
{
    double ms = 0;
    for (uint32_t i = 0; i < e->n_calls; i++) {
        const tool_call *c = &e->calls[i];
        if (!c->observation) return error_set(err, ERR_PARSE, "tool call %" PRIu32 " has no observation", i);
        if (c->ok && !is_object(c->arguments))
            return error_set(err, ERR_PARSE,
                             "tool call %" PRIu32 " is marked ok, but its arguments are not a JSON object", i);
        ms += c->ms;
    }
    if (ms != e->tool_ms) /* added up in this order */
        return error_set(err, ERR_PARSE, "the tool calls took %g ms together (tool_ms is %g)", ms, e->tool_ms);
    return check_whose_calls(e, err);
}

/* ---- how it ends ---- */

static bool is_end(const limits *l, int32_t id)
{
    for (int i = 0; i < l->n_eos; i++)
        if (l->eos[i] == id) return true;
    return false;
}

/* A token that ends texts ends its turn, whatever comes of it. */
static int check_ends(const limits *l, const episode *e, error *err)
{
    for (uint32_t i = 0; i < e->n_turns; i++)
        for (uint32_t k = e->turns[i].start; k + 1 < e->turns[i].end; k++)
            if (e->tokens.mask[k] && is_end(l, e->tokens.ids[k]))
                return error_set(err, ERR_PARSE,
                                 "token %" PRIu32 " is an end-of-text token (id %" PRId32 "), but turn %" PRIu32
                                 " continues",
                                 k, e->tokens.ids[k], i);
    return OK;
}

/* The policy has said its last, and no call was made, but for those before a submit in its turn. */
static int check_silent_end(const limits *l, const episode *e, error *err)
{
    const turn *last = &e->turns[e->n_turns - 1];
    const uint32_t at = last->end - 1;
    const bool sampled = e->tokens.mask[at], stops = is_end(l, e->tokens.ids[at]);

    const bool after_calls = last->call >= 0 && !(l->submits && e->stop == STOP_ANSWER);
    if (after_calls || last->end != e->tokens.n)
        return error_set(err, ERR_PARSE, "stop '%s' after a tool call or an observation", stop_reason_name(e->stop));
    if (last->residue && e->stop != STOP_ANSWER)
        return error_set(err, ERR_PARSE, "stop '%s', but the last turn has a residue", stop_reason_name(e->stop));
    if (l->n_eos > 0 && sampled && e->stop != STOP_ANSWER && stops != (e->stop == STOP_EOS))
        return error_set(err, ERR_PARSE, "stop '%s', but the last token (id %" PRId32 ") is %s",
                         stop_reason_name(e->stop), e->tokens.ids[at],
                         stops ? "an end-of-text token" : "no end-of-text token");
    return OK;
}

/* What ends for want of room has none: of tokens it may sample, or of context. Where an observation did not fit, it is
 * not known how long it would have been. */
static int check_length(const limits *l, const task *t, const episode *e, error *err)
{
    const turn *last = &e->turns[e->n_turns - 1];
    const uint32_t sampled = trajectory_sampled(&e->tokens);
    const bool spent = sampled >= (uint32_t)t->max_tokens;
    const bool full = e->tokens.n >= l->max_context && last->call < 0;

    if (spent || full || (last->call >= 0 && last->end == e->tokens.n)) return OK;
    return error_set(err, ERR_PARSE,
                     "stop 'length' with %" PRIu32 " of %" PRId32 " tokens sampled, in a context of %" PRIu32
                     " of %" PRId64,
                     sampled, t->max_tokens, e->tokens.n, l->max_context);
}

/* The environment has said so, of the last call, and the policy read nothing after it. */
static int check_done(const episode *e, error *err)
{
    const turn *last = &e->turns[e->n_turns - 1];
    const char *outcome = e->n_calls > 0 ? e->calls[e->n_calls - 1].outcome : NULL;
    if (last->call >= 0 && last->end == e->tokens.n && outcome && outcome_is_done(outcome)) return OK;
    return error_set(err, ERR_PARSE, "stop 'done', but the last call's outcome does not say so");
}

static int check_stop(const limits *l, const task *t, const episode *e, error *err)
{
    const turn *last = &e->turns[e->n_turns - 1];
    if (e->stop == STOP_ANSWER || e->stop == STOP_EOS) return check_silent_end(l, e, err);

    if (e->stop == STOP_LENGTH) {
        const int rc = last->call < 0 ? check_silent_end(l, e, err) : OK;
        return rc == OK ? check_length(l, t, e, err) : rc;
    }

    if (e->stop == STOP_DONE) return check_done(e, err);
    if (last->end != e->tokens.n || e->n_calls != (uint32_t)l->max_turns)
        return error_set(err, ERR_PARSE, "stop 'turns' after %" PRIu32 " tool calls (env.max_turns is %" PRId64 ")",
                         e->n_calls, l->max_turns);
    return OK;
}

/* ---- who sampled ---- */

/* An actor's weights change between two tokens that it samples, and never back. */
static int check_segments(const trajectory *tr, error *err)
{
    for (uint32_t i = 0; i < tr->n_segments; i++) {
        const segment *s = &tr->segments[i];
        if (!tr->mask[s->start] || !tr->mask[s->end - 1] || (i > 0 && s->version <= s[-1].version))
            return error_set(err, ERR_PARSE,
                             "segment %" PRIu32 " (%" PRIu32 " to %" PRIu32 ", version %" PRId64
                             ") does not begin and end with a sampled token, or is older than the one before",
                             i, s->start, s->end, s->version);
    }
    return OK;
}

int coherence_check(const limits *l, const task *t, const episode *e, error *err)
{
    /* In this order: texts and ends are looked up by turns, once those are known to be there and within the tokens. */
    int rc = check_names(l, t, e, err);
    if (rc == OK) rc = check_environment(l, e, err);
    if (rc == OK) rc = check_prompt(t, e, err);
    if (rc == OK) rc = check_segments(&e->tokens, err);
    if (rc == OK) rc = check_turns(e, err);
    if (rc == OK) rc = check_wrote(e, err);
    if (rc == OK) rc = check_text(e, err);
    if (rc == OK) rc = check_transcript(e, err);
    if (rc == OK) rc = check_calls(e, err);
    if (rc == OK) rc = check_answer(l, e, err);
    if (rc == OK) rc = check_ends(l, e, err);
    return rc == OK ? check_stop(l, t, e, err) : rc;
}
