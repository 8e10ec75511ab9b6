/* SPDX-License-Identifier: MIT */
/* A row becomes the prompt's tokens, and its demonstration a hint. How the files share a rollout: rollouts_inner.h. */
#include "actor/rollouts_inner.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { MAX_SHOTS = 64 };

int rollout_encode(rollouts *s, const char *text, size_t len, bool specials, error *err)
{
    return tokenizer_encode_on(s->config.tokenizer, text, len, specials, &s->ids, err);
}

/* The recipe's instruction, and what the task's template adds to it. The caller frees it. */
static str instruction_of(const rollouts *s, const task *t)
{
    str out = { 0 };
    str_puts(&out, s->config.instruction);
    const bool templated = t->template_id > 0 && t->template_id <= s->config.n_templates;
    if (templated) str_printf(&out, "%s%s", out.len ? "\n" : "", s->config.templates[t->template_id - 1]);
    return out;
}

/* The row, with what the environment begins with in place of its question. The caller frees. */
static char *row_of(const rollout *p)
{
    const char *opening = p->episode->opening;
    json_t *row = opening ? json_parse(p->task->row, strlen(p->task->row), "row", NULL) : NULL;
    json_t *begun = row ? json_parse(opening, strlen(opening), "opening", NULL) : NULL;
    if (json_object_size(begun) == 0) { /* it has nothing to say: the row's own question stands */
        json_decref(row);
        json_decref(begun);
        return xstrdup(p->task->row);
    }

    json_object_del(row, "prompt");
    json_object_del(row, "messages");
    json_object_update(row, begun);
    char *text = json_text(row, false);
    json_decref(row);
    json_decref(begun);
    return text;
}

/* A piece as tokens at the end of the trajectory; only what the dialect wrote itself may hold control tokens. */
static int write_piece(rollouts *s, rollout *p, const prompt_piece *piece, bool first, error *err)
{
    const bool specials = !piece->plain;
    s->ids.len = 0;
    const int rc = first ? tokenizer_encode(s->config.tokenizer, piece->text, piece->len, specials, &s->ids, err)
                         : rollout_encode(s, piece->text, piece->len, specials, err);
    if (rc == OK) trajectory_append(&p->episode->tokens, piece->role, s->ids.data, s->ids.len);
    return rc;
}

/* Pieces are tokenized one by one: every token has one role, and an example is cut where play would cut the same
 * episode, so that it shows the policy the very tokens that it will read and should write. */
int rollout_write_prompt(rollouts *s, rollout *p, error *err)
{
    const char *shots[MAX_SHOTS];
    int n = 0;
    if (p->task->n_shots > 0 && s->config.shots) n = s->config.shots(s->config.shots_ctx, p->task, shots, MAX_SHOTS);

    prompt_pieces pieces = { 0 };
    str instruction = instruction_of(s, p->task);
    char *row = row_of(p);
    int rc = dialect_prompt(s->config.dialect, instruction.data, shots, n, row, &pieces, err);
    free(row);
    str_free(&instruction);

    for (size_t i = 0; rc == OK && i < pieces.len; i++) rc = write_piece(s, p, &pieces.data[i], i == 0, err);
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
        rc = dialect_feed(p->parser, str_text(&s->bytes), s->bytes.len, r, err);
    }
    return rc;
}

int rollout_new_parser(rollouts *s, rollout *p, error *err)
{
    dialect_parser_free(p->parser);
    p->parser = dialect_parser_new(s->config.dialect, err);
    return p->parser ? OK : ERR_SCRIPT;
}

/* How many of s->ids[0 .. n) can be given: an answer ends them, and a tool is only called by the policy, so they end
 * before the token that would close a call. The parser has read them afterwards. */
static int usable_hint(rollouts *s, rollout *p, size_t *n, dialect_result *r, error *err)
{
    size_t used;
    const int rc = feed_ids(s, p, *n, &used, r, err);
    if (rc != OK || r->event == DIALECT_MORE || r->event == DIALECT_ANSWER) {
        *n = used;
        return rc;
    }

    /* A call was closed. Parsers can't go back by a token: a new one reads all but the last again. */
    *n = used - 1;
    dialect_result_reset(r);
    if (rollout_new_parser(s, p, err) != OK) return ERR_SCRIPT;
    return feed_ids(s, p, *n, &used, r, err);
}

int rollout_choose_hint(rollouts *s, rollout *p, size_t *n, bool *whole, dialect_result *r, error *err)
{
    const double share = (double)p->task->hint;
    *n = s->ids.len = 0;
    if (!(share > 0)) return OK;

    json_t *row = NULL;
    const char *text = demonstration_of(p->task, &row);
    int rc = text ? rollout_encode(s, text, strlen(text), true, err) : OK;
    json_decref(row);

    /* A share of tokens, not of characters: the policy continues after a whole token. */
    *n = (size_t)(share * (double)s->ids.len);
    if (rc == OK && *n > 0) rc = usable_hint(s, p, n, r, err);
    *whole = share >= 1 && *n == s->ids.len;
    return rc;
}
