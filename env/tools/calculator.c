/* SPDX-License-Identifier: MIT */
#include "env/tools/calculator.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "env/calculate.h"

const char CALCULATOR_DESCRIPTION[] = "Calculates an expression of numbers, + - * / // % ^ ( ), abs, min, max, sqrt, "
                                      "floor, ceil and round.";
const char CALCULATOR_PARAMETERS[] =
    "{\"type\":\"object\",\"properties\":{\"expression\":{\"type\":\"string\"}},\"required\":[\"expression\"]}";

typedef struct calculator {
    vec(tool_result) done;
} calculator;

/* At once: what can be asked takes well below a millisecond (calculate.h). */
static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    calculator *c = self;
    error why = { 0 };
    str text = { 0 };
    (void)ctx;
    (void)now_ms;
    json_t *given = json_parse(arguments, strlen(arguments), "arguments", err);
    if (!given) return ERR_ARGUMENT;
    const int64_t began_us = clock_us();
    const json_t *expression = json_object_get(given, "expression");
    const bool ok = calculate(json_string_value(expression), json_string_length(expression), &text, &why) == OK;
    json_decref(given);
    if (!ok) str_printf(&text, "error: %s", why.text);
    vec_push(
        &c->done,
        (tool_result){ .call = call, .ok = ok, .text = str_take(&text), .ms = (double)(clock_us() - began_us) / 1000 });
    return OK;
}

static int fds(void *self, struct pollfd *out, int max)
{
    (void)self;
    (void)out;
    (void)max;
    return 0;
}

static int take_results(void *self, int64_t now_ms, tool_result *out, int max)
{
    calculator *c = self;
    int n = 0;
    (void)now_ms;
    while (n < max && c->done.len > 0) out[n++] = c->done.data[--c->done.len];
    return n;
}

static int64_t deadline_ms(void *self) { return ((calculator *)self)->done.len > 0 ? 0 : INT64_MAX; }

static void free_calculator(void *self)
{
    calculator *c = self;
    for (size_t i = 0; i < c->done.len; i++) tool_result_reset(&c->done.data[i]);
    vec_free(&c->done);
    free(c);
}

tool calculator_tool(void)
{
    return (tool){ .name = CALCULATOR_NAME,
                   .description = CALCULATOR_DESCRIPTION,
                   .parameters = CALCULATOR_PARAMETERS,
                   .self = xcalloc(1, sizeof(calculator)),
                   .begin = begin,
                   .fds = fds,
                   .poll = take_results,
                   .deadline_ms = deadline_ms,
                   .free = free_calculator };
}
