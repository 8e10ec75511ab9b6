/* SPDX-License-Identifier: MIT */
/* fuzz_sse - streams of events: whole and cut at places that the first byte chooses, the events are the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 4096 };

static void on_event(void *ctx, const sse_event *e)
{
    if (e->data[e->len] || e->len > MAX_BYTES) abort();
    str_puts(ctx, e->type);
    str_putc(ctx, 0);
    str_add(ctx, e->data, e->len);
    str_putc(ctx, 1);
}

static int read_in(const char *bytes, size_t len, size_t piece, str *heard)
{
    sse s = { 0 };
    int rc = OK;
    for (size_t at = 0; at < len && rc == OK; at += piece) {
        const size_t n = len - at < piece ? len - at : piece;
        rc = sse_feed(&s, bytes + at, n, MAX_BYTES, on_event, heard, NULL);
        if (s.retry_ms < 0) abort();
    }
    sse_reset(&s);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str whole = { 0 }, pieces = { 0 };
    if (size == 0) return 0;
    const char *bytes = (const char *)data + 1;
    const int rc = read_in(bytes, size - 1, size, &whole);
    const int other = read_in(bytes, size - 1, 1 + data[0] % 16, &pieces);
    const bool same =
        rc == other && whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
    if (rc == OK && !same) abort(); /* where it is too long, the last piece decides how much was read before */
    str_free(&whole);
    str_free(&pieces);
    return 0;
}
