/* SPDX-License-Identifier: MIT */
/* dialects - opening a dialect with two tools, and what it makes of a text, for the tests of it. */
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

/* Feeds text in chunks of `cut` bytes until something is closed; *fed: how many bytes. */
static inline dialect_result read_text(dialect *d, const char *text, size_t cut, size_t *fed)
{
    error err = { 0 };
    dialect_result r = { 0 };
    dialect_parser *p = dialect_parser_new(d, &err);
    assert_non_null(p);
    *fed = 0;
    for (size_t len = strlen(text); *fed < len && r.event == DIALECT_MORE;) {
        const size_t n = *fed + cut < len ? cut : len - *fed;
        dialect_result_reset(&r);
        test_ok(dialect_feed(p, text + *fed, n, &r, &err), &err);
        *fed += n;
    }
    dialect_parser_free(p);
    return r;
}

static const size_t CUTS[] = { 1, 2, 3, 7, 16, 1000 };

/* What comes of `text`, however it is cut; the turn is closed after `turn_text` if that is not NULL. check: looks at
 * the result. */
static inline void expect_event(dialect *d, const char *text, dialect_event event, const char *turn_text,
                                void (*check)(const dialect_result *r, const void *want), const void *want)
{
    for (size_t i = 0; i < sizeof CUTS / sizeof *CUTS; i++) {
        size_t fed;
        dialect_result r = read_text(d, text, CUTS[i], &fed);
        if (r.event != event) fail_msg("%s (cut %zu): event %d, not %d", text, CUTS[i], r.event, event);
        if (turn_text && fed - r.rest != strlen(turn_text))
            fail_msg("%s (cut %zu): the turn ends behind %zu bytes, not %zu", text, CUTS[i], fed - r.rest,
                     strlen(turn_text));
        if (check) check(&r, want);
        dialect_result_reset(&r);
    }
}

typedef struct wanted_call {
    const char *name, *arguments, *bad; /* bad: words of it */
} wanted_call;

static inline void check_call(const dialect_call *call, const wanted_call *want)
{
    assert_string_equal(call->name, want->name);
    if (want->bad && (!call->bad || !strstr(call->bad, want->bad)))
        fail_msg("expected '%s' in: %s", want->bad, call->bad ? call->bad : "a good call");
    if (!want->bad && call->bad) fail_msg("%s", call->bad);
    if (want->arguments) assert_string_equal(call->arguments, want->arguments);
}

static inline void check_one_call(const dialect_result *r, const void *want)
{
    assert_int_equal(r->n_calls, 1);
    check_call(&r->calls[0], want);
}

static inline void check_answer(const dialect_result *r, const void *want) { assert_string_equal(r->answer, want); }

static inline void expect_call(dialect *d, const char *text, const char *name, const char *arguments)
{
    const wanted_call want = { name, arguments, NULL };
    expect_event(d, text, DIALECT_CALLS, NULL, check_one_call, &want);
}

static inline void expect_bad(dialect *d, const char *text, const char *name, const char *words)
{
    const wanted_call want = { name, NULL, words };
    expect_event(d, text, DIALECT_CALLS, NULL, check_one_call, &want);
}

static inline void expect_answer(dialect *d, const char *text, const char *answer)
{
    expect_event(d, text, DIALECT_ANSWER, NULL, check_answer, answer);
}

static inline void expect_more(dialect *d, const char *text) { expect_event(d, text, DIALECT_MORE, NULL, NULL, NULL); }
