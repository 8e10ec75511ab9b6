/* SPDX-License-Identifier: MIT */
/* fuzz_message - any bytes are a message or an error with a sentence; and what is a message says the same again when it
 * is encoded and decoded once more. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two encodings are compared, and not the messages: every field is in the bytes, and NaN is itself there. */
static void must_say_the_same_again(const message *m)
{
    str first = { 0 }, second = { 0 };
    message again;
    error err = { 0 };
    message_encode(m, &first);
    if (message_decode(&again, first.data, first.len, &err) != OK || again.type != m->type) abort();
    message_encode(&again, &second);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0) abort();
    message_reset(&again);
    str_free(&first);
    str_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    message m;
    error err = { 0 };
    const int rc = message_decode(&m, data, size, &err);
    if (rc == OK) {
        if (m.type == MSG_NONE || m.type >= N_MESSAGES) abort();
        if (m.type == MSG_EPISODE) episode_check(m.episode.episode, 1000, &err);
        must_say_the_same_again(&m);
        message_reset(&m);
    } else if (rc != err.code || rc != ERR_PARSE || !*err.text || m.type != MSG_NONE) {
        abort();
    }
    return 0;
}
