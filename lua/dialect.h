/* dialect - how a prompt, a tool call, an observation and an answer look in text; a Lua file a user can write.
 *
 * A dialect file returns a table (see lua/dialects/xml.lua):
 *     defaults     options and their defaults; the recipe's prompt.options override them
 *     prompt       function(options, spec) -> { {"instruction", text}, {"shot", text}..., {"question", text} }
 *     observation  function(options, call, text) -> the text spliced in after a call
 *     parser       function(options, tools) -> function(chunk) -> nil | "call", name, arguments | "answer", text |
 * "bad", why
 *
 * The parser is incremental: it is fed what the policy has just written and answers as soon as a call or the answer is
 * closed, so the engine stops at the closing token. One VM holds a dialect; one thread uses it. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "lua/vm.h"
#include "rollout/trajectory.h"

typedef struct dialect dialect;

/* `name`: "xml", "qwen", "llama3", "react", or the path of a .lua file. options_json, tools_json: JSON text or NULL;
 * tools_json is
 * [{"name", "description", "parameters": JSON Schema}, ...]. */
dialect *dialect_new(const char *name, const char *options_json, const char *tools_json, error *err);
void dialect_free(dialect *d);

typedef struct prompt_piece {
    token_role role;
    char *text;
    size_t len;
} prompt_piece;
typedef struct prompt_pieces {
    prompt_piece *data;
    size_t len, capacity;
} prompt_pieces;
void prompt_pieces_free(prompt_pieces *p);

/* row_json: the task's data row; shots: JSON texts {"prompt", "steps": [{"tool", "arguments", "result"}], "answer"}. */
int dialect_prompt(dialect *d, const char *instruction, const char *const *shots, int n_shots, const char *row_json,
                   prompt_pieces *out, error *err);
/* Text to splice in after a call; `ok` false when the tool reports an error. Appends to out. */
int dialect_observation(dialect *d, const char *tool, const char *text, size_t len, bool ok, str *out, error *err);

typedef enum dialect_event { DIALECT_MORE, DIALECT_CALL, DIALECT_ANSWER, DIALECT_BAD } dialect_event;
typedef struct dialect_result {
    dialect_event event;
    char *name;      /* CALL: tool name */
    char *arguments; /* CALL: JSON text */
    char *text;      /* ANSWER: the answer; BAD: what is wrong, fit to be shown to the policy */
} dialect_result;
void dialect_result_reset(dialect_result *r);

typedef struct dialect_parser dialect_parser; /* one per episode */
dialect_parser *dialect_parser_new(dialect *d, error *err);
void dialect_parser_free(dialect_parser *p);
int dialect_feed(dialect_parser *p, const char *chunk, size_t len, dialect_result *out, error *err);
