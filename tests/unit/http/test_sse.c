/* SPDX-License-Identifier: MIT */
/* Streams of events, whole and in pieces. */
#include "http/sse.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

static void on_event(void *ctx, const sse_event *e)
{
    assert_int_equal(strlen(e->data), e->len);
    str_printf(ctx, "[%s|%s]", e->type, e->data);
}

static void check(const char *stream, size_t piece, const char *expected)
{
    sse s = { 0 };
    str heard = { 0 };
    error err = { 0 };
    const size_t len = strlen(stream);
    for (size_t at = 0; at < len; at += piece)
        test_ok(sse_feed(&s, stream + at, len - at < piece ? len - at : piece, 1000, on_event, &heard, &err), &err);
    if (strcmp(str_text(&heard), expected) != 0)
        fail_msg("in pieces of %zu: expected %s, found %s", piece, expected, str_text(&heard));
    sse_reset(&s);
    str_free(&heard);
}

static void events_are_the_same_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *stream, *expected;
    } CASES[] = {
        { "data: a\n\n", "[message|a]" },
        { "data:a\r\n\r\ndata:  b\r\n\r\n", "[message|a][message| b]" },
        { "data: a\r\rdata: b\r\r", "[message|a][message|b]" },
        { "data: a\ndata: b\ndata\ndata:\n\n", "[message|a\nb\n\n]" },
        { "\xef\xbb\xbf"
          "data: a\n\n\xef\xbb\xbf"
          "data: b\n\n",
          "[message|a]" },
        { ": ping\n\n:\n\ndata: a\n:in between\ndata: b\n\n", "[message|a\nb]" },
        { "event: endpoint\ndata: /x\n\ndata: y\n\n", "[endpoint|/x][message|y]" },
        { "event: none\n\nid: 3\n\ndata: a\n\n", "[message|a]" },
        { "nonsense\nData: x\ndata : y\ndata: a\n\n", "[message|a]" },
        { "data: cut", "" },
        { "data: cut\n", "" },
        { "data: {\"a\": \"b: c\"}\n\n", "[message|{\"a\": \"b: c\"}]" },
        { "\n\n\r\n\n", "" },
        { "data: a\r\n\ndata: b\n\r\n", "[message|a][message|b]" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (size_t piece = 1; piece <= 40; piece++) check(CASES[i].stream, piece, CASES[i].expected);
}

static void on_none(void *ctx, const sse_event *e) { (void)ctx, (void)e; }

static void it_remembers_the_last_id_and_when_to_come_back(void **state)
{
    (void)state;
    static const char STREAM[] = "id: 7\nretry: 1500\ndata: a\n\nretry: soon\nretry:\nretry: 99999999999\n\n";
    sse s = { 0 };
    error err = { 0 };
    test_ok(sse_feed(&s, STREAM, sizeof STREAM - 1, 1000, on_none, NULL, &err), &err);
    assert_string_equal(s.last_id.data, "7");
    assert_int_equal(s.retry_ms, 1500);
    sse_reset(&s);
    test_ok(sse_feed(&s, "id: a\0b\n\n", 9, 1000, on_none, NULL, &err), &err); /* as the standard says */
    assert_string_equal(str_text(&s.last_id), "");
    sse_reset(&s);
}

static void an_event_without_an_end_is_an_error(void **state)
{
    (void)state;
    static const char *const ENDLESS[] = { "data: xxxxxxxxx\n", "xxxxxxxx", "data\n" };
    for (size_t i = 0; i < sizeof ENDLESS / sizeof *ENDLESS; i++) {
        sse s = { 0 };
        error err = { 0 };
        int rc = OK, fed = 0;
        for (; rc == OK && fed < 2000; fed++)
            rc = sse_feed(&s, ENDLESS[i], strlen(ENDLESS[i]), 1000, on_none, NULL, &err);
        assert_int_equal(rc, ERR_LIMIT);
        assert_true(s.data.len + s.line.len < 1100);
        sse_reset(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_in_pieces_of_any_size),
        cmocka_unit_test(it_remembers_the_last_id_and_when_to_come_back),
        cmocka_unit_test(an_event_without_an_end_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
