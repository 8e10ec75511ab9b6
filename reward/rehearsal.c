/* SPDX-License-Identifier: MIT */
#include "reward/rehearsal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

typedef struct improvised {
    const char *what; /* an episode ... */
    const char *text; /* of its turn; LONG: repeated to the length that is asked for */
    const char *answer;
    stop_reason stop;
    bool failed_call;
} improvised;

/* Words, numbers, and what looks like the beginning of a tag, a formula, a call and JSON, none of it closed. */
static const char LONG[] = "So 12 + 30 = 42 and <b>it is \\frac{1}{2 of {\"x\": [1, ```(see \"that\", 'this').\n";

static const improvised EPISODES[] = {
    { "without an answer", "I am not sure.", NULL, STOP_EOS, false },
    { "without a word", "", NULL, STOP_EOS, false },
    { "whose answer is empty", "<answer></answer>", "", STOP_ANSWER, false },
    { "whose answer is white space", "<answer> \n</answer>", " \n", STOP_ANSWER, false },
    { "with bytes that are not UTF-8", "\xff\xfe <answer>\xc3(\x80</answer>", "\xc3(\x80", STOP_ANSWER, false },
    { "whose tool call failed", "<python>1 +</python>", NULL, STOP_TURNS, true },
    { "that is as long as it may be", LONG, NULL, STOP_LENGTH, false },
    { "whose answer is as long as it may be", LONG, LONG, STOP_ANSWER, false },
};

static char *written(const char *text, size_t long_bytes)
{
    str s = { 0 };
    if (text != LONG) return text ? xstrdup(text) : NULL;
    while (s.len < long_bytes) str_puts(&s, LONG);
    str_cut(&s, long_bytes);
    return str_take(&s);
}

static void add_failed_call(episode *e)
{
    str transcript = { 0 };
    tool_call *c = episode_add_call(e);
    c->name = xstrdup("");
    c->arguments = xstrdup("\"1 +\"");
    c->observation = xstrdup("error: invalid syntax");
    e->turns[0].call = 0;
    str_printf(&transcript, "%s<result>%s</result>", e->text, c->observation);
    free(e->transcript);
    e->transcript = str_take(&transcript);
}

static episode *play(const improvised *p, const task *t, size_t long_bytes)
{
    episode *e = episode_new(t);
    e->text = written(p->text, long_bytes);
    e->transcript = xstrdup(e->text);
    e->answer = written(p->answer, long_bytes);
    e->stop = p->stop;

    trajectory_append_sampled(&e->tokens, 0, 0, 0, 0); /* nothing that was played has no token */

    turn *said = episode_add_turn(e);
    said->text = xstrdup(e->text);
    said->end = 1;
    said->call = -1;

    if (p->failed_call) add_failed_call(e);
    return e;
}

static int judge(const improvised *p, const score *sc, char *note, size_t size, error *err)
{
    if (sc->status == SCORE_SCRIPT)
        return error_set(err, ERR_SCRIPT,
                         "%s (on an episode %s: any policy can write one, and would have no score instead of a low "
                         "one)",
                         sc->error, p->what);
    if (sc->status == SCORE_OK && sc->error)
        snprintf(note, size, "the reward script has no value for an episode %s, which any policy can write: %s",
                 p->what, sc->error);
    return OK;
}

int reward_rehearse(scorer *s, const char *row, size_t long_bytes, char *note, size_t size, error *err)
{
    task t = { .id = 1, .group_size = 1, .max_tokens = 1, .row = (char *)(uintptr_t)row };
    int rc = OK;

    for (size_t i = 0; rc == OK && i < sizeof EPISODES / sizeof *EPISODES; i++) {
        score sc;
        episode *e = play(&EPISODES[i], &t, long_bytes);

        scorer_score(s, &t, e, &sc);
        rc = judge(&EPISODES[i], &sc, note, size, err);

        score_reset(&sc);
        episode_free(e);
    }
    return rc;
}
