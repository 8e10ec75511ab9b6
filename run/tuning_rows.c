/* SPDX-License-Identifier: MIT */
#include "run/tuning_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/vec.h"
#include "run/shots.h"

/* ---- which form ---- */

static bool has(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return value && !json_is_null(value);
}

static int need_text_or_messages(const json_t *row, const char *key, error *err)
{
    const json_t *value = json_object_get(row, key);
    if (json_is_string(value) || json_is_array(value)) return OK;
    return error_set(err, ERR_PARSE, "'%s' is neither a text nor a list of messages", key);
}

static int check_messages(const json_t *messages, const char *key, bool *answered, error *err)
{
    size_t i;
    const json_t *message;
    json_array_foreach((json_t *)messages, i, message)
    {
        const char *role = json_string_value(json_object_get(message, "role"));
        if (json_array_size(json_object_get(message, "tool_calls")) > 0)
            return error_set(err, ERR_PARSE,
                             "message %zu of '%s' has tool_calls, which would be lost: a call is a step of "
                             "{\"prompt\", \"steps\", \"answer\"}",
                             i + 1, key);
        if (!role || !json_is_string(json_object_get(message, "content")))
            return error_set(err, ERR_PARSE, "message %zu of '%s' needs a role and a content, both texts", i + 1, key);
        *answered |= strcmp(role, "assistant") == 0;
    }
    return OK;
}

/* What a demonstration answers, and by which calls. */
static int check_reply(const json_t *row, error *err)
{
    if (!has(row, "answer"))
        return error_set(err, ERR_PARSE, "a row with a prompt needs an \"answer\" or a \"completion\" (text)");
    return shot_check_reply(row, "a row", err);
}

static int check_conversation(const json_t *row, error *err)
{
    const json_t *messages = json_object_get(row, "messages");
    bool answered = has(row, "answer");
    if (answered && check_reply(row, err) != OK) return ERR_PARSE;
    if (!json_is_array(messages)) return error_set(err, ERR_PARSE, "'messages' is no list");
    if (check_messages(messages, "messages", &answered, err) != OK) return ERR_PARSE;
    if (answered) return OK;
    return error_set(err, ERR_PARSE, "no message is the assistant's, and there is no \"answer\": nothing to learn");
}

static int check_completion(const json_t *row, error *err)
{
    bool asked = false, answered = json_is_string(json_object_get(row, "completion"));
    if (need_text_or_messages(row, "prompt", err) != OK) return ERR_PARSE;
    if (need_text_or_messages(row, "completion", err) != OK) return ERR_PARSE;
    if (check_messages(json_object_get(row, "prompt"), "prompt", &asked, err) != OK) return ERR_PARSE;
    if (check_messages(json_object_get(row, "completion"), "completion", &answered, err) != OK) return ERR_PARSE;
    if (answered) return OK;
    return error_set(err, ERR_PARSE, "no message of 'completion' is the assistant's: nothing to learn");
}

static int check(const json_t *row, error *err)
{
    if (!json_is_object(row)) return error_set(err, ERR_PARSE, "a row is an object");
    if (has(row, "text"))
        return json_is_string(json_object_get(row, "text")) ? OK : error_set(err, ERR_PARSE, "'text' is no text");
    if (has(row, "completion")) return check_completion(row, err);
    if (has(row, "messages")) return check_conversation(row, err);
    if (has(row, "prompt"))
        return json_is_string(json_object_get(row, "prompt")) ? check_reply(row, err)
                                                              : error_set(err, ERR_PARSE, "'prompt' is no text");
    return error_set(err, ERR_PARSE,
                     "a row needs \"text\", \"messages\", or \"prompt\" with \"answer\" or \"completion\"");
}

int tuning_row_check(const char *row_json, error *err)
{
    json_t *row = json_parse(row_json, strlen(row_json), "row", err);
    const int rc = row ? check(row, err) : ERR_PARSE;
    json_decref(row);
    return rc;
}

/* ---- tokens ---- */

typedef struct writing {
    const tuning_rows *m;
    trajectory *t;
    token_ids ids; /* scratch */
    bool wrote;    /* the piece before was learned: its end token belongs to it */
} writing;

static bool is_end(const tuning_rows *m, int32_t id)
{
    for (int i = 0; i < m->n_eos; i++)
        if (m->eos[i] == id) return true;
    return false;
}

/* Only the conversation's first piece may get a prefix space or a begin token. */
static int encode(writing *w, const char *text, size_t len, bool specials, error *err)
{
    w->ids.len = 0;
    if (w->t->n == 0) return tokenizer_encode(w->m->tokenizer, text, len, specials, &w->ids, err);
    return tokenizer_encode_on(w->m->tokenizer, text, len, specials, &w->ids, err);
}

