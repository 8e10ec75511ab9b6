/* SPDX-License-Identifier: MIT */
/* fuzz_weights - whatever chunks come, in whatever order, an actor gets weights of exactly the announced length, made
 * of the announced version's bytes in their order, or an error with a sentence, or waits.
 *
 * Input: orders of 8 bytes each, (what, version, offset u16, total u16, length u16), all small, so that they meet. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "proto/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ORDER_BYTES = 8, MAX_INPUT = 4096, MAX_BYTES = 3000 };

/* The byte that stands at a place of a version: who mixes versions or places is found out. */
static unsigned char byte_of(int64_t version, uint64_t at) { return (unsigned char)((uint64_t)version * 31 + at * 7); }

static unsigned number(const uint8_t *p) { return (unsigned)(p[0] | p[1] << 8) % MAX_INPUT; }

static void must_be_whole(const weights_blob *blob, const weights_body *announced)
{
    const unsigned char *bytes = blob->data;
    if (blob->version != announced->version || blob->hash != announced->hash || blob->len != announced->bytes) abort();
    for (size_t i = 0; i < blob->len; i++)
        if (bytes[i] != byte_of(blob->version, i)) abort();
}

static int announce(weights_subscriber *s, const uint8_t *order, weights_body *announced, error *err)
{
    weights_blob blob;
    weights_get_body get;
    weights_body a = { .version = order[1] % 4 - 1, .bytes = number(order + 4), .host = "another machine" };
    a.hash = (uint64_t)a.version;
    const int rc = weights_on_announcement(s, &a, &blob, &get, err);
    if (rc == 1) abort(); /* nothing is shared with another machine */
    if (rc == 0 && (get.version != a.version || get.offset > a.bytes)) abort();
    if (rc == 0 && a.bytes > MAX_BYTES) abort(); /* more than the model has */
    if (rc == 0) *announced = a;                 /* one that can't be leaves the one before under way */
    return rc;
}

static int bring(weights_subscriber *s, const uint8_t *order, const weights_body *announced, error *err)
{
    weights_blob blob;
    weights_get_body get;
    unsigned char bytes[MAX_INPUT];
    weights_chunk_body c = { .version = order[1] % 4 - 1,
                             .offset = number(order + 2),
                             .total = number(order + 4),
                             .data = bytes,
                             .len = number(order + 6) };
    for (size_t i = 0; i < c.len; i++) bytes[i] = byte_of(c.version, c.offset + i);
    const int rc = weights_on_chunk(s, &c, &blob, &get, err);
    if (rc == 1) must_be_whole(&blob, announced);
    if (rc == 0 && get.version >= 0 && get.offset >= announced->bytes) abort();
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    weights_subscriber *s = weights_subscriber_new(MAX_BYTES);
    weights_body announced = { .version = -1 };
    for (; size >= ORDER_BYTES; data += ORDER_BYTES, size -= ORDER_BYTES) {
        error err = { 0 };
        const int rc = data[0] % 3 == 0 ? announce(s, data, &announced, &err) : bring(s, data, &announced, &err);
        if (rc < 0 && (err.code != -rc || !*err.text)) abort();
    }
    weights_subscriber_free(s);
    return 0;
}
