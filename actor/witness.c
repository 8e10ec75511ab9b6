/* SPDX-License-Identifier: MIT */
#include "actor/witness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct witness {
    rollout_config words;
    int max_context;
};

witness *witness_new(const rollout_config *words, int max_context)
{
    witness *w = xcalloc(1, sizeof *w);
    *w = (witness){ .words = *words, .max_context = max_context };
    w->words.router = NULL; /* a replay calls no tool: observations are the record's */
    return w;
}

void witness_free(witness *w) { free(w); }

/* ---- comparing: `is` what is claimed, `would` what an actor makes ---- */

static int differ(const char *what, uint32_t at, int64_t is, int64_t would, error *err)
{
    return error_set(err, ERR_PARSE, "%s %" PRIu32 " is %" PRId64 " (a replay gives %" PRId64 ")", what, at, is, would);
}

static int compare_text(const char *what, const char *is, const char *would, error *err)
{
    if (!is && !would) return OK;
    if (!is || !would)
        return error_set(err, ERR_PARSE, "%s is %s (in a replay it is %s)", what, is ? "present" : "missing",
                         would ? "present" : "missing");

    size_t at = 0;
    while (is[at] && is[at] == would[at]) at++;
    if (is[at] == would[at]) return OK;
    return error_set(err, ERR_PARSE, "%s: from byte %zu '%.20s' (a replay gives '%.20s')", what, at, is + at,
                     would + at);
}

static int compare_tokens(const trajectory *is, const trajectory *would, error *err)
{
    for (uint32_t i = 0; i < is->n && i < would->n; i++) {
        const bool same = is->ids[i] == would->ids[i];
        if (!same && i < would->n_prompt) /* most likely no forgery, but files or keys that are not the learner's */
            return error_set(err, ERR_PARSE,
                             "token %" PRIu32 " of the prompt is %" PRId32 " (a replay gives %" PRId32
                             "): was it played with this run's recipe and keys?",
                             i, is->ids[i], would->ids[i]);
        if (!same) return differ("the id of token", i, is->ids[i], would->ids[i], err);
        if (is->role[i] != would->role[i]) return differ("the role of token", i, is->role[i], would->role[i], err);
        if (is->wrote[i] != would->wrote[i])
            return differ("the number of bytes of token", i, is->wrote[i], would->wrote[i], err);
    }

    if (is->n != would->n)
        return error_set(err, ERR_PARSE, "%" PRIu32 " tokens (a replay gives %" PRIu32 ")", is->n, would->n);
    if (is->n_prompt == would->n_prompt) return OK;
    return error_set(err, ERR_PARSE, "%" PRIu32 " prompt tokens (a replay gives %" PRIu32 ")", is->n_prompt,
                     would->n_prompt);
}

static int compare_turns(const episode *is, const episode *would, error *err)
{
    if (is->n_turns != would->n_turns)
        return error_set(err, ERR_PARSE, "%" PRIu32 " turns (a replay gives %" PRIu32 ")", is->n_turns, would->n_turns);
    int rc = OK;
    for (uint32_t i = 0; i < is->n_turns && rc == OK; i++) {
        const turn *a = &is->turns[i], *b = &would->turns[i];
        if (a->start != b->start) return differ("the first token of turn", i, a->start, b->start, err);
        if (a->end != b->end) return differ("the end of turn", i, a->end, b->end, err);
        if (a->call != b->call) return differ("the first call of turn", i, a->call, b->call, err);

        rc = compare_text("turn", a->text, b->text, err);
        if (rc == OK) rc = compare_text("residue", a->residue, b->residue, err);
        if (rc != OK) error_within(err, "turn %" PRIu32, i);
    }
    return rc;
}

