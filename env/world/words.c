/* SPDX-License-Identifier: MIT */
#include "env/world/words.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

enum { MAX_TOOLS = 30 }; /* a router has room for 32, two of them our own */
enum { SEED_BITS = 31 }; /* what every generator of random numbers takes for a seed */
enum { PLAY_NAME_BYTES = 24 };

/* ---- ours ---- */

/* Takes `message`. */
static char *line_of(json_t *message)
{
    char *line = json_text(message, false);
    json_decref(message);
    return line;
}

/* JSON text that was an object once, and {} where there is none. */
static json_t *object_of(const char *text)
{
    json_t *v = text ? json_parse(text, strlen(text), "text", NULL) : NULL;
    return v ? v : json_object();
}

static json_t *play_name(uint64_t play)
{
    char name[PLAY_NAME_BYTES];
    snprintf(name, sizeof name, "%" PRIu64, play);
    return json_string(name);
}

char *world_say_open(int64_t id, const char *options)
{
    return line_of(json_pack("{s:I, s:s, s:i, s:o}", "id", (json_int_t)id, "method", "open", "version", WORLD_PROTOCOL,
                             "config", object_of(options)));
}

char *world_say_reset(int64_t id, const tool_context *ctx)
{
    return line_of(json_pack("{s:I, s:s, s:o, s:o, s:I}", "id", (json_int_t)id, "method", "reset", "episode",
                             play_name(ctx->play), "row", object_of(ctx->row), "seed",
                             (json_int_t)(ctx->start >> (64 - SEED_BITS))));
}

char *world_say_step(int64_t id, const char *name, const char *arguments, const tool_context *ctx)
{
    json_t *message =
        json_pack("{s:I, s:s, s:o}", "id", (json_int_t)id, "method", "step", "episode", play_name(ctx->play));
    json_t *given = object_of(arguments);
    if (name) {
        json_object_set_new(message, "call", json_pack("{s:s, s:o}", "name", name, "arguments", given));
    } else {
        json_object_set(message, "text", json_object_get(given, "text"));
        json_decref(given);
    }
    if (ctx->turn) json_object_set_new(message, "turn", json_bytes(ctx->turn));
    return line_of(message);
}

char *world_say_close(uint64_t play)
{
    return line_of(json_pack("{s:s, s:o}", "method", "close", "episode", play_name(play)));
}

/* ---- theirs: tools ---- */

void world_tool_reset(world_tool *t)
{
    free(t->name);
    free(t->description);
    free(t->parameters);
}

/* As every dialect can write it. */
static bool is_speakable(const char *name)
{
    if (!*name || strlen(name) > 64) return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '-') return false;
    return true;
}

static int hear_tool(const json_t *one, world_tool *out, error *err)
{
    const char *name = json_string_value(json_object_get(one, "name"));
    const char *description = json_string_value(json_object_get(one, "description"));
    const json_t *parameters = json_object_get(one, "parameters");
    if (!name || !is_speakable(name))
        return error_set(err, ERR_PEER, "a tool's name is '%.64s' (expected 1 to 64 letters, digits, _ and -)",
                         name ? name : "");
    if ((parameters && !json_is_object(parameters)) || json_has_nul(one))
        return error_set(err, ERR_PEER, "tool %s: parameters is no JSON Schema of an object", name);
    *out = (world_tool){ .name = xstrdup(name),
                         .description = xstrdup(description ? description : ""),
                         .parameters = parameters ? json_text(parameters, false) : xstrdup("{\"type\": \"object\"}") };
    return OK;
}

int world_hear_tools(const json_t *answer, world_tool **tools, size_t *n, error *err)
{
    const json_t *list = json_object_get(answer, "tools");
    const size_t len = json_array_size(list);
    *n = 0;
    if (list && !json_is_array(list)) return error_set(err, ERR_PEER, "its answer to open has tools that are no list");
    if (len > MAX_TOOLS) return error_set(err, ERR_PEER, "it has %zu tools (at most %d are allowed)", len, MAX_TOOLS);

    *tools = xcalloc(len + 1, sizeof **tools);
    int rc = OK;
    for (size_t i = 0; i < len && rc == OK; i++) {
        rc = hear_tool(json_array_get(list, i), &(*tools)[i], err);
        *n += rc == OK;
    }
    return rc;
}

/* ---- theirs: how an episode begins ---- */

