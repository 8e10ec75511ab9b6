/* SPDX-License-Identifier: MIT */
/* dialect - how a prompt, a tool call, an observation and an answer look in text; a Lua file a user can write.
 *
 * A dialect file returns a table (docs/dialects.md has it at length, lua/dialects/xml.lua is an example):
 *     defaults     options and their defaults; the recipe's prompt.options override them
 *     check        function(options, tools), may be left out: raises where a tool's name is a word of the dialect
 *     templates    true where prompt and observation use spec.render: the model's own chat template
 *     prompt       function(options, spec) -> { {"instruction", text}, {"shot", text}..., {"question", text} }; a piece
 *                  that the policy would have written has written = true: what `troupe sft` learns
 *     observation  function(options, calls, written, spec) -> { before, between..., after }: what stands around the
 *                  results of the calls; written: the turn with which the policy made them
 *     reply        function(options, written, spec) -> { before, after }, may be left out: what stands around what an
 *                  environment says to a turn without a call; without it, what stands around one call's result
 *     payload      function(options, text) -> text, may be left out: a result as it is written there (as JSON, say)
 *     parser       function(options, tools, begun) -> feed, finish, cut
 *
 * A parser reads one turn of the policy. begun: what the model's own chat template begins it with, or nil.
 *
 *     feed(chunk)  what has just been written. It answers as soon as the turn is closed, so that the engine stops at
 *                  the closing token: nil | { calls = {...}, rest = n } | { answer = text, rest = n }. rest: how many
 *                  of the bytes it was fed lie beyond the close (a token may straddle it): they are part of no turn
 *     finish(n)    may be left out: the policy has stopped by itself, by a token of n bytes
 *     cut()        may be left out: there are no more tokens. For calls that were closed, but for which feed waited to
 *                  see what follows
 *
 * A call is { name =, arguments = table or JSON text }, or one that can't be made:
 * { bad = what the policy reads, name =, raw = }.
 *
 * One VM holds a dialect; one thread uses it. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "lua/vm.h"
#include "rollout/trajectory.h"

typedef struct dialect dialect;

/* `name`: "xml", "qwen", "llama3", "react", or the path of a .lua file. options_json, tools_json: JSON text or NULL;
 * tools_json is [{"name", "description", "parameters": JSON Schema}, ...]. */
dialect *dialect_new(const char *name, const char *options_json, const char *tools_json, error *err);
void dialect_free(dialect *d);
/* From now on prompts and observations are said through the chat template of the model in folder `dir`: spec.render of
 * prompt and observation (lua/chat_speaker.h). Errors as chat_model_template's; ERR_SCRIPT: this template can't be
 * spoken through. */
int dialect_use_template(dialect *d, const char *dir, error *err);

typedef struct prompt_piece {
    token_role role;
    char *text;
    size_t len;
    bool plain;   /* a tool's words: they hold no control token */
    bool written; /* the policy would have written it: a call or an answer of an example, an assistant's message */
} prompt_piece;
typedef struct prompt_pieces {
    prompt_piece *data;
    size_t len, capacity;
} prompt_pieces;
void prompt_pieces_free(prompt_pieces *p);

/* row_json: the task's data row; shots: JSON texts {"prompt", "steps": [{"tool", "arguments", "result"}], "answer"}. */
int dialect_prompt(dialect *d, const char *instruction, const char *const *shots, int n_shots, const char *row_json,
                   prompt_pieces *out, error *err);

/* What is spliced in after n calls: frame 0, payload of call 0, frame 1, ..., payload of call n - 1, frame n. */
typedef struct dialect_frame {
    str *parts; /* [n] */
    size_t n;   /* one more than the calls */
    bool plain; /* what stands between is written as it is, and not as dialect_payload has it */
} dialect_frame;
int dialect_observation(dialect *d, const char *const *tools, const bool *ok, size_t n_calls, const char *written,
                        dialect_frame *out, error *err);
/* What is spliced in after a turn without a call: frame 0, what the environment says, frame 1. */
int dialect_reply(dialect *d, const char *written, dialect_frame *out, error *err);
void dialect_frame_reset(dialect_frame *f);
/* A tool's words as they stand in the frame. Appends to out. */
int dialect_payload(dialect *d, const char *text, size_t len, str *out, error *err);

typedef struct dialect_call {
    char *name;      /* of the tool; "" where the policy named none */
    char *arguments; /* JSON text: an object; for a call that can't be made the policy's raw words as a JSON string */
    char *bad;       /* NULL, or why it can't be made, fit to be shown to the policy */
} dialect_call;

/* What stands for a NUL in texts that policies write, which are strings here: U+001A, "substitute",
 * one byte like it. */
enum { NUL_WRITTEN = 0x1a };

typedef enum dialect_event { DIALECT_MORE, DIALECT_CALLS, DIALECT_ANSWER } dialect_event;
typedef struct dialect_result {
    dialect_event event;
    dialect_call *calls; /* CALLS: in the order in which they were written */
    size_t n_calls;      /* > 0 */
    char *answer;        /* ANSWER */
    size_t rest;         /* bytes fed that lie beyond the close */
} dialect_result;
void dialect_result_reset(dialect_result *r);

typedef struct dialect_parser dialect_parser; /* one per turn */
dialect_parser *dialect_parser_new(dialect *d, error *err);
void dialect_parser_free(dialect_parser *p);
int dialect_feed(dialect_parser *p, const char *chunk, size_t len, dialect_result *out, error *err);
/* The policy has stopped, by a token of `stop_bytes` bytes that were fed: MORE, or what its last words are. */
int dialect_finish(dialect_parser *p, size_t stop_bytes, dialect_result *out, error *err);
/* The policy has no more tokens: MORE, or calls that were closed.
 * What it was about to say is neither call nor answer. */
int dialect_cut(dialect_parser *p, dialect_result *out, error *err);

/* The final answer in a whole response, after its calls, for those who have no turns: *answer (owned), or NULL. */
int dialect_answer(dialect *d, const char *response, size_t len, char **answer, error *err);
