/* SPDX-License-Identifier: MIT */
/* fuzz_box_end - what comes out of the sandbox: any bytes on its socket are the end of a call or are refused, and every
 * end has one verdict; what did not begin, was stopped or died of a signal it can't send itself
 * is never the policy's. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "env/sandbox/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    box_end end = { 0 };
    int number;
    if (box_end_parse((const char *)data, size, &end, NULL) != OK) return 0;
    if (end.text < (const char *)data || end.text + end.text_len != (const char *)data + size) abort();
    for (int overflowed = 0; overflowed < 2; overflowed++) {
        const box_outcome o = box_verdict(&end, overflowed, 1000, &number);
        const int status = (int)end.status;
        const bool whole = (end.flags & BOX_BEGAN) && !(end.flags & BOX_STOPPED);
        if (o < BOX_OK || o > BOX_LOST) abort();
        if (!whole && o != BOX_LOST) abort();
        if (o == BOX_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) abort();
        const bool outside = WIFSIGNALED(status) && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGSTOP);
        if (outside && !overflowed && !(end.flags & BOX_TOO_LONG) && o != BOX_LOST) abort();
    }
    return 0;
}