static bool are_messages(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (!json_is_string(json_object_get(one, "role")) || !json_is_string(json_object_get(one, "content")))
            return false;
    }
    return json_is_array(list) && json_array_size(list) > 0;
}

char *world_hear_opening(const json_t *answer, error *err)
{
    json_t *observation = json_object_get(answer, "observation"), *messages = json_object_get(answer, "messages");
    if (observation && !json_is_string(observation)) {
        error_set(err, ERR_PEER, "the observation of a reset is no text");
        return NULL;
    }
    if (messages && !are_messages(messages)) {
        error_set(err, ERR_PEER, "the messages of a reset are no list of {\"role\", \"content\"}");
        return NULL;
    }
    if (json_has_nul(answer)) {
        error_set(err, ERR_PEER, "its answer to a reset holds a NUL character");
        return NULL;
    }

    json_t *opening = json_object();
    if (messages)
        json_object_set(opening, "messages", messages);
    else if (observation)
        json_object_set(opening, "prompt", observation);
    return line_of(opening);
}

/* ---- theirs: a step ---- */

static int add_reward(json_t *rewards, const char *name, const json_t *value, error *err)
{
    const double x = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
    if ((!json_is_number(value) && !json_is_boolean(value)) || !isfinite(x))
        return error_set(err, ERR_PEER, "the reward '%.40s' of a step is no number", name);
    json_object_set_new(rewards, name, json_real(x));
    return OK;
}

/* "reward" is short for the one of that name. */
static int hear_rewards(const json_t *answer, json_t *rewards, error *err)
{
    const char *name;
    json_t *value, *given = json_object_get(answer, "rewards");
    const json_t *alone = json_object_get(answer, "reward");
    int rc = OK;
    if (given && !json_is_null(given) && !json_is_object(given))
        return error_set(err, ERR_PEER, "the rewards of a step are no object");
    if (alone && !json_is_null(alone)) rc = add_reward(rewards, "reward", alone, err);
    json_object_foreach(given, name, value) if (rc == OK) rc = add_reward(rewards, name, value, err);
    return rc;
}

/* Info is for those who read the episode; where there is too much of it, it is left out. */
static int write_outcome(const json_t *answer, const json_t *rewards, char **out, error *err)
{
    json_t *info = json_object_get(answer, "info");
    json_t *outcome = json_pack("{s:b}", "done", json_is_true(json_object_get(answer, "done")));
    if (json_object_size(rewards) > 0) json_object_set(outcome, "rewards", (json_t *)(uintptr_t)rewards);
    /* Sorted: one episode is one text, whatever order the program's tables have. */
    char *bare = json_text(outcome, true);
    if (info && !json_is_null(info)) json_object_set(outcome, "info", info);
    char *whole = json_text(outcome, true);
    json_decref(outcome);

    *out = strlen(whole) <= OUTCOME_BYTES ? whole : bare;
    free(*out == whole ? bare : whole);
    if (strlen(*out) <= OUTCOME_BYTES) return OK;
    free(*out);
    *out = NULL;
    return error_set(err, ERR_PEER, "the rewards of a step take more than %d bytes", OUTCOME_BYTES);
}

/* null says as little as a member that isn't there. */
static bool is_bool_or_none(const json_t *value) { return !value || json_is_null(value) || json_is_boolean(value); }

int world_hear_step(const json_t *answer, tool_result *out, error *err)
{
    const json_t *observation = json_object_get(answer, "observation"), *ok = json_object_get(answer, "ok"),
                 *done = json_object_get(answer, "done");
    if (observation && !json_is_null(observation) && !json_is_string(observation))
        return error_set(err, ERR_PEER, "the observation of a step is no text");
    if (!is_bool_or_none(ok) || !is_bool_or_none(done))
        return error_set(err, ERR_PEER, "\"done\" and \"ok\" of a step are true or false");
    if (json_has_nul(answer)) return error_set(err, ERR_PEER, "its answer to a step holds a NUL character");

    json_t *rewards = json_object();
    int rc = hear_rewards(answer, rewards, err);
    if (rc == OK) rc = write_outcome(answer, rewards, &out->outcome, err);
    json_decref(rewards);
    if (rc != OK) return rc;
    const char *text = json_string_value(observation);
    out->text = xstrdup(text ? text : "");
    out->ok = !json_is_false(ok);
    return OK;
}