/* What is told of a call that can't be made is the dialect's, and is no tool's word. */
static int compare_calls(const episode *is, const episode *would, error *err)
{
    if (is->n_calls != would->n_calls)
        return error_set(err, ERR_PARSE, "%" PRIu32 " tool calls (a replay gives %" PRIu32 ")", is->n_calls,
                         would->n_calls);

    int rc = OK;
    for (uint32_t i = 0; i < is->n_calls && rc == OK; i++) {
        const tool_call *a = &is->calls[i], *b = &would->calls[i];
        rc = compare_text("name", a->name, b->name, err);
        if (rc == OK) rc = compare_text("arguments", a->arguments, b->arguments, err);
        if (rc == OK) rc = compare_text("observation", a->observation, b->observation, err);
        if (rc == OK) rc = compare_text("outcome", a->outcome, b->outcome, err);
        if (rc == OK && a->ok != b->ok) rc = error_set(err, ERR_PARSE, "it is marked ok, but the call cannot be made");
        if (rc != OK) error_within(err, "call %" PRIu32, i);
    }
    return rc;
}

/* What is recorded beside the tokens. The template's name is compared by the exchange (exchange/coherence.h). */
static int compare_names(const episode *is, const episode *would, error *err)
{
    int rc = compare_text("data group", is->data_group, would->data_group, err);
    if (rc == OK) rc = compare_text("environment", is->environment, would->environment, err);
    if (rc == OK && is->n_shots != would->n_shots) rc = error_set(err, ERR_PARSE, "%" PRId32 " shots", is->n_shots);
    if (rc == OK && is->hint_len != would->hint_len)
        rc = error_set(err, ERR_PARSE, "a hint of %" PRId32 " tokens (a replay gives %" PRId32 ")", is->hint_len,
                       would->hint_len);
    return rc;
}

static int compare(const episode *is, const episode *would, error *err)
{
    int rc = compare_names(is, would, err);
    if (rc == OK) rc = compare_tokens(&is->tokens, &would->tokens, err);
    if (rc == OK) rc = compare_turns(is, would, err);
    if (rc == OK) rc = compare_calls(is, would, err);

    if (rc == OK) rc = compare_text("text", is->text, would->text, err);
    if (rc == OK) rc = compare_text("transcript", is->transcript, would->transcript, err);
    if (rc == OK) rc = compare_text("answer", is->answer, would->answer, err);

    if (rc == OK && is->stop != would->stop)
        rc = error_set(err, ERR_PARSE, "stop '%s' (a replay gives '%s')", stop_reason_name(is->stop),
                       stop_reason_name(would->stop));
    return rc;
}

/* ---- playing again ---- */

/* `would`: the episode played to its end. */
static int judge(const episode *e, const episode *would, error *err)
{
    if (e->failed == FAIL_PROMPT && would->failed == FAIL_PROMPT) return OK;
    if (e->failed == FAIL_PROMPT)
        return error_set(err, ERR_PARSE, "its prompt is reported as impossible, but it can be made");
    if (would->failed != FAIL_NONE)
        return error_set(err, ERR_PARSE, "a replay fails (%s): %s", failure_name(would->failed), would->failure_text);
    return compare(e, would, err);
}

/* Where the record ends, or says that nothing was sampled, an actor continues: the tokens before differ, or it is cut
 * off. */
static int judge_open(const episode *e, const episode *so_far, error *err)
{
    if (e->failed == FAIL_PROMPT) return judge(e, so_far, err);

    const int rc = compare_tokens(&e->tokens, &so_far->tokens, err);
    return rc == OK ? error_set(err, ERR_PARSE, "a replay continues after its last token") : rc;
}

/* One turn is enough for an episode that only has a prompt. */
static episode *play_to_end(rollouts *s, bool only_prompt, error *err)
{
    episode *done = NULL;
    bool idle = false;
    do {
        if (rollouts_step(s, clock_ms(), &done, 1, &idle, err) < 0) break;
    } while (!done && !idle && !only_prompt);
    return done;
}

int witness_check(witness *w, const task *t, const episode *e, error *err)
{
    rollout_config c = w->words;
    c.record = e;
    c.engine = engine_of_record(&e->tokens, w->max_context);
    rollouts *s = rollouts_new(&c, err);
    int rc = rollouts_begin(s, t, clock_ms(), err);

    if (rc == OK) {
        episode *done = play_to_end(s, e->failed != FAIL_NONE, err);
        rc = done ? judge(e, done, err) : judge_open(e, rollouts_first(s), err);
        episode_free(done);
    }
    rollouts_free(s);
    engine_free(c.engine);
    return rc;
}
