/* SPDX-License-Identifier: MIT */
/* What tools said becomes tokens: cut to the observation's limit, framed by the dialect, appended to the stream and to
 * the trajectory as tokens the policy is not trained on. How the files share a rollout: rollouts_inner.h. */
#include "actor/rollouts_inner.h"

#include <stdlib.h>
#include <string.h>

/* After the words of a tool that were too many. It is not the tool's, so it doesn't count as one of their tokens. */
static const char CUT[] = "...[truncated]";

/* How many of a tool's bytes the policy is shown: at most `limit` of them as tokens (0: all), whole characters. */
static int shown_bytes(rollouts *s, const char *words, size_t n_words, size_t limit, size_t *shown, error *err)
{
    const size_t begin = s->ids.len;
    int rc = rollout_encode(s, words, n_words, false, err);
    *shown = n_words;

    if (rc == OK && limit > 0 && s->ids.len - begin > limit) {
        str_clear(&s->bytes);
        tokenizer_decode(s->config.tokenizer, s->ids.data + begin, limit, true, &s->bytes);
        *shown = s->bytes.len < n_words ? s->bytes.len : n_words - 1;
        while (*shown > 0 && ((unsigned char)words[*shown] & 0xC0) == 0x80) --*shown; /* a character's later bytes */
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
    return rollout_encode(s, text, len, specials, err);
}

/* The dialect's frame may hold control tokens; a tool's words never do (it could print the end of a turn), so they are
 * encoded by themselves. Of the frame is left out what the policy's residue has said. */
static int splice_parts(rollouts *s, rollout *p, const dialect_frame *frame, error *err)
{
    const turn *t = &p->episode->turns[p->episode->n_turns - 1];
    size_t said = overlap(t->residue, &frame->parts[0]);
    if (p->said && !t->residue) said = overlap(t->text, &frame->parts[0]); /* the token that ended the turn */
    int rc = OK;
    str words = { 0 };
    s->ids.len = 0;

    /* The dialect's frame is one part more than the calls: part, observation, part, observation, ..., part. */
    for (size_t i = 0; rc == OK && i < frame->n; i++) {
        const str *part = &frame->parts[i];
        const size_t from = i == 0 ? said : 0;
        rc = splice_part(s, p, part->len ? part->data + from : "", part->len - from, true, err);
        if (rc != OK || i + 1 == frame->n) break;

        tool_call *call = &p->episode->calls[p->first_call + i];
        str_clear(&words);
        rc = cut_observation(s, call, err);
        if (rc == OK && frame->plain)
            str_puts(&words, call->observation);
        else if (rc == OK)
            rc = dialect_payload(s->config.dialect, call->observation, strlen(call->observation), &words, err);
        if (rc == OK) rc = splice_part(s, p, str_text(&words), words.len, false, err);
    }
    str_free(&words);
    return rc;
}

static int make_frame(rollouts *s, const rollout *p, dialect_frame *frame, error *err)
{
    const char *turn_text = p->episode->turns[p->episode->n_turns - 1].text;
    if (p->said) return dialect_reply(s->config.dialect, turn_text, frame, err);

    const size_t n = p->asked.n_calls;
    const char **names = xcalloc(n, sizeof *names);
    bool *ok = xcalloc(n, sizeof *ok);

    for (size_t i = 0; i < n; i++) {
        names[i] = p->episode->calls[p->first_call + i].name;
        ok[i] = p->episode->calls[p->first_call + i].ok;
    }

    const int rc = dialect_observation(s->config.dialect, names, ok, n, turn_text, frame, err);
    free(names);
    free(ok);
    return rc;
}

void rollout_splice(rollouts *s, rollout *p)
{
    error err = { 0 };
    dialect_frame frame = { 0 };
    const size_t said = p->transcript.len;

    /* The tokens, into s->ids, and a parser for the turn after them. */
    int rc = make_frame(s, p, &frame, &err);
    if (rc == OK) rc = splice_parts(s, p, &frame, &err);
    if (rc == OK) rc = rollout_new_parser(s, p, &err);
    dialect_result_reset(&p->asked);
    dialect_frame_reset(&frame);
    if (rc != OK) {
        rollout_fail(s, p, FAIL_ENGINE, err.text);
        return;
    }

    /* Tokens that find no room were never read: the record ends before them. */
    if (engine_append(s->config.engine, p->stream, s->ids.data, s->ids.len, &err) == OK) {
        trajectory_append(&p->episode->tokens, TOKEN_OBSERVATION, s->ids.data, s->ids.len);
    } else {
        str_cut(&p->transcript, said);
        rollout_finish(s, p, STOP_LENGTH);
    }

    if (!p->over && p->sampled >= p->task->max_tokens) rollout_finish(s, p, STOP_LENGTH);
}