static int write_piece(writing *w, const prompt_piece *p, error *err)
{
    if (encode(w, p->text, p->len, !p->plain, err) != OK) return err->code;
    size_t ends = 0;
    if (w->wrote && !p->written && w->ids.len > 0 && is_end(w->m, w->ids.data[0])) ends = 1;
    const token_role other = p->role == TOKEN_SHOT ? TOKEN_OBSERVATION : p->role;
    trajectory_append(w->t, TOKEN_HINT, w->ids.data, ends);
    trajectory_append(w->t, p->written ? TOKEN_HINT : other, w->ids.data + ends, w->ids.len - ends);
    w->wrote = p->written;
    return OK;
}

/* Pieces [from, len), up to the last that is learned and the end token behind it. */
static int write_pieces(writing *w, const prompt_pieces *p, size_t from, error *err)
{
    size_t last = from;
    for (size_t i = from; i < p->len; i++)
        if (p->data[i].written) last = i;
    for (size_t i = from; i <= last && i < p->len; i++)
        if (write_piece(w, &p->data[i], err) != OK) return err->code;

    if (last + 1 >= p->len || encode(w, p->data[last + 1].text, p->data[last + 1].len, true, err) != OK) return OK;
    if (w->ids.len > 0 && is_end(w->m, w->ids.data[0])) trajectory_append(w->t, TOKEN_HINT, w->ids.data, 1);
    return OK;
}

/* ---- a demonstration: the prompt of an episode, and what an example of it would say ---- */

static size_t first_written(const prompt_pieces *p)
{
    size_t i = 0;
    while (i < p->len && !p->data[i].written) i++;
    return i;
}

/* What was said before is read, not learned. How many pieces of it: `n`, from the first on. */
static void forget_written(prompt_pieces *p, size_t n)
{
    for (size_t i = 0; i < p->len && n > 0; i++) {
        n -= p->data[i].written;
        p->data[i].written = false;
    }
}

static const char QUESTION[] = "{\"prompt\": \"?\"}";

/* The row as a worked example: its question is asked by the prompt, whatever stands for it here. */
static char *as_shot(const json_t *row)
{
    json_t *shot = json_object();
    json_object_set_new(shot, "prompt", json_string("?"));
    json_object_set(shot, "answer", json_object_get(row, "answer"));
    if (has(row, "steps")) json_object_set(shot, "steps", json_object_get(row, "steps"));
    char *text = json_text(shot, false);
    json_decref(shot);
    return text;
}

static int write_demonstration(writing *w, const char *row_json, const json_t *row, error *err)
{
    const char *instruction = w->m->recipe->prompt.instruction;
    prompt_pieces asked = { 0 }, example = { 0 };
    char *shot = as_shot(row);
    const char *const shots[] = { shot };
    int rc = dialect_prompt(w->m->dialect, instruction, NULL, 0, row_json, &asked, err);
    if (rc == OK) rc = dialect_prompt(w->m->dialect, instruction, shots, 1, QUESTION, &example, err);
    forget_written(&asked, asked.len);

    for (size_t i = 0; rc == OK && i < asked.len; i++) rc = write_piece(w, &asked.data[i], err);
    w->t->n_prompt = w->t->n;
    if (rc == OK && first_written(&example) == example.len)
        rc = error_set(err, ERR_PARSE,
                       "the dialect '%s' does not say what of an example the policy writes (written = true, "
                       "docs/dialects.md)",
                       w->m->recipe->prompt.dialect);
    if (rc == OK) rc = write_pieces(w, &example, first_written(&example), err);
    prompt_pieces_free(&asked);
    prompt_pieces_free(&example);
    free(shot);
    return rc;
}

/* ---- a conversation ---- */

static void add_messages(json_t *to, const json_t *value, const char *role)
{
    if (json_is_array(value)) {
        json_array_extend(to, (json_t *)value);
        return;
    }
    json_t *message = json_object();
    json_object_set_new(message, "role", json_string(role));
    json_object_set(message, "content", (json_t *)value);
    json_array_append_new(to, message);
}

/* {"prompt", "completion"} as {"messages"}. */
static char *as_conversation(const json_t *row)
{
    json_t *messages = json_array(), *whole = json_object();
    add_messages(messages, json_object_get(row, "prompt"), "user");
    add_messages(messages, json_object_get(row, "completion"), "assistant");
    json_object_set_new(whole, "messages", messages);
    char *text = json_text(whole, false);
    json_decref(whole);
    return text;
}

