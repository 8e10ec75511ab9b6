/* SPDX-License-Identifier: MIT */
/* dialects - opening a dialect with two tools, for the tests of it. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/dialect.h"
#include "tests/support/support.h"

static const char TOOLS[] =
    "[{\"name\": \"python\", \"description\": \"runs code\", \"parameters\": {\"type\": \"object\", \"properties\": "
    "{\"code\": {\"type\": \"string\"}}}},"
    " {\"name\": \"search\", \"description\": \"finds\", \"parameters\": {\"type\": \"object\", \"properties\": "
    "{\"q\": {\"type\": \"string\"}, \"n\": {\"type\": \"integer\"}}}}]";
static const char SHOT[] = "{\"prompt\": \"1+1?\", \"steps\": [{\"tool\": \"python\", \"arguments\": {\"code\": "
                           "\"print(1+1)\"}, \"result\": \"2\"}], \"answer\": \"2\"}";

static inline dialect *open_dialect(const char *name, const char *options)
{
    error err = { 0 };
    dialect *d = dialect_new(name, options, TOOLS, &err);
    if (!d) fail_msg("%s", err.text);
    return d;
}

static inline char *whole_prompt(dialect *d, int n_shots, token_role *roles)
{
    error err = { 0 };
    prompt_pieces p = { 0 };
    str text = { 0 };
    const char *const shots[] = { SHOT, SHOT };
    test_ok(dialect_prompt(d, "Use tools.", shots, n_shots, "{\"prompt\": \"2+2?\"}", &p, &err), &err);
    for (size_t i = 0; i < p.len; i++) {
        str_add(&text, p.data[i].text, p.data[i].len);
        if (roles) roles[i] = p.data[i].role;
    }
    prompt_pieces_free(&p);
    return str_take(&text);
}
