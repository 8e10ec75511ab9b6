/* SPDX-License-Identifier: MIT */
/* honest - episodes as an actor makes them (actor/rollouts.h), without a model: tokens, turns, texts and calls that
 * agree with each other and with their task. Tests that need a bad one make a good one first, and spoil that. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "rollout/episode.h"

/* Which policy samples, and what it thinks of each token. */
typedef struct honest_policy {
    int64_t version;
    uint64_t hash;
    float logprob;
} honest_policy;

enum { HONEST_PROMPT = 2 }; /* tokens of its prompt, ids 1 and 2 */

static inline void honest_say(char **text, const char *words)
{
    str longer = { 0 };
    str_puts(&longer, *text);
    str_puts(&longer, words);
    free(*text);
    *text = str_take(&longer);
}

/* An episode of `t` that has been shown its prompt. Its row may be NULL. */
static inline episode *honest_begin(const task *t)
{
    episode *e = episode_new(t);
    free(e->environment), e->environment = xstrdup(EPISODE_ENVIRONMENT);
    free(e->data_group), e->data_group = task_data_group(t);
    free(e->template_name), e->template_name = xstrdup("xml");
    e->text = xstrdup("");
    e->transcript = xstrdup("");
    trajectory_append(&e->tokens, TOKEN_QUESTION, (const int32_t[]){ 1, 2 }, HONEST_PROMPT);
    e->tokens.n_prompt = HONEST_PROMPT;
    return e;
}

/* A turn of `n` tokens, ids from 3 on; each writes a byte of `words`, the last one the rest. */
static inline void honest_turn(episode *e, const char *words, uint32_t n, honest_policy p)
{
    const size_t len = strlen(words);
    turn *t = episode_add_turn(e);
    *t = (turn){ .text = xstrdup(words), .start = e->tokens.n, .end = e->tokens.n + n, .call = -1 };
    for (uint32_t i = 0; i < n; i++) {
        const size_t left = i < len ? len - i : 0;
        trajectory_append_sampled(&e->tokens, 3 + (int32_t)(i % 40), p.logprob, p.version, p.hash);
        trajectory_wrote(&e->tokens, i + 1 == n || left == 0 ? left : 1);
    }
    honest_say(&e->text, words);
    honest_say(&e->transcript, words);
}

/* The last turn has called a tool, and has read what it said: two tokens. */
static inline void honest_call(episode *e, const char *observation)
{
    turn *t = &e->turns[e->n_turns - 1];
    if (t->call < 0) t->call = (int32_t)e->n_calls;
    *episode_add_call(e) = (tool_call){ .name = xstrdup("python"),
                                        .arguments = xstrdup("{}"),
                                        .observation = xstrdup(observation),
                                        .ok = true,
                                        .ms = 1.5 };
    e->tool_ms += 1.5;
    trajectory_append(&e->tokens, TOKEN_OBSERVATION, (const int32_t[]){ 1, 2 }, 2);
    honest_say(&e->transcript, "[");
    honest_say(&e->transcript, observation);
    honest_say(&e->transcript, "]");
}

/* The whole of an episode that answers nothing: prompt, one turn, the end of its text. */
static inline episode *honest_episode(const task *t, const char *words, uint32_t n, honest_policy p)
{
    episode *e = honest_begin(t);
    honest_turn(e, words, n, p);
    e->stop = STOP_EOS;
    return e;
}

/* A machine has failed on the way. */
static inline episode *honest_failure(episode *e, failure why)
{
    e->stop = STOP_ERROR;
    e->failed = why;
    e->failure_text = xstrdup("the box died");
    return e;
}

enum { HONEST_SPOILS = 8 };

/* Changes one thing of an episode without calls, to what it could be in another: `which` of HONEST_SPOILS. */
static inline void honest_spoil(episode *e, int which)
{
    switch (which) {
    case 0:
        honest_say(&e->text, "!");
        break;
    case 1:
        honest_say(&e->turns[0].text, "!");
        break;
    case 2:
        honest_say(&e->transcript, "!");
        break;
    case 3:
        e->tokens.wrote[e->tokens.n - 1]++;
        break;
    case 4:
        e->stop = STOP_ANSWER;
        break;
    case 5:
        e->answer = xstrdup("text");
        break;
    case 6:
        honest_say(&e->data_group, "easy");
        break;
    default:
        e->tokens.role[1] = TOKEN_HINT, e->hint_len = 1;
    }
}