/* The assistant's messages in a prompt that is a conversation: each is one piece that a policy would write. */
static size_t said_before(const json_t *prompt)
{
    size_t i, n = 0;
    const json_t *message;
    json_array_foreach((json_t *)prompt, i, message)
    {
        n += strcmp(json_string_value(json_object_get(message, "role")), "assistant") == 0;
    }
    return n;
}

static int write_conversation(writing *w, const char *row_json, size_t before, error *err)
{
    prompt_pieces pieces = { 0 };
    int rc = dialect_prompt(w->m->dialect, w->m->recipe->prompt.instruction, NULL, 0, row_json, &pieces, err);
    if (rc == OK && first_written(&pieces) == pieces.len)
        rc = error_set(err, ERR_PARSE,
                       "prompt.dialect = \"%s\" has no place for an assistant's messages by itself: "
                       "prompt.chat_template = \"model\" has, with the model's own template",
                       w->m->recipe->prompt.dialect);
    forget_written(&pieces, before);
    if (rc == OK) rc = write_pieces(w, &pieces, 0, err);
    prompt_pieces_free(&pieces);
    return rc;
}

/* ---- all forms ---- */

/* A NUL becomes U+001A, "substitute", as everywhere in an episode. */
static int write_text(writing *w, const json_t *value, error *err)
{
    enum { SUBSTITUTE = 0x1a };
    const size_t len = json_string_length(value);
    char *text = xstrndup(json_string_value(value), len);
    for (size_t i = 0; i < len; i++)
        if (!text[i]) text[i] = SUBSTITUTE;
    const int rc = encode(w, text, len, false, err);
    free(text);
    if (rc != OK) return rc;
    trajectory_append(w->t, TOKEN_HINT, w->ids.data, w->ids.len);
    if (w->m->n_eos > 0) trajectory_append(w->t, TOKEN_HINT, w->m->eos, 1);
    return OK;
}

static int write_row(writing *w, const char *row_json, const json_t *row, error *err)
{
    if (has(row, "text")) return write_text(w, json_object_get(row, "text"), err);
    if (has(row, "completion")) {
        char *conversation = as_conversation(row);
        const int rc = write_conversation(w, conversation, said_before(json_object_get(row, "prompt")), err);
        free(conversation);
        return rc;
    }
    return has(row, "answer") ? write_demonstration(w, row_json, row, err) : write_conversation(w, row_json, 0, err);
}

/* At most sft.max_tokens, and with sft.loss = "all" every one of them learned. How many are. */
static int32_t finish(const tuning_rows *m, trajectory *t, bool *cut)
{
    const sft_options *o = &m->recipe->sft;
    int32_t learned = 0;
    *cut = t->n > (uint32_t)o->max_tokens;
    if (*cut) t->n = (uint32_t)o->max_tokens;
    if (t->n_prompt > t->n) t->n_prompt = t->n;
    for (uint32_t i = 1; i < t->n; i++) { /* the first follows nothing */
        if (o->loss == SFT_ALL) t->role[i] = TOKEN_HINT;
        learned += t->role[i] == TOKEN_HINT;
    }
    return learned;
}

static int fill(const tuning_rows *m, episode *e, const char *row_json, const json_t *row, bool *cut, error *err)
{
    writing w = { .m = m, .t = &e->tokens };
    const int rc = write_row(&w, row_json, row, err);
    vec_free(&w.ids);
    if (rc != OK) return rc;
    e->hint_len = finish(m, &e->tokens, cut);
    if (e->hint_len > 0) return OK;
    return error_set(err, ERR_LIMIT, "none of its first %u tokens is learned (sft.max_tokens)", e->tokens.n);
}

episode *tuning_row(const tuning_rows *m, const char *row_json, bool *cut, error *err)
{
    json_t *row = json_parse(row_json, strlen(row_json), "row", err);
    if (!row || check(row, err) != OK) {
        json_decref(row);
        return NULL;
    }

    const task t = { .row = (char *)row_json };
    episode *e = episode_new(&t);
    free(e->data_group);
    e->data_group = task_data_group(&t);
    const int rc = fill(m, e, row_json, row, cut, err);
    json_decref(row);
    if (rc == OK) return e;
    episode_free(e);
    return NULL;
}

/* ---- as a trainer takes it ---- */

static const char OBJECTIVE[] = "logprob";

objective_set tuning_objectives(void)
{
    objective_set set = { 0 };
    objective_add(&set, OBJECTIVE, 1, NULL);
    return set;
}

group *tuning_group(episode *e, uint64_t row, int64_t step)
{
    score *sc = xcalloc(1, sizeof *sc);
    score_set(sc, OBJECTIVE, 0, NULL);
    group *g = group_new(row, row, step, 1);
    e->prompt_id = row;
    e->step = step;
    group_add(g, e, sc, NULL);
    return g;
}
