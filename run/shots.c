/* SPDX-License-Identifier: MIT */
#include "run/shots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"

enum { MAX_FILE = 64 << 20 };

static int need_text(const json_t *example, const char *what, const char *key, error *err)
{
    const json_t *value = json_object_get(example, key);
    if (json_is_string(value)) return OK;
    if (value) return error_set(err, ERR_PARSE, "%s needs \"%s\" (text), found another type", what, key);
    return error_set(err, ERR_PARSE, "%s needs \"%s\" (text)", what, key);
}

static int check_step(const json_t *step, const char *what, size_t i, error *err)
{
    char step_of[40];
    snprintf(step_of, sizeof step_of, "%s's step", what);
    int rc = need_text(step, step_of, "tool", err);
    if (rc == OK) rc = need_text(step, step_of, "result", err);
    if (rc == OK && !json_is_object(json_object_get(step, "arguments")))
        rc = error_set(err, ERR_PARSE, "%s needs \"arguments\" (an object)", step_of);
    return rc == OK ? OK : error_within(err, "step %zu", i + 1);
}

int shot_check_reply(const json_t *example, const char *what, error *err)
{
    const json_t *steps = json_object_get(example, "steps");
    int rc = need_text(example, what, "answer", err);
    if (rc == OK && steps && !json_is_array(steps)) rc = error_set(err, ERR_PARSE, "%s's \"steps\" are a list", what);
    for (size_t i = 0; rc == OK && i < json_array_size(steps); i++)
        rc = check_step(json_array_get(steps, i), what, i, err);
    return rc;
}

static int check_shot(const json_t *shot, error *err)
{
    if (!json_is_object(shot)) return error_set(err, ERR_PARSE, "a shot is an object");
    const int rc = need_text(shot, "a shot", "prompt", err);
    return rc == OK ? shot_check_reply(shot, "a shot", err) : rc;
}

/* A line that is not blank is a shot. */
static int add_line(shot_pool *s, const char *line, size_t len, error *err)
{
    if (strspn(line, " \t\r") >= len) return OK;
    json_t *shot = json_parse(line, len, "shot", err);
    const int rc = shot ? check_shot(shot, err) : ERR_PARSE;
    if (rc == OK) vec_push(s, xstrndup(line, len));
    json_decref(shot);
    return rc;
}

int shots_read(shot_pool *s, const char *path, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_FILE, &len, err);
    if (!text) return err ? err->code : ERR_IO;

    int rc = OK, number = 1;
    /* Line by line with the line's number: a file of many shots is written by hand, or by a script that has one
     * fault. */
    const char *const stop = text + len;
    for (const char *line = text + utf8_mark(text, len); rc == OK && line < stop; number++) {
        const char *newline = memchr(line, '\n', (size_t)(stop - line));
        const char *end = newline ? newline : stop;
        rc = add_line(s, line, (size_t)(end - line), err);
        if (rc != OK) error_within(err, "%s:%d", path, number);
        line = end + 1;
    }
    free(text);
    if (rc == OK && s->len == 0) return error_set(err, ERR_PARSE, "%s contains no shots", path);
    return rc;
}

static int check_tool(const json_t *tools, const char *name, error *err)
{
    enum { MAX_NAMES = 64 }; /* that a misspelt one is compared with */
    const char *names[MAX_NAMES + 1] = { NULL };
    const size_t n = json_array_size(tools);
    for (size_t i = 0; i < n; i++) {
        const char *one = json_string_value(json_object_get(json_array_get(tools, i), "name"));
        if (one && strcmp(one, name) == 0) return OK;
        if (i < MAX_NAMES) names[i] = one;
    }

    const char *nearest = str_nearest(name, names);
    if (n == 0) return error_set(err, ERR_PARSE, "it calls '%.60s', but env.tools is empty", name);
    if (nearest) return error_set(err, ERR_PARSE, "env.tools has no '%.60s' (did you mean '%s'?)", name, nearest);
    return error_set(err, ERR_PARSE, "env.tools has no '%.60s'", name);
}

/* The tools that shot `i` calls. */
static int check_calls(const shot_pool *s, size_t i, const json_t *tools, error *err)
{
    json_t *shot = json_parse(s->data[i], strlen(s->data[i]), "shot", err);
    if (!shot) return ERR_PARSE;

    int rc = OK;
    const json_t *steps = json_object_get(shot, "steps");
    for (size_t k = 0; rc == OK && k < json_array_size(steps); k++) {
        rc = check_tool(tools, json_string_value(json_object_get(json_array_get(steps, k), "tool")), err);
        if (rc != OK) error_within(err, "shot %zu, step %zu", i + 1, k + 1);
    }
    json_decref(shot);
    return rc;
}

int shots_check_tools(const shot_pool *s, const char *tools_json, error *err)
{
    json_t *tools = json_parse(tools_json, strlen(tools_json), "tools", err);
    if (!tools) return ERR_PARSE;

    int rc = OK;
    for (size_t i = 0; rc == OK && i < s->len; i++) rc = check_calls(s, i, tools, err);
    json_decref(tools);
    return rc;
}

void shots_free(shot_pool *s)
{
    for (size_t i = 0; i < s->len; i++) free(s->data[i]);
    vec_free(s);
}
