/* SPDX-License-Identifier: MIT */
/* A turn's calls, and turns without one that go to the environment: asked one after the other, answered by tools or, of
 * an episode that is played again, by its record. How the files share a rollout: rollouts_inner.h. */
#include "actor/rollouts_inner.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "env/tools/submit.h"

/* Places of the sampling key's counter that no token comes to. */
static const uint64_t CALL_SEEDS = (uint64_t)1 << 48;

/* The last call is answered with `words`. */
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
    p->episode->calls[at].outcome = xstrdup(record->calls[at].outcome);
    settle(p, record->calls[at].observation, record->calls[at].ok);
    return true;
}

/* The environment has said, of the last call, that the episode is over: then it is. */
static bool ends_by_outcome(rollouts *s, rollout *p)
{
    const tool_call *last = &p->episode->calls[p->episode->n_calls - 1];
    if (!last->outcome || !outcome_is_done(last->outcome)) return false;
    p->episode->answer = p->answer;
    p->answer = NULL;
    rollout_finish(s, p, STOP_DONE);
    return true;
}

/* The same for the same call of the same episode, whoever plays it, and whether for the first time. */
static uint64_t call_seed(const rollout *p)
{
    uint32_t bits[4];
    const rng_key key = { p->task->seed, p->task->group };
    rng_philox(key, p->task->sample, CALL_SEEDS + p->episode->n_calls, bits);
    return (uint64_t)bits[0] << 32 | bits[1];
}

static void make_call(rollouts *s, rollout *p, const dialect_call *asked, int64_t now_ms)
{
    char *wrote = xstrdup(p->episode->turns[p->episode->n_turns - 1].text);
    const size_t len = strlen(wrote);
    wrote[len - (p->stop_bytes < len ? p->stop_bytes : len)] = 0;

    const tool_context context = { .seed = call_seed(p),
                                   .episode = p->task->id,
                                   .play = p->play,
                                   .start = rollout_start_seed(p->task),
                                   .row = p->task->row,
                                   .turn = wrote };
    if (p->said) {
        p->call = router_say(s->config.router, asked->arguments, &context, now_ms);
    } else {
        p->call = router_begin(s->config.router, asked->name, asked->arguments, &context, now_ms);
    }
    idmap_set(s->by_call, p->call, p);
    free(wrote);
}

/* The call hands in the answer: the episode is over, and calls after it are not made. */
static bool hands_in(rollouts *s, rollout *p, const dialect_call *asked)
{
    char *answer = s->config.submits && !asked->bad ? submit_answer(asked->name, asked->arguments) : NULL;
    if (!answer) return false;
    p->episode->answer = answer;
    rollout_finish(s, p, STOP_ANSWER);
    return true;
}

/* A turn's calls run one after the other, so that a tool with a state sees them in the order in which they were
 * written. One that can't be made is answered at once. */
static void go_on_calling(rollouts *s, rollout *p, int64_t now_ms)
{
    while (p->answered < p->asked.n_calls) {
        const dialect_call *asked = &p->asked.calls[p->answered];
        if (hands_in(s, p, asked)) return;
        const bool possible = s->config.router || s->config.record || asked->bad;
        if (p->episode->n_calls >= (uint32_t)s->config.max_turns || !possible) {
            rollout_finish(s, p, STOP_TURNS);
            return;
        }

        /* What the parser could not read is answered by its complaint; played again, all else by the record. */
        tool_call *call = episode_add_call(p->episode);
        call->name = xstrdup(asked->name);
        call->arguments = xstrdup(asked->arguments);
        if (asked->bad) {
            settle(p, asked->bad, false);
            continue;
        }
        if (s->config.record) {
            if (!recall(s, p)) rollout_finish(s, p, STOP_TURNS);
            if (p->over || ends_by_outcome(s, p)) return;
            continue;
        }
        make_call(s, p, asked, now_ms);
        return;
    }

    /* An environment takes no last answer without a step: there is nothing more to be said. */
    if (s->config.plays && p->episode->n_calls >= (uint32_t)s->config.max_turns)
        rollout_finish(s, p, STOP_TURNS);
    else
        rollout_splice(s, p);
}

/* Takes `calls`. `said`: they are one turn without a call. */
static void begin_calls(rollouts *s, rollout *p, dialect_result calls, bool said, int64_t now_ms)
{
    p->asked = calls;
    p->said = said;
    p->answered = 0;
    p->first_call = p->episode->n_calls;
    go_on_calling(s, p, now_ms);

    /* None was made where there are no tools, or the episode has made all it may. */
    if (p->episode->n_calls > p->first_call) p->episode->turns[p->episode->n_turns - 1].call = (int32_t)p->first_call;
}

void rollout_say(rollouts *s, rollout *p, const char *text, int64_t now_ms)
{
    dialect_result calls = { .event = DIALECT_CALLS, .calls = xcalloc(1, sizeof *calls.calls), .n_calls = 1 };
    calls.calls[0] = (dialect_call){ .name = xstrdup(""), .arguments = said_arguments(text) };
    begin_calls(s, p, calls, true, now_ms);
}

void rollout_call(rollouts *s, rollout *p, dialect_result calls, int64_t now_ms)
{
    begin_calls(s, p, calls, false, now_ms);
}

void rollout_settle(rollouts *s, rollout *p, tool_result *r, int64_t now_ms)
{
    p->episode->calls[p->episode->n_calls - 1].outcome = r->outcome;
    r->outcome = NULL;
    settle(p, r->text, r->ok);
    if (!ends_by_outcome(s, p)) go_on_calling(s, p, now_ms);
}
