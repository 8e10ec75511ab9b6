/* SPDX-License-Identifier: MIT */
#include "env/sandbox/verdict.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "env/sandbox/filter.h"

enum { HEAD = 1 + 8 + 4 + 4 + 8 };

int box_end_parse(const char *bytes, size_t len, box_end *out, error *err)
{
    if (len < HEAD || bytes[0] != 'D')
        return error_set(err, ERR_PARSE, "sandbox: a message of %zu bytes is not the end of a call", len);
    *out = (box_end){ .text = bytes + HEAD, .text_len = len - HEAD };
    memcpy(&out->call, bytes + 1, 8);
    memcpy(&out->status, bytes + 9, 4);
    memcpy(&out->flags, bytes + 13, 4);
    memcpy(&out->cpu_us, bytes + 17, 8);
    out->flags &= ~(uint32_t)BOX_EXCEEDED_MEMORY; /* the box's own word: no zygote can say it */
    return OK;
}

/* Signals that a child's own instructions, timers and limits bring about; see filter.c. */
static bool own_signal(int number)
{
    static const int OWN[] = { SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,    SIGILL,  SIGTRAP, SIGSYS,
                               SIGXCPU, SIGXFSZ, SIGALRM, SIGVTALRM, SIGPROF, SIGPIPE };
    for (size_t i = 0; i < sizeof OWN / sizeof *OWN; i++)
        if (OWN[i] == number) return true;
    return false;
}

box_outcome box_verdict(const box_end *end, bool overflowed, int64_t timeout_ms, int *number)
{
    const int status = (int)end->status;
    *number = 0;

    /* What was done to it comes first: after that its status may say anything. */
    if (!(end->flags & BOX_BEGAN) || (end->flags & BOX_STOPPED)) return BOX_LOST;
    if (end->flags & BOX_TOO_LONG) return BOX_TIME;

    if (WIFEXITED(status)) {
        *number = WEXITSTATUS(status);
        if (overflowed) return BOX_OUTPUT;
        return *number == 0 ? BOX_OK : BOX_EXITED;
    }
    if (!WIFSIGNALED(status)) return BOX_LOST;

    *number = WTERMSIG(status);
    if (overflowed) return BOX_OUTPUT; /* the box killed it for that */
    if (*number == SIGKILL && (end->flags & BOX_EXCEEDED_MEMORY)) return BOX_MEMORY;
    if (*number == FILTER_RAISED) return BOX_RAISED;

    /* The kernel's limit on processor time: SIGXCPU, and a second later SIGKILL. */
    if (*number == SIGXCPU || (*number == SIGKILL && (int64_t)(end->cpu_us / 1000) >= timeout_ms)) return BOX_TIME;
    return own_signal(*number) ? BOX_CRASHED : BOX_LOST;
}
