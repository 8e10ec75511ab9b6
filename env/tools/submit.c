/* SPDX-License-Identifier: MIT */
#include "env/tools/submit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/vec.h"

const char SUBMIT_DESCRIPTION[] = "Hands in the final answer. Nothing can be done after it.";
const char SUBMIT_PARAMETERS[] =
    "{\"type\":\"object\",\"properties\":{\"answer\":{\"type\":\"string\"}},\"required\":[\"answer\"]}";

/* Texts of an episode are strings here: a NUL becomes U+001A, "substitute", as dialects have it. */
static char *text_of(const json_t *string)
{
    enum { SUBSTITUTE = 0x1a };
    const size_t len = json_string_length(string);
    char *text = xmalloc(len + 1);
    memcpy(text, json_string_value(string), len + 1);
    for (size_t i = 0; i < len; i++)
        if (!text[i]) text[i] = SUBSTITUTE;
    return text;
}

char *submit_answer(const char *name, const char *arguments_json)
{
    if (strcmp(name, SUBMIT_NAME) != 0) return NULL;
    json_t *arguments = json_parse(arguments_json, strlen(arguments_json), "arguments", NULL);
    const json_t *answer = json_object_get(arguments, "answer");
    char *text = json_is_string(answer) ? text_of(answer) : NULL;
    json_decref(arguments);
    return text;
}

/* ---- by hand (troupe env call) ---- */

typedef struct desk {
    vec(uint64_t) calls;
} desk;

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    desk *d = self;
    (void)arguments, (void)ctx, (void)now_ms, (void)err;
    vec_push(&d->calls, call);
    return OK;
}

static int fds(void *self, struct pollfd *out, int max)
{
    (void)self, (void)out, (void)max;
    return 0;
}

static int take(void *self, int64_t now_ms, tool_result *out, int max)
{
    desk *d = self;
    int n = 0;
    (void)now_ms;
    for (; n < max && d->calls.len > 0; n++)
        out[n] = (tool_result){ .call = d->calls.data[--d->calls.len],
                                .ok = true,
                                .text = xstrdup("The answer is handed in: the episode would end here.") };
    return n;
}

static int64_t deadline_ms(void *self) { return ((desk *)self)->calls.len > 0 ? 0 : INT64_MAX; }

static void desk_free(void *self)
{
    desk *d = self;
    vec_free(&d->calls);
    free(d);
}

tool submit_tool(void)
{
    return (tool){ .name = SUBMIT_NAME,
                   .description = SUBMIT_DESCRIPTION,
                   .parameters = SUBMIT_PARAMETERS,
                   .self = xcalloc(1, sizeof(desk)),
                   .begin = begin,
                   .fds = fds,
                   .poll = take,
                   .deadline_ms = deadline_ms,
                   .free = desk_free };
}
