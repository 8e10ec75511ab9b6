/* SPDX-License-Identifier: MIT */
#include "rollout/episode.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

static const char *const STOP_NAMES[N_STOPS] = { "answer", "eos", "length", "turns", "error", "done" };
static const char *const FAILURE_NAMES[N_FAILURES] = { "none", "tool_lost", "prompt", "engine" };

const char *stop_reason_name(stop_reason r) { return r < N_STOPS ? STOP_NAMES[r] : "unknown"; }
const char *failure_name(failure f) { return f < N_FAILURES ? FAILURE_NAMES[f] : "unknown"; }

episode *episode_new(const task *t)
{
    episode *e = xcalloc(1, sizeof *e);
    e->id = t->id;
    e->group = t->group;
    e->prompt_id = t->prompt_id;
    e->sample = t->sample;
    e->step = t->step;
    e->eval = t->eval;
    e->attempt = t->attempt;
    e->n_shots = t->n_shots;
    e->template_id = t->template_id;
    e->environment = xstrdup("");
    e->data_group = xstrdup("");
    e->template_name = xstrdup("");
    return e;
}

void episode_clear(episode *e)
{
    for (uint32_t i = 0; i < e->n_turns; i++) {
        free(e->turns[i].text);
        free(e->turns[i].residue);
    }
    for (uint32_t i = 0; i < e->n_calls; i++) {
        free(e->calls[i].name);
        free(e->calls[i].arguments);
        free(e->calls[i].observation);
        free(e->calls[i].outcome);
    }
    free(e->turns);
    free(e->calls);

    e->turns = NULL;
    e->n_turns = 0;
    e->calls = NULL;
    e->n_calls = 0;
    e->hint_len = 0;
    trajectory_reset(&e->tokens);
}

void episode_free(episode *e)
{
    if (!e) return;
    episode_clear(e);
    char *const owned[] = { e->environment, e->data_group, e->template_name, e->opening,
                            e->text,        e->transcript, e->answer,        e->failure_text };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    free(e);
}

turn *episode_add_turn(episode *e)
{
    e->turns = xrealloc(e->turns, (e->n_turns + 1) * sizeof *e->turns);
    e->turns[e->n_turns] = (turn){ .call = -1 };
    return &e->turns[e->n_turns++];
}

tool_call *episode_add_call(episode *e)
{
    e->calls = xrealloc(e->calls, (e->n_calls + 1) * sizeof *e->calls);
    e->calls[e->n_calls] = (tool_call){ 0 };
    return &e->calls[e->n_calls++];
}

char *said_arguments(const char *text)
{
    json_t *arguments = json_object();
    json_object_set_new(arguments, "text", json_bytes(text));
    char *out = json_text(arguments, false);
    json_decref(arguments);
    return out;
}

bool outcome_is_done(const char *outcome)
{
    json_t *said = json_parse(outcome, strlen(outcome), "outcome", NULL);
    const bool done = json_is_true(json_object_get(said, "done"));
    json_decref(said);
    return done;
}

static bool is_duration(double ms) { return ms >= 0 && isfinite(ms); }

static int check_turns_and_calls(const episode *e, error *err)
{
    for (uint32_t i = 0; i < e->n_turns; i++) {
        const turn *t = &e->turns[i];
        const bool has_tokens = t->start <= t->end && t->end <= e->tokens.n;
        const bool has_call = t->call >= -1 && t->call < (int64_t)e->n_calls; /* -1: none was made */

        if (!t->text || !has_tokens || !has_call)
            return error_set(err, ERR_PARSE, "episode %016" PRIx64 ": turn %" PRIu32 " lies outside it", e->id, i);
    }

    for (uint32_t i = 0; i < e->n_calls; i++)
        if (!e->calls[i].name || !e->calls[i].arguments || !is_duration(e->calls[i].ms))
            return error_set(err, ERR_PARSE,
                             "episode %016" PRIx64 ": call %" PRIu32 " has no name, no arguments or an impossible time",
                             e->id, i);
    return OK;
}

int episode_check(const episode *e, int32_t vocab, error *err)
{
    const bool known = e->stop < N_STOPS && e->failed < N_FAILURES;
    if (!known || (e->failed != FAIL_NONE) != (e->stop == STOP_ERROR))
        return error_set(err, ERR_PARSE, "episode %016" PRIx64 ": stop %d and failure %d do not fit", e->id,
                         (int)e->stop, (int)e->failed);

    if (!e->environment || !e->data_group || !e->template_name || !e->text || !e->transcript)
        return error_set(err, ERR_PARSE, "episode %016" PRIx64 ": one of its texts is missing", e->id);
    if (!is_duration(e->wall_ms) || !is_duration(e->tool_ms))
        return error_set(err, ERR_PARSE, "episode %016" PRIx64 ": impossible times (%g ms, %g ms in tools)", e->id,
                         e->wall_ms, e->tool_ms);

    if (check_turns_and_calls(e, err) != OK) return ERR_PARSE;
    if (trajectory_check(&e->tokens, vocab, err) != OK) return error_within(err, "episode %016" PRIx64, e->id);
    return OK;
}
