/* SPDX-License-Identifier: MIT */
#include "proto/messages.h"

#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"

enum { TEXT_LIMIT = MAX_ROW_BYTES, TOKEN_LIMIT = 1 << 22, NAME_LIMIT = 4096, LIST_LIMIT = 4096, WORD_LIMIT = 1 << 20 };

/* ---- the records of rollout/ ---- */

/* clang-format off */
#define NUMBER(type, name, kind) { #name, kind, offsetof(type, name), 0, 0, 0, NULL }
#define TEXT(type, name, limit) { #name, F_TEXT, offsetof(type, name), limit, 0, 0, NULL }
#define ARRAY(type, name, n) \
    { #name, F_ARRAY, offsetof(type, name), TOKEN_LIMIT, offsetof(type, n), sizeof *((type *)0)->name, NULL }
#define LIST(type, name, n, fields) \
    { #name, F_LIST, offsetof(type, name), LIST_LIMIT, offsetof(type, n), sizeof *((type *)0)->name, fields }
/* clang-format on */

static const field TASK_FIELDS[] = {
    NUMBER(task, id, F_U64),          NUMBER(task, group, F_U64),       NUMBER(task, sample, F_U32),
    NUMBER(task, group_size, F_U32),  NUMBER(task, step, F_I64),        NUMBER(task, eval, F_BOOL),
    NUMBER(task, prompt_id, F_U64),   NUMBER(task, seed, F_U64),        NUMBER(task, n_shots, F_I32),
    NUMBER(task, min_version, F_I64), NUMBER(task, max_version, F_I64), NUMBER(task, temperature, F_F32),
    NUMBER(task, max_tokens, F_I32),  NUMBER(task, attempt, F_U32),     NUMBER(task, hint, F_F32),
    NUMBER(task, template_id, F_I32), TEXT(task, row, MAX_ROW_BYTES),   { 0 },
};

static const field SEGMENT_FIELDS[] = {
    NUMBER(segment, version, F_I64),
    NUMBER(segment, weight_hash, F_U64),
    NUMBER(segment, start, F_U32),
    NUMBER(segment, end, F_U32),
    { 0 },
};

static const field TRAJECTORY_FIELDS[] = {
    ARRAY(trajectory, ids, n),           ARRAY(trajectory, logprob, n),
    ARRAY(trajectory, mask, n),          ARRAY(trajectory, role, n),
    ARRAY(trajectory, wrote, n),         LIST(trajectory, segments, n_segments, SEGMENT_FIELDS),
    NUMBER(trajectory, n_prompt, F_U32), { 0 },
};

static const field TURN_FIELDS[] = {
    TEXT(turn, text, TEXT_LIMIT), NUMBER(turn, start, F_U32),      NUMBER(turn, end, F_U32),
    NUMBER(turn, call, F_I32),    TEXT(turn, residue, TEXT_LIMIT), { 0 },
};

static const field CALL_FIELDS[] = {
    TEXT(tool_call, name, NAME_LIMIT),
    TEXT(tool_call, arguments, TEXT_LIMIT),
    TEXT(tool_call, observation, TEXT_LIMIT),
    NUMBER(tool_call, ok, F_BOOL),
    NUMBER(tool_call, ms, F_F64),
    TEXT(tool_call, outcome, TEXT_LIMIT),
    { 0 },
};

static const field EPISODE_FIELDS[] = {
    NUMBER(episode, id, F_U64),
    NUMBER(episode, group, F_U64),
    NUMBER(episode, prompt_id, F_U64),
    NUMBER(episode, sample, F_U32),
    NUMBER(episode, step, F_I64),
    NUMBER(episode, eval, F_BOOL),
    NUMBER(episode, attempt, F_U32),
    TEXT(episode, environment, NAME_LIMIT),
    { "objective", F_TEXT, offsetof(episode, data_group), NAME_LIMIT, 0, 0, NULL },
    TEXT(episode, template_name, NAME_LIMIT),
    NUMBER(episode, n_shots, F_I32),
    NUMBER(episode, hint_len, F_I32),
    NUMBER(episode, template_id, F_I32),
    TEXT(episode, opening, TEXT_LIMIT),
    TEXT(episode, text, TEXT_LIMIT),
    TEXT(episode, transcript, TEXT_LIMIT),
    TEXT(episode, answer, TEXT_LIMIT),
    LIST(episode, turns, n_turns, TURN_FIELDS),
    LIST(episode, calls, n_calls, CALL_FIELDS),
    NUMBER(episode, stop, F_I32),
    NUMBER(episode, failed, F_I32),
    TEXT(episode, failure_text, NAME_LIMIT),
    NUMBER(episode, wall_ms, F_F64),
    NUMBER(episode, tool_ms, F_F64),
    { "tokens", F_RECORD, offsetof(episode, tokens), 0, 0, 0, TRAJECTORY_FIELDS },
    { 0 },
};

static const field VALUE_FIELDS[] = {
    { "name", F_NAME, offsetof(objective_value, name), OBJECTIVE_NAME, 0, 0, NULL },
    NUMBER(objective_value, value, F_F64),
    { 0 },
};

static const field SPAN_FIELDS[] = {
    { "name", F_NAME, offsetof(reward_span, name), OBJECTIVE_NAME, 0, 0, NULL },
    NUMBER(reward_span, end, F_U32),
    NUMBER(reward_span, value, F_F64),
    { 0 },
};

static const field SCORE_FIELDS[] = {
    NUMBER(score, task, F_U64),
    NUMBER(score, status, F_I32),
    { "values", F_INLINE, offsetof(score, values), MAX_OBJECTIVES, offsetof(score, n_values), sizeof(objective_value),
      VALUE_FIELDS },
    { "marks", F_LIST, offsetof(score, spans), LIST_LIMIT, offsetof(score, n_spans), sizeof(reward_span), SPAN_FIELDS },
    TEXT(score, error, NAME_LIMIT),
    TEXT(score, info, TEXT_LIMIT),
    NUMBER(score, ms, F_F64),
    { 0 },
};

/* ---- what a WELCOME says of the recipe: its owner checks names and sizes (proto/parcel.h) ---- */

static const field FILE_FIELDS[] = {
    { "name", F_NAME, offsetof(parcel_file, name), PARCEL_NAME, 0, 0, NULL },
    NUMBER(parcel_file, bytes, F_U64),
    NUMBER(parcel_file, hash, F_U64),
    { 0 },
};

static const field WORD_FIELDS[] = { TEXT(parcel_word, text, WORD_LIMIT), { 0 } };

static const field PARCEL_FIELDS[] = {
    LIST(parcel_list, files, n_files, FILE_FIELDS),
    LIST(parcel_list, words, n_words, WORD_FIELDS),
    { 0 },
};

/* ---- the messages: a table of field tables, from messages.def ---- */

/* clang-format off */
#define MESSAGE(NAME, member, senders) { 0 } }; static const field NAME##_BODY[] = {
#define FIELD(NAME, body, name, kind, limit) { #name, kind, offsetof(body, name), limit, 0, 0, NULL },
#define RECORD(NAME, body, name, fields, type) { #name, F_OWNED, offsetof(body, name), 0, 0, sizeof(type), fields },
#define BYTES(NAME, body, name, length, limit) \
    { #name, F_BYTES, offsetof(body, name), limit, offsetof(body, length), 0, NULL },
#define INSIDE(NAME, body, name, fields) { #name, F_RECORD, offsetof(body, name), 0, 0, 0, fields },
/* clang-format on */
static const field NONE_BODY[] = {
#include "proto/messages.def"
    { 0 },
};
#undef MESSAGE
#undef FIELD
#undef RECORD
#undef BYTES
#undef INSIDE

typedef struct message_row {
    const char *name;
    const field *body;
    size_t size;
    unsigned senders;
} message_row;

#define FIELD(...)
#define RECORD(...)
#define BYTES(...)
#define INSIDE(...)
#define MESSAGE(NAME, member, senders) [MSG_##NAME] = { #NAME, NAME##_BODY, sizeof(((message *)0)->member), senders },
static const message_row ROWS[N_MESSAGES] = {
    [MSG_NONE] = { "NONE", NONE_BODY, 0, 0 },
#include "proto/messages.def"
};

static size_t body_offset(void) { return offsetof(message, hello); /* all members of the union begin there */ }

const char *message_name(message_type type) { return type < N_MESSAGES ? ROWS[type].name : "unknown"; }

unsigned message_senders(message_type type) { return type < N_MESSAGES ? ROWS[type].senders : 0; }

message_type message_type_of(const void *data, size_t len)
{
    const unsigned char *bytes = data;
    return len < 2 || bytes[0] >= N_MESSAGES ? MSG_NONE : (message_type)bytes[0];
}

uint64_t message_peek_task(const void *data, size_t len)
{
    static const char *const EPISODE[] = { "episode", "id", NULL }, *const SCORE[] = { "score", "task", NULL };
    const message_type type = message_type_of(data, len);
    uint64_t id = 0;

    if (type == MSG_EPISODE) codec_peek_u64((const char *)data + 1, len - 1, EPISODE, &id);
    if (type == MSG_SCORE) codec_peek_u64((const char *)data + 1, len - 1, SCORE, &id);
    return id;
}

uint64_t message_peek_protocol(const void *data, size_t len)
{
    static const char *const PROTOCOL[] = { "protocol", NULL };
    uint64_t protocol = 0;

    if (message_type_of(data, len) == MSG_HELLO) codec_peek_u64((const char *)data + 1, len - 1, PROTOCOL, &protocol);
    return protocol;
}

void message_encode(const message *m, str *out)
{
    str_putc(out, (char)m->type);
    codec_encode(ROWS[m->type].body, (const char *)m + body_offset(), out);
}

/* A stranger's name goes to logs and its role decides what it is asked.
 * An exchange only asks for a HELLO by its own. */
static int check_hello(const hello_body *h, error *err)
{
    if (strcmp(h->role, "exchange") == 0) return OK;

    if (strcmp(h->role, "actor") != 0 && strcmp(h->role, "reward") != 0)
        return error_set(err, ERR_PARSE, "field 'role': expected actor or reward");

    if (h->name[0] == 0) return error_set(err, ERR_PARSE, "field 'name' is empty");
    for (const char *c = h->name; *c; c++)
        if (*c <= ' ' || *c > '~') return error_set(err, ERR_PARSE, "field 'name': expected visible ASCII characters");
    return OK;
}

static int check_score_request(const score_request_body *r, error *err)
{
    const int rc = task_check(r->task, err);
    return rc == OK ? episode_check(r->episode, 0, err) : rc;
}

static int check(const message *m, error *err)
{
    switch (m->type) {
    case MSG_HELLO:
        return check_hello(&m->hello, err);
    case MSG_TASK:
        return task_check(m->task.task, err);
    case MSG_SCORE_REQUEST:
        return check_score_request(&m->score_request, err);
    case MSG_SCORE:
        return score_check(m->score.score, err);
    default:
        return OK; /* an EPISODE is judged by the exchange, so that its refusal is answered and counted */
    }
}

int message_decode(message *m, const void *data, size_t len, error *err)
{
    error own = { 0 };
    error *e = err ? err : &own;
    const message_type type = message_type_of(data, len);

    *m = (message){ 0 };
    if (type == MSG_NONE) return error_set(e, ERR_PARSE, "%zu bytes that are not a message", len);

    const message_row *row = &ROWS[type];
    int rc = codec_decode(row->body, row->size, (const char *)data + 1, len - 1, (char *)m + body_offset(), e);
    if (rc == OK) {
        m->type = type;
        rc = check(m, e);
    }
    if (rc == OK) return OK;
    message_reset(m);
    return error_within(e, "%s", row->name);
}

void message_reset(message *m)
{
    if (m->type != MSG_NONE) codec_reset(ROWS[m->type].body, ROWS[m->type].size, (char *)m + body_offset());
    *m = (message){ 0 };
}

void episode_encode(const episode *e, str *out) { codec_encode(EPISODE_FIELDS, e, out); }
void score_encode(const score *s, str *out) { codec_encode(SCORE_FIELDS, s, out); }

episode *episode_decode(const void *data, size_t len, error *err)
{
    episode *e = xcalloc(1, sizeof *e);
    if (codec_decode(EPISODE_FIELDS, sizeof *e, data, len, e, err) == OK && episode_check(e, 0, err) == OK) return e;
    episode_free(e);
    return NULL;
}

score *score_decode(const void *data, size_t len, error *err)
{
    score *s = xcalloc(1, sizeof *s);
    if (codec_decode(SCORE_FIELDS, sizeof *s, data, len, s, err) == OK && score_check(s, err) == OK) return s;
    score_free(s);
    return NULL;
}
